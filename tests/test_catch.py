# test_catch.py - catchpoints, watchpoints, logpoints, stopall, and the file of `breaks save`, in all threads.
# SPDX-License-Identifier: MIT

import os
import re

import pytest

import pythons
import support

every_python = pytest.mark.parametrize("python", pythons.ALL, ids=str)
both_ends = pytest.mark.parametrize("python", pythons.ENDS, ids=str)

FILE = os.path.join(support.VICTIMS, "errors.py")


def line_of(text):
    """The number of the line of victims/errors.py that contains a text."""
    return [number for number, line in enumerate(support.read_file(FILE).splitlines(), 1) if text in line][0]


@pytest.fixture
def errors(victim, attach):
    """errors(python): a victim and a session on it."""
    def start(python, **named):
        target = victim(python, "errors")
        session = attach(target.pid, **named)
        target.path = session.ask("p os.path.abspath(fail.__code__.co_filename)").strip().strip("'")
        return target, session
    return start


def finish(target, deaths=0):
    """No exception was lost, none came twice, and the threads still obey."""
    __tracebackhide__ = True
    target.assert_unharmed()
    target.write("stop", "")
    assert target.finish() == 0
    names = "{'ValueError'}" if deaths else "set()"
    assert (target.stdout, target.stderr) == ("ready\nstopped True %d %s\n" % (deaths, names), "")


def go_on(session, pattern):
    """continue to a stop whose first line matches; the match and what was shown."""
    __tracebackhide__ = True
    shown = session.ask("continue")
    found = re.search(pattern, shown)
    assert found, shown
    return found, shown


def numbers(session):
    """What the threads have counted so far."""
    return [int(number) for number in re.search(r"^\[(\d+), (\d+), (\d+)\]$", session.ask("p counts"), re.M).groups()]


def standing(session):
    """How many of the three threads stand."""
    return len(re.findall(r'"counter-\d".* stopped', session.ask("threads")))


# --- catch


@every_python
def test_catch_stops_where_an_exception_is_raised(python, errors):
    target, session = errors(python)
    assert session.ask("catch KeyError") == "Catchpoint 1 at KeyError\n"
    go_on(session, "raised KeyError")
    assert session.ask("condition 1 number % 2") == "New condition set for breakpoint 1.\n"
    for _ in range(2):                  # those that waited before
        go_on(session, "raised KeyError")
    threads = set()
    for _ in range(4):
        found, shown = go_on(session, r'thread \d "(counter-\d)" raised KeyError: (\d+)\n> \S+\(%d\)fail\(\)\n'
                             % line_of("raise KeyError"))
        threads.add(found.group(1))
        assert int(found.group(2)) % 2 == 1
        assert session.ask("p number").splitlines()[-1] == found.group(2)
        assert session.ask("p threading.current_thread().name").splitlines()[-1] == repr(found.group(1))
    assert len(threads) > 1
    assert re.search(r"1   catchpoint   keep yes   KeyError\n\tstop only if number % 2\n\tcatchpoint already hit \d+ times",
                     session.ask("break"))
    assert "Deleted catchpoint 1 at KeyError\n" in session.ask("clear 1")
    session.quit()
    finish(target)


@every_python
def test_catch_uncaught_stops_where_an_exception_leaves_a_thread(python, errors):
    target, session = errors(python)
    session.ask("catch KeyError uncaught")
    assert session.ask("catch ValueError uncaught") == "Catchpoint 2 at ValueError uncaught\n"
    target.write("die", "")
    found, shown = go_on(session, r'thread \d+ "mortal" is left by ValueError: dead words\n> \S+\((\d+)\)ends\(\)\n-> raise')
    assert int(found.group(1)) == line_of("raise ValueError")
    assert session.ask("p last") == "'words'\n"
    assert "run()\n-> self._target(" in session.ask("where")
    session.quit()
    support.wait_until(lambda: len(support.look_at(target.pid).threads) == 4)
    finish(target, deaths=1)


@every_python
def test_three_threads_that_are_left_by_an_exception_wait_in_turn(python, errors):
    target, session = errors(python)
    session.ask("catch ValueError uncaught")
    for number in range(1, 4):
        target.write("die", "")
        assert support.wait_until(lambda: session.ask("threads").count("stopped, is left by ValueError: dead words") == number
                                  if number > 1 else go_on(session, "is left by ValueError: dead words"))
    for _ in range(2):
        go_on(session, r'thread \d+ "mortal" is left by ValueError: dead words\n')
    session.quit()
    finish(target, deaths=3)


CALM = """
import os, threading, time

def fail():
    raise KeyError(1)

class Calm(threading.Thread):
    def run(self):
        turn = 1
        try:
            fail()
        except KeyError:
            turn = 2
        turn = 3

print("ready", flush=True)
while not os.access("stop", os.F_OK):
    calm = Calm()
    calm.start()
    calm.join()
    time.sleep(0.01)
"""


@every_python
def test_step_over_a_caught_exception_is_none_that_leaves_the_thread(python, victim, attach):
    """The bottom function of a thread has caught it, and returns None."""
    target = victim(python, source=CALM)
    session = attach(target.pid)
    session.ask("catch KeyError uncaught")
    session.ask("tbreak __main__:Calm.run")
    go_on(session, r"hit breakpoint 2\n")
    for _ in range(12):
        if "--Return--" in session.screen:
            break
        session.ask("next")
    assert "--Return--" in session.screen
    session.ask("next")
    assert "is left by" not in session.screen
    session.quit()
    support.wait_until(lambda: len(support.look_at(target.pid).threads) <= 2)
    target.write("stop", "")
    assert target.finish() == 0
    assert (target.stdout, target.stderr) == ("ready\n", "")


@both_ends
def test_catch_by_a_name_that_is_not_there_yet(python, errors):
    target, session = errors(python)
    assert session.ask("catch nowhere.KeyError") == (
        "Catchpoint 1 at nowhere.KeyError (by its name: there is no such class so far)\n")
    go_on(session, r"raised KeyError: \d+\n")
    session.quit()
    finish(target)


@both_ends
def test_catch_of_what_is_no_exception(python, errors):
    target, session = errors(python)
    assert session.ask("catch") == "*** catch EXCEPTION [uncaught|raised]\n"
    assert session.ask("catch os") == "*** not an exception: os\n"
    assert session.ask("catch 1 + 1") == "*** not an exception: 1 + 1\n"
    session.quit()
    finish(target)


# --- logpoint, watch, display


@every_python
def test_logpoint_prints_and_never_stops(python, errors):
    target, session = errors(python)
    where = "%s:%d" % (target.path, line_of("raise KeyError"))
    assert session.ask("logpoint %s number" % where).startswith("Breakpoint 1 at %s\n" % where)
    for place in range(3):
        session.expect(r'\n\d\d:\d\d:\d\d\.\d\d\d thread \d "counter-%d" errors.py:%d: number = \d+\r?\n'
                       % (place, line_of("raise KeyError")))
    assert "42" in session.ask("p 6 * 7").splitlines()
    assert "\tlog number\n" in session.ask("break")
    session.ask("clear 1")
    before = len(session.screen)
    assert support.wait_until(lambda: numbers(session) != numbers(session))
    assert "stopped" not in session.screen[before:]
    assert session.ask("logpoint " + where) == "*** logpoint FILE:LINE EXPRESSION\n"
    assert session.ask("logpoint %s )" % where).startswith("*** Invalid expression ): ")
    session.quit()
    finish(target)


@every_python
def test_watch_stops_when_a_value_changes(python, errors):
    target, session = errors(python)
    found = re.fullmatch(r"Watchpoint 1: shop.total is (\d+)\n", session.ask("watch shop.total"))
    value = int(found.group(1))
    for _ in range(2):
        found, shown = go_on(session, r"has seen watch 1, shop.total: was (\d+), is (\d+)\n")
        assert int(found.group(1)) >= value and int(found.group(2)) == int(found.group(1)) + 1
        value = int(found.group(2))
    assert "1   watchpoint   keep yes   shop.total" in session.ask("break")
    assert "Deleted watchpoint 1 at shop.total" in session.ask("clear 1")
    assert session.ask("watch nothing") == "*** NameError: name 'nothing' is not defined\n"
    session.quit()
    finish(target)


@every_python
def test_watch_of_a_variable_ends_with_its_call(python, errors):
    target, session = errors(python)
    session.ask("tbreak %s:%d" % (target.path, line_of("if place == 0")))
    go_on(session, "count()")
    found = re.fullmatch(r"Watchpoint \d+: before is (\d+)\n", session.ask("watch before"))
    assert session.ask("!before = -77").count("\n") <= 1
    shown = session.ask("next")
    assert re.search(r"hit watch \d+, before: was %s, is -77\n" % found.group(1), shown), shown
    for _ in range(9):
        if "has ended: count() has returned" in session.screen:
            break
        session.ask("next")
    assert re.search(r"watch \d+, before, has ended: count\(\) has returned", session.screen)
    session.quit()
    finish(target)


@every_python
def test_display_shows_what_has_changed_at_the_next_stop(python, errors):
    target, session = errors(python)
    session.ask("break %s:%d" % (target.path, line_of("time.sleep(0.01)")))
    found, _ = go_on(session, r'thread (\d) "counter-(\d)" hit breakpoint 1')
    place = int(found.group(2))
    assert re.match(r"display caught\[place\]: \d+", session.ask("display caught[place]"))
    for _ in range(60):
        found, shown = go_on(session, r'thread (\d) "counter-(\d)" hit breakpoint 1')
        if int(found.group(2)) == place:
            break
    assert re.search(r"display caught\[place\]: \d+  \[old: \d+\]", shown), shown
    session.quit()
    finish(target)


@every_python
def test_display_is_each_threads_own(python, errors):
    """Three threads in the same function, each with a display of its own frame."""
    target, session = errors(python)
    session.ask("break %s:%d" % (target.path, line_of("time.sleep(0.01)")))
    shown_in, last = set(), {}
    for _ in range(40):
        found, shown = go_on(session, r'"counter-(\d)" hit breakpoint 1')
        place = found.group(1)
        if place not in last:
            last[place] = re.match(r"display place, caught\[place\]: (\(\d+, \d+\))", session.ask("display place, caught[place]")).group(1)
            continue
        now, old = re.search(r"display place, caught\[place\]: (\(\d+, \d+\))  \[old: (\(\d+, \d+\))\]", shown).groups()
        assert old == last[place] and now.startswith("(%s," % place) and now != old
        last[place] = now
        shown_in.add(place)
        if len(shown_in) == 3:
            break
    assert shown_in == {"0", "1", "2"}
    session.quit()
    finish(target)


# --- stopall, goall


@every_python
def test_stopall_lets_all_threads_stand(python, errors):
    target, session = errors(python)
    shown = session.ask("stopall")
    assert re.search(r"[1-4] threads? stands?; `goall` or `continue` lets (it|them) go\n", shown), shown
    # What was asleep stands when it comes back.
    assert support.wait_until(lambda: standing(session) == 3), session.ask("threads")
    assert numbers(session) == numbers(session)
    assert re.fullmatch(r"[34] threads go on\n", session.ask("goall"))
    assert support.wait_until(lambda: numbers(session) != numbers(session))
    session.quit()
    finish(target)


@every_python
def test_step_under_stopall_moves_one_thread(python, errors):
    target, session = errors(python)
    session.ask("break count")
    found, _ = go_on(session, r'thread (\d) "counter-(\d)" hit breakpoint 1')
    place = int(found.group(2))
    session.ask("clear 1")
    session.ask("stopall")
    assert support.wait_until(lambda: standing(session) == 3), session.ask("threads")
    before = numbers(session)
    session.ask("next")
    session.ask("next")
    after = numbers(session)
    assert [a - b for a, b in zip(after, before)] == [int(at == place) for at in range(3)]
    session.quit()
    finish(target)


@every_python
def test_goall_ends_a_step_that_was_begun(python, errors):
    """A thread that was under the prompt after `next`, and left by `thread N`, does not stop again."""
    target, session = errors(python)
    session.ask("break count")
    found, _ = go_on(session, r'thread (\d) "counter-(\d)" hit breakpoint 1')
    session.ask("clear 1")
    session.ask("next")
    session.ask("thread 1")
    session.ask("goall")
    begin = len(session.screen)
    for _ in range(3):
        before = numbers(session)
        assert support.wait_until(lambda: all([now > then for then, now in zip(before, numbers(session))]))
    assert "has stopped" not in session.screen[begin:]
    session.quit()
    finish(target)


# --- breaks save, breaks load


@every_python
def test_breakpoints_are_saved_and_loaded(python, errors, attach, tmp_path):
    target, session = errors(python)
    path = tmp_path / "my breaks"
    fail, tick = line_of("raise KeyError"), line_of("before = counts")
    for line in ("break %s:%d, number == -1" % (target.path, fail), "ignore 1 5", "catch LookupError uncaught",
                 "logpoint %s:%d place" % (target.path, tick), "disable 3", "watch shop.missing if 0 else 1"):
        session.ask(line)
    session.send("commands 1\n")
    session.send("p number\n")
    session.ask("end")
    assert session.ask("breaks save %s" % path).replace("\n", "") == "pydbattach: 4 breakpoints are saved in %s" % path
    saved = path.read_text()
    assert saved == ("# breakpoints of pydbattach\n"
                     "break %s:%d\ncondition %% number == -1\nignore %% 5\ncommands %%\n  p number\nend\n"
                     "catch LookupError uncaught\n"
                     "logpoint %s:%d place\ndisable %%\n"
                     "watch shop.missing if 0 else 1\n" % (target.path, fail, target.path, tick))
    session.quit()
    session = attach(target.pid)
    assert session.ask("breaks load %s" % path).splitlines()[-1] == "4 breakpoints are set"
    assert session.ask("breaks save %s.2" % path) != ""
    assert (tmp_path / "my breaks.2").read_text() == saved
    session.quit()
    finish(target)


@every_python
def test_loaded_breakpoints_stop_every_thread(python, errors, tmp_path):
    target, session = errors(python)
    session.ask("break %s:%d, number > 0" % (target.path, line_of("raise KeyError")))
    session.ask("breaks save %s" % (tmp_path / "breaks"))
    session.ask("clear 1")
    assert session.ask("breaks load %s" % (tmp_path / "breaks")).splitlines()[-1] == "1 breakpoint is set"
    threads = set()
    for _ in range(40):
        threads.add(go_on(session, r'thread \d "(counter-\d)" hit breakpoint 2\n')[0].group(1))
        if len(threads) == 3:
            break
    assert len(threads) == 3
    session.quit()
    finish(target)


def test_file_of_breaks_save_that_cannot_be_written_or_read(errors, tmp_path):
    target, session = errors(pythons.ONE)
    gone = tmp_path / "none" / "x"
    assert session.ask("breaks save %s" % gone) == "pydbattach: cannot write %s: No such file or directory\n" % gone
    assert session.ask("breaks load %s" % gone) == "pydbattach: cannot read %s: No such file or directory\n" % gone
    assert session.ask("breaks save %s" % tmp_path) == "pydbattach: cannot write %s: Is a directory\n" % tmp_path
    assert session.ask("breaks load /dev/null") == "pydbattach: cannot read /dev/null: it is not a regular file\n"
    assert session.ask("breaks keep x") == "*** breaks [save FILE | load FILE]\n"
    assert session.ask("breaks save") == "*** breaks [save FILE | load FILE]\n"
    (tmp_path / "bad").write_text("break nowhere.py:1\nimport os\nignore % 3\n")
    shown = session.ask("breaks load %s" % (tmp_path / "bad"))
    assert "*** not a line of `breaks save`: import os\n" in shown and shown.endswith("0 breakpoints are set\n")
    session.quit()
    finish(target)


# --- leaving


@every_python
def test_detach_with_everything_set(python, errors):
    """By q while threads stand, wait and run: all go on, no trace is left."""
    target, session = errors(python)
    session.ask("catch KeyError")
    session.ask("watch counts")
    session.ask("logpoint %s:%d counts" % (target.path, line_of("before = counts")))
    session.ask("stopall")
    session.quit()
    finish(target)


@both_ends
def test_killed_client_with_everything_set(python, errors):
    target, session = errors(python)
    session.ask("catch KeyError")
    session.ask("stopall")
    os.kill(session.processes()["pydbclient"], 9)
    finish(target)
