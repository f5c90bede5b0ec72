# test_client_hostile.py - pydbclient (with sanitizers) against targets that are broken or mean.
# SPDX-License-Identifier: MIT

import os
import random
import select
import signal
import struct
import subprocess
import time

import pytest

from fake_target import CLIENT_ASAN

PROMPT = r"\(Pdb\) (?:\x1b\[[0-9;]*[A-Za-z])*$"


@pytest.fixture
def hardened(client):
    def start(*args, tty=False, **named):
        # readline loses a few bytes when a search is left by Ctrl-C.
        return client(*args, client=CLIENT_ASAN, tty=tty, env={"ASAN_OPTIONS": "detect_leaks=0"} if tty else {}, **named)

    return start


def drain(file):
    while select.select([file], [], [], 0)[0] and os.read(file.fileno(), 65536):
        continue


def frame(kind, payload=b""):
    return kind + struct.pack("<I", len(payload)) + payload


@pytest.mark.parametrize("when", ["at the start", "in the session"])
@pytest.mark.parametrize("garbage, named", [
    (b"\x00" * 100, "kind 0x00, 0 bytes"),
    (b"O\xff\xff\xff\xff", "kind 0x4f, 4294967295 bytes"),
    (b"O\x01\x00\x10\x00", "kind 0x4f, 1048577 bytes"),
    (b"HTTP/1.1 200 OK\r\n", "kind 0x48, %d bytes" % int.from_bytes(b"TTP/", "little")),
    (frame(b"L", b"p 1"), "kind 0x4c, 3 bytes"),  # one of the other direction
])
def test_garbage_ends_the_session(target, hardened, when, garbage, named):
    program = hardened(target)
    target.take_payload()
    if when == "in the session":
        target.send("G")
        target.send("R", "(Pdb) ")
    target.send_raw(garbage)
    status, out, err = program.finish()
    assert (status, out) == (1, "")
    assert err == "pydbattach: %d sent what is not understood (%s); detached\n" % (os.getpid(), named)


@pytest.mark.parametrize("half", [b"O", b"O\x10\x00\x00", b"O\x10\x00\x00\x00half"])
def test_half_a_message_and_silence(target, hardened, half):
    """Ctrl-C and SIGTERM work; the rest may still come."""
    program = hardened(target, tty=True)
    target.begin()
    program.see(PROMPT)
    program.type("p 1\r")
    target.expect("L")
    target.send_raw(half)
    program.type("\x03")
    target.expect("I")
    program.signal(signal.SIGTERM)
    target.expect("D")
    target.close()
    assert program.wait() == 1
    assert program.shown.endswith("pydbattach: %d closed the channel\n" % os.getpid())


def test_half_a_message_and_the_end(target, hardened):
    program = hardened(target)
    target.begin()
    target.send_raw(b"O\x10\x00\x00\x00half")
    target.close()
    status, out, err = program.finish()
    assert (status, out) == (1, "") and err.endswith("pydbattach: %d closed the channel\n" % os.getpid())


def test_frames_byte_by_byte(target, hardened):
    program = hardened(target, "-c", "p 1")
    target.take_payload()
    for byte in frame(b"G") + frame(b"R", b"(Pdb) "):
        target.send_raw(bytes([byte]))
    target.expect("L")
    for byte in frame(b"O", "é€😀\n".encode()) + frame(b"R"):
        target.send_raw(bytes([byte]))
    target.end()
    status, out, _ = program.finish()
    assert (status, out) == (0, "é€😀\n")


def test_largest_frames(target, hardened):
    program = hardened(target, "-c", "p 1", stdout=subprocess.DEVNULL)
    target.take_payload()
    target.send("G")
    for kind in "OQMTC":
        target.send(kind, b"\xff" * (1 << 20))
    target.send("R", b"\x1b" * (1 << 20))
    target.expect("L")
    target.send("R")
    target.end()
    assert program.finish()[0] == 0


@pytest.mark.parametrize("kind", ["O", "Q", "M", "F", "T", "C", "R"])
@pytest.mark.parametrize("tty", [False, True])
def test_flood_of_frames(target, hardened, kind, tty):
    """A flood of any kind: SIGTERM still ends the session, at once."""
    program = hardened(target, tty=tty, **({} if tty else {"stdout": subprocess.DEVNULL}))
    target.take_payload()
    target.send("G")
    flood = frame(kind.encode(), b"stopped 1\n") * 200
    end = time.monotonic() + 1
    os.set_blocking(target.write_end, False)
    pending = b""
    asked = 0
    while True:
        if tty:
            program.read_screen()
            program.raw = b""
        else:
            drain(program.process.stderr)
        pending = pending or flood
        try:
            pending = pending[os.write(target.write_end, pending):]
        except BlockingIOError:
            pass
        except BrokenPipeError:
            break
        if not asked and time.monotonic() > end:
            program.signal(signal.SIGTERM)
            asked = time.monotonic()
        assert not asked or time.monotonic() < asked + 9
    status = program.wait() if tty else program.finish()[0]
    assert status == (0 if tty and kind == "R" else 1)


def test_target_that_asks_for_ever(target, hardened):
    """At the end of input, each answer is another question."""
    program = hardened(target, stdin=subprocess.DEVNULL)
    target.begin()
    answers = 0
    while target.expect_any("ED") == "E":
        answers += 1
        assert answers < 20
        target.send("R", "more> ")
    target.bye()
    assert program.finish()[0] == 0


def test_frames_in_any_order(target, hardened):
    """Random frames with random payloads: no crash, no hang, nothing raw on the terminal."""
    dice = random.Random(7)
    kinds = b"GOQMRCT"
    program = hardened(target, tty=True)
    target.begin()
    program.see(PROMPT)
    for number in range(3000):
        payload = bytes(dice.choice(b"\x00\x1b\n\r\t ab12\xc3\xa9\xe2\x80\xae\xff'\"#") for _ in range(dice.randrange(30)))
        target.send_raw(frame(bytes([dice.choice(kinds)]), payload), program.read_screen)
        if number % 7 == 0:
            program.type(dice.choice(["p 1\r", "\t", "x", "\x03", "\x1b[A", "\x12", "\x07", "é"]))
        while target.read_some(0):
            target.received = b""
    target.send_raw(frame(b"X"), program.read_screen)
    assert program.wait() == 0
    assert "Sanitizer" not in program.shown and "runtime error" not in program.shown
    assert not [c for c in program.shown if "\x80" <= c <= "\x9f" or c == "\u202e"]


def test_completions_without_end(target, hardened):
    program = hardened(target, tty=True)
    target.begin()
    program.see(PROMPT)
    program.type("p a\t")
    target.expect("C")
    target.send("C", b"a\n" * (1 << 19))
    program.type("\x15p b\t")
    target.expect("C")
    target.send("C", "\n".join("b%d" % number for number in range(100000)))
    program.type("\tq\r")
    target.expect("C")
    target.send("C")
    assert target.expect("L").endswith(b"q")
    target.bye()
    assert program.wait() == 0


def test_flood_instead_of_completions(target, hardened):
    program = hardened(target, tty=True)
    target.begin()
    program.see(PROMPT)
    program.type("p a\t")
    target.expect("C")
    for _ in range(40):
        target.send_raw(frame(b"O", b"x\n" * (1 << 15)), program.read_screen)
        program.raw = b""
    target.send("M", "news")
    program.see(r"news\n\(Pdb\) p a")
    target.expect("I")
    program.type("\r")
    target.expect("L", "p a")
