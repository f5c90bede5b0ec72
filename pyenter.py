# SPDX-License-Identifier: MIT
"""pyenter.py - the session's commands enter, leave and raise: inside a thread that is blocked in C.

Runs inside the target; compiled when it is first needed (hands.load). hands.visit() calls a function
of ours in the blocked thread, in a signal handler on top of its wait; the thread parks there as it
does at a line, and serves the prompt. `leave` returns from the handler, and the wait goes on.

How an exception gets out of such a wait (what CPython leaves open):
  - main thread: a Python signal handler that raises; every wait of Python asks for signals when it is
    interrupted (PyErr_CheckSignals, Py_MakePendingCalls), but only in the main thread.
  - another thread's wait for a semaphore on 3.12 and early 3.13: a pending call that raises.
  - else PyThreadState_SetAsyncExc: raised when the thread executes bytecode again. Only 3.15 asks for such an
    exception in sleep, recv and select.
Why another thread's wait cannot be ended elsewhere: after EINTR CPython waits on unless the one function that it asks fails.
  - 3.8 - 3.11, locks: acquire_timed() asks Py_MakePendingCalls(), whose handle_signals() and make_pending_calls() do nothing
    but in the main thread (main_thread, _Py_ThreadCanHandlePendingCalls). To be the main thread for that moment would
    take it from the real one, as the GIL changes hands on the way there: its signal.signal() would raise.
  - late 3.13, 3.14 and later, locks: _PyMutex_LockTimed() asks Py_MakePendingCalls(): "main thread only" by then, too.
  - up to 3.14, sleep, recv, select: PyErr_CheckSignals() answers 0 where _Py_ThreadCanHandleSignals() does. What a script
    of PEP 768 raises (3.14) is printed, not raised.
  - An exception that is set there and then (PyErr_SetObject in the handler) does not end the wait, which looks at that answer
    alone, and makes its result a SystemError: a lock taken and lost, bytes received and lost.
What holds the GIL is not entered: our threads do not run to ask for it. From 3.14 on what asks PyErr_CheckSignals() now and
then, as a catastrophic regular expression does, lends us the GIL (lend() in pyinjectcode.c), and then is entered as any other.
What is raised in that script is lost, so there a signal handler of the main thread raises behind it, and in no other thread.
"""

sys = pythreadhacks.sys

ENTER_S = 5.0           # a thread that has not taken our signal by then does not answer
RAISE_S = 1.5           # an exception that has not been seen by then has not got through
LATER_S = 0.3           # the same, of one that is not expected to

RAISE_LATER, RAISE_PENDING = 0, 1       # as in pyinjectcode.c; anything else is a signal


class Visit:
    """One call of function(is_lock, kept) in a blocked thread; kept is what a signal handler of the program has
    raised there, or None. `reason` says why there is no call, None if there is one."""

    def __init__(self, ident, native, function):
        self.begun, self.function, self.reason = False, function, None
        number = hands.visit(ident, native, self.run)
        if isinstance(number, str):
            self.reason = number
        else:
            self.wait(number)

    def run(self, is_lock, error):
        self.begun = True
        hands.wake(0)
        return self.function(is_lock, None if isinstance(error, pyinjectcode.Interrupted) else error)

    def wait(self, number):
        end = hands.monotonic() + ENTER_S
        while not self.begun and hands.is_open():
            seen, state = hands.news(0), hands.visit_state(number)
            if state not in ("", "inside", "left"):
                self.reason = state
                break
            if not state and hands.monotonic() > end:
                hands.end_visits()
                if hands.visit_state(number) not in ("inside", "left"):
                    self.reason = "does not answer to a signal"
                    break
            hands.wait(0, seen, 2)
        hands.end_visits()


# --- enter and leave ---

def enter(session):
    """Run the prompt inside the blocked thread."""
    tracee = session.current
    if tracee is None:
        return session.pdb.error(pyinjectcode.NO_THREAD)
    if tracee.parked:
        return session.pdb.error("%s %s" % (tracee, "is entered already" if tracee.entered else
                                            "has stopped: what you evaluate runs inside it already"))
    words = session.describe(tracee).partition(" in ")[2]
    visit = Visit(tracee.ident, tracee.native, lambda is_lock, kept: stay(session, tracee, words, is_lock, kept))
    if visit.reason is not None:
        return session.pdb.error("%s cannot be entered: it %s" % (tracee, visit.reason))
    while True:
        seen, stop = hands.news(0), session.take_stop(tracee)
        if stop:
            return session.enter_stop(stop, True)
        if not hands.is_open():
            raise pyinjectcode.Detach
        hands.wait(0, seen, 1000)


def stay(session, tracee, words, is_lock, kept):
    """In the thread: the prompt, and then how it goes on."""
    tracee.kept = pyinjectcode.strip_traceback(kept) if kept is not None else None
    tracee.entered = "entered in " + words if words else "entered"
    tracee.error = None
    tracee.park(lambda: show(session, tracee))
    error, tracee.error, kept, tracee.kept = tracee.error, None, tracee.kept, None
    error = kept or error               # the program's own signal handler comes first
    order = None
    if error is not None and hands.lender() == tracee.native:
        tracee.raiser = install_raiser(error, tracee.native)
    elif error is not None:
        order = make_order(error, tracee.native, is_lock)
    tracee.order, tracee.entered = order, None
    hands.wake(0)
    return order


def show(session, tracee):
    """In the thread: the frames that hang."""
    frame = session.frame_of(tracee)
    return session.pdb.setup(frame, None) if session.batch else session.pdb.begin(frame, None)


def leave(session):
    """Let the entered thread go back to its wait."""
    tracee = session.current
    if tracee is None or not tracee.entered:
        return session.pdb.error("no thread is entered here; see `enter`")
    if tracee.busy:
        return session.pdb.error("%s is still evaluating" % tracee)
    session.pdb.forget()
    release(tracee)
    return session.settle(tracee)


def release(tracee):
    """Returns when nothing but the way out of the signal handler is left to do in the thread."""
    tracee.go()
    while tracee.entered and hands.is_open():
        hands.wait(0, hands.news(0), 1)


# --- raise ---

def install_raiser(error, native):
    """In the main thread: the signal that makes it raise this error; 0: there is none, or it is another thread."""
    signal, number = pythreadhacks.modules.get("_signal"), hands.free_signal(native)
    if signal is not None and number:
        old = signal.getsignal(number) or signal.SIG_DFL
        try:
            signal.signal(number, hands.raiser(error, signal.signal, number, old))
            return number
        except ValueError:
            pass                        # not the main thread
    return 0


def make_order(error, native, is_lock, later=True):
    """In the thread: how this error gets into it, as hands.visit() wants to be answered."""
    number = install_raiser(error, native)
    if number:
        return number, None
    if is_lock and pythreadhacks.pending_calls_reach_threads():
        return RAISE_PENDING, error
    return (RAISE_LATER, later_class(error)) if later else None


def later_class(error):
    """A class that makes this very error: PyThreadState_SetAsyncExc takes classes only."""
    kind = type(error)
    names = {"__new__": lambda cls, *arguments: error, "__module__": kind.__module__, "__qualname__": kind.__qualname__}
    try:
        return type(kind)(kind.__name__, (kind,), names)
    except TypeError:
        return kind


def find_error(session, text):
    """The exception that the user means, or None after saying what is wrong."""
    pdb = session.pdb
    try:
        error = eval(text, pdb.curframe.f_globals, pdb.curframe.f_locals)
        if isinstance(error, type) and issubclass(error, BaseException):
            error = error()
    except Exception as problem:
        return pdb.error(pdb.format_error(type(problem), problem))
    if not isinstance(error, BaseException):
        return pdb.error("not an exception: %s" % session.safe_repr(error))
    return error


def ask_to_raise(session, text):
    """The command: what, really, and then by the loop."""
    sure = text.startswith("!")
    text = text.lstrip("!").strip()
    if not text:
        return session.pdb.error("raise what? An exception class or instance: raise TimeoutError")
    error = find_error(session, text)
    if error is None:
        return None
    if not sure and session.batch:
        return session.pdb.error("not confirmed; in a script use raise! %s" % text)
    if not sure and session.ask("raise %s in %s? (y or n) " % (type(error).__name__, session.current)).strip().lower() not in ("y", "yes"):
        return session.pdb.error("not raised")
    session.order = lambda: raise_in(session, session.current, error)
    return None


def raise_in(session, tracee, error):
    """Raise an exception in the thread under the prompt: at once if that can be, else when it is back in Python."""
    name = type(error).__name__
    if tracee.parked and not tracee.entered:
        tracee.kept = error
        return session.notice("%s will be raised in %s when it goes on" % (name, tracee))
    words = session.describe(tracee).partition(" in ")[2] or "C code"
    if tracee.busy:
        return session.pdb.error("%s is still evaluating" % tracee)
    session.pdb.forget()
    if hands.lender() == tracee.native:
        return raise_in_lender(session, tracee, error, words)
    session.pdb.set_step()
    session.arm(tracee)
    tracee.order = None
    if tracee.entered:
        tracee.error = error
        release(tracee)
    else:
        visit = Visit(tracee.ident, tracee.native, lambda is_lock, kept: order(tracee, kept or error, is_lock))
        if visit.reason is not None:
            tracee.order = RAISE_LATER, None
            hands.raise_later(tracee.ident, later_class(error))
        while tracee.order is None and hands.is_open():
            hands.wait(0, hands.news(0), 1)
    late = not tracee.order or tracee.order[0] == RAISE_LATER
    stop = await_error(session, tracee, LATER_S if late else RAISE_S)
    if stop:
        session.notice("%s raised in %s" % (name, tracee))
        return session.enter_stop(stop)
    if tracee.order and tracee.order[0] == RAISE_PENDING:
        hands.raise_later(tracee.ident, later_class(error))
    session.notice("%s will be raised in %s when it returns from %s" % (name, tracee, words))
    session.disarm(tracee)
    return session.settle(tracee)


def raise_in_lender(session, tracee, error, words):
    """In a thread that lends us the GIL, by a signal that comes behind our script."""
    name, reason, tracee.raiser = type(error).__name__, None, None

    def prepare(is_lock, kept):
        tracee.raiser = install_raiser(kept or error, tracee.native)
        hands.wake(0)

    if tracee.entered:
        tracee.error = error
        release(tracee)
    else:
        reason = Visit(tracee.ident, tracee.native, prepare).reason
        while reason is None and tracee.raiser is None and hands.is_open():
            hands.wait(0, hands.news(0), 1)
    if not tracee.raiser:
        session.pdb.error("%s cannot be raised in %s: it %s" % (name, tracee, reason or "keeps the GIL, and is not the main thread"))
        return session.settle(tracee)
    session.pdb.set_step()
    session.arm(tracee)
    hands.end_loan(tracee.raiser)
    stop = await_error(session, tracee, RAISE_S)
    if stop:
        session.notice("%s raised in %s" % (name, tracee))
        return session.enter_stop(stop)
    session.notice("%s will be raised in %s when it returns from %s" % (name, tracee, words))
    session.disarm(tracee)
    return session.settle(tracee)


def order(tracee, error, is_lock):
    """In the thread, which was not entered before."""
    tracee.order = make_order(error, tracee.native, is_lock)
    hands.wake(0)
    return tracee.order


def await_error(session, tracee, seconds):
    """The stop of the thread where the exception has come out of its wait; None: it has not."""
    end = hands.monotonic() + seconds
    while hands.is_open() and hands.monotonic() < end:
        seen, stop = hands.news(0), session.take_stop(tracee)
        if stop:
            return stop
        hands.wait(0, seen, 10)
    return None


# --- Ctrl-C in an evaluation that waits for a lock ---

def break_wait(session, ident):
    """Raises in the thread `ident`, which evaluates and does not answer; False if nothing can."""
    native, orders = hands.native_id(ident), []

    def visited(is_lock, kept):
        orders.append(make_order(kept or pyinjectcode.Interrupted(), native, is_lock, later=False))
        hands.wake(0)
        return orders[0]

    visit = Visit(ident, native, visited)
    while visit.reason is None and not orders and hands.is_open():
        hands.wait(0, hands.news(0), 1)
    return bool(orders and orders[0])
