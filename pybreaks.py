# SPDX-License-Identifier: MIT
"""pybreaks.py - breakpoints in every thread of the process.

Runs inside the target; the third part of the payload, compiled when somebody first asks for a
breakpoint. The tracer (pythreadhacks) brings a thread here when it comes to a line that has one; here it
is decided whether it stops, in the thread itself, by pdb's rules: condition, ignore count, temporary.

Facts it depends on
  - Several threads may be here at once, and the GIL may change hands between any two instructions: what
    is counted or claimed is so by one call into C (next() of an iterator, dict.setdefault()).
  - Code of the program (a condition) runs in the program's thread, as it does in pdb.
  - The list of breakpoints is the private bdb's: what pdb's own words have changed is found by sync()
    after each command.
"""

sys = pythreadhacks.sys
pyinjectcode = hands.namespace("pyinjectcode")
MANY = 1 << 60


class Countdown:
    """An attribute of Breakpoint that threads count down to 0: each step of it is one call into C."""

    def __init__(self, name):
        self.name = name

    def __get__(self, bp, owner):
        return bp.__dict__[self.name].__length_hint__()

    def __set__(self, bp, value):
        bp.__dict__[self.name] = iter(range(max(0, int(value))))


class Countup(Countdown):
    """The same for hits, which are counted up."""

    def __get__(self, bp, owner):
        return MANY - bp.__dict__[self.name].__length_hint__()

    def __set__(self, bp, value):
        bp.__dict__[self.name] = iter(range(MANY - int(value)))


class Point:
    """A breakpoint as the threads that come to it see it."""

    def __init__(self, bp):
        self.bp = bp
        self.name = bp.funcname                         # it is for functions of this name only
        self.count = bp.__dict__["hits"].__next__
        try:
            self.condition = compile(bp.cond, "<condition>", "eval", 0, True) if bp.cond else None
        except SyntaxError:
            self.condition = compile("True", "<condition>", "eval", 0, True)    # pdb stops there, too


class Breaks:
    """The breakpoints of a session, and what happens where a thread comes to one."""

    def __init__(self, session, breakpoint):
        self.session, self.breakpoint = session, breakpoint
        breakpoint.ignore, breakpoint.hits = Countdown("ignore"), Countup("hits")
        self.table = {}         # canonical file name -> {line: [Breakpoint]}, of those that are enabled
        self.names = {}         # file name as code objects have it -> canonical
        self.active = []        # what the table was made from

    # -- what the tracer asks

    def lines_in(self, code):
        """{line: Points} at which a thread may stop in a code object; empty for nearly all code."""
        lines = self.table.get(self.canonical(code.co_filename))
        if not lines:
            return {}
        found = {}
        for line in lines.keys() & set(pythreadhacks.line_starts(code)):
            points = [point for point in lines[line] if point.name in (None, code.co_name)]
            if points:
                found[line] = points
        return found

    def canonical(self, name):
        """The name under which a file's breakpoints are listed; kept, as the directory may change."""
        found = self.names.get(name)
        if found is None:
            try:
                found = self.session.pdb.canonic(name)
            except OSError:     # no current directory
                found = name
            self.names[name] = found
        return found

    def hit(self, frame, points):
        """In a thread that has come to such a line. Answers with an exception if one is to be raised in the program."""
        try:
            found = self.find(frame, points)
            if found is None:
                return None
            return self.stop(lambda: self.begin(frame, found), "hit breakpoint %d" % found.number)
        except BaseException as error:
            if pyinjectcode.is_our_error(error):
                return None
            return pyinjectcode.strip_traceback(error)

    def stop(self, begin, what):
        """In a thread: it stands here until the session lets it go. See Tracee.park()."""
        session = self.session
        if session.over or not hands.is_open():
            return None
        tracee = session.own_tracee()
        if tracee is None or tracee.parked:
            return None
        tracee.park(begin, what)
        kept, tracee.kept = tracee.kept, None
        return kept

    def find(self, frame, points):
        """The breakpoint at which a thread stops there, or None; counts."""
        for point in points:
            point.count()
            if point.condition is not None and not self.holds(point, frame):
                continue
            bp = point.bp
            if next(bp.__dict__["ignore"], None) is not None:
                continue
            if bp.temporary and bp.__dict__.setdefault("taken", frame) is not frame:
                continue        # another thread was first
            return bp
        return None

    def holds(self, point, frame):
        """The condition is true, or cannot be evaluated."""
        try:
            return eval(point.condition, frame.f_globals, frame.f_locals)
        except Exception:
            return True

    # -- at the prompt

    def begin(self, frame, bp):
        """The prompt has come to a thread that stands at a breakpoint: true if its commands let it go on."""
        pdb = self.session.pdb
        self.drop(bp)
        commands = pdb.commands.get(bp.number)
        if not commands:
            return pdb.begin(frame, None)
        if hasattr(pdb, "_pdbcmd_print_frame_status"):
            pdb.cmdqueue += commands + ["_pdbcmd_restore_lastcmd %s" % pdb.lastcmd]
            stop = pdb.begin(frame, None)
            del pdb.cmdqueue[:]
            return stop
        pdb.setup(frame, None)
        last, stop = pdb.lastcmd, None
        for line in list(commands):
            stop = pdb.onecmd(line) or stop
        pdb.lastcmd = last
        if not pdb.commands_silent.get(bp.number):
            pdb.print_stack_entry(pdb.stack[pdb.curindex])
        return stop

    def drop(self, bp):
        """A temporary breakpoint has done its work."""
        if bp.temporary and self.breakpoint.bpbynumber[bp.number] is bp:
            self.session.pdb.do_clear(str(bp.number))

    def sync(self):
        """Tells the tracer what has changed since last time."""
        active = [(bp, bp.cond, self.line_of(bp)) for bp in self.breakpoint.bpbynumber if bp is not None and bp.enabled]
        if active == self.active:
            return
        table = {}
        for bp, condition, line in active:
            table.setdefault(bp.file, {}).setdefault(line, []).append(Point(bp))
        self.active, self.table = active, table
        names = [file.rpartition("/")[2] for file in table]
        try:
            self.session.tracer.set_breaks(names or None, self.lines_in, self.hit)
        except pythreadhacks.NoDebugger as error:
            self.session.pdb.error("no breakpoint is in force: %s" % error)

    def line_of(self, bp):
        return bp.func_first_executable_line or bp.line if bp.funcname else bp.line
