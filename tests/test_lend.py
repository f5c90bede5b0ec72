# test_lend.py - a thread that keeps the GIL in C, but asks for signals now and then, lends it: 3.14 and later.
# SPDX-License-Identifier: MIT

import os
import re
import signal
import time

import pytest

import pythons
import support

LENDERS = [python for python in pythons.ALL if python.name in ("sid3.14", "sid3.15")]
every_lender = pytest.mark.parametrize("python", LENDERS, ids=str)
both_threads = pytest.mark.parametrize("where", ["main", "other"])

# A catastrophic regular expression, in the main thread or in another one.
EXPRESSION = """
import re, sys, threading, time
def parse(secret):
    print("ready", flush=True)
    try:
        re.match(r"(a+)+$", "a" * int(sys.argv[2]) + "b")
        print("parsed", flush=True)
    except TimeoutError as error:
        print("freed by %s" % error, flush=True)
    while True:
        time.sleep(0.01)
if sys.argv[1] == "main":
    parse(4711)
else:
    threading.Thread(target=parse, args=(4711,), name="parser", daemon=True).start()
    while True:
        time.sleep(1000)
"""
HELD = (r"pydbattach: thread \d holds the GIL and has not let go for 1 s: in re\.\w+\(\), \S*victim\.py:6\r\n"
        r"pydbattach: attached to ")
WAITING = "pydbattach: waiting; d and Enter shows all stacks, Ctrl-C gives up\r\n"


def in_proc(python):
    """The second root has no /proc, where a script without a name is found; a container has. In a session of its own, as a
    service is: the kernel shares its processors between sessions."""
    return ["setsid", "unshare", "-m", "sh", "-c", 'mount -t proc proc "$0/proc" && exec "$@"', python.root]


def start(victim, python, where="main", length=45):
    target = victim(python, source=EXPRESSION, args=[where, str(length)], prefix=in_proc(python))
    if length == 45:
        before = used(target.pid)
        assert support.wait_until(lambda: used(target.pid) > before + 0.3, 20)         # it is in the expression by now
    return target


def assert_computes(target):
    """And the GIL is kept again."""
    before = used(target.pid)
    assert support.wait_until(lambda: used(target.pid) > before + 0.2, 20)
    assert target.stdout == "ready\n"


def used(pid):
    """Seconds of processor time."""
    fields = support.read_file("/proc/%d/stat" % pid).rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


@every_lender
@both_threads
def test_prompt_in_a_regular_expression_that_does_not_end(python, where, victim, batch):
    target = start(victim, python, where)
    for _ in range(2):
        done = batch("-t", "1" if where == "main" else "parser", "-c", "where", "-c", "up", "-c", "p secret", "-c", "enter", "-c",
                     "import threading", "-c", "p threading.current_thread().name", "-c", "leave", "-c", "threads", target.pid)
        assert done.returncode == 0, done.stderr
        assert re.search(r"victim\.py\(6\)parse\(\)\n", done.stdout) and "<string>" not in done.stdout, done.stdout
        assert "\n4711\n" in done.stdout and "\n'%s'\n" % ("MainThread" if where == "main" else "parser") in done.stdout
        assert "blocked in _compile(pattern, flags)." in done.stdout
        target.assert_unharmed()
        assert_computes(target)


@every_lender
def test_session_with_a_lender(python, victim, attach):
    target = start(victim, python)
    session = attach(target.pid, wait=False)
    session.expect(HELD, 30)
    session.greeting = session.prompt()
    assert "is blocked in _compile(pattern, flags)." in session.greeting
    assert "4711" in session.cmd("up") + session.cmd("p secret")
    # It goes on as long as it is told to, and comes back.
    before = used(target.pid)
    session.send("continue\r")
    session.expect("is still in _compile")
    assert support.wait_until(lambda: used(target.pid) > before + 0.5, 20)
    session.interrupt()
    session.expect("holds the GIL and has not let go for 1 s")
    assert "is blocked in _compile(pattern, flags)." in session.prompt()
    session.cmd("enter")
    assert "raised in thread 1" in session.cmd("raise! TimeoutError('hand')")
    assert "except TimeoutError" in session.cmd("next") + session.cmd("next") + session.cmd("next")
    session.quit()
    assert support.wait_until(lambda: target.stdout == "ready\nfreed by hand\n")
    target.assert_unharmed(stdout="ready\nfreed by hand\n")
    target.end()


@every_lender
def test_nothing_is_raised_in_another_thread_that_lends(python, victim, batch):
    target = start(victim, python, "other")
    done = batch("-t", "parser", "-c", "raise! TimeoutError", "-c", "p 1 + 1", target.pid)
    assert done.stdout == ("*** TimeoutError cannot be raised in thread 2 \"parser\": it keeps the GIL, and is not the main thread\n"
                           "2\n"), done.stderr
    target.assert_unharmed()
    assert_computes(target)


@every_lender
@pytest.mark.parametrize("entered", [False, True])
@pytest.mark.parametrize("how", ["kill", "hang_up"])
def test_client_gone_while_a_thread_lends(python, entered, how, victim, attach):
    target = start(victim, python)
    session = attach(target.pid, wait=False)
    session.expect(HELD, 30)
    session.prompt()
    if entered:
        session.cmd("enter")
    if how == "kill":
        for pid in session.processes().values():
            os.kill(pid, signal.SIGKILL)
    else:
        session.hang_up()
    target.assert_unharmed()
    assert_computes(target)


@every_lender
def test_client_gone_while_the_lender_computes(python, victim, attach):
    target = start(victim, python)
    session = attach(target.pid, wait=False)
    session.expect(HELD, 30)
    session.prompt()
    session.send("continue\r")
    session.expect("is still in _compile")
    time.sleep(0.3)
    session.hang_up()
    target.assert_unharmed()
    assert_computes(target)


@every_lender
def test_expression_that_ends_while_it_is_asked(python, victim, attach):
    """At any moment of the second in which the GIL is waited for, and after it."""
    for length in range(23, 29):
        target = start(victim, python, length=length)
        session = attach(target.pid, wait=False)
        session.prompt(60)
        session.quit()
        assert support.wait_until(lambda: target.stdout == "ready\nparsed\n", 60)
        target.assert_unharmed(stdout="ready\nparsed\n")
        target.end()


# What asks for no signals; what may not be asked; what has no /proc.
SUM = "print('ready', flush=True)\nsum(range(10 ** 12))\n"
NO_LOAN = {
    "asks for nothing": dict(source=SUM),
    "not allowed": dict(source=EXPRESSION, args=["main", "45"], env={"PYTHON_DISABLE_REMOTE_DEBUG": "1"}),
    "an audit hook": dict(source="import sys\nsys.addaudithook(lambda event, arguments: None)\n" + EXPRESSION, args=["main", "45"]),
    "no /proc": dict(source=EXPRESSION, args=["main", "45"]),
}


@every_lender
@pytest.mark.parametrize("what", sorted(NO_LOAN))
def test_gil_that_is_not_lent_is_waited_for(python, what, victim, attach):
    target = victim(python, prefix=[] if what == "no /proc" else in_proc(python), **NO_LOAN[what])
    session = attach(target.pid, wait=False)
    session.expect("pydbattach: thread 1 holds the GIL and has not let go for 1 s: in ", 30)
    session.expect(re.escape(WAITING), 30)
    session.interrupt()
    assert session.finish() == 1
    assert session.screen.endswith("pydbattach: gave up; %d runs on\n" % target.pid)
    before = target.before
    assert support.wait_until(lambda: len(support.list_threads(target.pid)) <= len(before.threads) + 1)
    assert support.look_at(target.pid).descriptors == before.descriptors
    assert (target.stdout, target.stderr) == ("ready\n", "")

