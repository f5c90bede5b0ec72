# test_breakpoints.py - breakpoints in every thread: existing and new, known to threading or not.
# SPDX-License-Identifier: MIT

import os
import re
import signal
import time

import pytest

import pythons
import support

every_python = pytest.mark.parametrize("python", pythons.ALL, ids=str)
both_ends = pytest.mark.parametrize("python", pythons.ENDS, ids=str)
monitored = pytest.mark.parametrize("python", [p for p in pythons.ALL if p.minor >= 12], ids=str)

SECONDS = 60            # for anything, on a loaded machine
HIT = r'thread (\d+)(?: "([^"]*)")? hit breakpoint (\d+)\r?\n'
WAITS = r'pydbattach: thread (\d+)(?: "([^"]*)")? hit breakpoint (\d+) and waits for `continue`\r?\n'
WORKERS = {"worker-1", "worker-2", "worker-3", None}


def line_of(name, text, nth=0):
    """The number of the line of victims/NAME.py that contains a text."""
    lines = support.read_file(os.path.join(support.VICTIMS, name + ".py")).splitlines()
    return [number for number, line in enumerate(lines, 1) if text in line][nth]


def open_session(attach, target):
    return attach(target.pid, seconds=SECONDS)


def ask(session, line):
    """Type a line; what was shown until the prompt is back. Notices about other threads show the prompt again
    at any time, so its end is told by a second line."""
    __tracebackhide__ = True
    return "".join(row + "\n" for row in session.rows_of(line) if row and not re.match(r"\((Pdb|com)\) |" + WAITS[:-6], row))


def value(session, expression):
    """What an expression is, as p shows it."""
    __tracebackhide__ = True
    shown = ask(session, "p 'value', " + expression)
    found = re.search(r"^\('value', (.*)\)$", shown, re.M)
    assert found, shown
    return found.group(1)


def set_break(session, where, word="break"):
    """Set one; its number."""
    __tracebackhide__ = True
    shown = ask(session, "%s %s" % (word, where))
    found = re.search(r"^Breakpoint (\d+) at ", shown, re.M)
    assert found, shown
    return int(found.group(1))


def go_on(session, line="continue"):
    """Wait for the next stop at a breakpoint: number and name of the thread, number of the breakpoint, what was shown."""
    __tracebackhide__ = True
    shown = ask(session, line)
    found = re.search("(?:^|\n)" + HIT, shown)     # not those that wait
    assert found, shown
    return int(found.group(1)), found.group(2), int(found.group(3)), shown


def step_until(session, word, text, limit=12):
    """Repeat a stepping command until its stop shows a text."""
    __tracebackhide__ = True
    for _ in range(limit):
        if text in ask(session, word):
            return
    raise AssertionError(session.screen)


def finish_crowd(target):
    """All threads of `crowd` are at work: they stop when asked to."""
    target.assert_unharmed(seconds=SECONDS)
    target.write("stop", "")
    assert target.finish(SECONDS) == 0
    assert (target.stdout, target.stderr) == ("ready\nstopped\n", "")


# --- who stops


@every_python
def test_whoever_comes_by_stops_and_the_second_one_waits(python, victim, attach):
    target = victim(python, "crowd")
    session = open_session(attach, target)
    set_break(session, "crowd.py:%d" % line_of("crowd", "answer = secret"))
    shown = go_on(session)[3]
    assert re.search(r"^> \S*crowd\.py\(\d+\)handle\(\)\n-> answer = secret \+ 1", shown, re.M), shown
    # The others come by while the prompt is open, are announced, and are listed as waiting
    assert support.wait_until(lambda: len(re.findall("waits +handle", ask(session, "threads"))) == 3, SECONDS)
    assert len(set(re.findall(WAITS, session.screen))) in (3, 4), session.screen
    rows = ask(session, "threads")
    assert len(re.findall(r"stopped, hit breakpoint 1, waits +handle\(\)", rows)) == 3, rows
    assert len(re.findall(r"^\* .*stopped, hit breakpoint 1 +handle\(\)", rows, re.M)) == 1, rows
    # Each of them is next in turn, and evaluates in its own frame
    seen = [value(session, "name")]
    for _ in range(3):
        go_on(session)
        seen.append(value(session, "name"))
        assert " %s " % value(session, "__import__('_thread').get_ident()") in re.search(r"^\* .*", ask(session, "threads"), re.M).group()
    assert sorted(seen) == ["'nameless'", "'worker-1'", "'worker-2'", "'worker-3'"]
    session.quit()
    finish_crowd(target)


@every_python
def test_words_of_pdb_in_three_threads(python, victim, attach):
    target = victim(python, "crowd")
    session = open_session(attach, target)
    first = set_break(session, "crowd.py:%d" % line_of("crowd", "price = number"))
    second = set_break(session, "crowd.py:%d" % line_of("crowd", "total = start"))
    # Who waits at a breakpoint that is disabled runs on
    assert go_on(session)[2] == first
    assert "Disabled" in ask(session, "disable %d" % first)
    assert [go_on(session)[2] for _ in range(5)] == [second] * 5
    assert "Enabled" in ask(session, "enable %d" % first)
    ask(session, "disable %d" % second)
    assert [go_on(session)[2] for _ in range(5)] == [first] * 5
    # A condition is evaluated in the thread that comes by
    ask(session, "disable %d" % first)
    ask(session, "condition %d __import__('threading').current_thread().name == 'worker-2'" % second)
    ask(session, "enable %d" % second)
    assert [go_on(session)[1] for _ in range(4)] == ["worker-2"] * 4
    # Commands: run when the prompt comes there; silent, and one that goes on by itself
    ask(session, "commands %d\nsilent\np 'sum', start + number >= 0\nend" % second)
    shown = go_on(session)[3]
    assert "('sum', True)" in shown and "-> total" not in shown, shown
    ask(session, "commands %d\np 'again', number\ncontinue" % second)
    session.send("continue\n")
    for _ in range(3):
        session.expect(r"\('again', \d+\)")
    session.interrupt()
    session.prompt()
    # Temporary ones stop one thread only; clear and the list
    ask(session, "disable %d" % second)
    third = set_break(session, "crowd.py:%d" % line_of("crowd", "valid = number"), "tbreak")
    for _ in range(8):
        stop = go_on(session)
        if stop[2] == third:
            break
    assert "Deleted breakpoint %d at " % third in stop[3]
    assert "breakpoint %d" % third not in ask(session, "break")
    assert re.search(r"%d +breakpoint +keep no +at .*:\d+\n\tstop only if .*\n\tbreakpoint already hit \d+ times"
                     % second, ask(session, "break"))
    assert "Deleted breakpoint %d" % second in ask(session, "clear %d" % second)
    assert "Deleted breakpoint %d" % first in ask(session, "clear %d" % first)
    assert ask(session, "break") == ""
    session.quit()
    finish_crowd(target)


@every_python
def test_threads_that_start_later(python, victim, attach):
    """Also one that the threading module does not know."""
    target = victim(python, "crowd")
    session = open_session(attach, target)
    set_break(session, "handle, name == 'late'")
    for wish, name in (("thread", "late"), ("unknown", None)):
        target.write(wish, "")
        stop = go_on(session)
        assert stop[:3] == (stop[0], name, 1)
        assert value(session, "number") == "1"
    ask(session, "clear 1")
    session.quit()
    finish_crowd(target)


@every_python
def test_one_thread_only(python, victim, attach):
    target = victim(python, "crowd")
    session = open_session(attach, target)
    where = "crowd.py:%d" % line_of("crowd", "answer = secret")
    set_break(session, where + " thread worker-2")
    assert 'stop only in thread' in ask(session, "break")
    assert [go_on(session)[1] for _ in range(4)] == ["worker-2"] * 4
    number = re.search(r'^. +(\d+) +"worker-3"', ask(session, "threads"), re.M).group(1)
    ask(session, "clear 1")
    set_break(session, "%s, number > 0 thread %s" % (where, number))
    assert [go_on(session)[1] for _ in range(3)] == ["worker-3"] * 3
    assert ask(session, "break %s thread nobody" % where) == (
        "*** no thread 'nobody' in process %d; it has %s\n" % (
            target.pid, ", ".join('%s "%s"' % (row[0], row[1] or row[2]) for row in re.findall(
                r'^. +(\d+) +(?:"([^"]*)"|-) +(\d+)', ask(session, "threads"), re.M)[:5])))
    session.quit()
    finish_crowd(target)


# --- where


@every_python
def test_functions_by_name(python, victim, attach):
    """A method, a decorated one, a property, a closure, a generator, a plain function."""
    target = victim(python, "crowd")
    session = open_session(attach, target)
    for name, text in (("Desk.serve", "price = number"), ("Desk.check", "valid = number"), ("Desk.label", 'text = "desk"'),
                       ("make_counter.count", "total = start"), ("numbers", "for number in range(3)"), ("handle", "secret = number")):
        shown = ask(session, "break __main__:%s" % name)
        number = int(re.match(r"Breakpoint (\d+) at \S*crowd\.py:%d\n" % line_of("crowd", text), shown).group(1))
        for _ in range(10):
            stop = go_on(session)
            if stop[2] == number:
                break
        assert stop[2] == number and "-> " + text in stop[3], stop[3]
        ask(session, "clear %d" % number)
    session.quit()
    finish_crowd(target)


@every_python
def test_function_that_is_not_imported_yet(python, victim, attach):
    target = victim(python, "crowd", files={
        "shop/__init__.py": "", "shop/orders.py": """import functools

def plain(function):
    @functools.wraps(function)
    def wrapper(*arguments):
        return function(*arguments)
    return wrapper

class Order:
    def __init__(self, number):
        self.number = number

    @plain
    def total(self, factor):
        amount = self.number * factor
        return amount
"""})
    session = open_session(attach, target)
    assert ask(session, "break shop.orders:Order.total, factor == 4") == (
        "Breakpoint 1 at shop.orders:Order.total (pending: shop.orders is not imported yet)\n")
    assert ask(session, "break shop.orders:Order.none") == (
        "Breakpoint 2 at shop.orders:Order.none (pending: shop.orders is not imported yet)\n")
    assert "1   breakpoint   keep yes   at shop.orders:Order.total (pending)\n\tstop only if factor == 4" in ask(session, "break")
    target.write("import", "")
    shown = go_on(session)[3]
    assert "pydbattach: breakpoint 1 is at %s:15\n" % os.path.join(target.inside, "shop/orders.py") in shown
    assert "-> amount = self.number * factor" in shown
    assert value(session, "self.number, factor") == "3, 4"
    assert ask(session, "break shop.orders:Order.more") == (
        "Breakpoint 3 at shop.orders:Order.more (pending: shop.orders has no Order.more so far)\n")
    for number in (2, 3, 1):
        assert "Deleted breakpoint %d" % number in ask(session, "clear %d" % number)
    session.quit()
    finish_crowd(target)


@every_python
def test_frame_that_runs_already_and_calls_nothing(python, victim, attach):
    target = victim(python, "crowd", args=["spin"])
    session = open_session(attach, target)
    set_break(session, "crowd.py:%d" % line_of("crowd", "turns += 1"))
    stop = go_on(session)
    assert stop[1] == "spinner" and "-> turns += 1" in stop[3]
    assert go_on(session)[1] == "spinner"
    session.quit()
    finish_crowd(target)


# --- stepping


@every_python
def test_stepping_in_the_chosen_thread_only(python, victim, attach):
    """Through await, with, a generator, an exception; another thread that hits a breakpoint waits meanwhile."""
    target = victim(python, "walks")
    session = open_session(attach, target)
    set_break(session, "walks.py:%d" % line_of("walks", "first = 1"))
    assert go_on(session)[1] == "walker"
    set_break(session, "walks.py:%d" % line_of("walks", "beat = 1"))
    assert '-> word = await fetch("x")' in ask(session, "next")
    assert "async def fetch(word):" in ask(session, "step")
    assert "-> await asyncio.sleep(0)" in ask(session, "next")
    step_until(session, "next", '-> return word + "!"')         # the event loop was there meanwhile
    step_until(session, "next", "-> with Room() as place:")     # --Return-- or StopIteration between
    assert "__enter__(self)" in ask(session, "step")
    assert "__enter__()->'inside'" in ask(session, "return")
    step_until(session, "next", "-> first += 1")
    assert "-> both = [letter" in ask(session, "until %d" % line_of("walks", "both = ["))
    step_until(session, "step", "def letters():")               # the comprehension is a function of its own up to 3.11
    assert '-> yield "a"' in ask(session, "next")
    assert '-> yield "b"' in ask(session, "next")               # suspended and resumed between
    # The runner has been waiting since, was announced, and is next
    assert support.wait_until(lambda: "waits" in ask(session, "threads"), SECONDS)
    assert [row[1:] for row in set(re.findall(WAITS, session.screen)) if row[2] == "2"] == [("runner", "2")], session.screen
    assert go_on(session)[1:3] == ("runner", 2)
    ask(session, "clear 2")
    ask(session, "clear 1")
    set_break(session, "walks.py:%d" % line_of("walks", "fail(word)", 1), "tbreak")
    assert go_on(session)[1:3] == ("walker", 3)
    shown = ask(session, "next")
    assert "KeyError: 'x!'" in shown and "walk()" in shown and "-> fail(word)" in shown, shown
    assert "-> except KeyError:" in ask(session, "next")
    assert "-> first += 10" in ask(session, "next")
    assert value(session, "first, word") == "2, 'x!'"
    # And on the thread after `thread N`
    assert "run()" in ask(session, "thread runner") or "tick()" in ask(session, "where")
    assert re.search(r"^-> |^-->|^--", ask(session, "next"), re.M)
    assert re.search(r"^thread \d+ \"runner\" is stopped", ask(session, "thread"), re.M)
    assert re.search(r"^thread \d+ \"walker\" is stopped", ask(session, "thread walker") + ask(session, "thread"), re.M)
    session.quit()
    target.assert_unharmed(seconds=SECONDS, but=("descriptors",))       # those of its event loops
    target.write("stop", "")
    assert target.finish(SECONDS) == 0
    assert (target.stdout, target.stderr) == ("ready\nstopped\n", "")


@every_python
def test_steps_of_three_threads_in_turn(python, victim, attach):
    """Of those that stand at the same line each takes its steps, and the others do not move."""
    target = victim(python, "crowd")
    session = open_session(attach, target)
    begin = line_of("crowd", "secret = number")
    set_break(session, "crowd.py:%d" % begin)
    go_on(session)
    places = dict.fromkeys(("worker-1", "worker-2", "worker-3"), "handle:%d" % begin)

    def where_they_are():
        found = re.findall(r'"(worker-\d)" .* stopped\b.*? (\w+)\(\) \S*crowd\.py:(\d+)', ask(session, "threads"))
        return {name: "%s:%s" % (function, line) for name, function, line in found}

    assert support.wait_until(lambda: where_they_are() == places, SECONDS), session.screen
    for name in places:
        ask(session, "thread " + name)
        assert "-> answer = secret + 1" in ask(session, "next")
        assert "-> return answer" in ask(session, "until")
        assert re.search(r"handle\(\)->\d+\n-> return answer", ask(session, "return"))
        assert "-> desk.serve(number)" in ask(session, "step")
        assert value(session, "name") == repr(name)
        places[name] = "work:%d" % line_of("crowd", "desk.serve(number)")
        assert where_they_are() == places
    session.quit()
    finish_crowd(target)


HOLDER = """
import threading, time
lock, rounds = threading.Lock(), 0
def work():
    global rounds
    while True:
        with lock:
            rounds += 1
        time.sleep(0.01)
threading.Thread(target=work, name="holder", daemon=True).start()
print("ready", flush=True)
time.sleep(3600)
"""


@every_python
def test_evaluation_that_wants_the_lock_of_a_stopped_thread(python, victim, attach):
    """It is ended or left behind, said so, and the session goes on; so does the thread."""
    target = victim(python, source=HOLDER)
    session = open_session(attach, target)
    set_break(session, "victim.py:8")
    assert go_on(session)[1] == "holder"
    ask(session, "thread 1")
    session.send("!open('begun', 'w').close() or lock.acquire() and lock.release()\n")
    assert support.wait_until(lambda: os.access(os.path.join(target.place, "begun"), os.F_OK), SECONDS)
    session.interrupt()
    shown = session.prompt()
    assert "KeyboardInterrupt" in shown or "the evaluation does not answer to the interrupt; it is left behind" in shown
    assert value(session, "lock.locked()") == "True"
    ask(session, "clear 1")
    rounds = value(session, "rounds")
    assert re.search(r"thread \d+ \"holder\" is stopped", ask(session, "thread holder") + ask(session, "thread"))
    assert "victim.py" in ask(session, "next")
    assert support.wait_until(lambda: int(value(session, "rounds")) > int(rounds), SECONDS)
    session.quit()
    target.assert_unharmed(seconds=SECONDS)
    target.end()


@every_python
def test_stepping_over_lines_that_a_breakpoint_did_not_need(python, victim, attach):
    """What the threads that run need no events for, the one that steps does; also when it came by at the prompt."""
    target = victim(python, "covered")
    session = open_session(attach, target)
    set_break(session, "covered.py:%d" % line_of("covered", "time.sleep"))
    go_on(session)
    for _ in range(2):
        for _ in range(3):
            assert "-> while not os.access" in ask(session, "next")
            assert "-> time.sleep(0.05)" in ask(session, "next")
        go_on(session)
    session.quit()
    target.assert_unharmed(seconds=SECONDS)
    target.write("stop", "")
    assert target.finish(SECONDS) == 0
    assert (target.stdout, target.stderr) == ("ready\ndone\n", "")


# --- under load


@every_python
def test_ignore_counts_every_hit_of_sixteen_threads(python, victim, attach):
    times = 1500
    target = victim(python, "storm", args=[str(times)])
    session = open_session(attach, target)
    set_break(session, "hit")
    ask(session, "ignore 1 %d" % (16 * times - 1))
    target.write("go", "")
    stop = go_on(session)       # the very last call, and no other one, stops
    shown = ask(session, "break")
    assert "breakpoint already hit %d times" % (16 * times) in shown and "ignore next" not in shown, shown
    assert value(session, "number") == str(times - 1), stop
    ask(session, "ignore 1 1000000")
    session.quit()
    assert support.wait_until(lambda: "calls %d\n" % (16 * times) in target.stdout, SECONDS)
    target.assert_unharmed(seconds=SECONDS, stdout="ready\ncalls %d\n" % (16 * times))
    target.write("stop", "")
    assert target.finish(SECONDS) == 0
    assert target.stderr == ""


@every_python
def test_detach_while_threads_wait(python, victim, attach):
    """At breakpoints, at the prompt, and on their way: all run on; also if the client is killed."""
    target = victim(python, "storm", args=["1500"])
    session = open_session(attach, target)
    set_break(session, "storm.py:%d" % line_of("storm", "value = number"))
    target.write("go", "")
    go_on(session)
    support.wait_until(lambda: len(re.findall(WAITS, session.screen + ask(session, "p 1"))) >= 8, SECONDS)
    if python.minor % 2:
        session.quit()
    else:
        os.kill(session.processes()["pydbclient"], signal.SIGKILL)
    assert support.wait_until(lambda: "calls 24000\n" in target.stdout, SECONDS), target.stdout
    target.assert_unharmed(seconds=SECONDS, stdout="ready\ncalls 24000\n")
    target.write("stop", "")
    assert target.finish(SECONDS) == 0
    assert target.stderr == ""


@every_python
def test_asyncio_server_loses_no_request(python, victim, attach):
    target = victim(python, "async_server")
    session = open_session(attach, target)
    set_break(session, "async_server.py:%d" % line_of("async_server", "found = word"))
    assert go_on(session)[2] == 1
    assert re.fullmatch(r"b'\d+'", value(session, "word"))
    assert go_on(session)[2] == 1
    ask(session, "condition 1 word == b''")
    session.quit()
    target.assert_unharmed(seconds=SECONDS)
    target.write("stop", "")
    assert target.finish(SECONDS) == 0
    assert (target.stdout, target.stderr) == ("ready\nanswers complete\n", "")


# --- beside the tools of the program


@every_python
@pytest.mark.parametrize("kind", ["trace", "profile"])
def test_own_tracer_sees_everything(kind, python, victim, attach):
    target = victim(python, "own_tracer", args=[kind])
    session = open_session(attach, target)
    set_break(session, "own_tracer.py:%d" % line_of("own_tracer", "number += 1"))
    for _ in range(3):
        go_on(session)
    ask(session, "condition 1 number < 0")
    set_break(session, "own_tracer.py:%d" % line_of("own_tracer", "rounds += 1"))
    go_on(session)
    session.quit()
    target.assert_unharmed(seconds=SECONDS)
    target.write("stop", "")
    assert target.finish(SECONDS) == 0
    assert target.stdout == "ready\nevents complete\ntracer kept\n"


TOOLS = """
import os, sys, time
monitoring = sys.monitoring
lines = set()
for tool in range(6):
    monitoring.use_tool_id(tool, "tool %d" % tool)
def see(code, line):
    lines.add(line)
    return monitoring.DISABLE
monitoring.register_callback(1, monitoring.events.LINE, see)
monitoring.set_events(1, monitoring.events.LINE)
if len(sys.argv) > 1:
    monitoring.free_tool_id(3)
def work():
    value = 1
    return value
print("ready", flush=True)
while not os.access("stop", os.F_OK):
    work()
    time.sleep(0.01)
names = [monitoring.get_tool(tool) for tool in range(6)]
print(names.count(None), [name for name in names if name and not name.startswith("tool ")], {15, 16} <= lines, flush=True)
"""


@monitored
def test_no_tool_id_is_left(python, victim, batch):
    """Nobody is evicted: the session says that it cannot be."""
    target = victim(python, source=TOOLS)
    done = batch("-c", "break victim.py:16", target.pid)
    assert (done.returncode, done.stdout, done.stderr.splitlines()[1:]) == (1, "", [
        "pydbattach: process %d: all tool ids of sys.monitoring are in use by the program" % target.pid])
    target.assert_unharmed(seconds=SECONDS)
    target.write("stop", "")
    assert target.finish(SECONDS) == 0
    assert (target.stdout, target.stderr) == ("ready\n0 [] True\n", "")


@monitored
def test_tools_of_the_program_go_on(python, victim, attach):
    target = victim(python, source=TOOLS, args=["one free"])
    session = open_session(attach, target)
    set_break(session, "victim.py:16")
    for _ in range(3):
        go_on(session)
    session.quit()
    target.assert_unharmed(seconds=SECONDS)
    target.write("stop", "")
    assert target.finish(SECONDS) == 0
    assert (target.stdout, target.stderr) == ("ready\n1 [] True\n", "")


@both_ends
def test_coverage_of_the_program_goes_on(python, victim, attach):
    support.need(python.site(), "no coverage for %s (make deps)" % python.name)
    target = victim(python, "covered", command=["-m", "coverage", "run", "covered.py"], env={"PYTHONPATH": python.site()})
    session = open_session(attach, target)
    set_break(session, "covered.py:%d" % line_of("covered", "time.sleep"))
    set_break(session, "covered.py:%d, value is None" % line_of("covered", "value += 1"))
    for _ in range(3):
        go_on(session)
    ask(session, "next")
    session.quit()
    target.assert_unharmed(seconds=SECONDS)
    target.write("stop", "")
    assert target.finish(SECONDS) == 0
    assert target.stdout.endswith("done\n") and target.stderr == ""
    report = support.Victim(python, command=["-m", "coverage", "report", "-m", "--data-file", target.inside + "/.coverage"],
                            env={"PYTHONPATH": python.site()})
    try:
        report.finish(SECONDS)
        assert re.search(r"covered\.py +\d+ +0 +100%", report.stdout), report.stdout + report.stderr
    finally:
        report.close()


FORKER = """
import os, time
def work(number):
    value = number + 1
    return value
def parent():
    work(1)
    child = os.fork()
    if child == 0:
        for number in range(1000):
            assert work(number) == number + 1
        os._exit(7)
    print("child", os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) if hasattr(os, "waitstatus_to_exitcode") else 7, flush=True)
print("ready", flush=True)
while not os.access("stop", os.F_OK):
    time.sleep(0.01)
    if os.access("fork", os.F_OK):
        os.unlink("fork")
        parent()
"""


AUDITED = """
import os, sys, time
counts = {"calls": 0, "events": 0}
def hook(event, arguments):
    counts["events"] += event == "sys.settrace"
def work(number):
    value = number + 1
    return value
print("ready", flush=True)
sys.addaudithook(hook)
while not os.access("stop", os.F_OK):
    counts["calls"] += work(1) - 1
    time.sleep(0.001)
"""


@pytest.mark.parametrize("python", [p for p in pythons.ALL if p.minor >= 10], ids=str)
def test_audit_hook_of_the_program_is_not_called_by_each_call(python, victim, attach):
    """Up to 3.11 a function with a breakpoint has events while it runs: switching them is no sys.settrace()."""
    target = victim(python, source=AUDITED)
    session = open_session(attach, target)
    set_break(session, "victim.py:8, number < 0")
    for _ in range(100):
        session.send("continue\n")
        session.expect("\r\n")
        time.sleep(0.2)
        session.interrupt()
        session.prompt()
        calls, events = eval(value(session, "counts['calls'], counts['events']"))
        if calls > 1000:
            break
    assert events < calls / 2, (calls, events)
    session.quit()
    target.assert_unharmed(seconds=SECONDS)
    target.write("stop", "")
    assert target.finish(SECONDS) == 0


@every_python
def test_child_of_a_fork_stops_nowhere(python, victim, attach):
    target = victim(python, source=FORKER, options=["-W", "ignore"])
    session = open_session(attach, target)
    set_break(session, "victim.py:4")
    target.write("fork", "")
    assert go_on(session)[2] == 1
    session.send("continue\n")
    assert support.wait_until(lambda: "child 7\n" in target.stdout, SECONDS)
    session.interrupt()
    session.prompt()
    session.quit()
    target.assert_unharmed(seconds=SECONDS, stdout="ready\nchild 7\n")
    target.write("stop", "")
    assert target.finish(SECONDS) == 0
    assert target.stderr == ""


@every_python
def test_help_and_wrong_words(python, victim, attach):
    target = victim(python, "crowd")
    session = open_session(attach, target)
    shown = ask(session, "help break")
    assert '"thread N" or "thread NAME" behind the place' in shown
    # Ours is indented like pdb's own text
    assert len(set(re.findall(r"^( *)(?:Without argument, list|waits for `continue`)", shown, re.M))) == 1, shown
    assert ask(session, "break __main__:handle, name )") == "*** Invalid condition name ): unmatched ')' (<condition>, line 1)\n"
    assert ask(session, "break __main__:Desk.nothing") == (
        "Breakpoint 1 at __main__:Desk.nothing (pending: __main__ has no Desk.nothing so far)\n")
    session.quit()
    finish_crowd(target)
