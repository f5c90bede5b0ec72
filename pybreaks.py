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
        self.tracee = bp.__dict__.get("tracee")         # and for this thread only
        self.ident = self.tracee.ident if self.tracee else None
        self.count = bp.__dict__["hits"].__next__
        try:
            self.condition = compile(bp.cond, "<condition>", "eval", 0, True) if bp.cond else None
        except SyntaxError:
            self.condition = compile("True", "<condition>", "eval", 0, True)    # pdb stops there, too
        text = bp.__dict__.get("log")
        self.log = compile(text, "<logpoint>", "eval", 0, True) if text else None


def function_of(value):
    """The Python function or code behind a method, a decorated function, a property, a partial..."""
    for _ in range(100):
        names = ("__wrapped__",) if hasattr(value, "__code__") else ("__wrapped__", "__func__", "fget", "func")
        inner = next((getattr(value, name) for name in names if getattr(value, name, None) is not None), None)
        if inner is None:
            break
        value = inner
    return value


def code_of(value):
    """The code object of a function, or of itself; None if it is none of Python."""
    return value if hasattr(value, "co_consts") else getattr(value, "__code__", None)


def find_code(code, path):
    """The code object that a dotted name means below that of a module, class or function; None if there is none."""
    for part in path.split("."):
        if part != "<locals>":
            code = next((const for const in code.co_consts if getattr(const, "co_name", None) == part), None)
            if code is None:
                return None
    return code


def find_function(value, path):
    """The same from a module that is there: its classes may have inherited it, it may be decorated."""
    for part in path.split("."):
        code = code_of(function_of(value))
        if part == "<locals>":
            continue
        if code is not None:
            value = find_code(code, part)
        else:
            owner = next((base for base in getattr(value, "__mro__", ()) if part in vars(base)), None)
            value = vars(owner)[part] if owner is not None else getattr(value, part, None)
        if value is None:
            return None
    return code_of(function_of(value))


def describe_breakpoint(bp):
    """Breakpoint.bpformat(), with what we have added to it."""
    text = bp.plain_format()
    if bp.__dict__.get("pending"):
        text = text.replace(bp.file + ":0", bp.file + " (pending)")
    if bp.__dict__.get("special"):
        text = text.replace("at %s:0" % bp.file, bp.text).replace("breakpoint", bp.special + "point")
    if bp.__dict__.get("log"):
        text += "\n\tlog %s" % bp.log
    if bp.__dict__.get("tracee"):
        text += "\n\tstop only in %s" % bp.tracee
    return text


def name_breakpoint(bp):
    """Breakpoint.__str__(), likewise."""
    special = bp.__dict__.get("special")
    return "%spoint %d at %s" % (special, bp.number, bp.text) if special else bp.plain_str()


class Breaks:
    """The breakpoints of a session, and what happens where a thread comes to one."""

    def __init__(self, session, breakpoint):
        self.session, self.breakpoint = session, breakpoint
        breakpoint.ignore, breakpoint.hits = Countdown("ignore"), Countup("hits")
        if not hasattr(breakpoint, "plain_format"):
            breakpoint.plain_format, breakpoint.bpformat = breakpoint.bpformat, describe_breakpoint
            breakpoint.plain_str, breakpoint.__str__ = breakpoint.__str__, name_breakpoint
        self.table = {}         # canonical file name -> {line: [Breakpoint]}, of those that are enabled
        self.names = {}         # file name as code objects have it -> canonical
        self.base_names = []    # of the files in the table
        self.pending = []       # breakpoints in modules that are not imported yet
        self.active = []        # what the table was made from
        self.catches = None     # the Catches of pycatch, once they were needed

    # -- what the tracer asks

    def lines_in(self, code):
        """{line: Points} at which a thread may stop in a code object; empty for nearly all code."""
        if self.pending and code.co_name == "<module>":
            self.meet_module(code)
        lines = self.table.get(self.canonical(code.co_filename))
        if self.catches and self.catches.wants_every_line(code):
            starts = set(pythreadhacks.line_starts(code))
            return {line: self.points_at(code, lines or {}, line) + [self.catches] for line in starts}
        if not lines:
            return {}
        found = {}
        for line in lines.keys() & set(pythreadhacks.line_starts(code)):
            points = self.points_at(code, lines, line)
            if points:
                found[line] = points
        return found

    def points_at(self, code, lines, line):
        return [point for point in lines.get(line, ()) if point.name in (None, code.co_name)]

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
                return self.catches.meet(frame) if points[-1] is self.catches else None
            return self.answer(self.stop_at(frame, found))
        except BaseException as error:
            if pyinjectcode.is_our_error(error):
                return None
            return pyinjectcode.strip_traceback(error)

    def answer(self, tracee):
        """What a thread that has stood answers with: an exception that a signal handler has raised meanwhile, or None."""
        if tracee is None:
            return None
        kept, tracee.kept = tracee.kept, None
        return kept

    def is_set(self, bp):
        return bp.enabled and self.breakpoint.bpbynumber[bp.number] is bp

    def stop_at(self, frame, bp):
        """In a thread: it stands at a breakpoint until the session lets it go."""
        return self.stop(lambda: self.begin(frame, bp), "hit breakpoint %d" % bp.number,
                         lambda: self.is_set(bp))

    def stop(self, begin, what, still=None):
        """The same for any reason, see Tracee.park(). Answers with the Tracee, None if it cannot stop; who has
        called looks at its `kept` then."""
        session = self.session
        if session.over or not hands.is_open():
            return None
        tracee = session.own_tracee()
        if tracee is None or tracee.parked:
            return None
        tracee.park(begin, what, still)
        return tracee

    def find(self, frame, points):
        """The breakpoint at which a thread stops there, or None; counts."""
        for point in points:
            if point is self.catches:
                continue
            if point.ident and (point.ident != hands.ident() or point.tracee.native != hands.native_id(point.ident)):
                continue
            point.count()
            if point.condition is not None and not self.holds(point, frame):
                continue
            bp = point.bp
            if next(bp.__dict__["ignore"], None) is not None:
                continue
            if bp.temporary and bp.__dict__.setdefault("taken", frame) is not frame:
                continue        # another thread was first
            if point.log is not None:
                self.catches.log(point, frame)
                continue
            return bp
        return None

    def holds(self, point, frame):
        """The condition is true, or cannot be evaluated."""
        try:
            return eval(point.condition, frame.f_globals, frame.f_locals)
        except Exception:
            return True

    # -- at the prompt

    def begin(self, frame, bp, traceback=None):
        """The prompt has come to a thread that stands at a breakpoint: true if its commands let it go on."""
        pdb = self.session.pdb
        self.drop(bp)
        commands = pdb.commands.get(bp.number)
        if not commands:
            return pdb.begin(frame, traceback)
        if hasattr(pdb, "_pdbcmd_restore_lastcmd"):
            pdb.cmdqueue += commands + ["_pdbcmd_restore_lastcmd %s" % pdb.lastcmd]
            stop = pdb.begin(frame, traceback)
            del pdb.cmdqueue[:]
            return stop
        pdb.setup(frame, traceback)
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
        self.retry_pending()
        everywhere = self.catches is not None and self.catches.sync()
        active = [(bp, bp.cond, self.line_of(bp)) for bp in self.breakpoint.bpbynumber
                  if bp is not None and bp.enabled and not bp.__dict__.get("special")]
        if active == self.active and not everywhere:
            return
        table, pending = {}, []
        for bp, condition, line in active:
            if bp.__dict__.get("pending"):
                pending.append(bp)
            else:
                table.setdefault(bp.file, {}).setdefault(line, []).append(Point(bp))
        self.active, self.table, self.pending = active, table, pending
        self.base_names = [file.rpartition("/")[2] for file in table] + (["<module>"] if pending else [])
        if self.catches and (self.catches.watching or self.catches.standing):
            self.base_names.append("*")
        try:
            self.session.tracer.set_breaks(self.base_names or None, self.lines_in, self.hit)
        except pythreadhacks.NoDebugger as error:
            self.session.pdb.error("no breakpoint is in force: %s" % error)

    def line_of(self, bp):
        return bp.func_first_executable_line or bp.line if bp.funcname else bp.line

    # -- the word `break`: what it can do beyond pdb's

    def command(self, arg, temporary, do_break):
        """break LOCATION [thread N|NAME] [, CONDITION]; do_break is pdb's own, for what it knows."""
        session, pdb = self.session, self.session.pdb
        where, comma, condition = arg.partition(",")
        where, selector = self.split_thread(where.strip())
        if comma and not selector:
            condition, selector = self.split_thread(condition.strip())
        tracee = session.find(selector) if selector else None
        if selector and tracee is None:
            return pdb.error(session.problem)
        number = self.breakpoint.next
        if not self.set_function(where, temporary, condition.strip(), pdb):
            do_break(pdb, where + (", " + condition if comma else ""), temporary)
        if tracee is not None and self.breakpoint.next > number:
            self.breakpoint.bpbynumber[-1].tracee = tracee
        return None

    def split_thread(self, text):
        """("LOCATION", "N") of "LOCATION thread N"; the name may be quoted."""
        before, word, name = (" " + text).rpartition(" thread ")
        name = name.strip()
        if not word or not name or (" " in name and not (name[0] == name[-1] == '"' and len(name) > 2)):
            return text, ""
        return before.strip(), name.strip('"')

    def set_function(self, where, temporary, condition, pdb):
        """A breakpoint by a name that pdb does not find or takes for something else; False: leave it to pdb."""
        module, colon, path = where.rpartition(":")
        if not where or where.isdigit() or path.strip().isdigit():
            return False
        if colon:
            module, path = module.strip(), path.strip()
            if not all([part.isidentifier() for part in module.split(".") + path.replace("<locals>.", "").split(".")]):
                return False
            loaded = pythreadhacks.modules.get(module)
            code = find_function(loaded, path) if loaded is not None else None
        else:
            if pdb.curframe is None:
                pdb.error(pyinjectcode.NO_THREAD)
                return True
            try:
                value = eval(where, pdb.curframe.f_globals, pdb.curframe_locals)
            except Exception:
                value = pdb.curframe.f_globals.get(where.partition(".")[0])
                code = find_function(value, where.partition(".")[2]) if value is not None and "." in where else None
                if code is None:
                    return False
            else:
                code = code_of(function_of(value))
                if code is None or getattr(value, "__code__", None) is code:
                    return False
        try:
            if condition:
                compile(condition, "<condition>", "eval", 0, True)
        except SyntaxError as error:
            pdb.error("Invalid condition %s: %s" % (condition, error))
            return True
        if code is None:
            self.set_pending(module, path, temporary, condition, pdb)
            return True
        file, line = self.canonical(code.co_filename), pythreadhacks.first_line(code)
        pdb.break_argument = ""
        problem = pdb.set_break(file, line, temporary, condition or None, code.co_name)
        if problem:
            pdb.error(problem)
            return True
        bp = self.breakpoint.bpbynumber[-1]
        bp.func_first_executable_line = line
        pdb.message("Breakpoint %d at %s:%d" % (bp.number, bp.file, line))
        return True

    # -- pending breakpoints: the code of a module's body has in it the code of all its functions

    def set_pending(self, module, path, temporary, condition, pdb):
        bp = self.breakpoint(module + ":" + path, 0, temporary, condition or None, path.rpartition(".")[2])
        bp.pending = module, path
        pdb.breaks.setdefault(bp.file, []).append(0)
        why = "has no %s so far" % path if module in pythreadhacks.modules else "is not imported yet"
        pdb.message("Breakpoint %d at %s (pending: %s %s)" % (bp.number, bp.file, module, why))

    def meet_module(self, code):
        """In a thread that begins to execute the body of a module."""
        stem = "/" + code.co_filename.rpartition(".py")[0]
        for bp in list(self.pending):
            module, path = bp.__dict__.get("pending") or ("", "")
            tail = "/" + module.replace(".", "/")
            if module and stem.endswith((tail, tail + "/__init__")) and self.name_of(code) in (module, None):
                found = find_code(code, path)
                if found is not None:
                    self.bind(bp, found)

    def name_of(self, code):
        """The name of the module whose body begins: its frame knows it, or the import system's."""
        frame = sys._getframe(2)
        while frame is not None:
            if frame.f_code is code:
                return frame.f_globals.get("__name__")
            if frame.f_code.co_name == "exec_module" and "module" in frame.f_locals:
                return getattr(frame.f_locals["module"], "__name__", None)
            frame = frame.f_back
        return None

    def retry_pending(self):
        """At the prompt: the module may be there by now, and have the function by a detour."""
        for bp in list(self.pending):
            module, path = bp.__dict__.get("pending") or ("", "")
            loaded = pythreadhacks.modules.get(module)
            code = find_function(loaded, path) if loaded is not None else None
            if code is not None:
                self.bind(bp, code)

    def bind(self, bp, code):
        """A pending breakpoint gets its place."""
        if bp.__dict__.pop("pending", None) is None:
            return              # another thread has done it
        file, line = self.canonical(code.co_filename), pythreadhacks.first_line(code)
        lists, breaks = self.breakpoint.bplist, self.session.pdb.breaks
        old = bp.file
        if bp in lists.get((old, 0), ()):
            lists[old, 0].remove(bp)
            if not lists[old, 0]:
                del lists[old, 0]
                breaks.pop(old, None)
        bp.file, bp.line, bp.funcname, bp.func_first_executable_line = file, line, code.co_name, line
        lists.setdefault((file, line), []).append(bp)
        if line not in breaks.setdefault(file, []):
            breaks[file].append(line)
        table = {name: dict(lines) for name, lines in self.table.items()}
        table.setdefault(file, {}).setdefault(line, [])
        table[file][line] = table[file][line] + [Point(bp)]
        self.base_names.append(file.rpartition("/")[2])
        self.table = table
        self.pending = [other for other in self.pending if other is not bp]
        self.session.notice("breakpoint %d is at %s:%d" % (bp.number, file, line))
