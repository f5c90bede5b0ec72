# test_leaving.py - every road out leaves the target as it was; and coming again, forking, ending while attached.
# SPDX-License-Identifier: MIT

import contextlib
import os
import re
import signal
import subprocess
import time

import pytest

import pythons
import support

every_python = pytest.mark.parametrize("python", pythons.ALL, ids=str)
both_ends = pytest.mark.parametrize("python", pythons.ENDS, ids=str)

# What was on the way when one leaves: the thread stopped at a line, blocked, running with breakpoints,
# or an evaluation in the middle.
STATES = ["stopped", "blocked", "running", "evaluating"]


def go_to(state, session):
    """Bring the session of `workers` (or `sleep`, for blocked) into a state, with breakpoints set."""
    __tracebackhide__ = True
    if state != "blocked":
        session.cmd("break price")
        assert "price()" in session.cmd("continue")
        session.cmd("display base")
        session.cmd("next")
    if state == "running":
        session.cmd("clear 1")
        session.send("continue\n")
        time.sleep(0.2)
    elif state == "evaluating":
        session.send("p [x for x in iter(int, 1)]\n")
        time.sleep(0.2)


def start(state, victim, python):
    return victim(python, "sleep", blocked=True) if state == "blocked" else victim(python, "workers")


def assert_gone(target, seconds=10):
    """Nothing of ours is left, and the program does what it did."""
    __tracebackhide__ = True
    target.assert_unharmed(seconds)
    if target.name == "workers":
        target.write("stop", "")
        assert target.finish() == 0
        assert (target.stdout, target.stderr) == ("ready\nstopped\n", "")
    else:
        target.end()


# --- by the door


@pytest.mark.parametrize("python, word", [
    pytest.param(python, word, id="%s-%s" % (word, python.name))
    for word in ["q", "Ctrl-D", "quit", "exit", "detach", "EOF"]
    for python in (pythons.ALL if word in ("q", "Ctrl-D") else pythons.ENDS)])
@pytest.mark.parametrize("state", ["stopped", "blocked"])
def test_leaving_by_a_word(python, word, state, victim, attach):
    target = start(state, victim, python)
    session = attach(target.pid)
    go_to(state, session)
    if word == "Ctrl-D":
        session.send("\x04")
        assert session.finish() == 0
    else:
        session.quit(word)
    assert session.screen.endswith("pydbattach: detached, %d runs on\n" % target.pid)
    assert_gone(target)


# --- by the window, or shot


@both_ends
@pytest.mark.parametrize("state", STATES)
def test_closed_terminal_is_a_detach(python, state, victim, attach):
    target = start(state, victim, python)
    session = attach(target.pid)
    go_to(state, session)
    session.hang_up()
    assert_gone(target)
    assert support.wait_until(lambda: not support.is_alive(session.child.pid))


@both_ends
@pytest.mark.parametrize("state, number", [(state, signal.SIGKILL) for state in STATES]
                         + [("stopped", signal.SIGTERM), ("stopped", signal.SIGHUP)])
def test_killed_client_is_a_detach(python, state, number, victim, attach):
    target = start(state, victim, python)
    session = attach(target.pid)
    go_to(state, session)
    client = session.processes()["pydbclient"]
    os.kill(client, number)
    assert_gone(target)


@both_ends
@pytest.mark.parametrize("who", ["pydbattach.sh", "gdb", "pydbload"])
def test_killed_in_the_middle_of_the_attach(python, who, victim, home):
    """Killed at any moment between the first fork and the prompt, the target runs on, and the next attach works."""
    target = victim(python, "workers")
    for attempt in range(6):
        session = support.Attach(target.pid, home=home, wait=False)
        try:
            if who == "pydbattach.sh":
                found = support.wait_until(lambda: support.process_name(session.child.pid) == who and session.child.pid,
                                           1, 0.0005)
            else:
                found = support.wait_until(lambda: find_process(who, target.pid), 2, 0.0005)
            time.sleep(attempt * 0.008)
            if found:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(found, signal.SIGKILL)
            if session.child.isalive() and who != "pydbattach.sh":
                with contextlib.suppress(AssertionError):
                    session.expect(support.PROMPT_AT_END + "|pydbattach: .*\n", 12)
        finally:
            session.close()
        assert support.wait_until(lambda: not target.differences(), 3), target.differences()
    done = support.run_batch("-c", "p 6*7", target.pid, home=home)
    assert (done.returncode, done.stdout) == (0, "42\n"), done.stderr
    assert_gone(target)


def find_process(name, target):
    """The pid of that program at work on this very target: it has the descriptor with the target's lock."""
    for entry in os.listdir("/proc"):
        if entry.isdigit() and support.process_name(int(entry)) == name:
            with contextlib.suppress(OSError):
                if os.readlink("/proc/%s/fd/9" % entry) == "/proc/%d/mem" % target:
                    return int(entry)
    return 0


# --- coming again


@every_python
def test_attach_again_works_at_once(python, victim, batch):
    target = victim(python, "workers")
    for _ in range(5):
        done = batch("-c", "p 6*7", target.pid)
        assert (done.returncode, done.stdout) == (0, "42\n"), done.stderr
    assert_gone(target)


@both_ends
@pytest.mark.timeout(300)
def test_hundred_attaches_grow_nothing(python, victim, batch):
    target = victim(python, "workers")

    def attach_often(times):
        for _ in range(times):
            done = batch("-c", "break price", "-c", "continue", "-c", "p base", "-c", "clear 1", target.pid) \
                if _ % 10 == 0 else batch("-c", "p 6*7", target.pid)
            assert done.returncode == 0, done.stderr

    attach_often(20)
    target.assert_unharmed()
    mappings, memory = support.count_mappings(target.pid), support.resident_kilobytes(target.pid)
    attach_often(80)
    target.assert_unharmed()
    assert support.count_mappings(target.pid) <= mappings + 2
    assert support.resident_kilobytes(target.pid) <= memory + 1500
    assert_gone(target)


# --- what a detach must put back


INSTRUMENTS = """
import os, sys, threading, time

def work():
    total = 0
    for number in range(30000):
        total += number & 7
    return total

def instruments():
    found = [sys.gettrace(), sys.getprofile(), work.__code__.co_flags, sys.getswitchinterval()]
    monitoring = getattr(sys, "monitoring", None)
    if monitoring:
        for tool in range(6):
            found += [monitoring.get_tool(tool)]
            if found[-1]:
                found += [monitoring.get_events(tool), monitoring.get_local_events(tool, work.__code__)]
    opcodes = getattr(work.__code__, "_co_code_adaptive", work.__code__.co_code)
    found += [len([1 for code in opcodes[::2] if instrumented and code >= instrumented])]
    return found

import opcode
instrumented = min([code for name, code in getattr(opcode, "_specialized_opmap", {}).items() if name.startswith("INSTRUMENTED")]
                   + [code for name, code in opcode.opmap.items() if name.startswith("INSTRUMENTED")], default=0)

def serve():
    secret = 3001
    while not os.access("go", os.F_OK):
        time.sleep(0.005)
    return secret

work()
before = instruments()
print("ready", flush=True)
serve()
work()
after = instruments()
print("same" if before == after else "before %s, after %s" % (before, after), flush=True)
"""


@every_python
def test_nothing_slows_a_function_down_that_had_a_breakpoint(python, victim, attach):
    """No trace function, no tool, no event and no instrumented instruction is left; bench/ has the times."""
    target = victim(python, source=INSTRUMENTS)
    session = attach(target.pid)
    session.cmd("break work")
    session.cmd("next")
    session.cmd("next")
    session.quit()
    target.assert_unharmed()
    target.write("go", "")
    assert target.finish(30) == 0
    assert target.stdout == "ready\nsame\n"


SETTINGS = """
import builtins, gc, json, os, signal, sys, threading, time, warnings

def handler(number, frame):
    pass

signal.signal(signal.SIGUSR1, handler)
threading.excepthook = threading.excepthook

def look():
    import_state = sorted(sys.modules)
    return {
        "trace": repr(sys.gettrace()), "profile": repr(sys.getprofile()),
        "modules": import_state, "path": list(sys.path), "meta_path": len(sys.meta_path),
        "hooks": [repr(sys.excepthook), repr(sys.displayhook), repr(threading.excepthook)],
        "stdio": [id(sys.stdin), id(sys.stdout), id(sys.stderr)],
        "builtins": sorted(vars(builtins)), "print": id(print), "input": id(input),
        "signals": {int(n): repr(signal.getsignal(n)) for n in signal.valid_signals()},
        "switch": sys.getswitchinterval(), "recursion": sys.getrecursionlimit(),
        "gc": [gc.get_threshold(), gc.isenabled(), len(gc.callbacks)],
        "filters": len(warnings.filters), "threads": [t.name for t in threading.enumerate()],
        "environment": dict(os.environ), "umask": os.umask(0o22), "cwd": os.getcwd(),
        "local trace": repr(sys._getframe().f_trace),
        "monitoring": [repr(sys.monitoring.get_tool(n)) for n in range(6)] if hasattr(sys, "monitoring") else [],
        "main": threading.main_thread() is threading.current_thread(),
        "wakeup": signal.set_wakeup_fd(-1), "excepthook": sys.excepthook is sys.__excepthook__,
        "pending": repr(threading._shutdown), "interactive": hasattr(sys, "ps1"), "underscore": hasattr(builtins, "_"),
    }

def serve():
    secret = 3002
    while not os.access("go", os.F_OK):
        time.sleep(0.005)
    return secret

os.umask(0o22)
before = look()
print("ready", flush=True)
serve()
after = look()
for name in before:
    if before[name] != after[name]:
        only = isinstance(before[name], list) and [[n for n in one if n not in other] for one, other in
                                                   ((before[name], after[name]), (after[name], before[name]))]
        print(name, "was", only[0] if only else before[name], "is", only[1] if only else after[name])
print("compared", flush=True)
"""


@every_python
def test_no_setting_of_the_interpreter_has_changed(python, victim, attach):
    target = victim(python, source=SETTINGS)
    session = attach(target.pid)
    for command in ("next", "break look", "tbreak measure", "display secret", "p secret", "pp {1: 2}", "whatis serve",
                    "next", "list", "ll", "where", "threads", "6*7", "p 1/0", "!raise ValueError('x')"):
        session.cmd(command)
    session.quit()
    target.assert_unharmed()
    target.write("go", "")
    assert target.finish() == 0
    assert target.stdout == "ready\ncompared\n"
    assert target.stderr == ""


# --- fork and exit while attached


FORKER = """
import os, sys, time

def serve():
    secret = 3003
    while not os.access("go", os.F_OK):
        time.sleep(0.005)
    return secret

def child():
    time.sleep(3600)
    os._exit(7)

print("ready", flush=True)
serve()
pid = os.fork()
if pid == 0:
    child()
print("child", pid, flush=True)
print("ended", os.waitpid(pid, 0)[1], flush=True)
while not os.access("stop", os.F_OK):
    time.sleep(0.01)
print("stopped", flush=True)
"""


@every_python
def test_child_of_a_debugged_parent_is_not_debugged(python, victim, attach, batch):
    """It passes the breakpoint, has one thread and the parent's descriptors, and can be attached to itself."""
    target = victim(python, source=FORKER)
    session = attach(target.pid)
    session.cmd("break child")
    session.cmd("next")
    target.write("go", "")
    session.send("continue\n")
    assert support.wait_until(lambda: "child" in target.stdout, 30)
    child = int(re.search(r"child (\d+)", target.stdout).group(1))
    support.wait_blocked(child)
    assert support.list_threads(child) == [child]
    assert support.list_descriptors(child) == target.before.descriptors
    assert support.look_at(child).masks == {child: target.before.masks[target.pid]}
    done = batch("-c", "where", "-c", "p sys.gettrace()", child)
    assert done.returncode == 0 and "-> time.sleep(3600)" in done.stdout and done.stdout.endswith("None\n")
    os.kill(child, signal.SIGKILL)
    assert support.wait_until(lambda: "ended 9" in target.stdout)
    session.interrupt()
    session.prompt(3)
    session.quit()
    # From 3.12 on os.fork() warns where there is more than one thread, and ours was one.
    target.assert_unharmed(stdout=False, stderr=target.stderr)
    assert target.stderr == "" or python.minor >= 12 and target.stderr.count("DeprecationWarning") == 1
    target.write("stop", "")
    assert target.finish() == 0


@every_python
@pytest.mark.parametrize("state", ["stopped", "blocked"])
def test_exit_while_attached(python, state, victim, attach):
    """The program ends by itself: with its own status, and nothing of ours on its standard error."""
    target = victim(python, source="""
import os, sys, time

def serve():
    secret = 3004
    while not os.access("go", os.F_OK):
        time.sleep(0.005)
    return secret

print("ready", flush=True)
serve()
print("bye", flush=True)
sys.exit(5)
""")
    session = attach(target.pid)
    session.cmd("next")
    target.write("go", "")
    session.send("continue\n")
    assert session.finish(10) == 0
    assert "pydbattach: process %d has exited\n" % target.pid in session.screen
    assert not session.screen.endswith(support.PROMPT)
    assert target.finish() == 5
    assert (target.stdout, target.stderr) == ("ready\nbye\n", "")


@both_ends
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM], ids=lambda s: s.name)
def test_target_killed_while_attached(python, number, victim, attach):
    target = victim(python, "sleep", blocked=True)
    session = attach(target.pid)
    os.kill(target.pid, number)
    assert target.finish() == -number
    assert session.finish(5) == 0
    assert session.screen.endswith("pydbattach: process %d has exited\n" % target.pid)


@both_ends
def test_sigint_to_the_target_is_the_programs_own(python, victim, attach):
    """Ctrl-C in the target's own terminal still means what it meant."""
    target = victim(python, "sleep", blocked=True)
    session = attach(target.pid)
    os.kill(target.pid, signal.SIGINT)
    assert session.finish(10) == 0
    assert target.finish() == -signal.SIGINT
    assert "KeyboardInterrupt" in target.stderr


@both_ends
def test_sigint_to_a_stopped_target_arrives_when_it_goes_on(python, victim, attach):
    target = victim(python, "workers")
    session = attach(target.pid)
    session.cmd("tbreak pack")
    session.cmd("continue")
    os.kill(target.pid, signal.SIGINT)
    assert session.cmd("p 6*7").strip().endswith("42")      # a notice may say what has come
    session.send("q\n")
    assert session.finish() == 0
    assert target.finish() == -signal.SIGINT
    assert "KeyboardInterrupt" in target.stderr


def test_install_and_uninstall(victim, batch, tmp_path):
    where = ["PREFIX=/opt/it's here", "DESTDIR=%s" % tmp_path]
    subprocess.run(["make", "-C", support.TOP, "install"] + where, check=True, stdout=subprocess.DEVNULL)
    program = str(tmp_path / "opt/it's here/bin/pydbattach")
    target = victim(name="sleep", blocked=True)
    done = batch("-c", "p 6*7", target.pid, launcher=program)
    assert (done.returncode, done.stdout) == (0, "42\n"), done.stderr
    target.assert_unharmed()
    subprocess.run(["make", "-C", support.TOP, "uninstall"] + where, check=True, stdout=subprocess.DEVNULL)
    assert [path for path in tmp_path.rglob("*") if not path.is_dir()] == []


# --- found by attacking it


CLOSER = """
import os, socket, time

def serve():
    secret = 3010
    while not os.access("go", os.F_OK):
        time.sleep(0.01)
    os.closerange(3, 256)
    pairs = [socket.socketpair() for _ in range(60)]
    while not os.access("stop", os.F_OK):
        time.sleep(0.01)
    for one, other in pairs:
        one.sendall(b"ping")
        assert other.recv(64) == b"ping"
    print("whole", flush=True)

print("ready", flush=True)
serve()
"""


@both_ends
def test_descriptors_that_the_program_reuses_are_its_own(python, victim, attach):
    """os.closerange() closes ours, too; the numbers then belong to sockets of the program."""
    target = victim(python, source=CLOSER)
    session = attach(target.pid)
    session.send("continue\n")
    target.write("go", "")
    assert support.wait_until(lambda: len(os.listdir("/proc/%d/fd" % target.pid)) > 100)
    os.kill(session.processes()["pydbclient"], signal.SIGKILL)
    target.write("stop", "")
    assert target.finish() == 0
    assert (target.stdout, target.stderr) == ("ready\nwhole\n", "")


TRACED = """
import os, sys, time

def work():
    secret = 3011
    time.sleep(0.01)

def once():
    saved = sys.gettrace()
    sys.settrace(None)
    work()
    sys.settrace(saved)
    work()

print("ready", flush=True)
while not os.access("stop", os.F_OK):
    once()
print("trace", sys.gettrace(), flush=True)
"""


@both_ends
def test_program_that_saves_and_restores_its_tracer(python, victim, attach):
    target = victim(python, source=TRACED)
    session = attach(target.pid)
    session.cmd("break work")
    for command in ("continue", "next", "next"):    # up to 3.11 settrace() takes the thread from us now and then
        session.send(command + "\n")
        time.sleep(0.2)
    os.kill(session.processes()["pydbclient"], signal.SIGKILL)
    assert support.wait_until(lambda: not target.differences()), target.differences()
    target.write("stop", "")
    assert target.finish() == 0
    assert (target.stdout, target.stderr) == ("ready\ntrace None\n", "")


ENDED = """
import ctypes, os, time

libc = ctypes.CDLL(None)
libc.__cxa_atexit(ctypes.cast(libc.pause, ctypes.c_void_p), None, None)
print("ready", flush=True)
while not os.access("go", os.F_OK):
    time.sleep(0.01)
"""


@both_ends
def test_process_outlives_its_interpreter_while_attached(python, victim, attach):
    """Nothing of ours may ask for the GIL of an interpreter that is gone."""
    target = victim(python, source=ENDED)
    session = attach(target.pid)
    session.send("continue\n")
    target.write("go", "")
    assert support.wait_until(lambda: "34" == open("/proc/%d/syscall" % target.pid).read().split()[0])
    os.kill(session.processes()["pydbclient"], signal.SIGKILL)
    time.sleep(1.5)                     # what would go wrong does so within a second
    assert target.process.poll() is None
