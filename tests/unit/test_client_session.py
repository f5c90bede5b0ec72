# test_client_session.py - pydbclient without a terminal, against a played target: payload, -c, pipes, ends, deadlines.
# SPDX-License-Identifier: MIT

import contextlib
import os
import select
import signal
import subprocess
import time

import pytest

from fake_target import CLIENT, CLOSING, FAILED, IDLE, LOADING, OPEN, READY, process_state, wait_until

DETACHED = "pydbattach: detached, %d runs on\n" % os.getpid()
ATTACHED = "pydbattach: attached to %d, python3.12, 1 threads\n" % os.getpid()


# --- the payload


def test_payload_and_options_are_sent(target, client):
    client(target, "-c", "p 1", "-t", "Wörker 1")
    options, pieces = target.take_payload()
    assert sorted(options) == ["batch 1", "pid %d" % os.getpid(), "thread Wörker 1"]
    small = b"1\x00# small\n\ndef function():\n    pass\n"
    names = (b"pythreadhacks", b"pyinjectcode", b"pybreaks", b"pycatch", b"pyenter")
    assert pieces == [name + b"\x00" + small for name in names]


def test_payload_is_cut_where_statements_begin(target, client):
    source = "import a\n\n" + "".join(
        "@decorator\ndef f%d():\n    x = '''\n    1\n    '''\n\n%s" % (i, "    more = 1\n" * (i % 7) + "\n") for i in range(100))
    source += "class Long:\n" + "    x = 1\n" * 300 + "\n# --- last\ny = 1\n"
    (client.payload / "pyinjectcode.py").write_text(source)
    client(target)
    _, pieces = target.take_payload()
    pieces = [piece.split(b"\x00", 2) for piece in pieces[1:-3]]
    assert b"".join(text for _, _, text in pieces).decode() == source
    lines = source.splitlines(keepends=True)
    for name, first, text in pieces:
        first, size = int(first), len(text.splitlines())
        assert name == b"pyinjectcode"
        assert "".join(lines[first - 1:first - 1 + size]) == text.decode()
        assert size <= 120 or text.startswith(b"class Long")
        compile(text, "piece", "exec")
    assert len(pieces) < len(lines) / 80


def test_big_payload_through_a_slow_pipe(target, client):
    source = "def f():\n    pass\n\n" * 20000
    (client.payload / "pyinjectcode.py").write_text(source)
    client(target)
    assert b"".join(piece.split(b"\x00", 2)[2] for piece in target.take_payload()[1][1:-3]).decode() == source


def test_payload_that_is_not_there(target, client, tmp_path):
    program = client(target, payload=tmp_path)
    assert program.finish() == (
        1, "", "pydbattach: cannot read %s/pythreadhacks.py: No such file or directory\n" % tmp_path)


# --- the channel


@pytest.mark.parametrize("phase", [IDLE, LOADING, CLOSING])
def test_waits_until_the_library_is_ready(target, client, phase):
    target.state.phase = phase
    program = client(target, "-c", "p 1")
    wait_until(lambda: process_state(program.process.pid) == "S")
    target.state.phase = READY
    target.begin()
    target.expect("L", "p 1")
    target.send("R", "(Pdb) ")
    target.end()
    assert program.finish() == (0, "", ATTACHED + DETACHED)


@pytest.mark.parametrize("change, message", [
    ({"phase": FAILED, "error": 24}, "the library in process %d could not make its channel: Too many open files"),
    ({"phase": OPEN}, "process %d has another session attached"),
    ({"magic": b"PYDBATT0"}, "the library in process %d has no channel that can be opened"),
    ({"in_write": -1}, "the library in process %d has no channel that can be opened: No such file or directory"),
])
def test_no_channel(target, client, change, message):
    for name, value in change.items():
        setattr(target.state, name, value)
    assert client(target).finish() == (1, "", "pydbattach: " + message % os.getpid() + "\n")


def test_a_state_that_is_not_there(target, client):
    program = client(target, address="10")
    assert program.finish() == (1, "", "pydbattach: the library in process %d has no channel that can be opened: "
                                       "Bad address\n" % os.getpid())


@pytest.mark.parametrize("kind", ["file", "named pipe", "terminal"])
def test_only_anonymous_pipes_are_opened(target, client, tmp_path, kind):
    """A hostile target names a file that it can read: it must not be written to with the caller's rights."""
    path = tmp_path / "victim"
    if kind == "file":
        path.write_text("precious")
        fd = os.open(path, os.O_RDONLY)
    elif kind == "named pipe":
        os.mkfifo(path)
        fd = os.open(path, os.O_RDWR)
    else:
        fd, slave = os.openpty()
        os.close(slave)
    target.state.in_write = fd
    status, out, err = client(target).finish()
    os.close(fd)
    assert (status, out) == (1, "")
    assert err == "pydbattach: the library in process %d has no channel that can be opened: Bad file descriptor\n" % os.getpid()
    assert kind != "file" or path.read_text() == "precious"


def test_a_process_that_is_gone(target, client):
    gone = subprocess.Popen(["true"])
    gone.wait()
    assert client(target, pid=gone.pid).finish() == (1, "", "pydbattach: process %d has exited\n" % gone.pid)


def test_a_library_that_never_gets_ready_is_given_up(target, client):
    target.state.phase = LOADING
    begin = time.monotonic()
    assert client(target).finish(seconds=60) == (
        1, "", "pydbattach: the library in process %d has not opened its channel within 10 s\n" % os.getpid())
    assert time.monotonic() - begin > 9.5


def test_ctrl_c_while_the_library_gets_ready(target, client):
    target.state.phase = LOADING
    program = client(target, "-v")
    wait_until(lambda: process_state(program.process.pid) == "S")
    program.signal(signal.SIGINT)
    assert program.finish() == (1, "", "pydbattach: gave up; %d runs on\n" % os.getpid())


# --- -c


def test_commands_are_sent_one_by_one(target, client):
    program = client(target, "-c", "p 1", "-c", "p 'é'\nwhere")
    assert "batch 1" in target.begin()
    for command, output in (("p 1", "1\n"), ("p 'é'", "'é'\n"), ("where", "> f()\n")):
        target.expect("L", command)
        target.answer(output)
    target.end()
    assert program.finish() == (0, "1\n'é'\n> f()\n", ATTACHED + DETACHED)


def test_commands_do_not_read_stdin(target, client):
    program = client(target, "-c", "p 1")
    program.process.stdin.write(b"p 2\n")
    program.process.stdin.flush()
    target.begin()
    target.expect("L", "p 1")
    target.answer("1\n")
    target.end()
    assert program.finish()[0] == 0


def test_command_that_does_not_come_back(target, client):
    program = client(target, "-c", "p lock.acquire()", "-c", "p 2", "--timeout", "0.3")
    target.begin()
    target.expect("L", "p lock.acquire()")
    target.expect("I")
    begin = time.monotonic()
    target.end("D")
    assert time.monotonic() - begin > 1.5
    assert program.finish() == (1, "", ATTACHED + "pydbattach: 'p lock.acquire()' did not come back within 0.3 s; detached\n")


def test_command_that_answers_to_the_interrupt_of_timeout(target, client):
    program = client(target, "-c", "p loop()", "-c", "p 2", "--timeout", "0.3")
    target.begin()
    target.expect("L", "p loop()")
    target.expect("I")
    target.answer("*** KeyboardInterrupt\n")
    target.end("D")
    assert program.finish() == (1, "*** KeyboardInterrupt\n",
                                ATTACHED + "pydbattach: 'p loop()' did not come back within 0.3 s; detached\n")


def test_timeout_before_the_first_prompt(target, client):
    program = client(target, "-c", "p 1", "--timeout", "0.3")
    target.take_payload()
    target.end("D")
    assert program.finish() == (1, "", "pydbattach: no prompt from %d within 0.3 s; detached\n" % os.getpid())


def test_timeout_that_is_kept_does_nothing(target, client):
    program = client(target, "-c", "p 1", "--timeout", "5")
    target.begin()
    target.expect("L")
    target.answer("1\n")
    target.end()
    assert program.finish() == (0, "1\n", ATTACHED + DETACHED)


# --- a pipe


def test_lines_from_a_pipe(target, client):
    program = client(target)
    program.process.stdin.write(b"where\r\n\np 'x")
    program.process.stdin.flush()
    target.begin()
    target.expect("L", "where")
    target.answer("> f()\n")
    target.expect("L", "")
    target.answer("> f()\n")
    program.process.stdin.write(b"y'")  # the end of a line comes later, and no newline at the end of input
    program.process.stdin.close()
    program.process.stdin = None
    target.expect("L", "p 'xy'")
    target.answer("'xy'\n")
    target.end()
    assert program.finish() == (0, "> f()\n> f()\n'xy'\n", ATTACHED + DETACHED)


def test_lines_from_a_file(target, client, tmp_path):
    (tmp_path / "commands").write_text("p 1\np 2\n")
    with open(tmp_path / "commands") as file:
        program = client(target, stdin=file)
    assert "batch 1" in target.begin()
    for command in ("p 1", "p 2"):
        target.expect("L", command)
        target.answer("x\n")
    target.end()
    assert program.finish() == (0, "x\nx\n", ATTACHED + DETACHED)


def test_end_of_input_ends_interact_and_then_the_session(target, client):
    program = client(target, stdin=subprocess.DEVNULL)
    target.begin(">>> ")
    target.expect("E")
    target.send("R", "(Pdb) ")
    target.end()
    assert program.finish() == (0, "", ATTACHED + DETACHED)


def test_stdin_that_is_closed_is_an_end_of_input(target, client):
    program = client(target, prefix=["sh", "-c", "exec 0<&- 1>&- 2>&-; exec \"$@\"", "sh"])
    target.begin()
    target.send("O", "nobody sees it\n")
    target.end()
    assert program.finish() == (0, "", "")


def test_line_that_is_longer_than_a_frame(target, client):
    program = client(target)
    target.begin()
    os.set_blocking(program.process.stdin.fileno(), False)
    while not select.select([target.read_end], [], [], 0)[0]:
        with contextlib.suppress(BlockingIOError):
            os.write(program.process.stdin.fileno(), b"x" * 65536)
    target.end("D")
    assert program.finish() == (1, "", ATTACHED + "pydbattach: a line is longer than 1 MiB; detached\n")


def test_reader_that_goes_away_is_a_detach(target, client):
    program = client(target, "-c", "ll", "-c", "where")
    target.begin()
    target.expect("L")
    program.process.stdout.close()
    program.process.stdout = None
    target.answer("line\n")
    frame = target.next()
    while frame[0] == "L":
        frame = target.next()
    assert frame[0] == "D"
    target.bye()
    assert program.finish() == (1, "", ATTACHED)


def test_stdout_that_is_full(target, client):
    with open("/dev/full", "wb") as full:
        program = client(target, "-c", "ll", stdout=full)
    target.begin()
    target.expect("L")
    target.answer("line\n")
    frame = target.next()
    assert frame[0] in "DE"
    target.bye()
    assert program.finish() == (1, "", ATTACHED + "pydbattach: cannot write to stdout: No space left on device\n" + DETACHED)


def test_slow_reader_gets_all(target, client):
    program = client(target, "-c", "ll")
    target.begin()
    target.expect("L")
    for number in range(4000):
        target.send("O", "%d %s\n" % (number, "x" * 1000))  # 4 MB, and nobody reads
    target.send("R", "(Pdb) ")
    target.end()
    status, out, err = program.finish()
    assert (status, err) == (0, ATTACHED + DETACHED)
    assert out == "".join("%d %s\n" % (number, "x" * 1000) for number in range(4000))


def test_interrupt_and_then_detach(target, client):
    program = client(target)
    target.begin()
    program.process.stdin.write(b"continue\n")
    program.process.stdin.flush()
    target.expect("L")
    program.signal(signal.SIGINT)
    target.expect("I")
    program.signal(signal.SIGINT)
    target.end("D")
    assert program.finish() == (1, "", ATTACHED + DETACHED)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT])
def test_signals_detach(target, client, number):
    program = client(target)
    target.begin()
    program.process.stdin.write(b"continue\n")
    program.process.stdin.flush()
    target.expect("L")
    program.signal(number)
    target.end("D")
    assert program.finish() == (1, "", ATTACHED + DETACHED)


def test_ignored_signal_stays_ignored(target, client):
    program = client(target, "-c", "p 1", prefix=["sh", "-c", "trap '' HUP; exec \"$@\"", "sh"])
    target.begin()
    target.expect("L")
    program.signal(signal.SIGHUP)
    target.answer("1\n")
    target.end()
    assert program.finish() == (0, "1\n", ATTACHED + DETACHED)


# --- the GIL, and other ends


def test_gil_that_does_not_come_is_said_and_waited_for(target, client):
    program = client(target, "-c", "p 1")
    target.take_payload()
    message = "pydbattach: a thread of %d holds the GIL and has not let go for 1 s; waiting, Ctrl-C gives up\n" % os.getpid()
    assert program.process.stderr.readline().decode() == message
    target.send("G")
    target.send("R", "(Pdb) ")
    target.expect("L")
    target.send("R", "(Pdb) ")
    target.end()
    assert program.finish() == (0, "", DETACHED)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_giving_up_to_wait_for_the_gil(target, client, number):
    program = client(target)
    target.take_payload()
    program.process.stderr.readline()
    program.signal(number)
    target.expect("D")
    assert program.finish() == (1, "", "pydbattach: gave up; %d runs on\n" % os.getpid())  # without WIRE_BYE


def test_session_that_does_not_begin(target, client):
    program = client(target)
    target.take_payload()
    target.send("G")
    target.expect("D", seconds=60)
    target.bye()
    assert program.finish() == (1, "", "pydbattach: the session in %d did not begin within 10 s; detached\n" % os.getpid())


def test_payload_that_is_not_taken(target, client):
    (client.payload / "pyinjectcode.py").write_text("x = 1\n" * 50000)
    program = client(target)
    status, out, err = program.finish(seconds=60)
    assert (status, out) == (1, "")
    assert err.endswith("pydbattach: %d did not take the payload within 10 s; gave up\n" % os.getpid())


def test_error_of_the_target_is_status_1(target, client):
    program = client(target, "-t", "77")
    target.take_payload()
    target.send("G")
    target.send("F", "process %d has no thread '77'" % os.getpid())
    target.bye()
    assert program.finish() == (1, "", "pydbattach: process %d has no thread '77'\n" % os.getpid())


def test_detach_that_is_not_confirmed(target, client):
    program = client(target, stdin=subprocess.DEVNULL)
    target.begin()
    target.expect("E")
    begin = time.monotonic()
    status, out, err = program.finish()
    assert time.monotonic() - begin > 4.5
    assert (status, out) == (0, "")
    assert err == ATTACHED + ("pydbattach: %d has not confirmed the detach (a thread holds the GIL); "
                              "it will as soon as it can\n" % os.getpid())


def test_target_that_closes_the_channel(target, client):
    program = client(target)
    target.begin()
    target.close()
    assert program.finish() == (1, "", ATTACHED + "pydbattach: %d closed the channel\n" % os.getpid())


def say_attached(pid):
    return "pydbattach: attached to %d, python3.12, 1 threads\n" % pid


def test_process_that_exits_in_the_session(ending_target, client):
    ending = ending_target("exit")
    status, out, err = client(ending).finish("continue\n")
    assert (status, out, err) == (0, "", say_attached(ending.pid) + "pydbattach: process %d has exited\n" % ending.pid)


def test_process_that_exits_before_all_commands_are_done(ending_target, client):
    ending = ending_target("exit")
    status, out, err = client(ending, "-c", "continue", "-c", "where").finish()
    assert (status, out, err) == (1, "", say_attached(ending.pid) + "pydbattach: process %d has exited\n" % ending.pid)


def test_process_that_exits_while_a_child_holds_the_channel(ending_target, client):
    ending = ending_target("hold")
    status, out, err = client(ending).finish("continue\n")
    assert (status, out, err) == (0, "", say_attached(ending.pid) + "pydbattach: process %d has exited\n" % ending.pid)


def test_process_that_becomes_another_program(ending_target, client):
    ending = ending_target("exec")
    status, out, err = client(ending).finish("continue\n")
    assert (status, out) == (0, "")
    assert err == say_attached(ending.pid) + "pydbattach: process %d runs another program now (exec)\n" % ending.pid


# --- what else is said


def test_reminder_that_a_thread_stands(target, client):
    program = client(target, "--remind", "0.4")
    target.begin()
    target.send("T", "stopped 3")
    begin = time.monotonic()
    program.process.stderr.readline()
    assert program.process.stderr.readline().decode() == (
        "pydbattach: thread 3 has stood still for 0 s; others may be waiting for it\n")
    assert program.process.stderr.readline().decode() == (
        "pydbattach: thread 3 has stood still for 1 s; others may be waiting for it\n")
    assert time.monotonic() - begin > 1.4
    target.send("T", "running 3")
    target.send("O", "done\n")
    program.process.stdin.close()
    program.process.stdin = None
    target.end()
    assert program.finish() == (0, "done\n", DETACHED)


def test_blocked_thread_is_no_reason_to_remind(target, client):
    program = client(target, "--remind", "0.1")
    target.begin()
    for state in ("stopped 1", "blocked 1"):
        target.send("T", state)
    with pytest.raises(subprocess.TimeoutExpired):
        program.process.wait(0.5)
    program.process.stdin.close()
    program.process.stdin = None
    target.end()
    assert program.finish() == (0, "", ATTACHED + DETACHED)


def test_verbose_shows_the_steps(target, client):
    program = client(target, "-v", "-c", "p 1")
    target.begin()
    target.expect("L")
    target.send("R", "(Pdb) ")
    target.end()
    lines = [line.split() for line in program.finish()[2].splitlines()]
    steps = [" ".join(line[2:-2]) for line in lines if line[1] == "client:"]
    assert steps == ["channel open", "payload sent", "GIL", "prompt", "detached"]
    assert all(float(line[-2]) < 5000 and line[-1] == "ms" for line in lines if line[1] == "client:")


USAGE = "usage: pydbclient [-nv] [-t THREAD] [-c COMMAND]... [--timeout SECONDS] --payload DIR PID STATE_ADDR\n"


@pytest.mark.parametrize("options, message", [
    (["--timeout", "0"], "pydbattach: not a number of seconds: '0'\n"),
    (["--timeout", "2s"], "pydbattach: not a number of seconds: '2s'\n"),
    (["--timeout", "nan"], "pydbattach: not a number of seconds: 'nan'\n"),
    (["-t", "a\nb"], "pydbattach: not a thread: 'a\nb'\n"),
    (["-t", ""], "pydbattach: not a thread: ''\n"),
    (["--", "17"], USAGE),
])
def test_wrong_usage(target, client, options, message):
    assert client(target, *options).finish() == (2, "", message)


@pytest.mark.parametrize("pid, address, message", [
    ("0", "1000", "not a process id: '0'"), ("4294967297", "1000", "not a process id: '4294967297'"),
    ("+1", "1000", "not a process id: '+1'"), ("1", "-1", "not an address: '-1'"), ("1", "", "not an address: ''"),
    ("1", "0", "not an address: '0'"), ("1", "xyz", "not an address: 'xyz'"),
])
def test_wrong_arguments(pid, address, message):
    program = subprocess.run([CLIENT, "--payload", "/", pid, address], stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert (program.returncode, program.stdout, program.stderr.decode()) == (2, b"", "pydbattach: %s\n" % message)
