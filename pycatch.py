# SPDX-License-Identifier: MIT
"""pycatch.py - what stops a thread, or says something, elsewhere than at a line of the user's choice.

Runs inside the target; the fourth part of the payload, compiled when somebody first asks for it:
catchpoints, watchpoints, logpoints, stopall, and the file of `breaks save`. All but stopall are
breakpoints of bdb's list, with numbers, conditions, ignore counts, commands; what makes them special
stands in attributes: `special` ("catch" or "watch"), `text` (what the user typed), `log`.

Facts it depends on
  - An exception has an event in every frame that it passes. It is new where its traceback ends, or
    where the instruction is a `raise`.
  - A watch is looked at before each line. A plain variable of a call is changed by the thread of the call alone: it
    has "hit" the watch. All else may be changed in the middle of a line of any thread, also one that loses the GIL
    there: who comes to a line next "has seen" it. Only events of each instruction would tell more, at 100 times the cost.
  - __repr__ of the program is executed in its own thread, as pdb does it.
"""

sys = pythreadhacks.sys
pyinjectcode = hands.namespace("pyinjectcode")
pybreaks = hands.namespace("pybreaks")
RAISE = next((pair for pair in zip(*[iter(compile("raise x", "x", "exec").co_code)] * 2) if pair[1] == 1), (0, 1))[0]
SILENT = ("StopIteration", "StopAsyncIteration", "GeneratorExit")      # how loops end: only where they are named
GENERATOR = 0x20 | 0x80 | 0x200         # co_flags of generators, coroutines, asynchronous generators
LONGEST = 200                   # characters of a value in one line
SHORT_S = 0.1                   # a sleep that is shorter than this is not called blocked by stopall
STAND_S = 1.0                   # so long stopall waits for the threads that run


def shorten(text):
    return text if len(text) <= LONGEST else text[:LONGEST] + "..."


def resolve(name):
    """What a dotted name, or module:name, means among the modules of the program; None if nothing."""
    module, _, path = name.rpartition(":")
    parts = (module.split(".") if module else []) + path.split(".")
    for count in range(len(parts) - 1, 0, -1):
        value = pythreadhacks.modules.get(".".join(parts[:count]))
        for part in parts[count:]:
            value = getattr(value, part, None)
        if value is not None:
            return value
    return None


def is_kind(value):
    return isinstance(value, type) and issubclass(value, BaseException)


class Catches:
    """The catchpoints, watchpoints and logpoints of a session, and who stands."""

    def __init__(self, session, breaks):
        self.session, self.breaks = session, breaks
        self.catching, self.watching = [], []       # Points
        self.standing = False
        self.looking = set()        # threads that look at a watched value: it may be code of the program
        self.active = None
        breaks.catches = self

    # -- exceptions, in the thread

    def raised(self, frame, error, traceback, leaves):
        """From the tracer: an exception passes a frame, or leaves the thread. Answers as Breaks.hit()."""
        try:
            points = [point for point in self.catching if point.leaves == leaves and point.fits(error)]
            if not points or pyinjectcode.is_our_code(frame.f_code):
                return None
            if not leaves and not self.is_new(frame, traceback):
                return None
            found = self.breaks.find(frame, points)
            if found is None:
                return None
            text = self.describe(error)
            what = "is left by %s" % text if leaves else "raised %s" % text
            return self.breaks.answer(self.breaks.stop(lambda: self.begin_exception(frame, found, error, traceback), what,
                                                       lambda: self.breaks.is_set(found)))
        except BaseException as problem:
            if pyinjectcode.is_our_error(problem):
                return None
            return pyinjectcode.strip_traceback(problem)

    def is_new(self, frame, traceback):
        if traceback is None or traceback.tb_next is None:
            return True
        at = traceback.tb_lasti
        return traceback.tb_frame is frame and frame.f_code.co_code[at:at + 1] == bytes([RAISE])

    def describe(self, error):
        try:
            text = str(error)
        except Exception:
            text = "<exception str() failed>"
        name = type(error).__name__
        return shorten("%s: %s" % (name, text) if text else name).replace("\n", "\\n")

    def begin_exception(self, frame, bp, error, traceback):
        self.session.pdb.set_convenience(frame, "_exception", error)
        # Of a frame that an exception leaves only the traceback knows the line.
        return self.breaks.begin(frame.f_back if traceback and traceback.tb_frame is frame else frame, bp, traceback)

    # -- lines, in the thread

    def wants_every_line(self, code):
        """Each line of this code is of interest."""
        if pyinjectcode.is_our_code(code):
            return False
        return self.standing or any([point.code in (None, code) for point in self.watching])

    def meet(self, frame):
        """Before a line. Answers as Breaks.hit()."""
        point, change = self.changed(frame)
        if point is not None:
            return self.breaks.answer(self.stop_at(frame, point, change))
        if self.standing and hands.ident() not in self.session.evaluating:
            return self.stand()
        return None

    def changed(self, frame):
        """(the watchpoint at which a thread stops before this line, how its value has changed); or (None, None)."""
        if hands.ident() not in self.looking:
            for point in self.watching:
                change = self.look(point, frame)
                if change and self.breaks.find(frame, [point]) is not None:
                    return point, change
        return None, None

    def stop_at(self, frame, point, change):
        return self.breaks.stop(lambda: self.breaks.begin(frame, point.bp),
                                "%s watch %d, %s: %s" % ("hit" if point.code else "has seen", point.bp.number, point.bp.text, change),
                                lambda: self.breaks.is_set(point.bp))

    def look(self, point, frame):
        """"was X, is Y" if the value has changed since somebody looked last."""
        if point.code not in (None, frame.f_code) or (point.frame is not None and point.code and frame is not point.frame):
            return None
        self.looking.add(hands.ident())
        try:
            value = point.evaluate()
        finally:
            self.looking.discard(hands.ident())
        old, turn = point.seen
        if value == old or (point.frame is not None and value == "<NameError>") or point.turns.setdefault(turn, value) is not value:
            return None
        point.seen = value, turn + 1
        point.turns.pop(turn - 100, None)
        return "was %s, is %s" % (old, value)

    def stand(self):
        """stopall: the thread stays here, quietly, until it is let go."""
        tracee = self.session.own_tracee()
        if tracee is None or tracee.parked or self.session.over or not hands.is_open():
            return None
        tracee.park(None, quietly=True)
        return self.breaks.answer(tracee)

    def log(self, point, frame):
        """A logpoint: one line for the user."""
        now = self.time.time()
        stamp = self.time.strftime("%H:%M:%S", self.time.localtime(now)) + ".%03d" % (now * 1000 % 1000)
        try:
            value = self.session.safe_repr(eval(point.log, frame.f_globals, frame.f_locals))
        except Exception as error:
            value = "*** " + self.describe(error)
        tracee = self.session.own_tracee()
        if tracee is None or self.session.over:
            return
        try:
            self.session.send_text(hands.OUTPUT, "%s %s %s:%d: %s = %s\n" % (
                stamp, tracee, frame.f_code.co_filename.rpartition("/")[2], frame.f_lineno, point.bp.log, value))
        except pyinjectcode.Detach:
            pass

    # -- at the prompt

    def sync(self):
        """After a command: what is enabled now? True if the lines of interest have changed."""
        bps = [bp for bp in self.breaks.breakpoint.bpbynumber if bp is not None and bp.enabled and bp.__dict__.get("special")]
        active = [(bp, bp.cond) for bp in bps], self.standing
        if active == self.active:
            return False
        before = self.watching, self.active and self.active[1]
        old = {point.bp: point for point in self.watching}
        self.catching = [CatchPoint(bp) for bp in bps if bp.special == "catch"]
        self.watching = [WatchPoint(bp, old.get(bp)) for bp in bps if bp.special == "watch"]
        self.active = active
        leaves = any([point.leaves for point in self.catching])
        try:
            self.session.tracer.set_raised(self.raised if self.catching else None, leaves)
        except pythreadhacks.NoDebugger as error:
            self.session.pdb.error("no catchpoint is in force: %s" % error)
        return bool(self.watching or before[0] or self.standing or before[1])

    def retire(self):
        """Watches of a function that has returned end; says so."""
        for point in self.watching:
            if point.frame is not None and point.has_returned():
                number = point.bp.number
                self.session.notice("watch %d, %s, has ended: %s() has returned" % (number, point.bp.text, point.frame.f_code.co_name))
                self.session.pdb.onecmd("clear %d" % number)

    def add(self, special, text):
        """A new breakpoint of bdb's list."""
        name = "%s %s" % (special, text)
        bp = self.breaks.breakpoint(name, 0)
        bp.special, bp.text = special, text
        self.session.pdb.breaks.setdefault(name, []).append(0)
        return bp

    def catch(self, arg):
        pdb = self.session.pdb
        text, mode = arg.strip(), "raised"
        for word in ("raised", "uncaught"):
            if text.endswith(" " + word):
                text, mode = text[:-len(word)].strip(), word
        if not text:
            return pdb.error("catch EXCEPTION [uncaught|raised]")
        kinds = resolve(text)
        if pdb.curframe is not None:
            try:
                kinds = eval(text, pdb.curframe.f_globals, pdb.curframe_locals)
            except Exception:
                pass
        if kinds is None:
            kinds = pythreadhacks.builtins.get(text)
        if kinds is not None and not is_kind(kinds) and not (isinstance(kinds, tuple) and kinds and all([is_kind(kind) for kind in kinds])):
            return pdb.error("not an exception: %s" % text)
        if kinds is None and not text.replace(".", "").replace(":", "").isidentifier():
            return pdb.error("not an exception: %s" % text)
        bp = self.add("catch", text + (" uncaught" if mode == "uncaught" else ""))
        bp.kinds, bp.leaves = kinds or text.rpartition(":")[2].rpartition(".")[2], mode == "uncaught"
        return pdb.message("Catchpoint %d at %s%s" % (bp.number, bp.text, "" if kinds else " (by its name: there is no such class so far)"))

    def watch(self, arg):
        pdb, text = self.session.pdb, arg.strip()
        if not text:
            return pdb.error("watch EXPRESSION")
        frame, variables = pdb.curframe, pdb.curframe_locals
        try:
            code = compile(text, "<watch>", "eval", 0, True)
            eval(code, frame.f_globals, variables)
        except Exception as error:
            return pdb.error(self.describe(error))
        bp = self.add("watch", text)
        uses_locals = frame.f_code.co_name != "<module>" and any([name in variables for name in code.co_names])
        bp.place = code, frame, uses_locals
        point = WatchPoint(bp, None)
        return pdb.message("Watchpoint %d: %s is %s" % (bp.number, text, point.seen[0]))

    def logpoint(self, arg):
        pdb, (where, _, text) = self.session.pdb, arg.strip().partition(" ")
        if not where or not text.strip():
            return pdb.error("logpoint FILE:LINE EXPRESSION")
        try:
            compile(text.strip(), "<logpoint>", "eval", 0, True)
        except SyntaxError as error:
            return pdb.error("Invalid expression %s: %s" % (text.strip(), error))
        number = self.breaks.breakpoint.next
        pdb.do_break(where)
        if self.breaks.breakpoint.next > number:
            self.breaks.breakpoint.bpbynumber[-1].log = text.strip()
            self.breaks.active = None
        return None

    @property
    def time(self):
        return pythreadhacks.modules["time"]

    # -- stopall, goall

    def stopall(self):
        session = self.session
        self.standing = True
        self.breaks.sync()
        begun = hands.monotonic()
        while hands.monotonic() < begun + STAND_S:
            running = [tracee for tracee in session.tracees() if not tracee.parked]
            before = {tracee: hands.cpu_time(tracee.native) for tracee in running}
            hands.wait(0, hands.news(0), int(session.quiet_time() * 1000))
            moving = [tracee for tracee in running if not tracee.parked and hands.cpu_time(tracee.native) != before[tracee]]
            if not moving and hands.monotonic() > begun + SHORT_S:
                break
        others = [tracee for tracee in session.tracees() if not tracee.parked]
        stand = len(session.tracees()) - len(others)
        session.pdb.message("%d thread%s; `goall` or `continue` lets %s go" % (
            stand, " stands" if stand == 1 else "s stand", "it" if stand == 1 else "them"))
        for tracee in others[:10]:
            session.pdb.message("%s is %s; it will stand when it comes back" % (tracee, session.describe(tracee)))
        if len(others) > 10:
            session.pdb.message("and %d more" % (len(others) - 10))

    def tell_goall(self):
        count = self.goall()
        self.session.pdb.message("%d thread%s" % (count, " goes on" if count == 1 else "s go on"))

    def goall(self):
        """All that stand go, but the thread under the prompt and those that wait at a breakpoint that is still set."""
        session, gone = self.session, 0
        self.standing = False
        self.breaks.sync()
        for event in list(session.waiting):
            if event[0].parked and session.let_go(event[0]):    # at a breakpoint that is gone
                session.waiting.remove(event)
                gone += 1
        for tracee in list(session.numbers.values()):
            if tracee.parked and not tracee.going and not session.is_waiting(tracee) and tracee is not session.current:
                session.disarm(tracee)          # no step is left in it
                tracee.go()
                gone += 1
        return gone

    # -- breaks save, breaks load: commands, with % for the number of the last breakpoint

    def save(self):
        """(how many breakpoints, the commands that make them again)."""
        lines, count, commands = ["# breakpoints of pydbattach"], 0, self.session.pdb.commands
        for bp in self.breaks.breakpoint.bpbynumber:
            if bp is None:
                continue
            count += 1
            lines.append(self.command_for(bp))
            if bp.cond:
                lines.append("condition % " + bp.cond)
            if bp.ignore:
                lines.append("ignore %% %d" % bp.ignore)
            if commands.get(bp.number):
                own = [line for line in commands[bp.number] if not line.startswith("_pdbcmd")]
                silent = ["silent"] if getattr(self.session.pdb, "commands_silent", {}).get(bp.number) else []
                lines += ["commands %"] + ["  " + line for line in silent + own] + ["end"]
            if not bp.enabled:
                lines.append("disable %")
        return count, "\n".join(lines) + "\n"

    def command_for(self, bp):
        if bp.__dict__.get("special"):
            return "%s %s" % (bp.special, bp.text)
        if bp.__dict__.get("pending"):
            where = bp.file
        else:
            where = "%s:%d" % (bp.file, self.breaks.line_of(bp))
        if bp.__dict__.get("log"):
            return "logpoint %s %s" % (where, bp.log)
        tracee = bp.__dict__.get("tracee")
        limit = ' thread "%s"' % tracee.name if tracee and tracee.name else " thread %d" % tracee.number if tracee else ""
        return ("tbreak " if bp.temporary else "break ") + where + limit

    def load(self, text):
        """Executes what save() has written; says how many there are now."""
        pdb, first, lines = self.session.pdb, self.breaks.breakpoint.next, [line.strip() for line in text.split("\n")]
        before = first
        while lines:
            line = lines.pop(0)
            word = line.partition(" ")[0]
            if not line or line.startswith("#"):
                continue
            if word in ("condition", "ignore", "commands", "disable"):
                number = self.breaks.breakpoint.next - 1
                made = number >= before
                body = []
                if word == "commands":
                    while lines and lines[0] != "end":
                        body.append(lines.pop(0))
                    body.append("end")
                    del lines[:1]
                if made:
                    saved, pdb.cmdqueue = pdb.cmdqueue, body
                    pdb.onecmd(line.replace("%", str(number), 1))
                    pdb.cmdqueue = saved
            elif word in ("break", "tbreak", "catch", "watch", "logpoint"):
                before = self.breaks.breakpoint.next
                pdb.onecmd(line)
            else:
                pdb.error("not a line of `breaks save`: %s" % shorten(line))
        return self.breaks.breakpoint.next - first


class CatchPoint(pybreaks.Point):
    """A catchpoint, as the threads that come to it see it."""

    def __init__(self, bp):
        pybreaks.Point.__init__(self, bp)
        self.kinds, self.leaves = bp.kinds, bp.leaves

    def fits(self, error):
        kinds = self.kinds
        if isinstance(kinds, str):
            return kinds in [kind.__name__ for kind in type(error).__mro__]
        if not isinstance(error, kinds):
            return False
        name = type(error).__name__
        return name not in SILENT or type(error) in (kinds if isinstance(kinds, tuple) else (kinds,))


class WatchPoint(pybreaks.Point):
    """A watchpoint. `frame`: the call whose variables the expression needs, else None. `code`: looked at in this
    code only, as nobody else can change it; None: everywhere."""

    def __init__(self, bp, old):
        pybreaks.Point.__init__(self, bp)
        self.expression, frame, uses_locals = bp.place
        self.globals, self.frame, self.code = frame.f_globals, None, None
        if uses_locals:
            self.frame = frame
            name = bp.text
            if name.isidentifier() and name not in frame.f_code.co_cellvars + frame.f_code.co_freevars:
                self.code = frame.f_code
        self.turns = {}
        self.seen = old.seen if old else (self.evaluate(), 0)

    def evaluate(self):
        try:
            variables = self.frame.f_locals if self.frame is not None else self.globals
            return shorten(repr(eval(self.expression, self.globals, variables)))
        except Exception as error:
            return "<%s>" % type(error).__name__

    def has_returned(self):
        if self.frame.f_code.co_flags & GENERATOR:
            return False        # it may be asleep
        for top in pythreadhacks.current_frames().values():
            while top is not None:
                if top is self.frame:
                    return False
                top = top.f_back
        return True
