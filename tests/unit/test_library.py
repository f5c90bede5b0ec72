# test_library.py - the library's own code with the sanitizers in it, linked into a Python program: library_host.c.
# SPDX-License-Identifier: MIT
#
# Each test runs with ASan and UBSan, and with TSan. The Python below is the interpreter's own libpython, without
# sanitizers: TSan sees its locks (the GIL is made of pthread's), and nothing of what it does between them. The
# client is the real one, or the test itself.

import contextlib
import ctypes
import os
import random
import struct
import subprocess
import time

import pytest

import pythons
import support
from fake_target import CLIENT, IDLE, READY, State, wait_until

# Whose library shares our C library: TSan must be first to see its calls.
SHARED = [python for python in pythons.ALL if not python.root and not python.name.startswith("debian")]
TWO = [python for python in SHARED if python.name in ("3.8", "3.12")] or SHARED[-1:]
KINDS = ["asan", "tsan"]
WRONG = 66

PROGRAM = """
import os, threading, time
def work(number):
    total = 0
    for i in range(number):
        total += i
    return total
def start_and_end():
    while not os.access("stop", os.F_OK):
        thread = threading.Thread(target=work, args=(50,))
        thread.start()
        thread.join()
        time.sleep(0.001)
waiting = threading.Lock()
waiting.acquire()
threads = [threading.Thread(target=start_and_end, name="starter"), threading.Thread(target=waiting.acquire, name="blocked")]
for thread in threads:
    thread.start()
print("ready", flush=True)
while not os.access("stop", os.F_OK):
    work(10)
    time.sleep(0.001)
waiting.release()
for thread in threads:
    thread.join()
print("stopped", flush=True)
"""


class Host:
    """A program with the library in it."""

    def __init__(self, python, kind, place):
        home = os.path.dirname(os.path.dirname(python.path))
        (place / "program.py").write_text(PROGRAM)
        self.place, self.errors = place, open(place / "errors", "w+", encoding="utf-8", errors="replace")
        self.process = subprocess.Popen(
            [os.path.join(support.TOP, "build", kind, "library-host"), "%s/lib/libpython%s.so.1.0" % (home, python.version), "program.py"],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self.errors, cwd=place, encoding="utf-8",
            env={"PYTHONHOME": home, "PATH": os.environ["PATH"], "LC_ALL": "C.UTF-8",
                 "ASAN_OPTIONS": "detect_leaks=0",       # Python keeps much until the end
                 "TSAN_OPTIONS": "ignore_noninstrumented_modules=1 exitcode=%d" % WRONG})
        self.pid = self.process.pid
        assert self.process.stdout.readline() == "ready\n", self.said()
        self.descriptors = len(os.listdir("/proc/%d/fd" % self.pid))

    def said(self):
        self.errors.seek(0)
        return self.errors.read()

    def enter(self, orders="a"):
        """As many threads as there are orders enter the library at once; where its state is."""
        self.process.stdin.write("".join(order + "\n" for order in orders))
        self.process.stdin.flush()
        addresses = {self.process.stdout.readline() for _ in orders}
        assert len(addresses) == 1 and addresses != {""}, self.said()
        self.address = addresses.pop().strip()

    def state(self):
        with open("/proc/%d/mem" % self.pid, "rb") as file:
            file.seek(int(self.address, 16))
            return State.from_buffer_copy(file.read(ctypes.sizeof(State)))

    def open_channel(self):
        state = self.state()
        assert state.phase == READY
        return [os.open("/proc/%d/fd/%d" % (self.pid, number), flags | os.O_NONBLOCK)
                for number, flags in ((state.in_write, os.O_WRONLY), (state.out_read, os.O_RDONLY))]

    def wait_idle(self):
        wait_until(lambda: self.process.poll() is not None or (self.state().phase, self.state().evaluator) == (IDLE, 0), 120)
        assert self.process.poll() is None, self.said()
        wait_until(lambda: len(os.listdir("/proc/%d/fd" % self.pid)) == self.descriptors)

    def run_client(self, *commands):
        """A session by the real client: what it shows."""
        self.enter()
        options = [word for command in commands for word in ("-c", command)]
        done = subprocess.run([CLIENT, "-n", *options, "--look", os.path.join(support.TOP, "build", "pydblook"),
                               "--payload", support.TOP, str(self.pid), self.address], cwd=self.place, stdin=subprocess.DEVNULL,
                              stdout=subprocess.PIPE, stderr=subprocess.PIPE, encoding="utf-8", timeout=250)
        assert done.returncode == 0, done.stderr + self.said()
        self.wait_idle()
        return done.stdout

    def stop(self):
        (self.place / "stop").touch()
        self.process.stdin.close()
        assert (self.process.wait(120), self.process.stdout.read(), self.said()) == (0, "stopped\n", "")

    def close(self):
        self.process.kill()
        self.process.wait()
        self.process.stdout.close()
        self.errors.close()


@pytest.fixture(scope="module", autouse=True)
def built():
    done = subprocess.run(["make", "-C", support.TOP, "--no-print-directory"] + ["build/%s/library-host" % kind for kind in KINDS],
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT, encoding="utf-8")
    assert done.returncode == 0, done.stdout


@pytest.fixture
def host(tmp_path):
    started = []

    def start(python, kind):
        support.need(python.is_there(), "no interpreter %s (tests/pythons.py, make deps)" % python.name)
        started.append(Host(python, kind, tmp_path))
        return started[-1]

    yield start
    for one in started:
        one.close()


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("python", SHARED, ids=str)
def test_sessions(python, kind, host):
    """Threads start and end, breakpoints fire in them, what is saved and dumped comes; twice, and nothing is left."""
    one = host(python, kind)
    for _ in range(2):
        shown = one.run_client("p 6*7", "threads", "break work", "continue", "where", "continue", "up", "breaks save saved",
                               "clear", "catch ValueError", "!import sys", "stopall", "dump", "goall", "thread 1", "p 'end'")
        assert shown.startswith("42\n") and "Breakpoint 1 at " in shown and shown.endswith("'end'\n"), shown
        assert "no Python: idle in poll" in shown, shown        # our keeper, as look sees it
        assert (one.place / "saved").read_text().endswith("/program.py:4\n")
    one.stop()


@pytest.mark.parametrize("python", TWO, ids=str)
def test_a_blocked_thread_is_entered(python, host):
    """Without TSan, which lets signals wait."""
    one = host(python, "asan")
    shown = one.run_client("thread blocked", "enter", "import threading; print(threading.current_thread().name)", "leave")
    assert shown.splitlines()[-1] == "blocked", shown
    one.stop()


def frame(kind, payload=b""):
    return kind + struct.pack("<I", len(payload)) + payload


def payload_frames():
    return b"".join(frame(b"P", b"%s\x001\0" % name.encode() + support.read_file(os.path.join(support.TOP, name + ".py")).encode())
                    for name in ("pythreadhacks", "pyinjectcode", "pybreaks", "pycatch", "pyenter"))


def start_frames():
    return payload_frames() + frame(b"S", b"pid 1\nbatch 1\n")


# What a client may do that is broken, mean or gone, and what it has heard before it goes; None: until the library has closed.
# It says its size first: then both know that the other is there.
BAD = {
    "nothing": (b"", ""), "half a head": (b"L\5", "G"), "half a message": (b"L\5\0\0\0p 1", "G"),
    "4 GiB": (b"L\xff\xff\xff\xff" + b"x" * 4096, None), "one byte too many": (b"L\1\0\x10\0" + b"x" * 4096, None),
    "unknown kind": (frame(b"z", b"?"), None), "unknown kind later": (start_frames() + frame(b"z", b"?"), None),
    "detach at once": (frame(b"D"), None), "no payload": (frame(b"S"), None), "wrong payload": (frame(b"P", b"pyinjectcode\x001\0("), None),
    "half the payload": (payload_frames()[:50000], "G"), "end of input": (start_frames() + frame(b"E"), None),
    "flood of lines": (start_frames() + frame(b"L", b"p 'line'") * 3000, "line"),
    "flood of interrupts": (start_frames() + frame(b"L", b"!while 1: pass") + frame(b"I") * 3000, "(Pdb)"),
    "detach while busy": (start_frames() + frame(b"L", b"!while 1: pass") + frame(b"D"), None),
    "gone while it prints": (start_frames() + frame(b"L", b"!while 1: print('x' * 1000)"), "xxx"),
    "breakpoints, and gone": (start_frames() + frame(b"L", b"break work") + frame(b"L", b"continue"), "hit breakpoint"),
    "completions": (start_frames() + frame(b"C", b"0\x0099999\0x") + frame(b"C", b"\0\0") + frame(b"C") + frame(b"W", b"-1 x"), "(Pdb)"),
    "garbage": (random.Random(1).randbytes(65536), None),
}


def be_bad(one, data, until):
    """Sends data, reads until it has heard that, and is gone."""
    one.enter()
    to_target, from_target = one.open_channel()
    heard, end = b"", time.monotonic() + 60

    def go_on():
        nonlocal data, heard
        assert one.process.poll() is None, one.said()
        assert time.monotonic() < end, "%r is not there: %r" % (until, heard[-1000:])
        with contextlib.suppress(BlockingIOError):
            heard += os.read(from_target, 65536)
        with contextlib.suppress(BlockingIOError, BrokenPipeError):
            data = data[os.write(to_target, data):] if data else data
        return until.encode() in heard if until is not None else one.state().phase == IDLE

    wait_until(go_on, 120)
    os.close(to_target)
    os.close(from_target)
    one.wait_idle()


@pytest.mark.parametrize("kind", KINDS)
def test_bad_clients(kind, host):
    one = host(TWO[-1], kind)
    for with_payload in (False, True):          # which is kept for those who come later
        for data, until in BAD.values():
            if data.startswith(start_frames()) == with_payload:
                be_bad(one, frame(b"W", b"80 24") * bool(data) + data, until)
        assert one.run_client("p 6*7") == "42\n"
    one.stop()


@pytest.mark.parametrize("kind", KINDS)
def test_many_enter_at_once_and_one_is_let_in(kind, host):
    """And the program forks while the channel is made."""
    one = host(TWO[-1], kind)
    for orders in ("aaaaa", "faf", "aff"):
        one.enter(orders)
        channel = one.open_channel()
        os.write(channel[0], frame(b"D"))
        one.wait_idle()
        for fd in channel:
            os.close(fd)
    assert one.run_client("p 6*7") == "42\n"
    one.stop()
