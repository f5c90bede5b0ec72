# SPDX-License-Identifier: MIT
"""pyinjectcode.py - the session: one Pdb loop over any thread of the process that we are in.

Runs inside the target, sent by the client as text; main() is called by the evaluator, a thread of
ours that holds the GIL. `hands` is the C library, `pythreadhacks` the other half of the payload.

Who runs what
  - The evaluator runs the loop: it reads a line, lets it be executed, prints, waits for the thread.
  - A thread of the program that has stopped is parked in Tracee.park() and executes what the loop
    asks for, so that `p` sees its thread-locals, its context and its task.
  - For a thread that is blocked in C the evaluator executes itself, on the frames that hang.
  - on_interrupt() and on_hangup() are called by the library in threads of their own.
All of them hold the GIL while they touch the Session; they meet by Session.post() and park slots.

Pieces are compiled one by one: each begins after a blank line with class, def, @ or "# ---" at
column 0.
"""

sys = pythreadhacks.sys

SLOT_FIRST, SLOTS = 1, 60       # park slots of the library
QUIET_S = 0.012                 # a thread that has not run for so long, or 2.5 switch intervals, is blocked
BUSY_S = 0.5                    # one that runs for so long without an event is in C
STILL_S = 0.3                   # so long after a stepping command the user is told that nothing has happened
ANSWER_S = 0.5                  # an evaluation that does not answer to an interrupt by then is left behind
CHUNK = 1 << 16                 # bytes of output in one frame

# Commands that need no frame: all that is left when the thread under the prompt has ended.
FRAMELESS = {
    "threads", "thread", "help", "h", "quit", "q", "exit", "detach", "EOF", "run", "restart", "alias", "unalias",
    "clear", "cl", "enable", "disable", "ignore", "commands", "breaks", "stopall", "goall",
}
NO_THREAD = "no thread is chosen, or it has no Python frame; see `threads`"
STAND_ALONE = "thread %d is blocked; this needs a thread that has stopped (step waits for it)"


class Detach(BaseException):
    """Unwinds to the end of the session: the client is gone or has had enough."""


class Orphaned(BaseException):
    """This evaluator was left behind; another one goes on."""


class Abandoned(BaseException):
    """The thread that was asked to evaluate something has not come back."""


# What Ctrl-C raises in an evaluation. Not KeyboardInterrupt itself: Python notes for its exit that one
# has left an eval() of a string, and the program would end with the status of SIGINT one day.
Interrupted = type("KeyboardInterrupt", (KeyboardInterrupt,), {"__module__": "builtins"})


# --- one thread of the program ---

class Request:
    """Something that a parked thread shall execute."""

    def __init__(self, function):
        self.function, self.result, self.error, self.done = function, None, None, False


class Tracee:
    """A thread that was shown or chosen; its number stays for the session."""

    def __init__(self, session, ident, number, native, name):
        self.session, self.ident, self.number, self.native, self.name = session, ident, number, native, name
        self.slot = SLOT_FIRST + number % SLOTS
        self.parked = self.armed = False
        self.busy = None                # the Request that was left behind in it
        self.request = None
        self.going = False
        self.kept = None                # an exception for the program
        self.what = self.still = None   # why it has stopped by itself: "hit breakpoint 1"; if that still holds
        self.seen = False               # the prompt was there since it has parked
        self.entered = self.error = self.order = None   # see pyenter.py; entered: what it does, in words

    def __str__(self):
        return 'thread %d "%s"' % (self.number, self.name) if self.name else "thread %d" % self.number

    def park(self, begin, what=None, still=None, quietly=False):
        """In the thread: stand still and serve requests until the session lets it go. `what` is for a stop that
        the session has not asked for: it waits for its turn, if still() is true by then, and begin() tells if
        the thread goes on."""
        self.what, self.still, self.seen = what, still, quietly
        self.going, self.parked = False, True
        if quietly:                     # stopall: no stop to be shown
            hands.wake(0)
        else:
            self.session.post((self, begin))
        while self.parked:
            try:
                self.serve()
                self.parked = False
            except BaseException as error:
                self.keep(error)

    def serve(self):
        """Until go(). Nothing of ours is raised here: it can only be a signal handler of the program."""
        while hands.is_open() and not self.session.over:
            seen = hands.news(self.slot)
            if self.request is not None:
                absorb_signals()
                request, self.request = self.request, None
                try:
                    request.result = request.function()
                except BaseException as error:
                    request.error = error
                if self.busy is request:
                    self.busy = None
                request.done = True
                hands.wake(0)
            elif self.going:
                break
            else:
                hands.wait(self.slot, seen, -1)

    def keep(self, error):
        """The program's signal handler has raised this in the thread that stands: it is raised in the
        program when the thread goes on."""
        if self.kept is None:
            self.kept = strip_traceback(error)
            try:
                self.session.notice("%s: a signal handler has raised %s; it is raised in the program when the thread goes on"
                                    % (self, type(error).__name__))
            except BaseException:
                pass

    def go(self):
        """Let a parked thread run on."""
        self.going = True
        hands.wake(self.slot)


# --- output: what the user evaluates is shown to the user ---

class Output:
    """Pdb's stdout: everything goes to the client."""

    encoding, errors = "utf-8", "backslashreplace"

    def __init__(self, session):
        self.session = session

    def write(self, text):
        if hands.ident() not in self.session.orphans:
            self.session.send_text(hands.OUTPUT, text)
        return len(text)

    def writelines(self, lines):
        for line in lines:
            self.write(line)

    def flush(self):
        pass

    def isatty(self):
        return False


class Switch:
    """Stands for sys.stdout or sys.stderr during an evaluation: the thread that evaluates writes to the
    user, all others to the original. Whoever keeps a reference keeps a working stream."""

    def __init__(self, original, session):
        self.__dict__.update(original=original, session=session)

    def is_ours(self):
        session, me = self.session, hands.ident()
        if session is None or not (me in session.evaluating or me in session.orphans):
            return False
        return pythreadhacks.modules["posix"].getpid() == session.process       # not in the child of a fork

    def write(self, text):
        if self.is_ours():
            if hands.ident() not in self.session.orphans and hands.is_open():
                self.session.output.write(text if isinstance(text, str) else str(text))
            return len(text)
        return self.original.write(text) if self.original is not None else len(text)

    def writelines(self, lines):
        for line in lines:
            self.write(line)

    def close(self):
        if not self.is_ours() and self.original is not None:    # exit() closes sys.stdin
            self.original.close()

    def flush(self):
        if not self.is_ours() and self.original is not None:
            self.original.flush()

    def isatty(self):
        return False if self.is_ours() or self.original is None else self.original.isatty()

    def __getattr__(self, name):
        return getattr(self.__dict__["original"], name)

    def __setattr__(self, name, value):
        setattr(self.original, name, value)

    def __iter__(self):
        return iter(self.original)


class Streams:
    """Puts the switches in place while at least one evaluation runs, and the originals back."""

    def __init__(self, session):
        self.session, self.depth, self.places = session, 0, []

    def enter(self):
        self.depth += 1
        if self.depth > 1:
            return
        for name in ("stdin", "stdout", "stderr"):
            original = getattr(sys, name, None)
            switch = Switch(original, self.session)
            setattr(sys, name, switch)
            self.places.append((name, original, switch))
        original = sys.displayhook

        def show(value, session=self.session, original=original):
            if hands.ident() in session.evaluating and session.pdb is not None:
                session.pdb.displayhook(value)
            else:
                original(value)

        sys.displayhook = show
        self.places.append(("displayhook", original, show))

    def leave(self):
        self.depth -= 1
        if self.depth:
            return
        for name, original, switch in self.places:
            if getattr(sys, name, None) is switch:      # else the program, or the user, has set another
                setattr(sys, name, original)
        self.places = []


# --- Pdb ---

def define_pdb():
    """Makes the class from the target's own pdb. Called once; the class is kept for later sessions."""
    pdb = pythreadhacks.load_pdb()

    class AttachedPdb(pdb.Pdb):
        """The target's pdb, where words that would end the program or need its terminal are ours."""

        def __init__(self, session):
            self.session = session
            options = {"stdin": session.output, "stdout": session.output, "nosigint": True, "readrc": False}
            names = pdb.Pdb.__init__.__code__.co_varnames
            if "backend" in names:
                options["backend"] = "settrace"
            pdb.Pdb.__init__(self, **{name: value for name, value in options.items() if name in names})
            self.use_rawinput = True
            self.rcLines = []
            self.touched = {}
            self.returning = None
            self.reset()

        # -- events and stopping

        def reset(self):
            pdb.Pdb.reset(self)
            self.botframe = self            # no frame: stacks are shown whole, and continue never stops

        def start_trace(self, *arguments):
            pass

        def stop_trace(self, *arguments):
            pass

        def set_trace(self, *arguments, **options):
            self.set_step()

        def set_step(self):
            self._set_stopinfo(None, None)

        def set_continue(self):
            self._set_stopinfo(self.botframe, None, -1)

        def set_quit(self):
            self.session.leaving = True

        def _set_caller_tracefunc(self, *arguments):
            pass

        def _set_trace_opcodes(self, *arguments):
            pass

        def set_break(self, filename, lineno, *arguments, **options):
            # bdb would set f_trace on the frames of the program, and take the next line that it sees of
            # a function for its first.
            frame, self.enterframe = getattr(self, "enterframe", None), None
            try:
                problem = pdb.Pdb.set_break(self, filename, lineno, *arguments, **options)
            finally:
                self.enterframe = frame
            last = pdb.bdb.Breakpoint.bpbynumber[-1]
            if not problem and last is not None and last.funcname and not last.func_first_executable_line:
                try:
                    function = eval(self.break_argument.partition(",")[0], self.curframe.f_globals, self.curframe.f_locals)
                    last.func_first_executable_line = pythreadhacks.first_line(function) or None
                except Exception:
                    pass
            return problem

        def do_break(self, arg, temporary=False):
            self.break_argument = arg
            self.session.need_breaks()
            return self.session.breaks.command(arg, temporary, pdb.Pdb.do_break)

        doc = pdb.Pdb.do_break.__doc__ or ""
        indent = "\n" + " " * (8 if "\n        " in doc else 0)        # 3.13 takes it away when it compiles
        do_break.__doc__ = doc.rstrip() + "\n" + indent + indent.join((
            "The breakpoint is one of all threads; a second thread that hits one",
            "waits for `continue`.  \"thread N\" or \"thread NAME\" behind the place",
            "limits it to one of them.  A place may also be",
            "package.module:Class.method, a breakpoint that is pending until the",
            "module is imported.")) + indent
        do_b = do_break

        def runs_to_break(self):
            """After `continue`: it stops at a breakpoint, nowhere else."""
            return self.stopframe is self.botframe and self.stoplineno == -1

        def dispatch_line(self, frame):
            catches = self.session.breaks and self.session.breaks.catches
            point, change = catches.changed(frame) if catches and catches.watching else (None, None)
            if point is None:
                return pdb.Pdb.dispatch_line(self, frame)
            catches.stop_at(frame, point, change)
            return self.trace_dispatch

        def break_here(self, frame):
            """For the thread that steps; the others have Breaks.hit(). It stops as they do, and not as bdb would."""
            breaks = self.session.breaks
            points = breaks and breaks.lines_in(frame.f_code).get(frame.f_lineno)
            found = points and breaks.find(frame, points)
            if found:
                breaks.stop_at(frame, found)
            return False

        def break_anywhere(self, frame):
            return bool(self.session.breaks and self.session.breaks.lines_in(frame.f_code))

        def interaction(self, frame, traceback=None):
            self.session.stopped(lambda: self.begin(frame, traceback))

        def _cmdloop(self):
            self.session.stopped(None)

        def tell_event(self, text):
            """In a batch nobody has asked for the event at which a thread first stands: it is no result."""
            if not (self.session.batch and self.session.settling):
                self.message(text)

        def user_call(self, frame, arguments):
            if self.stop_here(frame):
                self.tell_event("--Call--")
                self.interaction(frame)

        def user_return(self, frame, value):
            if self.stop_here(frame) or frame == self.returnframe:
                self.tell_event("--Return--")
                self.returning = frame, value
                self.set_convenience(frame, "_retval", value)
                self.interaction(frame)

        def user_exception(self, frame, info):
            self.set_convenience(frame, "_exception", info[1])
            self.tell_event(self.format_error(info[0], info[1]))
            self.interaction(frame, info[2])

        def format_error(self, kind, value):
            try:
                text = str(value)
            except Exception:
                text = "<exception str() failed>"
            return "%s: %s" % (getattr(kind, "__name__", kind), text) if text else str(getattr(kind, "__name__", kind))

        # -- the prompt

        def get_stack(self, frame, traceback):
            # Without a bottom frame bdb would go to the innermost frame of the traceback, which has ended: that is
            # what is wanted only where the whole traceback is above the frame (catch).
            stack, index = pdb.Pdb.get_stack(self, frame, traceback)
            if traceback is not None and traceback.tb_frame is not frame:
                return stack, index
            return stack, next((at for at in range(len(stack) - 1, -1, -1) if stack[at][0] is frame), index)

        def begin(self, frame, traceback):
            """Go to a frame that has stopped or hangs: rc lines, commands of the breakpoint, where we are."""
            self._current_task = self._get_asyncio_task()
            self.setup(frame, traceback)
            if hasattr(self, "_pdbcmd_print_frame_status"):
                self.cmdqueue.append("_pdbcmd_print_frame_status")
                return self.run_queue()
            self.print_stack_entry(self.stack[self.curindex])
            self.preloop()
            return self.run_queue()

        def run_line(self, line):
            """One line of the user; true if the thread shall go on."""
            frame, values = self.curframe, None
            if "\0" in line:            # the client has added something: no ";;" is looked for in that
                return self.onecmd(line)
            if frame is None and not self.commands_defining and line.strip() and self.parseline(line)[0] not in FRAMELESS:
                return self.error(NO_THREAD)
            before = pythreadhacks.snapshot_locals(frame) if frame is not None and not self.commands_defining else None
            if before is not None:
                values = self.curframe_locals
            try:
                line = self.precmd(line)
                stop = self.postcmd(self.onecmd(line), line)
                return stop or self.run_queue()
            finally:
                if before is not None:
                    pythreadhacks.save_locals(frame, values, before)

        def run_queue(self):
            stop = None
            while self.cmdqueue and not stop:
                line = self.precmd(self.cmdqueue.pop(0))
                stop = self.postcmd(self.onecmd(line), line)
            return stop

        def cmdloop(self, intro=None):
            """The lines of `commands`, read by whichever thread executes that command."""
            stop = None
            while not stop:
                line = self.cmdqueue.pop(0) if self.cmdqueue else self.session.read_line(self.prompt)
                line = self.precmd("EOF" if line is None else line)
                stop = self.postcmd(self.onecmd(line), line)

        def message(self, text, end="\n"):
            self.stdout.write(str(text) + end)

        def error(self, text):
            self.stdout.write("*** " + str(text) + "\n")

        def print_stack_entry(self, frame_lineno, prompt_prefix=pdb.line_prefix):
            prefix = "> " if frame_lineno[0] is self.curframe else "  "
            text = prefix + self.format_stack_entry(frame_lineno, prompt_prefix)
            if self.returning and self.returning[0] is frame_lineno[0]:
                head, line, rest = text.partition(prompt_prefix)
                text = head + "->" + self.session.safe_repr(self.returning[1]) + line + rest
            head, line, rest = text.partition("\n")
            self.session.send_text(hands.OUTPUT, head + "\n")
            if rest:
                self.session.send_text(hands.CODE, rest + "\n")

        # -- guests leave nothing behind: no convenience variables, no mtimes, no __return__

        def set_convenience(self, frame, name, value):
            if hasattr(pdb.Pdb, "set_convenience_variable"):       # 3.12
                self.set_convenience_variable(frame, name, value)

        def set_convenience_variable(self, frame, name, value):
            if not hasattr(pdb.Pdb, "set_convenience_variable"):
                return
            self.touched[id(frame.f_globals)] = frame.f_globals
            pdb.Pdb.set_convenience_variable(self, frame, name, value)

        def forget(self):
            pdb.Pdb.forget(self)
            for names in getattr(self, "touched", {}).values():
                names.pop("__pdb_convenience_variables", None)
            self.touched = {}

        def _get_asyncio_task(self):
            """The task of the thread that executes this, for $_asynctask (3.14)."""
            try:
                return pythreadhacks.modules["asyncio"].current_task()
            except Exception:
                return None

        def _save_initial_file_mtime(self, frame):
            pass

        def _validate_file_mtime(self):
            pass

        # -- words

        def do_retval(self, arg):
            """retval

            Print the return value of the function that is about to return.
            """
            if self.returning and self.returning[0] is self.curframe:
                self.message(repr(self.returning[1]))
            else:
                self.error("Not yet returned!")

        do_rv = do_retval

        def do_jump(self, arg):
            if self.session.current is None or not self.session.current.parked or self.session.current.entered:
                return self.error(STAND_ALONE % (self.session.current.number if self.session.current else 0))
            with pythreadhacks.LineSetter(self.curframe):
                return pdb.Pdb.do_jump(self, arg)

        do_jump.__doc__ = pdb.Pdb.do_jump.__doc__
        do_j = do_jump

        def do_quit(self, arg):
            """q(uit) | detach | exit | Ctrl-D

            Leave the process; it runs on as if nothing had been.
            """
            self.session.leaving = True
            return 1

        do_q = do_exit = do_detach = do_quit

        def do_EOF(self, arg):
            """EOF

            Leave, as q does.
            """
            self.session.leaving = True
            return 1

        def do_run(self, arg):
            """run | restart

            Make no sense in a process that one has attached to.
            """
            self.error("the process was not started by the debugger and cannot be restarted by it")

        do_restart = do_run

        def do_threads(self, arg):
            """threads

            All threads: number, name, ident, native id, what they are doing and where.
            """
            self.session.show_threads()

        def do_thread(self, arg):
            """thread [NUMBER|NAME|IDENT|NATIVE ID]

            Go to another thread. A thread that has stopped stands still until `continue`.
            """
            self.session.choose(arg.strip())

        def do_dump(self, arg):
            """dump [locals] [native]

            All stacks, read from outside: of all threads and interpreters, with their variables, with C frames.
            """
            words = arg.split()
            if not set(words) <= {"locals", "native"}:
                return self.error("dump takes: locals, native")
            self.session.send_text(hands.DUMP, " ".join(words) or " ")

        def do_catch(self, arg):
            """catch EXCEPTION [uncaught|raised]

            Stop where such an exception is raised in any thread, or (uncaught) leaves one. It is a
            breakpoint with a number: condition, ignore, commands, disable and clear work on it.
            """
            self.session.need_catches().catch(arg)

        def do_watch(self, arg):
            """watch EXPRESSION

            Stop when the value of an expression changes. It is looked at before each line: of the current
            call alone if it is one of its variables, else of all threads, which run slower meanwhile. The
            thread that "has seen" the change came to a line next after it: another one may have made it.
            """
            if self.curframe is None:
                return self.error(NO_THREAD)
            self.session.need_catches().watch(arg)

        def do_logpoint(self, arg):
            """logpoint FILE:LINE EXPRESSION

            Print time, thread and the value of an expression whenever a thread comes to that line.
            """
            self.session.need_catches().logpoint(arg)

        def do_stopall(self, arg):
            """stopall

            Let all threads stand at their next line, until `goall` or `continue`.
            """
            self.session.order = self.session.need_catches().stopall

        def do_goall(self, arg):
            """goall

            Let all threads go that stand, but the one under the prompt.
            """
            self.session.order = self.session.need_catches().tell_goall

        def do_breaks(self, arg):
            """breaks [save FILE | load FILE]

            List the breakpoints; write them to a file of yours; set those of a file.
            """
            word, _, file = arg.partition(" ")
            file, added, text = file.partition("\0")
            if not word:
                return self.do_break("")
            if word not in ("save", "load") or not file.strip():
                return self.error("breaks [save FILE | load FILE]")
            if not added:
                return self.error("breaks %s works where it is typed, not in ~/.pdbrc or an alias" % word)
            catches = self.session.need_catches()
            if word == "save":
                count, text = catches.save()
                self.session.send_text(hands.SAVE, "%d breakpoint%s\0%s" % (count, " is" if count == 1 else "s are", text))
            elif text != "\0":          # the client could read it
                count = catches.load(text)
                self.message("%d breakpoint%s set" % (count, " is" if count == 1 else "s are"))

        def do_enter(self, arg):
            """enter

            Run the prompt inside the blocked thread, on top of the call that hangs: what you evaluate sees its
            thread-locals, context variables and asyncio task. `leave` lets it wait on, `raise` frees it.
            """
            self.session.order = lambda: self.session.pyenter().enter(self.session)

        def do_leave(self, arg):
            """leave

            Let the entered thread go back to its wait, as if nothing had been.
            """
            self.session.order = lambda: self.session.pyenter().leave(self.session)

        def do_raise(self, arg):
            """raise[!] EXC

            Raise an exception (class or instance) in the thread under the prompt: at once where its wait can be
            ended, else when it returns. Asks first; raise! does not.
            """
            self.session.pyenter().ask_to_raise(self.session, arg.strip())

        def do_debug(self, arg):
            """debug statement

            Step through a statement with a debugger of its own, in the stopped thread.
            """
            tracee = self.session.current
            if tracee is None or not tracee.parked or tracee.entered or hands.ident() != tracee.ident:
                return self.error(STAND_ALONE % (tracee.number if tracee else 0))
            inner = Nested(self)
            self.session.disarm(tracee)         # gives the thread its own tracer back
            old = sys.gettrace()
            try:
                sys.call_tracing(inner.run, (arg, self.curframe.f_globals, self.curframe.f_locals))
            except Exception as error:
                self.error(self.format_error(type(error), error))
            finally:
                sys.settrace(old)
                self.session.arm(tracee)

    for name, word in vars(AttachedPdb).items():
        if name.startswith("do_") and word.__doc__ and not hasattr(pdb.Pdb, name):
            word.__doc__ = "\n".join([line.strip() for line in word.__doc__.strip().split("\n")]) + "\n"

    class Nested(pdb.Pdb):
        """The debugger of the `debug` command: a plain Pdb in the stopped thread, over our channel."""

        def __init__(self, outer):
            self.outer, self.session = outer, outer.session
            names = pdb.Pdb.__init__.__code__.co_varnames
            options = {"stdin": outer.stdin, "stdout": outer.stdout, "nosigint": True, "readrc": False, "backend": "settrace"}
            pdb.Pdb.__init__(self, **{name: value for name, value in options.items() if name in names})
            self.prompt = "(%s) " % outer.prompt.strip()
            self.rcLines = []

        cmdloop = AttachedPdb.cmdloop
        _get_asyncio_task = AttachedPdb._get_asyncio_task
        message, error = AttachedPdb.message, AttachedPdb.error
        _save_initial_file_mtime = AttachedPdb._save_initial_file_mtime
        _validate_file_mtime = AttachedPdb._validate_file_mtime

        def set_convenience_variable(self, frame, name, value):
            self.outer.set_convenience_variable(frame, name, value)

        def user_return(self, frame, value):
            if not self._wait_for_mainpyfile:
                self.message("--Return--")
                self.interaction(frame, None)

        def set_trace(self, *arguments, **options):
            pass

        def start_trace(self, *arguments):
            pythreadhacks.sys.settrace(self.trace_dispatch)

        def stop_trace(self, *arguments):
            pythreadhacks.sys.settrace(None)

        def run(self, statement, names, values):
            self.reset()
            pythreadhacks.sys.settrace(self.trace_dispatch)
            try:
                exec(statement, names, values)
            except pdb.bdb.BdbQuit:
                pass
            finally:
                self.quitting = True
                pythreadhacks.sys.settrace(None)

    return pdb, AttachedPdb


# --- the session ---

class Session:
    """Everything between attach and detach."""

    def __init__(self, options):
        self.batch = options.get("batch") == "1"
        self.selector = options.get("thread")
        self.rc = options["rc"]
        self.pid = options.get("pid") or str(pythreadhacks.modules["posix"].getpid())
        self.output = Output(self)
        self.streams = Streams(self)
        self.tracer = pythreadhacks.new_tracer()
        self.process = pythreadhacks.modules["posix"].getpid()
        self.pdb = None
        self.owner = None               # the evaluator that runs the loop: its ident
        self.over = False
        self.leaving = False
        self.inbox = []                 # (tracee, begin) of threads that have stopped, "interrupt"
        self.typed = []                 # frames with lines that came before they were asked for
        self.numbers = {}               # (ident, native) -> Tracee
        self.next_number = iter(range(1, 1 << 60))
        self.breaks = None              # the Breaks, once there was a breakpoint
        self.waiting = []               # (tracee, begin) of stops that wait for `continue`
        self.current = None
        self.order = None               # what the loop does when the command is over
        self.blocked_at = None          # (frame, instruction) that the prompt shows of a blocked thread
        self.evaluating = set()         # idents of the threads that execute what the user typed
        self.orphans = set()            # those of evaluations that were left behind: their output is dropped
        self.evaluation = None          # the running one, see hands.interrupt()
        self.reads = 0                  # lines that were asked for so far
        self.last_state = None

    # -- channel

    def send_text(self, kind, text):
        data = text.encode("utf-8", "backslashreplace")
        for at in range(0, len(data), CHUNK):
            piece = data[at:at + CHUNK]
            if not hands.send(kind, piece):
                raise Detach

    def notice(self, text):
        self.send_text(hands.NOTICE, text)

    def post(self, event):
        """For the loop, from any thread."""
        self.inbox.append(event)
        hands.poke()
        hands.wake(0)

    def tell_state(self, word):
        state = "%s %d" % (word, self.current.number) if self.current else "none"
        if state != self.last_state:
            self.last_state = state
            self.send_text(hands.STATE, state)

    def next_event(self, ms):
        """A stopped thread or "interrupt" from the inbox, else (kind, data) from the client, else None."""
        if self.owner != hands.ident() and hands.ident() not in self.evaluating:
            raise Orphaned
        if self.inbox:
            return self.inbox.pop(0)
        frame = hands.next_frame(ms)
        if frame is not None and frame[0] == 0:
            raise Detach
        if self.inbox and frame is None:
            return self.inbox.pop(0)
        return frame

    def read_line(self, prompt):
        """The next line of the user, None at the end of input. Serves completion meanwhile."""
        if self.rc:
            return self.rc.pop(0)
        self.reads += 1
        self.send_text(hands.READ, prompt)
        waiting = []
        try:
            while True:
                event = self.typed.pop(0) if self.typed else self.next_event(60000)
                if event is None or event == "interrupt":
                    continue
                if isinstance(event[0], Tracee):
                    if event[0].what:
                        self.announce(event)
                    else:
                        waiting.append(event)
                        self.notice("%s has stopped" % event[0])
                elif event[0] == hands.LINE:
                    return event[1].decode("utf-8", "surrogateescape")
                elif event[0] == hands.EOF:
                    return None
                elif event[0] == hands.COMPLETE:
                    self.complete(event[1])
        finally:
            self.inbox[:0] = waiting

    def complete(self, data):
        begin, end, line = data.split(b"\0", 2)
        words = []
        try:
            words = self.execute(lambda: self.matches(line, int(begin), int(end)), quiet=True)
        except Exception:
            pass
        self.send_text(hands.MATCHES, "\n".join(words or ()))

    def matches(self, line, begin, end):
        """As cmd.Cmd.complete() does it with readline: commands for the first word, else what the command takes."""
        pdb, before = self.pdb, line[:begin].decode("utf-8", "replace")
        word = line[begin:end].decode("utf-8", "replace")
        text = line.decode("utf-8", "replace")
        stripped = len(text) - len(text.lstrip())
        text, start = text.lstrip(), max(0, len(before) - stripped)
        found = []
        if not before.strip():
            found += pdb.completenames(word, text, start, start + len(word))
            complete = pdb._complete_expression if pdb.curframe is not None else None
        else:
            command = pdb.parseline(text)[0]
            complete = getattr(pdb, "complete_" + command, None) if command else None
            complete = complete or pdb.completedefault
        if complete is not None:
            found += complete(word, text, start, start + len(word)) or []
        return sorted(set(name.rstrip(" (") for name in found))[:500]

    # -- evaluation

    def evaluate(self, function, quiet=False):
        """Executes what the user typed, in this thread: its output is the user's, Ctrl-C ends it. Quietly
        (completion), how it ended is not said."""
        me = hands.ident()
        evaluation = [me]
        self.streams.enter()
        self.evaluating.add(me)
        self.evaluation = evaluation
        hears = me == self.owner and pythreadhacks.pending_calls_reach_threads()
        try:
            try:
                if hears:
                    hands.hear_visits(1)
                return function()
            finally:
                if hands.finish(evaluation):
                    absorb_interrupt()
                if hears:
                    hands.hear_visits(0)
        except KeyboardInterrupt:
            if hands.finish(evaluation):
                absorb_interrupt(KeyboardInterrupt)
            if not quiet:
                self.send_text(hands.OUTPUT, "--KeyboardInterrupt--\n")
        except SystemExit as error:
            self.send_text(hands.OUTPUT, "*** SystemExit: %s (the process runs on)\n" % (error,))
        except (Detach, Orphaned, Abandoned):
            raise
        except BaseException as error:
            if self.over:
                raise Orphaned
            if not quiet:
                self.send_text(hands.OUTPUT, "*** %s: %s%s\n" % (type(error).__name__, self.safe_str(error), trace_of(error)))
        finally:
            self.evaluating.discard(me)
            self.orphans.discard(me)
            self.streams.leave()
            if self.evaluation is evaluation:
                self.evaluation = None
        return None

    def safe_str(self, value):
        try:
            return str(value)
        except BaseException:
            return "<str() failed>"

    def safe_repr(self, value):
        try:
            return repr(value)
        except Exception:
            return "<repr() failed>"

    def execute(self, function, quiet=False):
        """evaluate() where it belongs: in the parked thread, else here."""
        tracee = self.current
        if tracee is None or not tracee.parked or tracee.busy or hands.ident() == tracee.ident or self.is_deep():
            return self.evaluate(function, quiet)
        request = self.asked = tracee.request = Request(lambda: self.evaluate(function, quiet))
        hands.wake(tracee.slot)
        while True:
            seen = hands.news(0)
            if request.done:
                break
            if not hands.is_open() or self.over:
                raise Detach
            if tracee.busy is request:
                raise Abandoned
            hands.wait(0, seen, 1000)
        self.asked = None
        if request.error is not None:
            raise request.error
        return request.result

    def is_deep(self):
        """The thread is so near its recursion limit that it should not evaluate anything itself."""
        limit, frame, depth = sys.getrecursionlimit() - 60, self.pdb.curframe and self.pdb.stack[-1][0], 0
        if len(self.pdb.stack) > limit:
            return True
        while frame is not None and depth <= limit:
            frame, depth = frame.f_back, depth + 1
        return depth > limit

    def pyenter(self):
        """pyenter.py, which is compiled when it is first needed."""
        hands.load("pyenter")
        return hands.namespace("pyenter")

    # -- threads

    def tracees(self):
        """All threads, numbered: the main one is 1, the others by start time, then native id."""
        idents = pythreadhacks.alive_idents()
        names = pythreadhacks.thread_names()
        main = pythreadhacks.main_ident()
        natives = {ident: hands.native_id(ident) for ident in idents}
        new = [ident for ident in idents if (ident, natives[ident]) not in self.numbers]
        starts = dict(zip(new, hands.start_times([natives[ident] for ident in new]))) if len(new) > 1 else {}
        new.sort(key=lambda ident: (ident != main, starts.get(ident, 0), natives[ident]))
        for ident in new:
            if (ident, natives[ident]) not in self.numbers:     # threads at breakpoints number themselves meanwhile
                number = next(self.next_number)
                self.numbers.setdefault((ident, natives[ident]), Tracee(self, ident, number, natives[ident], names.get(ident, "")))
        found = [self.numbers[ident, natives[ident]] for ident in idents]
        for tracee in found:
            tracee.name = names.get(tracee.ident, "")
        return sorted(found, key=lambda tracee: tracee.number)

    def is_alive(self, tracee):
        return tracee.parked or (tracee.ident in hands.idents() and hands.native_id(tracee.ident) == tracee.native)

    def find(self, selector):
        """The Tracee that a number, name, ident or native id means; None after saying why there is none."""
        tracees = self.tracees()
        for key in (lambda t: str(t.number), lambda t: str(t.ident), lambda t: str(t.native), lambda t: t.name):
            found = [tracee for tracee in tracees if key(tracee) == selector.lstrip("+")] if selector else []
            if len(found) == 1:
                return found[0]
            if found:
                self.problem = "%d threads are named %r: %s" % (len(found), selector, ", ".join(str(t.number) for t in found))
                return None
        self.problem = "no thread %r in process %s; it has %s" % (selector, self.pid, self.summary(tracees))
        return None

    def summary(self, tracees):
        shown = ", ".join('%d "%s"' % (tracee.number, tracee.name or tracee.ident) for tracee in tracees[:5])
        return shown + (" and %d more" % (len(tracees) - 5) if len(tracees) > 5 else "")

    def choose(self, selector):
        if not selector:
            return self.show_current()
        tracee = self.find(selector)
        if tracee is None:
            return self.pdb.error(self.problem)
        self.chosen = tracee            # the loop goes there when the command is over
        return None

    def show_current(self):
        if self.current is None:
            self.pdb.error(NO_THREAD)
        else:
            self.output.write("%s is %s\n" % (self.current, self.describe(self.current)))

    def show_threads(self):
        tracees = self.tracees()
        before = {tracee: hands.cpu_time(tracee.native) for tracee in tracees}
        hands.wait(0, hands.news(0), int(self.quiet_time() * 1000))
        frames = pythreadhacks.current_frames()
        rows = []
        for tracee in tracees:
            frame = frames.get(tracee.ident)
            if tracee.parked:
                what = "evaluating" if tracee.busy else tracee.entered or ("stopped, " + tracee.what if tracee.what else "stopped")
                frame = self.frame_of(tracee)
                if self.is_waiting(tracee):
                    what += ", waits"
            elif hands.cpu_time(tracee.native) != before[tracee]:
                what = "running"
            else:
                call = frame is not None and pythreadhacks.describe_call(frame, self.lines())
                what = "blocked in " + call if call else "blocked"
            rows.append(("*" if tracee is self.current else " ", str(tracee.number), '"%s"' % tracee.name if tracee.name else "-",
                         str(tracee.ident), str(tracee.native), what, self.place(frame)))
        rows.insert(0, (" ", "NO", "NAME", "IDENT", "NATIVE", "WHAT", "WHERE"))
        widths = [max(len(row[at]) for row in rows) for at in range(6)]
        for row in rows:
            self.output.write(" ".join(cell.ljust(width) for cell, width in zip(row, widths)) + " " + row[6] + "\n")

    def lines(self):
        return pythreadhacks.loaded["linecache"]

    def place(self, frame):
        if frame is None:
            return "no Python frame"
        return "%s() %s:%s" % (frame.f_code.co_name, frame.f_code.co_filename, frame.f_lineno)

    def frame_of(self, tracee):
        """The topmost frame of the program in a thread: that of a parked one is below our own."""
        frame = pythreadhacks.current_frame(tracee.ident)
        own = OWN_NAMES if tracee.parked or tracee.busy else ()
        if own:
            last, at = None, frame
            while at is not None:
                if at.f_code.co_filename in own and at.f_code.co_name in ("park", "event", "hit"):
                    last = at
                at = at.f_back
            while last is not None and last.f_code.co_filename in own:
                last = last.f_back
            frame = pythreadhacks.below_loan(last) or frame
        return frame

    def describe(self, tracee):
        if tracee.parked:
            return "evaluating" if tracee.busy else tracee.entered or "stopped"
        frame = self.frame_of(tracee)
        call = frame is not None and pythreadhacks.describe_call(frame, self.lines())
        return "%s in %s" % (self.manner, call or self.place(frame))

    # -- stopping and going

    def quiet_time(self):
        return max(QUIET_S, min(2.5 * pythreadhacks.switch_interval(), 0.25))

    def event(self, frame, event, arg):
        """In the thread, from the tracer. Answers with an exception if one is to be raised in the program."""
        if self.over or not hands.is_open() or pythreadhacks.is_loan(frame):
            return None
        tracee = self.numbers.get((hands.ident(), hands.native_id(hands.ident())))
        if tracee is None or tracee.parked or frame.f_code.co_filename in OWN_NAMES:
            return None
        answer = None
        try:
            answer = self.pdb.trace_dispatch(frame, event, arg)
        except (Detach, Orphaned, Abandoned, Interrupted):
            pass
        except BaseException as error:
            if not is_our_error(error):
                return strip_traceback(error)
        kept, tracee.kept = tracee.kept, None
        return kept or answer

    def stopped(self, begin):
        """In the thread, from Pdb: it shall stand still here."""
        tracee = self.own_tracee()
        if tracee is not None:
            tracee.park(begin)

    def own_tracee(self):
        """The Tracee of the thread that asks; None for threads of ours."""
        key = hands.ident(), hands.native_id(hands.ident())
        if key not in self.numbers and key[0] not in pythreadhacks.ours:
            self.tracees()
        return self.numbers.get(key)

    def need_breaks(self):
        """Makes the Breaks: its source is compiled when it is first needed."""
        if self.breaks is None:
            hands.load("pybreaks")
            self.breaks = hands.namespace("pybreaks").Breaks(self, PDB_CLASS[0].bdb.Breakpoint)

    def need_catches(self):
        """The same for the Catches; answers with them."""
        self.need_breaks()
        if self.breaks.catches is None:
            hands.load("pycatch")
            hands.namespace("pycatch").Catches(self, self.breaks)
        return self.breaks.catches

    def announce(self, event):
        """A stop that nobody has asked for, while the prompt is open or another thread steps."""
        self.waiting.append(event)
        self.notice("%s %s and waits for `continue`" % (event[0], event[0].what))

    def is_waiting(self, tracee):
        return any([event[0] is tracee for event in self.waiting])

    def take_waiting(self, tracee=None):
        """The next stop that waits, of that thread if one is given; else None."""
        for event in list(self.waiting):
            if tracee is None or event[0] is tracee:
                self.waiting.remove(event)
                if event[0].parked and not (tracee is None and self.let_go(event[0])):
                    return event
        return None

    def let_go(self, tracee):
        """A thread that waits at a breakpoint that is gone, or disabled: runs on; false if that is not so."""
        if not tracee.what or tracee.still is None or tracee.still():
            return False
        tracee.go()
        return True

    def collect(self):
        """What has stopped since: goes to the prompt, or waits. True if the thread under the prompt goes on."""
        while True:
            stop = self.take_stop()
            if stop is None:
                return False
            if stop[0].what and self.current is not None:
                self.announce(stop)
            elif self.enter_stop(stop):
                return True

    def take_stop(self, tracee=None):
        """The next stop from the inbox, of that thread if one is given; else None."""
        for at, event in enumerate(self.inbox):
            if event != "interrupt" and (tracee is None or event[0] is tracee):
                return self.inbox.pop(at)
        return None

    def arm(self, tracee):
        """Events of this thread, and of no other one; False if it is gone, or the session is over."""
        if self.over:
            return False
        for other in self.numbers.values():
            if other is not tracee and other.armed:
                self.disarm(other)
        tracee.armed = self.tracer.arm(tracee.ident, self.event)
        return tracee.armed

    def disarm(self, tracee):
        tracee.armed = False
        self.tracer.disarm(tracee.ident)

    def settle(self, tracee):
        """Brings a thread under the prompt and says what it does: stopped at its next line if it runs
        Python code, else blocked."""
        self.current, self.manner = tracee, "blocked"
        if tracee.parked:
            stop = self.take_stop(tracee) or self.take_waiting(tracee)
            if stop and tracee.what:
                return self.enter_stop(stop)
            return self.enter_stop((tracee, lambda: self.pdb.begin(self.frame_of(tracee), None)), True)
        self.pdb.set_step()
        self.settling = True
        try:
            if not self.arm(tracee):
                return self.lose(tracee)
            stop = self.await_stop(tracee)
            if stop is None:
                self.disarm(tracee)
                stop = self.take_stop(tracee)
                if stop is None and tracee.parked:
                    hands.wait(0, hands.news(0), 1)
                    stop = self.take_stop(tracee)
        finally:
            self.settling = False
        return self.enter_stop(stop, True) if stop else self.enter_blocked(tracee)

    def await_stop(self, tracee):
        """The stop of a thread that was just armed; None when it is found not to run Python code."""
        start = quiet = hands.monotonic()
        spent, limit = self.armed_cpu or hands.cpu_time(tracee.native), self.quiet_time()
        if self.armed_at:
            quiet = self.armed_at
        self.armed_at = self.armed_cpu = None
        while hands.is_open():
            stop = self.take_stop(tracee)
            if stop:
                return stop
            now, cpu = hands.monotonic(), hands.cpu_time(tracee.native)
            if cpu != spent:
                spent, quiet = cpu, now
            if now - quiet > limit:
                return None
            if now - start > BUSY_S:
                self.manner = "running C code"
                return None
            hands.wait(0, hands.news(0), 1)
        raise Detach

    armed_at = armed_cpu = asked = chosen = None
    manner, problem, settling = "blocked", "", False

    def enter_stop(self, stop, introduce=False):
        """A thread has parked: it is the one under the prompt now. True if its breakpoint's commands let it go on."""
        tracee, begin = stop
        if tracee.what and begin and not introduce:
            self.say("%s %s" % (tracee, tracee.what))
        elif self.current is not tracee and self.current is not None:
            self.notice("%s has stopped" % tracee)
        self.current, self.blocked_at = tracee, None
        tracee.seen = True
        self.disarm(tracee)             # no events while the prompt is open
        self.tell_state("stopped")
        if introduce:
            self.introduce()
            if self.batch and begin:
                def begin():
                    self.pdb.setup(self.frame_of(tracee), None)
        return self.execute(begin) if begin else None

    def enter_blocked(self, tracee):
        """A thread hangs in C: Pdb looks at its frames from beside."""
        frame = self.frame_of(tracee)
        if frame is None and not self.is_alive(tracee):
            return self.lose(tracee)
        self.blocked_at = (frame, frame.f_lasti) if frame is not None else None
        self.tell_state("blocked")
        if frame is None:
            self.pdb.forget()
            return self.notice("%s runs no Python code at the moment" % tracee)
        self.introduce()
        return self.execute(lambda: self.pdb.setup(frame, None) if self.batch else self.pdb.begin(frame, None))

    def introduce(self):
        """One line: what the thread under the prompt is doing."""
        self.say("%s is %s" % (self.current, self.describe(self.current)))

    def say(self, line):
        """A line that is a result for a person, and a notice beside the results of a batch."""
        if self.batch:
            self.notice(line)
        else:
            self.output.write(line + "\n")

    def lose(self, tracee):
        self.notice("%s has ended" % tracee)
        self.current, self.blocked_at = None, None
        self.pdb.forget()
        self.tell_state("none")
        if not self.batch:
            self.show_threads()

    def refresh(self):
        """Before a command on a blocked thread: it may have come back meanwhile, or ended. True if it stands at a
        breakpoint by now: then the command must not let it go on."""
        tracee = self.current
        if tracee is not None and tracee.parked and not tracee.seen:
            stop = self.take_waiting(tracee)
            if stop is not None and not self.let_go(tracee):
                self.enter_stop(stop)
                return True
        if tracee is None or tracee.parked:
            return
        frame = self.frame_of(tracee)
        if self.blocked_at and frame is self.blocked_at[0] and frame.f_lasti == self.blocked_at[1]:
            return
        if not self.is_alive(tracee):
            self.lose(tracee)
            return
        if frame is None and self.blocked_at is None:
            return
        if self.blocked_at:
            self.notice("%s has moved on" % tracee)
        self.settle(tracee)

    def resume(self):
        """Lets threads run as the command says, until one stops or the user interrupts. True if its
        breakpoint's commands let it go on."""
        tracee, pdb = self.current, self.pdb
        if tracee is None:
            return pdb.error(NO_THREAD)
        pdb.forget()
        pdb.returning = None
        steps = not pdb.runs_to_break()
        if not steps and self.breaks is not None and self.breaks.catches is not None and self.breaks.catches.standing:
            self.breaks.catches.goall()
        if not steps:
            self.disarm(tracee)
        elif not self.arm(tracee):
            return self.lose(tracee)
        was_blocked = not tracee.parked or bool(tracee.entered)
        for other in list(self.numbers.values()):       # continue: everybody who was at the prompt goes on, else only this one
            if other.parked and (other is tracee or (not steps and other.seen)):
                other.go()
        self.tell_state("running")
        told = was_blocked and self.tell_still(tracee)
        hands.end_loan(0)
        spent, since = hands.cpu_time(tracee.native), hands.monotonic()
        while True:
            event = (None if steps else self.take_waiting()) or self.next_event(50 if not told or was_blocked else 500)
            if event == "interrupt":
                return self.settle(tracee)
            if event is None:
                cpu, now = hands.cpu_time(tracee.native), hands.monotonic()
                if cpu < 0 or not self.is_alive(tracee):
                    return self.lose(tracee)
                if cpu != spent:
                    spent, since = cpu, now
                elif not told and steps and now - since > STILL_S:
                    told = self.tell_still(tracee)
            elif isinstance(event[0], Tracee):
                if steps and event[0].what and event[0] is not tracee:
                    self.announce(event)
                elif not self.let_go(event[0]):
                    return self.enter_stop(event)
            elif event[0] == hands.COMPLETE:
                self.send_text(hands.MATCHES, "")
            elif event[0] == hands.EOF:
                self.leaving = True
                return None
            else:
                self.typed.append(event)

    def tell_still(self, tracee):
        self.manner = "blocked"
        words = self.describe(tracee).partition(" in ")[2] if not tracee.parked else ""
        self.notice("thread %d is still in %s; Ctrl-C returns to the prompt" % (tracee.number, words or "a call"))
        return True

    # -- the loop

    def start(self):
        """Chooses the thread, stops it or finds it blocked, and says so; False if there is no such thread."""
        tracees = self.tracees()
        tracee = self.find(self.selector) if self.selector else tracees[0] if tracees else None
        if tracee is None:
            self.send_text(hands.ERROR, self.problem or "process %s has no Python thread" % self.pid)
            return False
        self.current = tracee
        when, spent = pythreadhacks.first_look
        pythreadhacks.first_look = 0, {}        # good for the first session only
        if tracee.ident in spent:
            self.armed_at, self.armed_cpu = when, spent[tracee.ident]
        else:
            self.armed_at, self.armed_cpu = hands.monotonic(), hands.cpu_time(tracee.native)
        version = "python%d.%d" % sys.version_info[:2]
        try:
            if PDB_CLASS[1] is None:
                PDB_CLASS[:] = define_pdb()
        except pythreadhacks.NoDebugger as error:
            self.send_text(hands.ERROR, "process %s: %s" % (self.pid, error))
            return False
        self.pdb = PDB_CLASS[1](self)
        pythreadhacks.builtins["input"] = self.ask
        self.notice('attached to %s, %s, %d thread%s; "q" detaches, "help" helps'
                    % (self.pid, version, len(tracees), "s" if len(tracees) != 1 else ""))
        if hands.has_subinterpreters():
            self.notice("the process has subinterpreters; only threads of the main interpreter are shown")
        try:
            self.settle(tracee)
        except pythreadhacks.NoDebugger as error:
            self.send_text(hands.ERROR, "process %s: %s" % (self.pid, error))
            return False
        return True

    def ask(self, prompt=""):
        """input() of the private pdb and code modules."""
        line = self.read_line(str(prompt))
        if line is None:
            raise EOFError
        return line

    def loop(self):
        """Reads and executes lines until the user leaves. Run by one evaluator at a time."""
        go_on = False
        while not self.leaving and not self.over:
            if go_on or self.collect():
                go_on = self.resume()
                continue
            line = self.read_line(self.pdb.prompt)
            if line is None:
                return
            before = self.current
            arrived = self.refresh()
            if before is not None and self.current is None:
                continue                # what was typed was meant for a thread that has ended
            go_on = self.run(line) and not arrived
            order, self.order = self.order, None
            if order is not None and not self.leaving:
                order()
            elif self.chosen is not None:
                tracee, self.chosen = self.chosen, None
                go_on = self.go_to(tracee)

    def run(self, line):
        self.tracer.prepare()
        try:
            go_on = self.execute(lambda: self.pdb.run_line(line))
            if self.breaks is not None:
                if self.breaks.catches is not None:
                    self.breaks.catches.retire()
                self.breaks.sync()
            return go_on
        except Abandoned:
            self.notice("%s does not come back from this evaluation; it is left behind" % self.current)
            self.manner = "evaluating"
            return None

    def go_to(self, tracee):
        if not self.is_alive(tracee):
            return self.lose(tracee)
        self.pdb.forget()
        return self.settle(tracee)

    def serve(self):
        """The whole of an evaluator's life; whoever is the owner at the end undoes the session. True if it
        was this one."""
        me = hands.ident()
        pythreadhacks.ours.add(me)
        self.owner = me
        try:
            if self.pdb is not None or self.start():
                self.loop()
        except (Detach, Orphaned):
            pass
        except BaseException as error:
            if not self.over and self.owner == me:
                try:
                    self.send_text(hands.ERROR, "the session has failed: %s: %s%s" % (type(error).__name__, self.safe_str(error), trace_of(error)))
                except Detach:
                    pass
        finally:
            pythreadhacks.ours.discard(me)
            owner = self.owner == me
            if owner:
                self.undo()
            pythreadhacks.forget_dummy(me)
        return owner

    def undo(self):
        """Gives back everything: from any thread, once."""
        if self.over:
            return
        self.over = True
        self.owner = None
        evaluation = self.evaluation
        if evaluation and evaluation[0] != hands.ident():
            hands.interrupt(evaluation, Interrupted)
        try:
            hands.end_visits()
            self.tracer.close()
            if self.pdb is not None:
                self.pdb.clear_all_breaks()
                breakpoint = PDB_CLASS[0].bdb.Breakpoint
                breakpoint.next, breakpoint.bplist, breakpoint.bpbynumber = 1, {}, [None]
                self.pdb.forget()
        finally:
            for tracee in list(self.numbers.values()):
                tracee.go()
            self.evaluating.clear()
            places = list(self.streams.places)
            while self.streams.depth > 0:
                self.streams.leave()
            for name, original, switch in places:
                if isinstance(switch, Switch):
                    switch.__dict__["session"] = None
            if "linecache" in pythreadhacks.loaded:
                pythreadhacks.loaded["linecache"].clearcache()
            pythreadhacks.builtins["input"] = None
            if self.pdb is not None and not any([tracee.parked for tracee in self.numbers.values()]):
                self.pdb.__dict__.clear()       # no thread is inside: no need to wait for the collector
            self.pdb = None
            self.numbers, self.current, self.blocked_at, self.inbox, self.waiting = {}, None, None, [], []
            if CURRENT[0] is self:
                CURRENT[0] = None
            hands.done()


def absorb_interrupt(ignored=()):
    """An interrupt was sent and no further one can be: if it has not arrived, it does so here."""
    try:
        for _ in range(1000):
            pass
    except ignored:
        pass


def absorb_signals():
    """Signals that have come while the thread stood are handled here, and not in what the user evaluates."""
    for _ in range(100):
        pass


def strip_traceback(error):
    """The exception without our own frames."""
    traceback = error.__traceback__
    while traceback is not None and is_our_code(traceback.tb_frame.f_code):
        traceback = traceback.tb_next
    return error.with_traceback(traceback)


def is_our_code(code):
    """The payload, or the private debugger modules."""
    return code.co_filename in OWN_NAMES or code.co_filename in OUR_FILES


def is_our_error(error):
    """An error of ours, or of pdb: not for the program. What a signal handler raises comes from elsewhere."""
    traceback = error.__traceback__
    while traceback is not None and traceback.tb_next is not None:
        traceback = traceback.tb_next
    return type(error) is not KeyboardInterrupt and traceback is not None and is_our_code(traceback.tb_frame.f_code)


OUR_FILES = {pythreadhacks.source_path(name) for name in ("pdb", "bdb", "cmd")}


def trace_of(error):
    """Where an error of ours happened: " (line, line, ...)"."""
    traceback, lines = error.__traceback__, []
    while traceback is not None:
        lines.append("%s:%d" % (traceback.tb_frame.f_code.co_name, traceback.tb_lineno))
        traceback = traceback.tb_next
    return " (%s)" % ", ".join(lines[-4:])


OWN_NAMES = ("pyinjectcode", "pythreadhacks", "pybreaks", "pycatch", "pyenter")
CURRENT = [None]                # the Session, while there is one
PDB_CLASS = [None, None]        # the private pdb module and our class, kept for later sessions
__file_name__ = "pyinjectcode"
pythreadhacks.__file_name__ = "pythreadhacks"


def parse_options(data):
    """{name: value} of WIRE_START; "rc" is the list of its lines."""
    options = {"rc": []}
    for line in data.decode("utf-8", "surrogateescape").split("\n"):
        name, _, value = line.partition(" ")
        if name == "rc":
            if value.strip() and not value.strip().startswith("#"):
                options["rc"].append(value)
        elif name:
            options[name] = value
    return options


def main(data):
    """Called by the library in the evaluator, with the GIL. Returns when the session is over."""
    session = CURRENT[0] = Session(parse_options(data))
    return session.serve()


def on_interrupt():
    """Ctrl-C, in a thread of the library: ends the evaluation, or brings a running thread to the prompt."""
    session = CURRENT[0]
    if session is None or session.over:
        return
    pythreadhacks.ours.add(hands.ident())
    try:
        evaluation = session.evaluation
        ident = evaluation[0] if evaluation else 0
        if not evaluation or not hands.interrupt(evaluation, Interrupted):
            session.post("interrupt")
            return
        reads = session.reads
        for attempt in range(2):        # the second time its lock wait was told to raise
            end = hands.monotonic() + (ANSWER_S if not attempt else 5)
            while evaluation and session.reads == reads and hands.monotonic() < end and hands.is_open():
                hands.wait(0, hands.news(0), 10)
            if attempt or not evaluation or session.reads != reads or not session.pyenter().break_wait(session, ident):
                break
        if evaluation and session.reads == reads and not session.over:
            leave_behind(session, ident)
    finally:
        pythreadhacks.ours.discard(hands.ident())
        pythreadhacks.forget_dummy(hands.ident())


def leave_behind(session, ident):
    """An evaluation holds on to something: the loop goes on without it."""
    session.evaluation = None
    session.evaluating.discard(ident)
    session.orphans.add(ident)
    if session.owner != ident:          # a parked thread evaluates: the loop waits for it
        if session.current is not None and session.asked is not None:
            session.current.busy = session.asked
            hands.wake(0)
        return
    session.owner = 0
    session.send_text(hands.NOTICE, "the evaluation does not answer to the interrupt; it is left behind")
    hands.spawn(session.serve)


def on_hangup():
    """The client is gone and the evaluator is busy, in a thread of the library: end it, undo everything."""
    session = CURRENT[0]
    if session is None:
        hands.done()
        return
    session.undo()
