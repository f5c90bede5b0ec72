# test_enter.py - enter, leave, raise: inside a thread that hangs.
# SPDX-License-Identifier: MIT

import re
import time

import pytest
import pythons
from support import read_status, wait_blocked, wait_until

KINDS = ["lock", "timed", "with", "rlock", "join", "queue", "condition", "event", "sleep", "recv", "select", "asyncio", "task"]
LOCKS = KINDS[:8]
MAIN = "__import__('__main__')"
OWN = "p [(m.local.mine, m.context.get(), m.threading.current_thread().name) for m in [%s]][0]" % MAIN

every_python = pytest.mark.parametrize("python", pythons.ALL, ids=str)
some_pythons = pytest.mark.parametrize("python", sorted({*pythons.ENDS, pythons.ONE}, key=pythons.ALL.index), ids=str)


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
