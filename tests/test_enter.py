# test_enter.py - enter, leave, raise: inside a thread that hangs.
# SPDX-License-Identifier: MIT

import os
import re
import signal
import subprocess
import sys
import time

import pytest
import pythons
from support import HERE, TOP, compile_c, list_threads, make_environment, read_status, wait_blocked, wait_until

KINDS = ["lock", "timed", "with", "rlock", "join", "queue", "condition", "event", "sleep", "recv", "select", "asyncio", "task"]
LOCKS = KINDS[:8]
MAIN = "__import__('__main__')"
OWN = "p [(m.local.mine, m.context.get(), m.threading.current_thread().name) for m in [%s]][0]" % MAIN

every_python = pytest.mark.parametrize("python", pythons.ALL, ids=str)
SOME = sorted({*pythons.ENDS, pythons.ONE}, key=pythons.ALL.index)
some_pythons = pytest.mark.parametrize("python", SOME, ids=str)


def frees_at_once(python, kind):
    """Can another thread than the main one be made to raise inside this wait (pyenter.py)? None: 3.13 was changed."""
    if kind in LOCKS:
        return {12: True, 13: None}.get(python.minor, False)
    return python.minor >= 15


@every_python
def test_main_thread_is_entered_and_freed_in_every_wait(victim, attach, python):
    target = victim(python, "waits", args=["main"], blocked=True)
    seen = attach(target.pid)
    for number, kind in enumerate(KINDS):
        assert "thread 1 \"MainThread\" is entered" in seen.cmd("enter"), seen.screen
        assert seen.cmd(OWN) == "('local of %s', 'context of %s', 'MainThread')\n" % (kind, kind)
        if kind == "task":
            assert seen.cmd("p %s.asyncio.current_task().name_of_mine" % MAIN) == "'the task'\n"
        assert "TimeoutError raised in thread 1 \"MainThread\"" in seen.cmd("raise! TimeoutError('free')"), seen.screen
        seen.send("c\n")
        assert wait_until(lambda: target.stdout.count("\n") >= number + 2, 20), target.stdout
        if number + 1 < len(KINDS):
            wait_blocked(target.pid)
            seen.interrupt()
            seen.prompt()
    seen.interrupt()
    seen.prompt()
    seen.quit()
    assert target.stdout == "ready\n" + "".join("%s freed: TimeoutError('free') clean\n" % kind for kind in KINDS) + "the end\n"
    target.assert_unharmed(stdout=False, but=("descriptors",))


@every_python
def test_other_threads_are_entered_in_every_wait_and_wait_on(victim, attach, python):
    target = victim(python, "waits", args=["others"], blocked=True)
    seen = attach(target.pid)
    for kind in KINDS:
        seen.cmd("thread " + kind)
        assert re.search(r'thread \d+ "%s" is entered in ' % kind, seen.cmd("enter")), seen.screen
        assert seen.cmd(OWN) == "('local of %s', 'context of %s', '%s')\n" % (kind, kind, kind)
        if kind == "task":
            assert seen.cmd("p %s.asyncio.current_task().name_of_mine" % MAIN) == "'the task'\n"
        assert re.search(r'thread \d+ "%s" is blocked in ' % kind, seen.cmd("leave")), seen.screen
    seen.quit()
    target.assert_unharmed()


@every_python
def test_other_threads_are_freed_where_python_lets(victim, attach, python):
    target = victim(python, "waits", args=["others"], blocked=True)
    seen = attach(target.pid)
    freed = []
    for kind in ("with", "queue", "sleep", "recv"):
        seen.cmd("thread " + kind)
        said = seen.cmd("raise! TimeoutError('free')")
        if frees_at_once(python, kind) or (frees_at_once(python, kind) is None and "will be raised" not in said):
            freed.append(kind)
            assert re.search(r'TimeoutError raised in thread \d+ "%s"' % kind, said), seen.screen
        else:
            assert re.search(r'TimeoutError will be raised in thread \d+ "%s" when it returns from ' % kind, said), seen.screen
    if "recv" not in freed:
        seen.cmd("!pair[1].send(b'x')")
        freed.append("recv")
    seen.cmd("thread 1")
    seen.quit()

    def freed_ones():
        return sorted(line for line in target.stdout.splitlines() if "freed" in line)

    assert wait_until(lambda: len(freed_ones()) == len(freed), 20), target.stdout
    assert freed_ones() == sorted("%s freed: TimeoutError('free') clean" % kind for kind in freed)


TIMED = """
import select, threading, time
lock = threading.Lock(); lock.acquire()
def wait(name, call):
    start = time.monotonic()
    call()
    print(name, time.monotonic() - start, flush=True)
for name, call in [("lock", lambda: lock.acquire(timeout=8)), ("sleep", lambda: time.sleep(8)), ("select", lambda: select.select([], [], [], 8))]:
    threading.Thread(target=wait, args=(name, call), name=name, daemon=True).start()
begin = time.monotonic()
print("ready", flush=True)
time.sleep(3600)
"""


@some_pythons
def test_left_waits_end_when_they_would_have(victim, attach, python):
    """A wait of 8 s that is left after 5 s and were begun anew would last 13 s."""
    target = victim(python, source=TIMED)
    seen = attach(target.pid)
    for name in ("lock", "sleep", "select"):
        seen.cmd("thread " + name)
        assert "is entered" in seen.cmd("enter")
    time.sleep(max(0, 5 - float(seen.cmd("p time.monotonic() - begin"))))
    for name in ("lock", "sleep", "select"):
        seen.cmd("thread " + name)
        seen.cmd("leave")
    seen.quit()
    assert wait_until(lambda: target.stdout.count("\n") == 4, 30), target.stdout
    for line in target.stdout.splitlines()[1:]:
        assert 7.9 < float(line.split()[1]) < 12, line


@some_pythons
def test_signals_are_as_before_while_entered_and_after(victim, attach, python):
    target = victim(python, "waits", args=["main"], blocked=True)
    seen = attach(target.pid)
    assert "is entered" in seen.cmd("enter")
    assert int(read_status(target.pid)["SigCgt"], 16) >> 34 == 0       # no handler of ours stays installed
    seen.cmd("leave")
    seen.quit()
    target.assert_unharmed()


WEDGE = """
import threading, time
lock = threading.Lock(); lock.acquire()
def wait():
    lock.acquire()
threading.Thread(target=wait, name="worker", daemon=True).start()
print("ready", flush=True)
try:
    time.sleep(3600)
except TimeoutError:
    pass
lock.release()
print("released", flush=True)
time.sleep(3600)
"""


@pytest.mark.parametrize("python, where", [(python, "beside") for python in pythons.ALL]
                         + [(python, where) for python in SOME for where in ("main", "worker")], ids=str)
def test_interrupt_ends_an_evaluation_that_wants_the_held_lock(victim, attach, python, where):
    target = victim(python, source=WEDGE, blocked=True)
    seen = attach("-t", "worker" if where == "worker" else "1", target.pid)
    if where != "beside":
        assert "is entered" in seen.cmd("enter")
    seen.send("!lock.acquire()\n")
    wait_until(lambda: seen.child.expect([r"acquire\(\)\r", "nothing"]) == 0)
    assert wait_until(lambda: not target_runs(target)), "it does not wait"
    seen.interrupt()
    shown = seen.prompt()
    if where == "main" or python.minor == 12 or (python.minor == 13 and "left behind" not in shown):
        assert shown.endswith("*** KeyboardInterrupt\n")
        assert seen.cmd("p lock.locked()") == "True\n"
        if where != "beside":
            assert "is blocked in" in seen.cmd("leave")
        seen.quit()
        target.assert_unharmed()
        return
    assert "left behind" in shown
    assert seen.cmd("p lock.locked()") == "True\n"      # the session goes on
    if where == "worker":
        assert seen.cmd("leave") == '*** thread 2 "worker" is still evaluating\n'
        assert seen.cmd("raise! TimeoutError") == '*** thread 2 "worker" is still evaluating\n'
        assert re.search(r'^\* 2 +"worker" .* evaluating ', seen.cmd("threads"), re.M)

        def comes_back():           # its own wait, below the evaluation, may be the one that is woken first
            seen.cmd("!lock.acquire(False); lock.release()")        # beside
            return "is still evaluating" not in seen.cmd("leave")

        assert wait_until(comes_back)
        seen.quit()
        target.assert_unharmed(20, but=("threads", "masks"))        # it may have got its lock and have ended
        return
    seen.quit()
    assert wait_until(lambda: read_status(target.pid)["TracerPid"] == "0")
    target.end()


def target_runs(target):
    """Something in it has run within the last 50 ms."""
    before = [switches(target.pid, tid) for tid in list_threads(target.pid)]
    time.sleep(0.05)
    return before != [switches(target.pid, tid) for tid in list_threads(target.pid)]


def switches(pid, tid):
    return read_status(pid, tid)["voluntary_ctxt_switches"]


POLLS = """
import ctypes, threading, time
libc = ctypes.CDLL(None)
def poll():
    print("poll returned", libc.poll(None, 0, -1), flush=True)
for _ in range(4):
    threading.Thread(target=poll, daemon=True).start()
print("ready", flush=True)
time.sleep(3600)
"""


@some_pythons
def test_no_other_thread_sees_the_signal(victim, attach, python):
    """C code that does not try again after EINTR is not disturbed in threads that nobody enters."""
    target = victim(python, source=POLLS, blocked=True)
    seen = attach(target.pid)
    for _ in range(5):
        assert "is entered" in seen.cmd("enter")
        seen.cmd("leave")
    seen.quit()
    target.assert_unharmed()


TRACED = """
import sys, time
files = set()
def tracer(frame, event, arg):
    files.add(frame.f_code.co_filename.rpartition("/")[2])
    return tracer
def profiler(frame, event, arg):
    files.add(frame.f_code.co_filename.rpartition("/")[2])
sys.settrace(tracer)
sys.setprofile(profiler)
def wait():
    time.sleep(3600)
print("ready", flush=True)
try:
    wait()
except TimeoutError:
    pass
same = sys.gettrace() is tracer and sys.getprofile() is profiler
sys.settrace(None)
sys.setprofile(None)
print(same, sorted(files), flush=True)
time.sleep(3600)
"""


@every_python
def test_tracer_and_profiler_of_the_program_do_not_see_us(victim, attach, python):
    target = victim(python, source=TRACED, blocked=True)
    seen = attach(target.pid)
    for _ in range(2):
        assert "is entered" in seen.cmd("enter")
        assert seen.cmd("p 6 * 7") == "42\n"
        seen.cmd("leave")
    assert "TimeoutError raised in thread 1" in seen.cmd("raise! TimeoutError")
    seen.quit()
    assert wait_until(lambda: target.stdout.count("\n") == 2, 20)
    assert target.stdout == "ready\nTrue ['victim.py']\n"


SIGNALLED = """
import signal, time
%s
print("ready", flush=True)
time.sleep(3600)
"""


@some_pythons
@pytest.mark.parametrize("line", ["for n in range(35, 65): signal.signal(n, print)",
                                  "for n in range(35, 65): signal.signal(n, signal.SIG_IGN)"])
def test_program_that_uses_all_realtime_signals_is_refused(victim, attach, python, line):
    target = victim(python, source=SIGNALLED % line, blocked=True)
    seen = attach(target.pid)
    assert seen.cmd("enter") == ('*** thread 1 "MainThread" cannot be entered: '
                                 "it gets no signal: the program uses or blocks all real-time signals\n")
    assert seen.cmd("raise! TimeoutError").startswith(
        'pydbattach: TimeoutError will be raised in thread 1 "MainThread" when it returns from time.sleep(3600)\n'
        if python.minor > 10 else 'pydbattach: TimeoutError will be raised in thread 1 "MainThread" when it returns from ')
    seen.quit()
    target.assert_unharmed()


@some_pythons
def test_thread_that_blocks_all_signals_is_refused(victim, attach, python):
    """Where there is no /proc that is found out by waiting; what was pending is gone then."""
    line = "signal.signal(60, print); signal.pthread_sigmask(signal.SIG_BLOCK, set(range(35, 65)) - {60})"
    target = victim(python, source=SIGNALLED % line, blocked=True)
    seen = attach(target.pid)
    reason = "does not answer to a signal" if python.root else "gets no signal: the program uses or blocks all real-time signals"
    assert seen.cmd("enter") == '*** thread 1 "MainThread" cannot be entered: it %s\n' % reason
    seen.quit()
    assert int(read_status(target.pid)["SigPnd"], 16) == 0
    target.assert_unharmed()


FIFO = """
import os
os.mkfifo("fifo")
print("ready", flush=True)
os.open("fifo", os.O_RDONLY)
print("opened", flush=True)
os._exit(0)
"""


@some_pythons
def test_call_that_the_linker_makes_is_not_entered_and_goes_on(victim, attach, python):
    target = victim(python, source=FIFO, blocked=True)
    seen = attach(target.pid)
    assert seen.cmd("enter") == ('*** thread 1 "MainThread" cannot be entered: '
                                 "it is in a system call that must not be interrupted\n")
    assert "blocked in" in seen.cmd("thread")
    seen.quit()
    target.assert_unharmed()
    os.close(os.open(os.path.join(target.place, "fifo"), os.O_WRONLY))
    assert target.finish() == 0
    assert target.stdout == "ready\nopened\n"


REFUSED = """
import ctypes, itertools, resource, sys, threading, time
libc = ctypes.CDLL(None)
go = threading.Lock()
go.acquire()

def malloc():                   # glibc's own lock, taken by others
    libc.syscall(202, ctypes.byref(ctypes.c_int(2)), 128, 2, None)

def pending():
    resource.setrlimit(resource.RLIMIT_SIGPENDING, (0, 0))
    time.sleep(3600)

def unknown():
    time.sleep(3600)

moved = unknown

def gil():                      # takes the GIL again and again, and runs no line of Python
    list(filter(None, map(time.sleep, itertools.repeat(0))))

def ended():
    go.acquire()

thread = threading.Thread(target=globals()[sys.argv[1]], name="worker", daemon=True)
thread.start()
print("ready", flush=True)
time.sleep(3600)
"""

LIES = {                        # what the C library and Python might say, too
    "unknown": "int dladdr1(const void *a, void *b, void **c, int d) { return 0; }",
    "moved": "void *PyGILState_GetThisThreadState(void) { return 0; }",
}


REASONS = {
    "malloc": "waits inside malloc", "pending": "takes no signal", "gil": "waits for the GIL", "ended": "has ended",
    "moved": "has moved on", "unknown": "cannot be told from one that waits for the GIL, in this Python"}


# Nobody comes before the functions of a static interpreter, as those of Debian are.
@pytest.mark.parametrize("python, kind", [(python, kind) for python in SOME for kind in REASONS
                                          if kind != "moved" or python.name.startswith("3.")], ids=str)
def test_refusals_of_enter(victim, attach, tmp_path, python, kind):
    files, env = {}, {}
    if kind in LIES:
        (tmp_path / "no.c").write_text(LIES[kind])
        with open(compile_c(str(tmp_path / "no.c"), str(tmp_path / "no.so"), "-shared", "-fPIC"), "rb") as file:
            files, env = {"no.so": file.read()}, {"LD_PRELOAD": "./no.so"}
    target = victim(python, source=REFUSED, args=[kind], files=files, env=env, blocked=True)
    seen = attach("-t", "worker", target.pid)
    expected = '*** thread 2 "worker" cannot be entered: it %s\n' % REASONS[kind]
    if kind == "gil":           # or it is in its sleep just then
        for _ in range(100):
            said = seen.cmd("enter")
            if said == expected:
                break
            if "is entered" in said:
                seen.cmd("leave")
        assert said == expected
    elif kind == "ended":       # within the command: before, and it would have been said
        assert seen.cmd("!go.release(); thread.join() ;; enter") == expected
        assert "has ended" in seen.cmd("p 1")
    else:
        assert seen.cmd("enter") == expected
    seen.quit()
    target.assert_unharmed(but=("threads", "masks") if kind == "ended" else ())


MANY = """
import threading, time
for number in range(%d):
    threading.Thread(target=time.sleep, args=(3600,), name="t%%d" %% number, daemon=True).start()
print("ready", flush=True)
time.sleep(3600)
"""


def test_so_many_threads_can_be_entered_and_no_more(victim, attach):
    with open(os.path.join(TOP, "pyenter.h"), encoding="utf-8") as file:
        visits = int(re.search(r"#define VISITS (\d+)", file.read()).group(1))
    target = victim(source=MANY % (visits + 1), blocked=True)
    seen = attach(target.pid)
    for number in range(visits):
        seen.cmd("thread t%d" % number)
        assert "is entered" in seen.cmd("enter")
    seen.cmd("thread t%d" % visits)
    assert seen.cmd("enter") == '*** thread %d "t%d" cannot be entered: it cannot be entered while so many others are\n' % (
        visits + 2, visits)
    seen.cmd("thread t0")
    seen.cmd("leave")
    seen.cmd("thread t%d" % visits)
    assert "is entered" in seen.cmd("enter")
    seen.quit()
    target.assert_unharmed()


@some_pythons
def test_words_where_no_thread_is_left(victim, attach, python):
    """The thread under the prompt has ended."""
    target = victim(python, source=REFUSED, args=["ended"], blocked=True)
    seen = attach("-t", "worker", target.pid)
    assert 'pydbattach: thread 2 "worker" has ended\n' in seen.cmd("!go.release(); thread.join()") + seen.cmd("p 1")
    for word in ("enter", "leave", "raise TimeoutError"):
        assert seen.cmd(word) == "*** no thread is chosen, or it has no Python frame; see `threads`\n"
    seen.quit()
    target.assert_unharmed(but=("threads", "masks"))


def test_free_signal_is_taken_among_used_ones(victim, attach):
    """All but 40 are used or ignored, and stay so."""
    target = victim(source=SIGNALLED % "for n in range(35, 65): n == 40 or signal.signal(n, signal.SIG_IGN if n % 2 else print)",
                    blocked=True)
    seen = attach(target.pid)
    assert "is entered" in seen.cmd("enter")
    seen.cmd("leave")
    seen.quit()
    target.assert_unharmed()


def test_thread_that_runs_c_code_is_not_entered(victim, attach):
    target = victim(source="import hashlib\nprint('ready', flush=True)\nhashlib.pbkdf2_hmac('sha256', b'a', b'b', 10 ** 9)\n")
    seen = attach(target.pid)
    assert seen.cmd("enter") == '*** thread 1 "MainThread" cannot be entered: it is not blocked in a system call\n'
    seen.quit()
    target.assert_unharmed()


@some_pythons
def test_words_of_enter_leave_and_raise(victim, attach, python):
    """What they say when there is nothing to enter, leave or raise; and the question before raise."""
    target = victim(python, "waits", args=["main"], blocked=True)
    seen = attach(target.pid)
    assert seen.cmd("leave") == "*** no thread is entered here; see `enter`\n"
    assert seen.cmd("raise") == "*** raise what? An exception class or instance: raise TimeoutError\n"
    assert seen.cmd("raise! 1") == "*** not an exception: 1\n"
    assert seen.cmd("raise! no_such_name") == "*** NameError: name 'no_such_name' is not defined\n"
    seen.cmd("enter")
    assert seen.cmd("enter") == '*** thread 1 "MainThread" is entered already\n'
    assert seen.cmd("jump 1").startswith("*** thread 1 is blocked; this needs a thread that has stopped")
    assert re.search(r'^\* 1 +"MainThread" .* entered in ', seen.cmd("threads"), re.M)
    seen.send("raise TimeoutError\n")
    seen.expect(re.escape('raise TimeoutError in thread 1 "MainThread"? (y or n) '))
    seen.send("n\n")
    assert seen.prompt().endswith("*** not raised\n")
    seen.send("raise TimeoutError\n")
    seen.expect(re.escape('raise TimeoutError in thread 1 "MainThread"? (y or n) '))
    seen.send("y\n")
    assert 'pydbattach: TimeoutError raised in thread 1 "MainThread"\n' in seen.prompt()
    assert seen.cmd("enter") == '*** thread 1 "MainThread" has stopped: what you evaluate runs inside it already\n'
    assert seen.cmd("raise! ValueError(7)") == 'pydbattach: ValueError will be raised in thread 1 "MainThread" when it goes on\n'
    seen.send("c\n")
    assert wait_until(lambda: "ValueError: 7" in target.stderr, 20)


def test_script_must_say_that_it_is_sure(victim, batch):
    target = victim(pythons.ONE, "waits", args=["main"], blocked=True)
    done = batch("-c", "raise TimeoutError", target.pid)
    assert done.stdout == "*** not confirmed; in a script use raise! TimeoutError\n"
    target.assert_unharmed()


@every_python
def test_entered_thread_that_is_let_go_stops_when_its_wait_ends(victim, attach, python):
    """next and continue after enter: as for a blocked thread."""
    target = victim(python, "waits", args=["others"], blocked=True)
    seen = attach("-t", "recv", target.pid)
    assert "is entered" in seen.cmd("enter")
    seen.cmd("!pair[1].send(b'x')")         # comes while the thread stands
    assert seen.cmd("p 1") == "1\n"
    assert "waits.py" in seen.cmd("next")
    assert seen.cmd("p threading.current_thread().name") == "'recv'\n"
    seen.cmd("thread lock")
    assert "is entered" in seen.cmd("enter")
    seen.send("next\n")
    seen.expect("is still in ")
    seen.interrupt()
    assert "is blocked in" in seen.prompt()
    seen.quit()
    assert wait_until(lambda: "recv returned" in target.stdout, 20)


@pytest.mark.parametrize("python, how", [(python, "detach") for python in pythons.ALL]
                         + [(pythons.ONE, "kill"), (pythons.NEWEST, "hang up")], ids=str)
def test_leaving_while_entered_leaves(victim, attach, python, how):
    target = victim(python, "waits", args=["others"], blocked=True)
    seen = attach(target.pid)
    for name in ("1", "lock", "recv", "timed"):
        seen.cmd("thread " + name)
        assert "is entered" in seen.cmd("enter")
    if how == "detach":
        seen.quit()
    elif how == "kill":
        os.kill(seen.processes()["pydbclient"], signal.SIGKILL)
    else:
        seen.hang_up()
    target.assert_unharmed(20)
    target.end()


ENDS = """
import os, sys, threading, time
def wait():
    time.sleep(3600)
threading.Thread(target=wait, name="worker", daemon=sys.argv[1] == "daemon").start()
print("ready", flush=True)
while not os.path.exists("go"):
    time.sleep(0.02)
"""


@every_python
def test_process_ends_while_a_daemon_thread_is_entered(victim, attach, python):
    target = victim(python, source=ENDS, args=["daemon"])
    seen = attach("-t", "worker", target.pid)
    assert "is entered" in seen.cmd("enter")
    target.write("go", "")
    seen.expect("has exited|detached", 30)
    assert target.finish(30) == 0
    assert target.stderr == ""


FORKS = """
import os, time
pipe, write = os.pipe()
me = os.getpid()
print("ready", flush=True)
os.read(pipe, 1)
if os.getpid() != me:
    os._exit(7)
time.sleep(3600)
"""


@every_python
def test_fork_inside_an_entered_thread(victim, attach, python):
    """The child has the stack of the entered thread, and goes back to its wait, which goes on there, too."""
    target = victim(python, source=FORKS, blocked=True)
    seen = attach(target.pid)
    assert "is entered" in seen.cmd("enter")
    assert "Error" not in seen.cmd("!child = os.fork()"), seen.screen
    assert seen.cmd("p os.write(write, b'xx')") == "2\n"
    assert seen.cmd("p os.waitpid(child, 0)[1] >> 8") == "7\n"
    seen.quit()
    target.assert_unharmed(stderr=target.stderr)


FORK_LOOP = """
import os, time
print("ready", flush=True)
children = 0
while not os.path.exists("stop"):
    child = os.fork()
    if child == 0:
        os._exit(0)
    children, end = children + 1, time.monotonic() + 10
    while os.waitpid(child, os.WNOHANG)[0] == 0:
        if time.monotonic() > end:
            os.kill(child, 9)
            print("a child hangs", flush=True)
            os._exit(1)
        time.sleep(0.001)
print("all children have ended", flush=True)
"""


@pytest.mark.parametrize("python", [python for python in pythons.ALL if python.minor <= 12], ids=str)
def test_fork_waits_for_our_new_thread_state(victim, batch, tmp_path, python):
    """Up to 3.11 a child that is forked while our thread is put into the list of threads would hang."""
    library = compile_c(os.path.join(HERE, "c", "slow_list_lock.c"), str(tmp_path / "slow.so"), "-shared", "-fPIC")
    with open(library, "rb") as file:
        target = victim(python, source=FORK_LOOP, files={"slow.so": file.read()}, env={"LD_PRELOAD": "./slow.so"})
    for _ in range(2):
        assert batch("-c", "p 6 * 7", target.pid).stdout == "42\n"
    target.write("stop", "")
    assert target.finish(30) == 0
    assert target.stdout.endswith("all children have ended\n")


@some_pythons
def test_demo_frees_the_service(python, home):
    if python.root:
        python = pythons.Python("host", sys.executable, None)
    done = subprocess.run([os.path.join(TOP, "demo", "demo.sh")], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, timeout=60,
                          env=make_environment(home, PYTHON=python.path), encoding="utf-8")
    assert "TimeoutError raised in thread 1" in done.stdout
    assert "shop: order 3 is put off: TimeoutError('freed by hand')\n" in done.stdout
    assert done.returncode == 0
