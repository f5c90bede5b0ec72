# test_terminal.py - the person's side: keys, history, colours, ^Z, a resized or missing terminal, -c, ~/.pdbrc.
# SPDX-License-Identifier: MIT

import os
import pwd
import re
import signal
import stat
import subprocess
import termios
import time

import pytest

import support

# The victims here are all the same: it is the client that is tried.


@pytest.fixture
def target(victim):
    """A program that sleeps, and is unharmed at the end."""
    one = victim(name="sleep", blocked=True)
    yield one
    one.assert_unharmed()


@pytest.fixture
def service(victim):
    """The program with named threads."""
    return victim(name="workers")


def is_raw(session):
    """True while readline reads keys one by one."""
    return not termios.tcgetattr(session.child.fileno())[3] & termios.ICANON


# --- line editing, completion, history


def test_keys_edit_the_line(target, attach):
    session = attach(target.pid)
    session.send("p 1000\x01\x0b")                       # Ctrl-A, Ctrl-K
    session.send("p secre\x1b[D\x1b[Dx\x08\x05t")        # left, left, x, backspace, Ctrl-E
    assert session.cmd("").strip().endswith("1002")
    session.send("p 6 * 8\x7f7")
    assert session.cmd("").strip().endswith("42")
    session.quit()


@pytest.mark.parametrize("typed, grows_to", [
    ("p secr", "p secret"),                 # a local name
    ("p time.sle", "p time.sleep"),         # an attribute
    ("p nap.__qualn", "p nap.__qualname__"),
    ("unal", "unalias"),                    # a command of Pdb
    ("deta", "detach"),                     # one of ours
])
def test_tab_completes(typed, grows_to, target, attach):
    session = attach(target.pid)
    session.send(typed + "\t")
    session.expect(re.escape(grows_to), 30)
    session.interrupt()
    session.prompt()
    session.quit()


def test_tab_twice_shows_the_choices(target, attach):
    session = attach(target.pid)
    session.send("p sec\t\t")
    session.expect("secret", 30)
    session.send("\x15p time.s\t\t")
    shown = session.expect("strptime", 30)
    assert "sleep" in shown and "strftime" in shown
    session.send("\x15")
    assert session.cmd("p 6*7").strip().endswith("42")
    session.quit()


def test_completion_of_an_object_that_does_not_answer_ends(target, attach):
    """Tab asks the object for its attributes: one that loops must not take the terminal away."""
    session = attach(target.pid)
    session.cmd("!slow = type('Slow', (), {'__dir__': lambda self: [0 for _ in iter(int, 1)]})()")
    session.send("p slow.a\t")
    time.sleep(2.5)
    session.send("\x15")
    assert session.cmd("p 6*7", 6).strip().endswith("42")
    session.quit()


def history_file(home):
    return os.path.join(home, ".local/state/pydbattach/history")


def test_history_is_kept_between_sessions(target, attach, home):
    session = attach(target.pid)
    session.cmd("p 'first'")
    session.cmd(" p 'not kept'")
    session.cmd("p 'twice'")
    session.cmd("p 'twice'")
    session.quit()
    assert support.read_file(history_file(home)).splitlines() == ["p 'first'", "p 'twice'", "q"]
    assert stat.S_IMODE(os.stat(history_file(home)).st_mode) == 0o600
    session = attach(target.pid)
    session.send("\x1b[A\x1b[A\x1b[A")      # up: q, twice, first
    assert session.cmd("").strip().endswith("'first'")
    session.send("\x12wic")                 # Ctrl-R
    session.expect(r"reverse-i-search.*twice", 30)
    session.send("\n")
    session.expect(r"\n'twice'\r\n", 30)
    session.prompt()
    session.quit()


def test_history_goes_to_the_state_directory(target, attach, tmp_path):
    session = attach(target.pid, XDG_STATE_HOME=str(tmp_path))
    session.cmd("p 1")
    session.quit()
    assert "p 1\n" in support.read_file(str(tmp_path / "pydbattach/history"))


def test_history_through_a_link_is_not_followed(target, attach, home, tmp_path):
    os.makedirs(os.path.dirname(history_file(home)))
    (tmp_path / "precious").write_text("keep me\n")
    os.symlink(str(tmp_path / "precious"), history_file(home))
    session = attach(target.pid)
    session.cmd("p 1")
    session.quit()
    assert (tmp_path / "precious").read_text() == "keep me\n"


def test_history_that_cannot_be_written_does_not_matter(target, attach):
    session = attach(target.pid, HOME="/proc", XDG_STATE_HOME="/proc/nowhere")
    assert session.cmd("p 6*7").strip() == "42"
    session.quit()


def test_history_under_sudo_is_the_callers(target, attach):
    """sudo sets HOME to root's; the history belongs to who called it, and is theirs."""
    caller = next(user for user in pwd.getpwall()
                  if not os.path.exists(user.pw_dir) and os.path.isdir(os.path.dirname(user.pw_dir)))
    os.mkdir(caller.pw_dir)
    try:
        os.chown(caller.pw_dir, caller.pw_uid, caller.pw_gid)
        session = attach(target.pid, SUDO_UID=str(caller.pw_uid), SUDO_GID=str(caller.pw_gid), SUDO_USER=caller.pw_name)
        session.cmd("p 'of the caller'")
        session.quit()
        kept = os.path.join(caller.pw_dir, ".local/state/pydbattach/history")
        assert "p 'of the caller'" in support.read_file(kept)
        assert os.stat(kept).st_uid == caller.pw_uid and stat.S_IMODE(os.stat(kept).st_mode) == 0o600
    finally:
        subprocess.run(["rm", "-rf", caller.pw_dir], check=True)


def test_empty_line_repeats(victim, attach):
    target = victim(name="workers")
    session = attach(target.pid)
    session.cmd("tbreak pack")
    assert "-> secret = 2001" in session.cmd("continue")
    assert "-> amount" in session.cmd("next")
    assert "-> label" in session.cmd("")
    session.quit()
    target.assert_unharmed()


# --- colours, width, other locales


def test_colours_where_the_terminal_has_them(target, attach):
    session = attach(target.pid)
    session.cmd("up")
    assert re.search(r"\x1b\[[0-9;]*m", session.log.text)
    session.quit()


@pytest.mark.parametrize("env", [{"NO_COLOR": "1"}, {"TERM": "dumb"}], ids=["NO_COLOR", "dumb"])
def test_no_colours_where_not_wanted(env, target, attach):
    session = attach(target.pid, **env)
    session.cmd("list")
    session.quit()
    assert not re.search(r"\x1b\[[0-9;]*m", session.log.text)


@pytest.mark.parametrize("locale, shown", [("C.UTF-8", "\xe4\u20ac"), ("C", r"\xe4\u20ac"), ("en_US.UTF-8", None)])
def test_locales(locale, shown, target, attach):
    session = attach(target.pid, LC_ALL=locale)
    out = session.cmd("print('\\xe4\\u20ac')").strip()
    if shown:
        assert out.replace(r"\u00e4", r"\xe4") == shown
    assert session.cmd("p 6*7").strip() == "42"
    session.quit()


def test_resized_terminal(target, attach):
    session = attach(target.pid, columns=40, rows=10)
    session.child.setwinsize(30, 120)
    session.send("p '" + "x" * 80 + "'")
    session.expect("x" * 80, 3)         # on one line: no redraw broke it
    assert session.cmd("").strip().endswith("x" * 80 + "'")
    session.quit()


def test_narrow_terminal(target, attach):
    session = attach(target.pid, columns=20, rows=5)
    assert "1002" in session.cmd("p secret")
    session.quit()


# --- ^Z


def test_suspended_says_that_the_thread_stands_and_comes_back(service, home):
    """In a shell with job control, as people have it."""
    shell = support.Attach("--norc", "-i", home=home, launcher="/bin/bash", wait=False, PS1="$ ")
    try:
        shell.expect(r"\$ $")
        shell.send("%s %d\n" % (support.LAUNCHER.replace(" ", "\\ "), service.pid))
        shell.prompt()
        shell.cmd("tbreak pack")
        shell.cmd("continue")
        shell.send("\x1a")
        shown = shell.expect(r"\$ $", 30)
        assert "pydbattach: thread 1 stands still until you come back" in shown
        # The shell has a sane terminal; the program's thread stands.
        shell.send("echo shell $((6*7))\n")
        shell.expect("shell 42", 30)
        shell.expect(r"\$ $")
        shell.send("fg\n")
        shell.prompt(3)
        assert "2001" in shell.cmd("next") + shell.cmd("p secret")
        shell.send("q\n")
        shell.expect("pydbattach: detached, %d runs on" % service.pid)
        shell.expect(r"\$ $")
        shell.send("exit\n")
        assert shell.finish() == 0
    finally:
        shell.close()
    service.assert_unharmed()


def test_terminal_is_as_it_was(target, home):
    """After q, and after the client was killed by a signal that it can catch."""
    for way in ("q", signal.SIGTERM, signal.SIGHUP):
        shell = support.Attach("-c", '"$0" "$1"; stty -a; echo END', support.LAUNCHER, target.pid, home=home,
                               launcher="/bin/sh")
        try:
            assert is_raw(shell)
            if way == "q":
                shell.send("q\n")
            else:
                os.kill(shell.processes()["pydbclient"], way)
            shown = shell.expect("END", 30)
            for setting in (" icanon", " echo ", " isig", " icrnl", " opost"):
                assert setting in shown.replace(";", " ").replace("\n", " "), shown
        finally:
            shell.close()
        target.assert_unharmed()


# --- no terminal


@pytest.mark.parametrize("text, expected", [("where\n", "nap()"), ("p secret\n", "1002\n"), ("p secret", "1002\n"),
                                            ("up\np __name__\n", "'__main__'")])
def test_pipe_instead_of_a_terminal(text, expected, target, batch):
    done = batch(target.pid, input=text)
    assert done.returncode == 0
    assert expected in done.stdout
    assert "(Pdb)" not in done.stdout + done.stderr
    assert done.stderr.endswith("pydbattach: detached, %d runs on\n" % target.pid)


def test_empty_input_detaches(target, batch):
    done = batch(target.pid, input="")
    assert done.returncode == 0
    assert done.stderr.endswith("pydbattach: detached, %d runs on\n" % target.pid)


def test_commands_are_run_and_only_their_results_go_to_stdout(target, batch):
    done = batch("-c", "p secret", "-c", "up", "-c", "p __name__", target.pid)
    assert done.returncode == 0
    lines = done.stdout.splitlines()
    assert lines[0] == "1002" and lines[-1] == "'__main__'" and any(line.startswith("> ") for line in lines)
    assert done.stderr.splitlines()[-1] == "pydbattach: detached, %d runs on" % target.pid


def test_nothing_to_read_at_stdin_is_needed_for_commands(target, batch):
    read, write = os.pipe()
    try:
        done = batch("-c", "p 6*7", target.pid, stdin=read)
        assert (done.returncode, done.stdout) == (0, "42\n")
    finally:
        os.close(read)
        os.close(write)


def test_commands_from_a_file_that_continue_and_stop(service, batch):
    done = batch(service.pid, input="break pack\ncontinue\nnext\np secret\nclear 1\nq\n")
    assert done.returncode == 0
    assert "2001\n" in done.stdout
    service.assert_unharmed()


def test_timeout_interrupts_what_does_not_come_back(target, batch):
    done = batch("--timeout", "1", "-c", "p [0 for _ in iter(int, 1)]", target.pid)
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1] == \
        "pydbattach: 'p [0 for _ in iter(int, 1)]' did not come back within 1 s; detached"


def test_timeout_of_a_thread_that_does_not_come_back(target, batch):
    done = batch("--timeout", "1", "-c", "next", target.pid)
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1] == "pydbattach: 'next' did not come back within 1 s; detached"


def test_timeout_of_a_thousand_seconds_costs_nothing(target, batch):
    done = batch("--timeout", "1000", "-c", "p 6*7", target.pid)
    assert (done.returncode, done.stdout) == (0, "42\n")


def test_sigint_without_a_terminal_detaches_at_the_second(service, home):
    process = subprocess.Popen([support.LAUNCHER, "-c", "p [0 for _ in iter(int, 1)]", "-c", "p 6*7", str(service.pid)],
                               env=support.make_environment(home), stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                               stdin=subprocess.DEVNULL, encoding="utf-8")
    try:
        assert support.wait_until(lambda: support.process_name(process.pid) == "pydbclient")
        time.sleep(0.7)
        process.send_signal(signal.SIGINT)
        out, _ = process.communicate(timeout=10)
        assert out.endswith("42\n")
    finally:
        process.kill()
        process.wait()
    service.assert_unharmed()


@pytest.mark.parametrize("closed", ["stdout", "stderr", "stdin"])
def test_closed_stdio(closed, target, home):
    redirect = {"stdout": ">&-", "stderr": "2>&-", "stdin": "<&-"}[closed]
    done = subprocess.run(["sh", "-c", '"$0" -c "p 6*7" "$1" ' + redirect, support.LAUNCHER, str(target.pid)],
                          env=support.make_environment(home), stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                          stdin=subprocess.DEVNULL, encoding="utf-8", timeout=30)
    if closed != "stdout":
        assert done.stdout == "42\n"
        assert done.returncode == 0
    target.assert_unharmed()


def test_reader_that_goes_away_is_a_detach(target, home):
    """`... | head -1`"""
    done = subprocess.run(["sh", "-c", '"$0" -c "p [0] * 100000" -c "!while True: print(1)" "$1" | head -c 10',
                           support.LAUNCHER, str(target.pid)], env=support.make_environment(home),
                          stdout=subprocess.PIPE, stderr=subprocess.PIPE, stdin=subprocess.DEVNULL, timeout=30)
    assert len(done.stdout) == 10
    target.assert_unharmed()


def test_much_output_is_whole(target, batch):
    done = batch("-c", "for i in range(20000): print('%06d' % i)", target.pid)
    assert done.stdout == "".join("%06d\n" % number for number in range(20000))


# --- ~/.pdbrc


def write_rc(home, text, mode=0o644):
    path = os.path.join(home, ".pdbrc")
    with open(path, "w") as file:
        file.write(text)
    os.chmod(path, mode)
    return path


def test_callers_pdbrc_is_honoured(target, batch, home):
    write_rc(home, "# a comment\nalias double p %1 * 2\n\np 'from rc'\n")
    done = batch("-c", "double secret", target.pid)
    assert done.returncode == 0
    assert done.stdout == "'from rc'\n2004\n"


def test_pdbrc_is_not_read_with_n(target, batch, home):
    write_rc(home, "p 'from rc'\n")
    assert batch("-n", "-c", "p 6*7", target.pid).stdout == "42\n"


@pytest.mark.parametrize("what", ["writable by others", "of another owner", "a directory"])
def test_pdbrc_that_others_may_have_written_is_ignored(what, target, batch, home):
    if what == "a directory":
        os.mkdir(os.path.join(home, ".pdbrc"))
    else:
        path = write_rc(home, "p 'from rc'\n", 0o666 if what.startswith("writable") else 0o644)
        if what.startswith("of"):
            os.chown(path, 65534, 65534)
    done = batch("-c", "p 6*7", target.pid)
    assert (done.returncode, done.stdout) == (0, "42\n")
    if what != "a directory":
        assert re.search(r"pydbattach: .*\.pdbrc.* ignored", done.stderr), done.stderr


def test_pdbrc_of_the_target_and_of_the_working_directory_are_not_read(victim, batch, home, tmp_path):
    target = victim(name="sleep", files={".pdbrc": "p 'from rc of the target'\n"}, blocked=True)
    (tmp_path / ".pdbrc").write_text("p 'from rc here'\n")
    assert batch("-c", "p 6*7", target.pid, cwd=str(tmp_path)).stdout == "42\n"
    target.assert_unharmed()
