# test_situations.py - the main thread in every situation: the frame that hangs answers, and the target runs on.
# SPDX-License-Identifier: MIT
#
# One row of SITUATIONS is one program of victims/ (or a way to start one). Each row is tried on every
# interpreter, or on the oldest and the newest ones; what has a story of its own has a test of its own below.

import collections
import os
import re
import shutil
import signal

import pytest

import pythons
import support

Situation = collections.namedtuple("Situation", "name function secret state end options")


def situation(name, function, secret, state="blocked", end=(), **options):
    """A row: `name` of the victim (and its argument), the function that `where` must show, the number in it."""
    return Situation(name, function, secret, state, end, options)


EVERYWHERE = [
    situation("busy_loop", "compute", 1001, "running"),
    situation("sleep", "nap", 1002),
    situation("lock", "checkout", 1003),
    situation("deadlock", "wait_for_both", 1004),
    situation("queue_get", "serve", 1005),
    situation("socket_recv", "receive", 1006),
    situation("asyncio_wait", "main", 10070),
    situation("allocate", "allocate", 1008, "running"),
]

AT_BOTH_ENDS = [
    situation("allocate_threads", "allocate", 1009, "running"),
    situation("busy_threads", "compute", 1010, "running"),
    situation("multiplex select", "wait", 1011),
    situation("multiplex poll", "wait", 1011),
    situation("multiplex epoll", "wait", 1011),
    situation("pipe_read", "receive", 1012),
    situation("subprocess_wait", "convert", 1013),
    situation("asyncio_blocked", "fetch", 1015),
    situation("many_threads", "serve", 1016),
    situation("prefork", "work", 1017, end=dict(status=0)),
    situation("closed_stdio", "serve", 1018, end=dict(says="")),
    situation("broken_modules", "serve", 1019),
    situation("import_stuck", "connect", 1020),
    situation("del_stuck", "__del__", 1021, end=dict(status=0)),
    situation("signal_handler", "handle", 1022),
    situation("deep", "descend", 1023),
    situation("replaced_output", "serve", 1025, end=dict(says="")),
    situation("sigwait", "wait", 1028, end=dict(number=signal.SIGTERM, status=3, says="")),
]

CASES = [pytest.param(python, row, id="%s-%s" % (row.name.replace(" ", "_"), python))
         for rows, some in ((EVERYWHERE, pythons.ALL), (AT_BOTH_ENDS, pythons.ENDS))
         for row in rows for python in some]

both_ends = pytest.mark.parametrize("python", pythons.ENDS, ids=str)


def assert_greeting(greeting, target, state="blocked"):
    """The first lines on the screen: who, which version, how many threads; what the thread does; where."""
    __tracebackhide__ = True
    lines = [line for line in greeting.splitlines() if line]
    threads = len(support.list_threads(target.pid))
    first = re.fullmatch(r'pydbattach: attached to (\d+), python(3\.\d+), (\d+) threads?; "q" detaches, "help" helps',
                         lines[0])
    assert first, greeting
    assert first.group(1, 2) == (str(target.pid), target.python.version)
    # At most two threads of ours are there now.
    assert threads - 2 <= int(first.group(3)) <= threads
    assert re.fullmatch({"blocked": r'thread 1 "MainThread" is blocked in .+',
                         "running": r'thread 1 "MainThread" is stopped'}[state], lines[1]), greeting
    assert re.match(r"> \S.*\(\d+\)\S+\(\)", lines[2]), greeting


def assert_frame_answers(session, function, secret):
    """`where` shows the function; after as many `up` as it takes, `p secret` is its number."""
    __tracebackhide__ = True
    shown = session.cmd("where")
    functions, current = support.pick_from_where(shown)
    assert function in functions, shown
    steps = current - (len(functions) - 1 - functions[::-1].index(function))
    if steps:
        assert "%s()" % function in session.cmd("up %d" % steps if steps > 0 else "down %d" % -steps)
    assert session.cmd("p secret").strip() == str(secret)


def assert_session(session, target, function, secret, state="blocked"):
    """A whole visit: the greeting, the frame, and a good-bye that leaves the target as it was."""
    __tracebackhide__ = True
    assert_greeting(session.greeting, target, state)
    assert_frame_answers(session, function, secret)
    assert "pydbattach: detached, %d runs on" % target.pid in session.quit()
    target.assert_unharmed()


@pytest.mark.parametrize("python, row", CASES)
def test_frame_answers_and_target_runs_on(python, row, victim, attach):
    name, *args = row.name.split()
    target = victim(python, name, args=args, blocked=row.state == "blocked", **row.options)
    assert_session(attach(target.pid), target, row.function, row.secret, row.state)
    assert not os.path.exists(os.path.join(target.place, "sprung")), "a module of the target's directory was imported"
    target.end(**dict(row.end))


@both_ends
def test_terminal_input_goes_to_the_program(python, victim, attach):
    target = victim(python, "terminal_input", terminal=True, blocked=True)
    assert_session(attach(target.pid), target, "ask", 1014)
    os.write(target.terminal, b"Grace\n")
    assert target.finish() == 0
    assert b"hello Grace 1014" in os.read(target.terminal, 10000)


@pytest.mark.parametrize("python", [python for python in pythons.ENDS if not python.root], ids=str)
def test_main_greenlet_blocked_under_gevent(python, victim, attach):
    """gevent has replaced threading, socket and time; its hub waits, and the program's frames are elsewhere."""
    support.need(python.site(), "no gevent for %s (make deps)" % python.name)
    target = victim(python, "gevent_patched", blocked=True, env={"PYTHONPATH": python.site()})
    session = attach(target.pid)
    assert_greeting(session.greeting, target)
    assert "hub.py" in session.cmd("where")
    assert session.cmd("p __import__('__main__').secret").strip() == "1024"
    session.quit()
    target.assert_unharmed()
    target.end()


@both_ends
def test_code_from_a_zip_has_its_source(python, victim, attach, tmp_path):
    (tmp_path / "zipped").mkdir()
    shutil.copy(os.path.join(support.VICTIMS, "sleep.py"), str(tmp_path / "zipped" / "__main__.py"))
    archive = shutil.make_archive(str(tmp_path / "app"), "zip", str(tmp_path / "zipped"))
    with open(archive, "rb") as file:
        target = victim(python, "sleep", command=["app.zip"], files={"app.zip": file.read()}, blocked=True)
    session = attach(target.pid)
    assert "time.sleep(seconds)" in session.cmd("list")
    assert_session(session, target, "nap", 1002)
    target.end()


@both_ends
def test_code_from_the_command_line(python, victim, attach):
    program = support.read_file(os.path.join(support.VICTIMS, "sleep.py"))
    target = victim(python, command=["-c", program], blocked=True)
    assert_session(attach(target.pid), target, "nap", 1002)
    target.end()


@both_ends
@pytest.mark.parametrize("what", ["deleted", "edited"])
def test_file_deleted_or_edited_since(python, what, victim, attach):
    target = victim(python, "sleep", blocked=True)
    source = os.path.join(target.place, "sleep.py")
    if what == "deleted":
        os.unlink(source)
    else:
        target.write("sleep.py", "# nothing of the old text\n" * 3)
    assert_session(attach(target.pid), target, "nap", 1002)
    target.end()


@both_ends
def test_replaced_print_and_hooks_are_not_called(python, victim, attach):
    target = victim(python, "replaced_output", blocked=True)
    session = attach(target.pid)
    assert session.cmd("p calls").strip() == "[]"
    assert "ZeroDivisionError" in session.cmd("p 1/0")
    assert session.cmd("6*7").strip() == "42"
    session.cmd("where")
    assert session.cmd("p calls").strip() == "[]"
    assert session.cmd("print('through')").strip() == ""
    assert session.cmd("p calls").strip() == "[('through',)]"
    session.quit()
    target.assert_unharmed()


@both_ends
def test_coverage_misses_nothing(python, victim, attach):
    support.need(python.site(), "no coverage for %s (make deps)" % python.name)
    target = victim(python, "covered", command=["-m", "coverage", "run", "covered.py"],
                    env={"PYTHONPATH": python.site()})
    session = attach(target.pid)
    assert_frame_answers(session, "serve", 1026)
    session.cmd("next")
    session.cmd("next")
    session.quit()
    target.assert_unharmed()
    target.write("stop", "")
    assert target.finish() == 0
    assert target.stdout.endswith("done\n") and target.stderr == ""
    report = support.Victim(python, command=["-m", "coverage", "report", "-m", "--data-file", target.inside + "/.coverage"],
                            env={"PYTHONPATH": python.site()})
    try:
        report.finish(30)
        assert re.search(r"covered\.py +\d+ +0 +100%", report.stdout), report.stdout + report.stderr
    finally:
        report.close()


@both_ends
@pytest.mark.parametrize("what", ["trace", "profile"])
@pytest.mark.parametrize("visit", ["look", "step"])
def test_own_tracer_is_called_through_and_back(python, what, visit, victim, attach):
    target = victim(python, "own_tracer", args=[what])
    session = attach(target.pid)
    assert_frame_answers(session, "serve", 1027)
    if visit == "step":
        for command in ("next", "next", "step", "next"):
            session.cmd(command)
        session.cmd("break step")
        session.send("continue\n")
        assert "step()" in session.prompt()
        session.cmd("clear 1")
    session.quit()
    target.assert_unharmed()
    target.write("stop", "")
    assert target.finish() == 0
    assert target.stdout == "ready\nevents complete\ntracer kept\n"


def start_linker_victim(victim, python, how, seconds, library):
    return victim(python, "linker_lock", args=[how, str(seconds)], blocked=True,
                  files={"slow_library.so": library, "another.so": library})


# As between the two halves of thread.start() up to 3.11, but for good.
SECOND_STATE = """
import ctypes, threading
def checkout(secret):
    lock.acquire()
lock = threading.Lock()
lock.acquire()
api = ctypes.PyDLL(None)
api.PyInterpreterState_Head.restype = api.PyThreadState_New.restype = ctypes.c_void_p
api.PyThreadState_New(ctypes.c_void_p(api.PyInterpreterState_Head()))
print("ready", flush=True)
checkout(1030)
"""


@pytest.mark.parametrize("python", pythons.ALL, ids=str)
def test_thread_with_a_second_state_has_its_frames(python, victim, batch):
    target = victim(python, source=SECOND_STATE, blocked=True)
    done = batch("-c", "p secret", "-c", "enter", "-c", "p secret", "-c", "leave", target.pid)
    assert (done.returncode, done.stdout) == (0, "1030\n1030\n"), done.stderr
    target.assert_unharmed()


@both_ends
@pytest.mark.parametrize("how", ["constructor", "iterate"])
def test_linker_lock_held_for_a_while_is_waited_for(python, how, victim, attach, slow_library):
    target = start_linker_victim(victim, python, how, 4, slow_library)
    loader = [tid for tid in support.list_threads(target.pid) if tid != target.pid][0]
    session = attach(target.pid, wait=False)
    session.greeting = session.prompt()
    support.wait_until(lambda: loader not in support.list_threads(target.pid))
    assert_greeting(session.greeting, target)
    assert_frame_answers(session, "serve", 1029)
    session.quit()
    # The loading thread ends by itself.
    target.assert_unharmed(but=("threads", "masks"))
    assert support.list_threads(target.pid) == [target.pid]
    target.end()


@both_ends
def test_linker_lock_held_for_long_is_named_and_nothing_stays(python, victim, batch, slow_library):
    target = start_linker_victim(victim, python, "constructor", 25, slow_library)
    done = batch("-c", "p 1", target.pid)
    assert (done.returncode, done.stdout) == (1, "")
    assert re.fullmatch(r"pydbattach: .*dynamic linker.*\n", done.stderr)
    # Our thread waits in dlopen as long as the other one; then it finds nobody and ends.
    assert support.wait_until(lambda: support.list_threads(target.pid) == [target.pid], 25, 0.1)
    target.assert_unharmed(but=("threads", "masks"))
    done = batch("-c", "p 1", target.pid)
    assert (done.returncode, done.stdout) == (0, "1\n")
    target.end()


GIL_IS_HELD = (r"pydbattach: thread 1 holds the GIL and has not let go for \d s: in [^\r\n]+\r\n"
               r"pydbattach: waiting; d and Enter shows all stacks, Ctrl-C gives up\r\n")


@both_ends
@pytest.mark.parametrize("name, argument", [("catastrophic_re", "40"), ("pydll_sleep", "8")])
def test_gil_held_is_said_and_ctrl_c_gives_up(python, name, argument, victim, attach):
    target = victim(python, name, args=[argument])
    session = attach(target.pid, wait=False)
    session.expect(GIL_IS_HELD, 30)
    session.interrupt()
    assert session.finish() == 1
    assert session.screen.endswith("pydbattach: gave up; %d runs on\n" % target.pid)
    if name == "pydll_sleep":
        # The GIL comes after all, and our thread finds that it is not wanted any more.
        assert support.wait_until(lambda: "back" in target.stdout, 15)
        target.assert_unharmed(stdout="ready\nback\n")
        target.end()
    else:
        # Not let go yet: at most one thread of ours may wait for it, and asks nothing of anybody.
        before = target.before.threads
        assert support.wait_until(lambda: len(support.list_threads(target.pid)) <= len(before) + 1)
        target.end()


@both_ends
def test_gil_that_comes_late_brings_the_prompt(python, victim, attach):
    target = victim(python, "pydll_sleep", args=["4"])
    session = attach(target.pid, wait=False)
    session.expect(GIL_IS_HELD, 30)
    session.greeting = session.prompt(10)
    assert "pydbattach: attached to %d" % target.pid in session.greeting
    session.quit()
    target.assert_unharmed(stdout="ready\nback\n")
    target.end()


@both_ends
def test_gil_given_up_then_attached_again(python, victim, attach):
    """The thread that was left behind waiting for the GIL is adopted, not joined by another one."""
    target = victim(python, "pydll_sleep", args=["15"])
    for _ in range(2):
        session = attach(target.pid, wait=False)
        session.expect(GIL_IS_HELD, 30)
        session.interrupt()
        assert session.finish() == 1
    assert support.wait_until(lambda: len(support.list_threads(target.pid)) <= len(target.before.threads) + 1)
    assert "back" not in target.stdout          # so it is the one thread that waits
    assert support.wait_until(lambda: "back" in target.stdout)
    target.assert_unharmed(stdout="ready\nback\n")
    session = attach(target.pid)
    assert "pydbattach: attached to %d" % target.pid in session.greeting
    session.quit()
    target.assert_unharmed(stdout="ready\nback\n")


