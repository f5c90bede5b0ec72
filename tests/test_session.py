# test_session.py - what one can do at the prompt, in both states of a thread, and what the program sees of it.
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


def line_of(name, text):
    """The number of the line of victims/NAME.py that contains a text."""
    lines = support.read_file(os.path.join(support.VICTIMS, name + ".py")).splitlines()
    return next(number for number, line in enumerate(lines, 1) if text in line)


def stop_in(session, function):
    """Bring the main thread of `workers` to the first line of a function of its loop."""
    __tracebackhide__ = True
    assert "Breakpoint" in session.cmd("tbreak " + function)
    shown = session.cmd("continue")
    assert "%s()" % function in shown, shown


def finish_workers(target):
    """The loop of `workers` still works: it ends when asked to."""
    target.assert_unharmed()
    target.write("stop", "")
    assert target.finish() == 0
    assert (target.stdout, target.stderr) == ("ready\nstopped\n", "")


# --- stopped in Python code: all of Pdb


@every_python
def test_stepping(python, victim, attach):
    target = victim(python, "workers")
    session = attach(target.pid)
    stop_in(session, "pack")
    assert re.search(r"->\s+secret = 2001", session.cmd("list ."))
    assert "-> amount = price(order, 3)" in session.cmd("next")
    shown = session.cmd("step")
    assert "--Call--" in shown and "-> def price(order, factor):" in shown
    assert session.cmd("args").splitlines() == ["order = <Order 7 of Ada>", "factor = 3"]
    assert "-> base = order.number * 10" in session.cmd("next")
    assert "-> total = base * factor" in session.cmd("until")
    assert session.cmd("p base").strip() == "70"
    assert session.cmd("!base = 80").strip() == ""
    assert session.cmd("p base").strip() == "80"
    assert "-> return total" in session.cmd("next")
    assert session.cmd("p total").strip() == "240"
    assert "-> total = base * factor" in session.cmd("jump %d" % line_of("workers", "total = base"))
    assert session.cmd("!base = 90").strip() == ""
    shown = session.cmd("return")
    assert "--Return--" in shown and "price()->270" in shown
    assert "-> label = " in session.cmd("step")
    assert session.cmd("p amount").strip() == "270"
    shown = session.cmd("return")
    assert "pack()->('Ada/270', 2001)" in shown
    session.quit()
    finish_workers(target)


@every_python
def test_breakpoints(python, victim, attach):
    target = victim(python, "workers")
    session = attach(target.pid)
    stop_in(session, "pack")
    assert re.match(r"Breakpoint \d+ at \S*workers\.py:%d\n" % line_of("workers", "amount = price"),
                    session.cmd("break %d" % line_of("workers", "amount = price")))
    number = re.findall(r"^(\d+) ", session.cmd("break"), re.M)[-1]
    assert "-> amount = price(order, 3)" in session.cmd("continue")
    # A condition that does not hold, and one that does
    assert session.cmd("condition %s order.number == 8" % number).startswith("New condition set")
    stop_in(session, "tick")
    assert session.cmd("condition %s order.number == 7" % number).startswith("New condition set")
    assert "-> amount = price(order, 3)" in session.cmd("continue")
    assert "unconditional" in session.cmd("condition %s" % number)
    # The loop counts its rounds: two crossings are ignored, the third one stops
    count = int(session.cmd("p count"))
    assert session.cmd("ignore %s 2" % number).startswith("Will ignore next 2 crossings")
    assert "-> amount = price(order, 3)" in session.cmd("continue")
    assert int(session.cmd("p count")) == count + 3
    session.cmd("disable %s" % number)
    stop_in(session, "tick")
    session.cmd("enable %s" % number)
    # Commands at a breakpoint
    session.send("commands %s\n" % number)
    session.expect(r"\(com\) ")
    session.send("p secret * 2\n")
    session.expect(r"\(com\) ")
    session.cmd("end")
    assert "4002" in session.cmd("continue")
    assert "Deleted breakpoint %s" % number in session.cmd("clear %s" % number)
    stop_in(session, "price")
    assert session.cmd("break").strip() == ""
    session.quit()
    finish_workers(target)


@both_ends
def test_breakpoint_in_another_thread_is_not_forced_on_it(python, victim, attach):
    """A breakpoint in a function that only other threads run does not stop the main thread; Ctrl-C comes back."""
    target = victim(python, "workers")
    session = attach(target.pid)
    stop_in(session, "pack")
    session.cmd("break %d" % line_of("workers", "secret += 0"))
    session.send("continue\n")
    time.sleep(0.3)
    session.interrupt()
    session.prompt()
    session.quit()
    finish_workers(target)


@every_python
def test_looking(python, victim, attach):
    target = victim(python, "workers")
    session = attach(target.pid)
    stop_in(session, "price")
    assert [name for name in support.pick_from_where(session.cmd("where"))[0]][-3:] == ["serve", "pack", "price"]
    assert session.cmd("whatis order").strip() == "<class '__main__.Order'>"
    assert session.cmd("pp [order, factor]").strip() == "[<Order 7 of Ada>, 3]"
    assert "def pack(order):" in session.cmd("source pack")
    shown = session.cmd("ll")
    assert '"""What an order costs."""' in shown and "return total" in shown
    assert "-> amount = price(order, 3)" in session.cmd("up")
    assert session.cmd("p secret").strip() == "2001"
    assert "amount = price(order, 3)" in session.cmd("list")
    assert "price()" in session.cmd("down")
    assert session.cmd("alias double p %1 * 2").strip() == ""
    assert session.cmd("double factor").strip() == "6"
    session.cmd("unalias double")
    assert "NameError" in session.cmd("double factor") or "SyntaxError" in session.cmd("double factor")
    session.cmd("display base")
    assert "display base: 70" in session.cmd("next")
    session.cmd("undisplay base")
    assert "display" not in session.cmd("next")
    for wrong in ("p nothing_there", "p 1/0", "up 1000", "jump 100000", "break nowhere_at_all", "list x y z", "!!"):
        assert session.cmd(wrong) is not None
    assert "ZeroDivisionError" in session.cmd("p 1/0")
    assert "(Pdb)" not in session.cmd("help")
    session.quit()
    finish_workers(target)


@both_ends
def test_debug_and_long_input_are_survived(python, victim, attach):
    target = victim(python, "workers")
    session = attach(target.pid)
    stop_in(session, "price")
    long = "p '" + "x" * 3000 + "'"
    assert "x" * 50 in session.cmd(long)
    assert session.cmd("p len('\xe4\u20ac\U0001f40d')").strip() == "3"
    session.quit()
    finish_workers(target)


@both_ends
@pytest.mark.parametrize("state", ["stopped", "blocked"])
def test_interact(python, state, victim, attach):
    target = victim(python, "workers" if state == "stopped" else "sleep", blocked=state == "blocked")
    session = attach(target.pid)
    number = 1002
    if state == "stopped":
        stop_in(session, "pack")
        session.cmd("next")
        number = 2001
    session.send("interact\n")
    session.expect(r">>> ")
    session.send("secret + 1\n")
    assert str(number + 1) in session.expect(r"\n>>> ")
    session.send("for i in range(2):\n")
    session.expect(r"\.\.\. ")
    session.send("    print('row', i)\n")
    session.expect(r"\.\.\. ")
    session.send("\n")
    assert "row 0\nrow 1" in session.expect(r"\n>>> ")
    session.send("import sys; sys.exit(3)\n")
    shown = session.expect(r"(\n>>> |\(Pdb\) )$")
    assert support.is_alive(target.pid)
    if shown.rstrip().endswith(">>>"):
        session.send("\x04")
        session.prompt()
    assert session.cmd("p secret").strip() == str(number)
    session.quit()
    target.assert_unharmed()


@every_python
def test_evaluation_happens_in_the_stopped_thread_itself(python, victim, attach):
    target = victim(python, "workers")
    session = attach(target.pid)
    stop_in(session, "pack")
    assert session.cmd("p threading.get_ident() == threading.main_thread().ident").strip() == "True"
    assert session.cmd("p threading.current_thread().name").strip() == "'MainThread'"
    session.quit()
    finish_workers(target)


# --- blocked in C: the prompt comes at once, on the frames that hang


@every_python
def test_blocked_thread_answers(python, victim, attach):
    target = victim(python, "sleep", blocked=True)
    session = attach(target.pid)
    assert support.pick_from_where(session.cmd("where"))[0][-1] == "nap"
    assert session.cmd("p secret").strip() == "1002"
    assert session.cmd("args").strip() == "seconds = 3600"
    assert "time.sleep(seconds)" in session.cmd("list")
    assert "nap(3600)" in session.cmd("up")
    assert session.cmd("p __name__").strip() == "'__main__'"
    assert "nap()" in session.cmd("down")
    assert session.cmd("pp {'a': secret}").strip() == "{'a': 1002}"
    assert session.cmd("!print(secret)").strip() == "1002"
    assert "NameError" in session.cmd("p nothing")
    session.quit()
    target.assert_unharmed()
    target.end()


STILL = r"thread 1 is still in .*; Ctrl-C returns to the prompt"


@pytest.mark.parametrize("python, command", [
    pytest.param(python, command, id="%s-%s" % (command, python.name))
    for command in ["next", "continue", "step", "until", "return"]
    for python in (pythons.ALL if command in ("next", "continue") else pythons.ENDS)])
def test_stepping_a_blocked_thread_says_so_and_ctrl_c_comes_back(python, command, victim, attach):
    target = victim(python, "sleep", blocked=True)
    session = attach(target.pid)
    session.send(command + "\n")
    if command != "continue":
        session.expect(STILL, 30)
    else:
        time.sleep(0.3)
    session.interrupt()
    session.prompt(3)
    assert session.cmd("p secret").strip() == "1002"
    session.quit()
    target.assert_unharmed()
    target.end()


@every_python
def test_blocked_thread_that_comes_back_stops_there(python, victim, attach):
    target = victim(python, "gate", args=["main"], blocked=True)
    session = attach(target.pid)
    session.send("next\n")
    session.expect(STILL, 30)
    target.write("gate", "four")
    shown = session.prompt(3)
    assert "-> secret += len(data)" in shown
    assert session.cmd("p data").strip() == "b'four'"
    assert "-> return secret" in session.cmd("next")
    session.quit()
    target.assert_unharmed(stdout="ready\npassed 2014\n")
    target.end()


@both_ends
def test_break_on_a_blocked_thread_stops_it_later(python, victim, attach):
    target = victim(python, "gate", args=["main"], blocked=True)
    session = attach(target.pid)
    session.cmd("break %d" % line_of("gate", "return secret"))
    session.send("continue\n")
    time.sleep(0.2)
    target.write("gate", "seven!!")
    assert "-> return secret" in session.prompt(3)
    assert session.cmd("p secret").strip() == "2017"
    session.quit()
    target.assert_unharmed(stdout="ready\npassed 2017\n")
    target.end()


@both_ends
def test_continued_thread_that_blocks_again_comes_back_by_ctrl_c(python, victim, attach):
    target = victim(python, "gate", args=["main"], blocked=True)
    session = attach(target.pid)
    session.send("next\n")
    session.expect(STILL, 30)
    target.write("gate", "x")
    session.prompt(3)
    session.send("continue\n")
    assert support.wait_until(lambda: "passed" in target.stdout)
    target.wait_blocked()
    session.interrupt()
    shown = session.prompt(3)
    assert "is blocked in" in shown
    assert "time.sleep(3600)" in shown
    session.quit()
    target.assert_unharmed(stdout="ready\npassed 2011\n")
    target.end()


@both_ends
def test_thread_that_ends_under_the_prompt_is_said(python, victim, attach):
    target = victim(python, "gate", args=["other"])
    session = attach("-t", "porter", target.pid)
    assert session.cmd("p secret").strip() == "2010"
    target.write("gate", "x")
    porter = [tid for tid in target.before.threads if tid != target.pid][0]
    assert support.wait_until(lambda: porter not in support.list_threads(target.pid))
    shown = session.cmd("where") + session.cmd("threads")
    assert re.search(r"thread 2 .*ended", session.screen), shown
    assert "MainThread" in shown
    session.cmd("thread 1")
    session.quit()
    target.assert_unharmed(but=("threads", "masks"))
    target.end()


# --- threads


def parse_threads(text):
    """The rows of `threads`: {name: (marker, number, ident, native id, rest)}."""
    rows = {}
    for line in text.splitlines():
        found = re.match(r"\s*(\*?)\s*(\d+)\s+(\S.*?)\s+(0x[0-9a-f]+|\d+)\s+(\d+)\s+(.*)", line)
        if found:
            rows[found.group(3).strip('"')] = (found.group(1), int(found.group(2)), int(found.group(4), 0),
                                               int(found.group(5)), found.group(6))
    return rows


@every_python
def test_threads_lists_all_of_them(python, victim, attach):
    target = victim(python, "workers")
    session = attach(target.pid)
    shown = session.cmd("threads")
    rows = parse_threads(shown)
    assert {"MainThread", "shelf", "napper"} < set(rows), shown
    assert len(rows) == 4, shown       # the one of _thread.start_new_thread has a row, too
    assert rows["MainThread"][:2] == ("*", 1)
    assert [row[0] for row in rows.values()].count("*") == 1
    assert sorted(row[1] for row in rows.values()) == [1, 2, 3, 4]
    assert sorted(row[3] for row in rows.values()) == target.before.threads
    assert "wait_for_shelf" in rows["shelf"][4]
    session.quit()
    finish_workers(target)


@every_python
def test_thread_goes_to_another_one(python, victim, attach):
    target = victim(python, "workers")
    session = attach(target.pid)
    rows = parse_threads(session.cmd("threads"))
    marker, number, ident, native, _ = rows["shelf"]
    for selector in ("shelf", number, ident, native):
        shown = session.cmd("thread %s" % selector)
        assert re.search(r'thread %d "shelf" is blocked in ' % number, shown), shown
        assert "wait_for_shelf()" in shown
        assert session.cmd("p secret").strip() == "2003"
        assert parse_threads(session.cmd("threads"))["shelf"][0] == "*"
        session.cmd("thread 1")
    assert re.search(r"no thread.*77", session.cmd("thread 77"))
    session.cmd("thread napper")
    functions, current = support.pick_from_where(session.cmd("where"))
    assert "nap" in functions
    session.quit()
    finish_workers(target)


@both_ends
@pytest.mark.parametrize("by", ["name", "number", "ident", "native"])
def test_thread_chosen_on_the_command_line(python, by, victim, batch):
    target = victim(python, "workers")
    rows = parse_threads(batch("-c", "threads", target.pid).stdout)
    selector = {"name": "shelf", "number": rows["shelf"][1], "ident": rows["shelf"][2],
                "native": rows["shelf"][3]}[by]
    done = batch("-t", selector, "-c", "p secret", target.pid)
    assert (done.returncode, done.stdout) == (0, "2003\n"), done.stderr
    finish_workers(target)


@both_ends
def test_thread_without_a_thread_object_can_be_stopped(python, victim, attach):
    target = victim(python, "workers")
    session = attach(target.pid)
    rows = parse_threads(session.cmd("threads"))
    unnamed = next(row for name, row in rows.items() if name not in ("MainThread", "shelf", "napper"))
    session.cmd("thread %d" % unnamed[1])
    session.cmd("next")
    assert session.cmd("p secret").strip() == "2004"
    session.quit()
    finish_workers(target)


# --- Ctrl-C


@every_python
@pytest.mark.parametrize("state", ["stopped", "blocked"])
def test_ctrl_c_stops_an_evaluation(python, state, victim, attach):
    target = victim(python, "workers" if state == "stopped" else "sleep", blocked=state == "blocked")
    session = attach(target.pid)
    if state == "stopped":
        stop_in(session, "pack")
    for endless in ("p [x for x in iter(int, 1)]", "p sum(x for x in iter(int, 1))"):
        session.send(endless + "\n")
        time.sleep(0.2)
        session.interrupt()
        shown = session.prompt(3)
        assert "KeyboardInterrupt" in shown
    assert session.cmd("p 6*7").strip() == "42"
    session.quit()
    target.assert_unharmed()


@both_ends
def test_ctrl_c_cuts_a_flood(python, victim, attach):
    target = victim(python, "workers")
    session = attach(target.pid)
    stop_in(session, "pack")
    session.send("while True: print('flood ' * 20)\n")
    session.expect("flood flood")
    session.interrupt()
    session.expect(r"\n[^\n]*\(Pdb\) (?:\x1b\[[0-9;?]*[a-zA-Z])*$", 30)
    assert session.cmd("p 6*7").strip() == "42"
    session.quit()
    finish_workers(target)


@every_python
def test_ctrl_c_brings_a_running_target_back(python, victim, attach):
    target = victim(python, "workers")
    session = attach(target.pid)
    stop_in(session, "pack")
    for _ in range(3):
        session.send("continue\n")
        time.sleep(0.15)
        session.interrupt()
        session.prompt(3)
    assert "serve" in support.pick_from_where(session.cmd("where"))[0]
    session.quit()
    finish_workers(target)


@both_ends
def test_ctrl_c_clears_the_line(python, victim, attach):
    target = victim(python, "sleep", blocked=True)
    session = attach(target.pid)
    session.send("p 1 +")
    session.expect(r"p 1 \+")
    session.interrupt()
    session.prompt(3)
    assert session.cmd("p 6*7").strip() == "42"
    session.quit()
    target.assert_unharmed()


@both_ends
def test_evaluation_that_cannot_be_interrupted_is_left_behind(python, victim, attach):
    """It takes the very lock that the program waits for."""
    target = victim(python, "lock", blocked=True)
    session = attach(target.pid)
    session.send("p stock_lock.acquire()\n")
    time.sleep(0.3)
    session.interrupt()
    session.prompt(6)
    assert session.cmd("p secret").strip() == "1003"
    # Whoever releases the lock lets the program go on, and at last the evaluation, too.
    session.send("!stock_lock.release()\n")
    assert session.finish() == 0
    assert (target.finish(), target.stderr) == (0, "")


# --- nothing typed by accident ends the target


@both_ends
@pytest.mark.parametrize("state", ["stopped", "blocked"])
def test_nothing_typed_ends_the_target(python, state, victim, attach):
    target = victim(python, "workers" if state == "stopped" else "sleep", blocked=state == "blocked")
    session = attach(target.pid)
    if state == "stopped":
        stop_in(session, "pack")
    for command in ("run", "restart", "restart --now"):
        shown = session.cmd(command)
        assert re.search(r"no sense|not possible|cannot|is running", shown), shown
    for command in ("!import sys; sys.exit()", "!raise SystemExit(3)", "!raise KeyboardInterrupt", "p exit(1)",
                    "!raise GeneratorExit", "debug 1/0" if state == "blocked" else "p quit()", "!raise Exception('x')"):
        session.send(command + "\n")
        shown = session.expect(r"\(+Pdb\)+ (?:\x1b\[[0-9;?]*[a-zA-Z])*$")
        assert support.is_alive(target.pid), (command, shown)
    session.quit()
    target.assert_unharmed()


# --- whose output it is


@every_python
@pytest.mark.parametrize("state", ["stopped", "blocked"])
def test_what_the_user_prints_goes_to_the_user(python, state, victim, attach):
    target = victim(python, "workers" if state == "stopped" else "sleep", blocked=state == "blocked")
    session = attach(target.pid)
    if state == "stopped":
        stop_in(session, "pack")
    assert session.cmd("print('to', 'me')").strip() == "to me"
    assert session.cmd("p print('and me')").split() == ["and", "me", "None"]
    assert session.cmd("!import sys; sys.stderr.write('an error\\n') and None").strip() in ("an error", "an error\n9")
    assert session.cmd("!sys.stdout.write('raw\\n') and None").strip() in ("raw", "raw\n4")
    shown = session.cmd("!raise ValueError('of mine')")
    assert "ValueError: of mine" in shown
    assert session.cmd("pp list(range(3))").strip() == "[0, 1, 2]"
    session.quit()
    target.assert_unharmed()


PRINTER = """
import os, sys, threading, time

def chatter():
    number = 0
    while not os.access("stop", os.F_OK):
        number += 1
        print("line", number, flush=True)
        time.sleep(0.003)

print("ready", flush=True)
threading.Thread(target=chatter, daemon=True).start()

def serve():
    secret = 2020
    while not os.access("stop", os.F_OK):
        time.sleep(0.01)

serve()
print("end", flush=True)
"""


@both_ends
def test_what_the_program_prints_meanwhile_goes_where_it_did(python, victim, attach):
    target = victim(python, source=PRINTER)
    session = attach(target.pid)
    session.cmd("next")
    shown = session.cmd("!for i in range(100): print('mine', i); time.sleep(0.003)")
    assert shown.split("\n")[:2] == ["mine 0", "mine 1"]
    assert "line" not in shown and shown.count("mine") == 100
    # Bytes written to the descriptor are the program's.
    assert session.cmd("!os.write(1, b'') and None").strip() in ("", "0")
    session.quit()
    target.write("stop", "")
    assert target.finish() == 0
    lines = [line for line in target.stdout.splitlines() if line.startswith("line")]
    assert lines == ["line %d" % number for number in range(1, len(lines) + 1)]
    assert "mine" not in target.stdout and target.stdout.endswith("end\n")
    assert target.stderr == ""


@both_ends
def test_kept_stdout_works_after_detach(python, victim, attach):
    """Somebody in the program kept a reference to sys.stdout while the user evaluated: it goes on working."""
    target = victim(python, "workers")
    session = attach(target.pid)
    stop_in(session, "pack")
    session.cmd("!import sys; threading.kept = sys.stdout")
    session.quit()
    target.assert_unharmed()
    session = attach(target.pid)
    stop_in(session, "pack")
    session.cmd("!threading.Thread(target=lambda: threading.kept.write('kept\\n') and threading.kept.flush()).start()")
    session.quit()
    assert support.wait_until(lambda: "kept" in target.stdout)
    target.assert_unharmed(stdout="ready\nkept\n")


def test_os_write_goes_to_the_program(victim, attach):
    target = victim(name="workers")
    session = attach(target.pid)
    stop_in(session, "pack")
    session.cmd("!os.write(1, b'direct\\n')")
    session.quit()
    target.assert_unharmed(stdout="ready\ndirect\n")


def test_control_characters_and_surrogates_are_escaped(victim, attach):
    target = victim(name="sleep", blocked=True)
    session = attach(target.pid)
    before = len(session.log.text)
    assert session.cmd(r"print('a\x1b[2Jb\x07c\x9bd')").strip() == r"a\x1b[2Jb\x07c\x9bd"
    assert "\x1b[2J" not in session.log.text[before:] and "\x07c" not in session.log.text[before:]
    assert "udc80" in session.cmd(r"print('lone \udc80')")
    assert session.cmd("print('\xe4\u20ac')").strip() == "\xe4\u20ac"
    session.quit()
    target.assert_unharmed()


# --- it stands


def test_reminder_after_twenty_seconds(victim, attach):
    target = victim(name="workers")
    session = attach(target.pid)
    stop_in(session, "pack")
    session.expect(r"pydbattach: thread 1 has stood still for 20 s[^\r\n]*", 25)
    session.prompt()
    assert session.cmd("p 6*7").strip() == "42"
    session.quit()
    finish_workers(target)


def test_no_reminder_for_a_thread_that_blocks_anyway(victim, attach):
    target = victim(name="sleep", blocked=True)
    session = attach(target.pid)
    time.sleep(21)
    session.cmd("p 1")
    assert "stood still" not in session.screen
    session.quit()
    target.assert_unharmed()


# --- options


def test_verbose_shows_each_step_with_its_time(victim, batch):
    target = victim(name="sleep", blocked=True)
    done = batch("-v", "-c", "p 1", target.pid)
    assert (done.returncode, done.stdout) == (0, "1\n")
    for program in ("look", "load", "client"):
        assert re.search(r"^pydbattach: %s: .* \d+\.\d+ ms$" % program, done.stderr, re.M), done.stderr
    target.assert_unharmed()


def test_list_shows_what_can_be_attached_to_and_why_not(victim, batch):
    good, stopped = victim(name="workers"), victim(name="sleep", blocked=True)
    os.kill(stopped.pid, signal.SIGSTOP)
    done = batch("--list")
    os.kill(stopped.pid, signal.SIGCONT)
    assert done.returncode == 0 and done.stderr == ""
    lines = done.stdout.splitlines()
    assert re.fullmatch(r"PID\s+USER\s+PYTHON\s+THREADS\s+AGE\s+COMMAND", lines[0].strip())
    rows = {line.split()[0]: line for line in lines[1:]}
    assert re.match(r"\s*%d\s+root\s+3\.12\S*\s+4\s+\S+\s+.*workers\.py$" % good.pid, rows[str(good.pid)])
    assert re.search(r"sleep\.py.*not: stopped \(SIGSTOP\)", rows[str(stopped.pid)])


def test_help_and_version(batch):
    done = batch("--help")
    assert (done.returncode, done.stderr) == (0, "") and done.stdout.startswith("usage: pydbattach.sh")
    assert batch("-h").stdout == done.stdout
    done = batch("--version")
    assert re.fullmatch(r"pydbattach \d+\.\d+\S*\n", done.stdout)
    assert batch("-V").stdout == done.stdout


WITHS = """
import threading
lock, free, other = threading.Lock(), threading.Lock(), threading.Lock()
lock.acquire()
def one():
    with lock: pass
def two():
    with lock:  # for a while
        pass
def three():
    with free, lock as held: pass
def four():
    with other: lock.acquire()
for function in (one, two, three, four):
    threading.Thread(target=function, name=function.__name__, daemon=True).start()
print("ready", flush=True)
lock.acquire()
"""


@every_python
def test_with_statement_that_hangs_is_described_as_a_call(victim, batch, python):
    """Of a line with several parts none is guessed, where the version does not tell it by the columns of its instructions."""
    target = victim(python, source=WITHS, blocked=True)
    shown = batch("-c", "threads", target.pid).stdout
    rows = dict(re.findall(r'"(one|two|three|four)" .* (blocked(?: in .*)?) +\w+\(\) ', shown))
    assert {name: row.strip() for name, row in rows.items()} == {
        "one": "blocked in lock.__enter__()", "two": "blocked in lock.__enter__()",
        "three": "blocked" if python.minor < 11 else
        "blocked in with free, lock as held: pass" if python.minor < 13 else "blocked in lock.__enter__()",
        "four": "blocked in lock.acquire()" if python.minor > 10 else "blocked"}, shown


STATES = """
import ctypes, threading, time
def work():
    api = ctypes.pythonapi
    api.PyInterpreterState_Main.restype = api.PyThreadState_New.restype = ctypes.c_void_p
    api.PyThreadState_New(ctypes.c_void_p(api.PyInterpreterState_Main()))
    time.sleep(3600)
threading.Thread(target=work, name="worker", daemon=True).start()
print("ready", flush=True)
time.sleep(3600)
"""


@pytest.mark.parametrize("python", [python for python in pythons.ENDS if python.minor < 12], ids=str)
def test_thread_with_two_thread_states_is_one_thread(victim, batch, python):
    """As some embedders make them."""
    target = victim(python, source=STATES, blocked=True)
    done = batch("-t", "worker", "-c", "threads", target.pid)
    assert done.stderr.startswith("pydbattach: attached to %d, python%s, 2 threads" % (target.pid, python.version))
    assert done.stdout.count('"worker"') == 1
    target.assert_unharmed()


SLEEPERS = """
import threading, time
for _ in range(40):
    threading.Thread(target=time.sleep, args=(3600,), daemon=True).start()
print("ready", flush=True)
time.sleep(3600)
"""


@both_ends
def test_stacks_of_many_threads_in_one_mapping(victim, batch, python):
    """From glibc 2.42 on they are, with pages between them that cannot be read: no thread is refused for them."""
    target = victim(python, source=SLEEPERS, blocked=True)
    assert batch("-c", "p 6 * 7", target.pid).stdout == "42\n"
    target.assert_unharmed()


CALLED_FROM_C = {
    "call": """
import functools, os, time
print("ready", flush=True)
nap = functools.partial(time.sleep, 0.005)
any(map(lambda nothing: os.access("stop", os.F_OK), iter(nap, 1)))
print("stopped", flush=True)
""",
    "return": """
import itertools, os, time
print("ready", flush=True)
any(map(lambda number: os.access("stop", os.F_OK) or time.sleep(0.005), itertools.count()))
print("stopped", flush=True)
"""}


@both_ends
@pytest.mark.parametrize("event", CALLED_FROM_C)
def test_event_at_which_a_thread_first_stands_is_no_result_of_a_batch(event, victim, batch, python):
    target = victim(python, source=CALLED_FROM_C[event])
    done = batch("-c", "p 6 * 7", target.pid)
    assert (done.returncode, done.stdout) == (0, "42\n"), done.stderr
    assert 'thread 1 "MainThread" is stopped' in done.stderr
    target.assert_unharmed()
