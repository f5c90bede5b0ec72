# test_client_look.py - what pydbclient shows of a target from outside, with a played target and a played pydblook.
# SPDX-License-Identifier: MIT

import os
import signal

import pytest

from fake_target import wait_until

PROMPT = r"\(Pdb\) (?:\x1b\[[0-9;]*[A-Za-z])*$"
DETACHED = "pydbattach: detached, %d runs on\n" % os.getpid()
INTERRUPT, EOF = "\x03", "\x04"
WHERE = "in re.match(), /srv/shop/parse.py:17"
HELD = "pydbattach: thread 1 holds the GIL and has not let go for 1 s: %s\n" % WHERE
WAITING = "pydbattach: waiting; d and Enter shows all stacks, Ctrl-C gives up\n"
HELD_BY_SOMEBODY = ("pydbattach: a thread of %d holds the GIL and has not let go for 1 s; waiting, Ctrl-C gives up\n"
                    % os.getpid())


@pytest.fixture
def look(tmp_path):
    """look(gil=..., dump=...): the options for a client whose pydblook is a shell script."""
    def make(gil="echo '1 %s'" % WHERE, dump="echo \"all stacks: $*\""):
        path = tmp_path / "pydblook"
        path.write_text("#!/bin/sh\ncase \" $*\" in\n*\" gil \"*) %s ;;\n*\" dump \"*) %s ;;\nesac\n" % (gil, dump))
        path.chmod(0o755)
        return "--look", str(path)

    return make


@pytest.fixture
def waiting(target, client, look):
    """A client on a terminal that waits for the GIL and has said so."""
    def start(**named):
        program = client(target, *look(**named), tty=True)
        target.take_payload()
        program.see(r"waiting.* gives up\n")
        return program

    return start


def begin(target, program):
    target.send("G")
    target.send("R", "(Pdb) ")
    program.see(PROMPT)


def leave(target, program):
    program.type("q\r")
    target.expect("L", "q")
    target.bye()
    assert program.wait() == 0


def test_who_holds_the_gil_is_named(target, client, look):
    program = client(target, *look(), tty=True)
    target.take_payload()
    assert program.see(r"gives up\n") == HELD + WAITING
    begin(target, program)
    leave(target, program)


def test_who_holds_the_gil_is_named_without_a_terminal(target, client, look):
    program = client(target, *look(), "-c", "p 1")
    target.take_payload()
    lines = [program.process.stderr.readline().decode() for _ in range(2)]
    assert lines == [HELD, "pydbattach: waiting; Ctrl-C gives up\n"]
    target.send("G")
    target.send("R", "(Pdb) ")
    target.expect("L", "p 1")
    target.send("R", "(Pdb) ")
    target.end()
    assert program.finish() == (0, "", DETACHED)


@pytest.mark.parametrize("gil", ["exit 1", "echo nonsense", "printf ' '", "kill -9 $$", "sleep 60"])
def test_holder_that_cannot_be_named(target, client, look, gil):
    program = client(target, *look(gil=gil), tty=True)
    target.take_payload()
    assert program.see(r"gives up\n") == HELD_BY_SOMEBODY
    begin(target, program)
    leave(target, program)


def test_d_and_enter_shows_all_stacks_while_it_waits(target, waiting):
    program = waiting()
    for _ in range(2):
        program.type("d\r")
        assert program.see(r"all stacks: .*\n").endswith("all stacks: --colour dump %d\n" % os.getpid())
    begin(target, program)
    leave(target, program)


def test_what_else_is_typed_while_it_waits_goes_to_the_prompt(target, waiting):
    program = waiting()
    program.type("where\r")
    program.type("d\r")
    program.see(r"all stacks: .*\n")
    target.send("G")
    target.send("R", "(Pdb) ")
    target.expect("L", "where")
    target.answer("> f()\n")
    program.see(PROMPT)
    leave(target, program)


@pytest.mark.parametrize("key", [INTERRUPT, EOF])
def test_giving_up_after_a_look(target, waiting, key):
    program = waiting()
    program.type("d\r")
    program.see(r"all stacks: .*\n")
    program.type(key)
    target.end("D")
    assert program.wait() == 1
    assert program.shown.endswith("pydbattach: gave up; %d runs on\n" % os.getpid())


def test_ctrl_c_ends_a_look_that_takes_long(target, waiting, tmp_path):
    program = waiting(dump=": >'%s'; exec sleep 60" % (tmp_path / "looks"))
    program.type("d\r")
    wait_until((tmp_path / "looks").exists)
    program.type(INTERRUPT)
    program.see(r"pydbattach: the stacks of %d cannot be shown\n" % os.getpid())
    begin(target, program)
    leave(target, program)


def test_terminate_while_it_looks(target, waiting, tmp_path):
    program = waiting(dump=": >'%s'; exec sleep 60" % (tmp_path / "looks"))
    program.type("d\r")
    wait_until((tmp_path / "looks").exists)
    program.signal(signal.SIGTERM)
    target.end("D")
    assert program.wait() == 1
    assert "pydbattach: gave up; %d runs on\n" % os.getpid() in program.shown


@pytest.mark.parametrize("words, options", [(" ", ""), ("locals", "--locals "), ("native locals", "--locals --native "),
                                            ("--core /etc/shadow", ""), ("", "")])
def test_dump_in_the_session(target, client, look, words, options):
    """In order with what comes before and after it; only known words become options."""
    program = client(target, *look(), "-c", "dump")
    target.begin()
    target.expect("L", "dump")
    target.send("O", "before\n")
    target.send("K", words)
    target.answer("after\n")
    target.end()
    status, out, _ = program.finish()
    assert (status, out) == (0, "before\nall stacks: %sdump %d\nafter\n" % (options, os.getpid()))


def test_dump_between_prompts(target, client, look):
    program = client(target, *look(dump="echo stacks; echo 'pydbattach: trouble' >&2"), tty=True)
    target.begin()
    program.see(PROMPT)
    program.type("dump\r")
    target.expect("L", "dump")
    target.send("K", " ")
    target.send("R", "(Pdb) ")
    assert "stacks\npydbattach: trouble\n(Pdb) " in program.see(PROMPT)
    leave(target, program)


def test_dump_without_pydblook(target, client):
    program = client(target, "-c", "dump")
    target.begin()
    target.expect("L", "dump")
    target.send("K", " ")
    target.send("R", "(Pdb) ")
    target.end()
    status, out, err = program.finish()
    assert (status, out) == (0, "")
    assert "pydbattach: there is no pydblook to show the stacks of %d\n" % os.getpid() in err
