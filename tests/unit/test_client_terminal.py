# test_client_terminal.py - pydbclient on a terminal: prompt, editing, Ctrl-C, ^Z, windows, completion, colours.
# SPDX-License-Identifier: MIT

import os
import re
import select
import shlex
import signal
import termios
import time

import pexpect
import pytest

from fake_target import process_state, wait_until

PROMPT = r"\(Pdb\) (?:\x1b\[[0-9;]*[A-Za-z])*$"
DETACHED = "pydbattach: detached, %d runs on\n" % os.getpid()
INTERRUPT, EOF, QUIT, SUSPEND, TAB, UP = "\x03", "\x04", "\x1c", "\x1a", "\t", "\x1b[A"


@pytest.fixture
def session(target, client):
    """A client at its first prompt, on a terminal."""
    def start(*options, **named):
        program = client(target, *options, tty=True, **named)
        target.begin()
        program.see(PROMPT)
        return program

    return start


def run(program, target, command="continue"):
    """A command that does not come back yet."""
    program.type(command + "\r")
    target.expect("L", command)
    wait_until(program.is_cooked)


def test_a_session(target, client):
    program = client(target, tty=True)
    options = target.begin()
    assert options == ["pid %d" % os.getpid()]
    assert program.see(PROMPT).startswith("pydbattach: attached to %d, python3.12, 1 threads\n" % os.getpid())
    assert not program.is_cooked()
    program.type("wherf\x7fe\r")
    target.expect("L", "where")
    wait_until(program.is_cooked)  # while the target works, the terminal is as it was
    target.answer("> f()\n")
    assert "> f()\n(Pdb) " in program.see(PROMPT)
    program.type("\r")
    target.expect("L", "")
    target.send("R", ">>> ")
    program.see(">>> $")
    program.type(EOF)
    target.expect("E")
    target.send("R", "(Pdb) ")
    program.see(PROMPT)
    program.type("q\r")
    target.expect("L", "q")
    target.bye()
    assert program.wait() == 0
    assert program.shown.endswith("q\n" + DETACHED)


def test_ctrl_d_detaches(target, session):
    program = session()
    program.type("half a line" + EOF)  # no end of input here
    program.type("\x15" + EOF)
    target.end()
    assert program.wait() == 0
    assert program.shown.endswith("\n" + DETACHED)


def test_prompt_begins_a_line(target, session):
    program = session()
    run(program, target, "p x")
    target.answer("no newline")
    assert program.see(PROMPT).endswith("no newline\n(Pdb) ")
    run(program, target, "p y")
    target.send("O", "half")
    target.send("M", "news")
    target.send("R", "(Pdb) ")
    assert program.see(PROMPT).endswith("half\npydbattach: news\n(Pdb) ")


def test_news_while_a_line_is_edited(target, session):
    program = session()
    program.type("p so")
    program.see("p so")
    target.send("M", "thread 1 has come back")
    assert program.see(r"\(Pdb\) p so").endswith("\npydbattach: thread 1 has come back\n(Pdb) p so".lstrip("\n"))
    target.send("O", "text")
    program.see(r"text\n\(Pdb\) p so")
    program.type("me\r")
    target.expect("L", "p some")


def test_prompt_that_changes_while_a_line_is_edited(target, session):
    program = session()
    program.type("p so")
    program.see("p so")
    target.send("R", "(Pdb2) ")
    program.see(r"\(Pdb2\) p so")
    program.type("\r")
    target.expect("L", "p so")


def test_typed_ahead_lines_are_kept(target, session):
    program = session()
    run(program, target, "p 1")
    program.type("p 2\rp 3\r")
    target.answer("1\n")
    target.expect("L", "p 2")
    target.answer("2\n")
    target.expect("L", "p 3")


def test_pasted_lines_are_lines(target, session):
    program = session()
    program.type("p 1\rp 2\rp 3\r")
    for line in ("p 1", "p 2", "p 3"):
        target.expect("L", line)
        target.send("R", "(Pdb) ")
    program.see(PROMPT)
    assert "\x1b[?2004h" not in program.shown  # readline would make one line of them


def test_newline_within_a_line_makes_two(target, session):
    program = session()
    program.type("p 1\x16\np 2\r")
    target.expect("L", "p 1")
    target.send("R", "(Pdb) ")
    target.expect("L", "p 2")


# --- Ctrl-C and other ends


def test_ctrl_c_at_the_prompt_clears_the_line(target, session):
    program = session()
    program.type("p unfini")
    program.see("unfini")
    program.type(INTERRUPT)
    program.see(r"\^C\n" + PROMPT)
    program.type("p 1\r")
    target.expect("L", "p 1")


def test_ctrl_c_in_the_history_goes_back_to_its_end(target, session):
    program = session()
    for line in ("p 1", "p 2"):
        program.type(line + "\r")
        target.expect("L")
        target.send("R", "(Pdb) ")
        program.see(PROMPT)
    program.type(UP + UP)
    program.see("p 2.*1")
    program.type(INTERRUPT)
    program.see(PROMPT)
    program.type(UP + "\r")
    target.expect("L", "p 2")


def test_ctrl_c_in_a_search_leaves_it(target, session):
    program = session()
    program.type("\x12wh")
    program.see("search")
    program.type(INTERRUPT)
    program.see(PROMPT)
    program.type("p 1\r")
    target.expect("L", "p 1")


def test_ctrl_c_interrupts_what_runs(target, session):
    program = session()
    run(program, target)
    program.type(INTERRUPT)
    target.expect("I", "")
    target.send("O", "\n> shop.py(3)f()\n")
    target.send("R", "(Pdb) ")
    assert "shop.py(3)f()\n(Pdb) " in program.see(PROMPT) and "cut" not in program.shown


def test_three_ctrl_c_without_an_answer_name_the_way_out(target, session):
    program = session()
    run(program, target)
    for _ in range(3):
        program.type(INTERRUPT)
        target.expect("I")
    program.see(r"pydbattach: no answer from %d yet; Ctrl-\\ detaches\n" % os.getpid())
    program.type(QUIT)
    target.end("D")
    assert program.wait() == 0
    assert program.shown.endswith(DETACHED)


def test_ctrl_c_cuts_a_flood(target, session):
    """The target writes as fast as it can, the terminal is slow; Ctrl-C brings the prompt at once."""
    program = session()
    run(program, target, "ll")
    frame = b"O\x00\x10\x00\x00" + b"flood and flood\n" * 256
    pending, interrupted, begin = b"", False, 0
    end = time.monotonic() + 60
    while not interrupted:  # the terminal shows next to nothing of it
        assert time.monotonic() < end
        os.set_blocking(target.write_end, False)
        pending = pending or frame
        if select.select([target.read_end], [target.write_end], [], 0.2)[1]:
            pending = pending[os.write(target.write_end, pending):]
        elif not begin:
            program.read_screen()
            program.type(INTERRUPT)
            begin = time.monotonic()
        elif target.read_some(0):
            interrupted = target.received[:1] == b"I"
    program.raw = b""
    target.send_raw(pending, program.read_screen)
    target.expect("I")
    for _ in range(100):
        target.send_raw(frame, program.read_screen)
    target.send("R", "(Pdb) ")
    shown = program.see(PROMPT)
    assert shown.count("pydbattach: output cut\n") == 1
    assert shown.endswith("pydbattach: output cut\n(Pdb) ")
    assert len(shown) < 40000
    program.type("p 1\r")
    target.expect("L", "p 1")
    target.answer("not cut\n")
    program.see("not cut")


def test_flood_after_the_interrupt_is_cut(target, session):
    program = session()
    run(program, target, "p loop()")
    program.type(INTERRUPT)
    target.expect("I")
    for _ in range(100):
        target.send("O", "x" * 79 + "\n")
        program.read_screen()
    for _ in range(1000):
        target.send("O", "y" * 79 + "\n")
        program.read_screen()
    target.send("R", "(Pdb) ")
    shown = program.see(PROMPT)
    assert shown.count("x" * 79) == 100 and 0 < shown.count("y" * 79) < 200
    assert shown.endswith("pydbattach: output cut\n(Pdb) ")


def test_ctrl_c_when_the_prompt_is_behind_its_output(target, session):
    program = session()
    run(program, target, "ll")
    for _ in range(8):
        target.send("O", "flood\n" * 1000)
    target.send("R", "(Pdb) ")
    program.type(INTERRUPT)
    frame = None
    end = time.monotonic() + 10
    while not re.search(PROMPT, program.shown) and time.monotonic() < end:
        program.read_screen(0.05)
    if target.read_some(0):
        frame = target.next()
    assert frame in (None, ("I", b""))
    program.see(PROMPT)


def test_waiting_for_the_gil_and_giving_up(target, client):
    program = client(target, tty=True)
    target.take_payload()
    program.see(r"pydbattach: a thread of %d holds the GIL and has not let go for 1 s; "
                r"waiting, Ctrl-C gives up\n" % os.getpid())
    program.type(INTERRUPT)
    target.end("D")
    assert program.wait() == 1
    assert program.shown.endswith("pydbattach: gave up; %d runs on\n" % os.getpid())


def test_terminate_restores_the_terminal(target, session):
    program = session()
    program.signal(signal.SIGTERM)
    target.end("D")
    assert program.wait() == 0
    assert program.shown.endswith(DETACHED)


@pytest.mark.parametrize("busy", [False, True])
def test_closed_terminal_detaches(target, session, busy):
    program = session()
    if busy:
        run(program, target)
    program.hang_up()
    target.end("D")
    assert program.wait() == 0


def test_hang_up_of_a_terminal_without_a_signal_detaches(target, session):
    """nohup: SIGHUP is ignored, the terminal is gone all the same."""
    program = session(prefix=["sh", "-c", "trap '' HUP; exec \"$@\"", "sh"])
    program.hang_up()
    target.end("D")
    assert program.wait() == 0


def test_crash_restores_the_terminal(target, session):
    program = session()
    program.signal(signal.SIGSEGV)
    assert program.wait() == -signal.SIGSEGV


@pytest.mark.parametrize("how", ["exit", "bye"])
def test_process_that_exits(ending_target, client, how):
    ending = ending_target(how)
    program = client(ending, tty=True)
    program.see(PROMPT)
    program.type("continue\r")
    assert program.wait() == 0
    if how == "exit":
        assert program.shown.endswith("pydbattach: process %d has exited\n" % ending.pid)


def test_killed_client_is_the_end_of_the_channel(target, session):
    program = session()
    program.signal(signal.SIGKILL)
    program.process.wait()
    assert target.next()[0] == "W"
    assert target.next() is None


# --- suspended, resized


@pytest.fixture
def shell(target, client):
    """The client as a job of an interactive shell, at its first prompt."""
    started = []

    def start(*options):
        environment = {"HOME": str(client.home), "PATH": os.environ["PATH"], "TERM": "xterm", "LC_ALL": "C.UTF-8",
                       "PS1": "shell$ ", "INPUTRC": "/dev/null", "HISTFILE": "/dev/null"}
        command = client(target, pid="no").process.args[:3]
        command += [*options, str(target.pid), target.address]
        bash = pexpect.spawn("bash", ["--norc", "--noprofile", "--noediting", "-i"], env=environment, encoding="utf-8",
                             timeout=10)
        started.append(bash)
        bash.expect_exact("shell$ ")
        bash.sendline(shlex.join(command))
        target.begin()
        target.send("T", "stopped 2")
        bash.expect_exact("(Pdb) ")
        return bash

    yield start
    for bash in started:
        bash.close(force=True)


def test_suspend_and_resume(target, shell):
    bash = shell()
    bash.send("p so")
    bash.expect_exact("p so")
    bash.send(SUSPEND)
    bash.expect_exact("pydbattach: thread 2 stands still until you come back\r\n")
    bash.expect("Stopped")
    bash.expect_exact("shell$ ")
    bash.sendline("echo $((6 * 7))")
    bash.expect_exact("42\r\n")
    bash.sendline("fg")
    bash.expect_exact("(Pdb) p so")
    bash.send("me\r")
    target.expect("L", "p some")
    target.send("R", "(Pdb) ")
    bash.expect_exact("(Pdb) ")
    bash.send(SUSPEND)  # and again
    bash.expect_exact("shell$ ")
    bash.sendline("fg")
    bash.expect_exact("(Pdb) ")
    bash.send("q\r")
    target.expect("L", "q")
    target.bye()
    bash.expect_exact(DETACHED.replace("\n", "\r\n"))
    bash.expect_exact("shell$ ")
    bash.sendline("echo status $?")
    bash.expect_exact("status 0")


def test_suspend_while_the_target_runs(target, shell):
    bash = shell()
    bash.send("continue\r")
    target.expect("L", "continue")
    target.send("T", "running 2")
    target.send("O", "it runs\n")
    bash.expect_exact("it runs")
    bash.send(SUSPEND)
    bash.expect("Stopped")
    assert "stands still" not in bash.before
    bash.sendline("bg")
    bash.expect_exact("shell$ ")
    target.answer("it stopped\n")  # in the background: no prompt, and the shell keeps its terminal
    bash.expect_exact("it stopped")
    bash.sendline("echo $((6 * 7))")
    bash.expect_exact("42\r\n")
    assert "(Pdb)" not in bash.before
    bash.sendline("fg")
    bash.expect_exact("(Pdb) ")
    bash.send("p 1\r")
    target.expect("L", "p 1")


def test_terminate_while_suspended(target, shell):
    bash = shell()
    bash.send(SUSPEND)
    bash.expect_exact("shell$ ")
    bash.sendline("kill %1")
    target.end("D")
    bash.sendline("wait; echo $((6 * 7))")
    bash.expect_exact("42\r\n")


def test_stopped_by_another_and_continued(target, session):
    program = session()
    program.type("p so")
    program.see("p so")
    program.signal(signal.SIGSTOP)
    wait_until(lambda: process_state(program.process.pid) == "T")
    modes = program.modes()
    modes[3] |= termios.ICANON | termios.ECHO  # as a shell does
    termios.tcsetattr(program.slave, termios.TCSANOW, modes)
    program.signal(signal.SIGCONT)
    program.see(r"\(Pdb\) p so")
    wait_until(lambda: not program.is_cooked())
    program.type("me\r")
    target.expect("L", "p some")


def test_window_size_is_told(target, client):
    program = client(target, tty=True, columns=91)
    target.take_payload()
    target.expect("W", "91 24")
    target.send("G")
    target.send("R", "(Pdb) ")
    program.see(PROMPT)
    program.set_size(40, 10)
    target.expect("W", "40 10")
    program.type("p '%s'" % ("x" * 60))  # is wrapped in the new width
    program.see(r"\(Pdb\) p 'x{20,}")
    program.type("\r")
    target.expect("L", "p '%s'" % ("x" * 60))
    program.set_size(50, 12)
    target.expect("W", "50 12")


# --- completion


def complete(program, target, typed, words, begin, end):
    program.type(typed + TAB)
    assert target.expect("C") == b"%d\x00%d\x00%s" % (begin, end, typed.encode())
    target.send("C", "\n".join(words))


def test_one_completion_is_typed(target, session):
    program = session()
    complete(program, target, "p order.nu", ["order.number"], 2, 10)
    program.see("order.number")
    program.type("\r")
    target.expect("L", "p order.number")


def test_some_completions_are_listed(target, session):
    program = session()
    complete(program, target, "!x.a", ["x.alpha", "x.alphabet", "x.alps"], 1, 4)
    program.see("lp")
    for _ in range(2):
        program.type(TAB)
        target.expect("C")
        target.send("C", "x.alpha\nx.alphabet\nx.alps\n")
    shown = program.see(r"alps.*\(Pdb\) !x.alp")
    assert "alpha " in shown and "alphabet" in shown
    program.type("s\r")
    target.expect("L", "!x.alps")


def test_many_completions_are_not_asked_about(target, session):
    program = session()
    words = ["name%03d" % number for number in range(300)]
    complete(program, target, "p name", words, 2, 6)
    program.type(TAB)
    target.expect("C")
    target.send("C", "\n".join(words))
    shown = program.see(r"\.\.\. and 100 more\n.*\(Pdb\) p name")
    assert "name199" in shown and "name200" not in shown
    program.type("1\r")
    target.expect("L", "p name1")


def test_positions_are_bytes_of_utf8(target, session):
    program = session()
    complete(program, target, "p 'ü', é", ["élan"], 8, 10)
    program.see("élan")
    program.type("\r")
    target.expect("L", "p 'ü', élan")


def test_completions_that_cannot_be_typed_are_left_out(target, session):
    program = session()
    program.type("p a" + TAB)
    target.expect("C")
    target.send("C", b"a\x1b[31mred\na\xff\nabc\n\n")
    program.see("abc")
    program.type("\r")
    target.expect("L", "p abc")


def test_no_completion_is_a_bell(target, session):
    program = session()
    complete(program, target, "p zz", [], 2, 4)
    program.see("\x07")
    program.type("\r")
    target.expect("L", "p zz")


def test_completion_that_does_not_come(target, session):
    program = session()
    program.type("p zz" + TAB)
    target.expect("C")
    begin = time.monotonic()
    program.see("\x07")
    assert 1.5 < time.monotonic() - begin < 4
    target.expect("I")              # it shall not go on in the target
    target.send("C", "zzlate")  # is not taken for the next one's answer
    program.type("y" + TAB)
    target.expect("C")
    target.send("C", "zzy1")
    program.see("y1")
    program.type("\r")
    target.expect("L", "p zzy1")


def test_ctrl_c_ends_the_wait_for_completions(target, session):
    program = session()
    program.type("p zz" + TAB)
    target.expect("C")
    begin = time.monotonic()
    program.type(INTERRUPT)
    target.expect("I")
    program.see(r"\^C\n" + PROMPT)
    assert time.monotonic() - begin < 1.5
    program.type("p 1\r")
    target.expect("L", "p 1")


def test_other_frames_while_waiting_for_completions(target, session):
    program = session()
    program.type("p zz" + TAB)
    target.expect("C")
    target.send("M", "news")
    target.send("C", "zzz")
    program.see(r"pydbattach: news\n\(Pdb\) p zzz")


def test_tab_indents_where_source_is_continued(target, session):
    program = session()
    program.type("interact\r")
    target.expect("L")
    target.send("R", "... ")
    program.see(r"\.\.\. $")
    program.type(TAB + "pass\r")
    target.expect("L", "    pass")


# --- what is shown


def test_source_is_coloured(target, session):
    program = session()
    run(program, target, "list")
    target.send("Q", "  1  ->\tdef f(): # why\n")
    target.send("R", "(Pdb) ")
    shown = program.see(PROMPT)
    assert "\x1b[1;34mdef\x1b[0m \x1b[1mf\x1b[0m(): \x1b[31m# why\x1b[0m\n" in shown


@pytest.mark.parametrize("env", [{"NO_COLOR": "1"}, {"TERM": "dumb"}, {"TERM": ""}, {"TERM": "vt100"}])
def test_no_colours(target, client, env):
    program = client(target, tty=True, env=env)
    target.begin()
    program.see(r"\(Pdb\) ")
    program.type("list\r")
    target.expect("L")
    target.send("Q", "def f(): # why\n")
    program.see(r"def f\(\): # why\n")


def test_empty_no_color_is_none(target, session):
    program = session(env={"NO_COLOR": ""})
    run(program, target, "list")
    target.send("Q", "def f(): # why\n")
    program.see(r"\x1b\[1;34mdef")


def test_escape_sequences_never_come_raw(target, session):
    program = session()
    run(program, target, "p x")
    evil = "\x1b]0;title\x07\x1b[6n\r\x9b5n\x08"
    for kind in "OQMT":
        target.send(kind, "%s: %s" % (kind, evil))
    target.send("R", evil + "(Pdb) ")
    shown = program.see(r"\(Pdb\) $")
    shown = re.sub(r"\x1b\[(0|33)m", "", shown)  # the colours of numbers
    assert shown.count(r"\x1b]0;title\x07\x1b[6n\x0d\x9b5n\x08") == 4
    assert not re.search(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]", shown), shown


def test_c_locale(target, client):
    program = client(target, tty=True, env={"LC_ALL": "C"})
    target.begin("Pdbü) ")
    assert r"Pdb\xfc) " in program.see(r"Pdb\\xfc\) ")
    program.type("p 'é'\r")
    target.expect("L", "p 'é'")
    target.answer("'é€'\n")
    program.see(r"'\\xe9\\u20ac'\n")


def test_reminder_comes_over_the_prompt(target, session):
    program = session("--remind", "1")
    target.send("T", "stopped 4")
    program.type("p so")
    assert program.see(r"others may be waiting for it\n\(Pdb\) p so").count(
        "pydbattach: thread 4 has stood still for 1 s; others may be waiting for it\n") == 1


def test_stopped_terminal_does_not_stop_the_client(target, session):
    """^S, and the target goes on to write; SIGTERM still detaches."""
    program = session()
    run(program, target, "ll")
    program.type("\x13")
    for _ in range(3):
        target.send("O", "flood\n" * 1000)
    program.signal(signal.SIGTERM)
    frame = target.next()
    while frame[0] == "W":
        frame = target.next()
    assert frame[0] == "D"
    target.bye()
    program.type("\x11")
    assert program.wait() == 0


def test_stderr_elsewhere(target, client, tmp_path):
    program = client(target, tty=True, prefix=["sh", "-c", "exec \"$@\" 2>" + shlex.quote(str(tmp_path / "log")), "sh"])
    target.begin()
    program.see(PROMPT)
    program.type("q\r")
    target.expect("L")
    target.bye()
    assert program.wait() == 0
    assert (tmp_path / "log").read_text().endswith(DETACHED) and "pydbattach" not in program.shown


def test_output_to_a_pipe_has_no_prompt_and_no_colours(target, client):
    """pydbattach.sh PID | tee log: the lines are typed, but nothing of a terminal gets into the log."""
    program = client(target, tty=True, prefix=["sh", "-c", "exec \"$@\" | cat", "sh"])
    assert "batch 1" not in target.begin()
    program.type("list\n")
    target.expect("L", "list")
    target.send("Q", "def f()\n")
    target.send("R", "(Pdb) ")
    program.type(EOF)
    target.end()
    program.wait()
    assert "\ndef f()\n" in program.shown and "(Pdb)" not in program.shown
