# fake_target.py - plays the target for pydbclient: state in memory, two pipes, frames as a test wants them.
# SPDX-License-Identifier: MIT
#
# The process of the test itself is the target: its memory has the struct pydb_state, its descriptors
# the channel. Where the target has to end, this file runs as a process of its own:
#     fake_target.py exit|exec|bye|hold      prints PID and address; reads frames up to the first line typed

import contextlib
import ctypes
import fcntl
import os
import pty
import re
import select
import signal
import struct
import subprocess
import sys
import termios
import time

import pytest

HERE = os.path.dirname(os.path.abspath(__file__))
TOP = os.path.dirname(os.path.dirname(HERE))
CLIENT = os.environ.get("PYDBCLIENT") or os.path.join(TOP, "build", "pydbclient")
CLIENT_ASAN = os.environ.get("PYDBCLIENT_ASAN") or os.path.join(TOP, "build", "asan", "pydbclient")

IDLE, LOADING, READY, OPEN, CLOSING, FAILED = range(6)
WAIT = 40


class State(ctypes.Structure):
    """struct pydb_state of wire.h."""
    _fields_ = [("magic", ctypes.c_char * 8), ("build", ctypes.c_char * 24), ("generation", ctypes.c_uint32),
                ("phase", ctypes.c_uint32), ("error", ctypes.c_int32), ("in_write", ctypes.c_int32),
                ("out_read", ctypes.c_int32), ("keeper", ctypes.c_int32), ("evaluator", ctypes.c_int32),
                ("has_gil", ctypes.c_int32), ("in_node", ctypes.c_uint64), ("out_node", ctypes.c_uint64)]


class Target:
    """The target's end of a channel."""

    def __init__(self, phase=READY):
        self.read_end, in_write = os.pipe()
        out_read, self.write_end = os.pipe()
        self.client_ends = [in_write, out_read]
        self.received = b""
        self.state = State(b"PYDBATT1", b"test", 1, phase, 0, in_write, out_read, 0, 0, 0,
                           os.fstat(in_write).st_ino, os.fstat(out_read).st_ino)
        self.pid = os.getpid()
        self.address = "%x" % ctypes.addressof(self.state)

    def drop_client_ends(self):
        for fd in self.client_ends:
            os.close(fd)
        self.client_ends = []

    def send_raw(self, data, meanwhile=lambda: None):
        """All of data, unless the client closes its end; never blocks for good."""
        end = time.monotonic() + WAIT
        os.set_blocking(self.write_end, False)
        while data:
            assert time.monotonic() < end, "the client does not read"
            meanwhile()
            if select.select([], [self.write_end], [], 0.1)[1]:
                data = data[os.write(self.write_end, data):]

    def send(self, kind, payload=b""):
        if isinstance(payload, str):
            payload = payload.encode("utf-8")
        self.send_raw(kind.encode() + struct.pack("<I", len(payload)) + payload)

    def read_some(self, seconds):
        if not select.select([self.read_end], [], [], max(0, seconds))[0]:
            return False
        data = os.read(self.read_end, 65536)
        self.received += data
        return bool(data)

    def next(self, seconds=WAIT):
        """The client's next frame: kind and payload; None when it has closed the channel."""
        end = time.monotonic() + seconds
        while True:
            if len(self.received) >= 5:
                length, = struct.unpack("<I", self.received[1:5])
                if len(self.received) >= 5 + length:
                    kind, payload = chr(self.received[0]), self.received[5:5 + length]
                    self.received = self.received[5 + length:]
                    return kind, payload
            if not self.read_some(end - time.monotonic()):
                assert time.monotonic() < end, "no frame from the client"
                return None

    def expect(self, kind, payload=None, seconds=WAIT):
        """The client's next frame is of this kind (window sizes apart); returns its payload."""
        frame = self.next(seconds)
        while frame and frame[0] == "W" and kind != "W":
            frame = self.next(seconds)
        assert frame and frame[0] == kind, "expected %s, got %r" % (kind, frame)
        if payload is not None:
            assert frame[1] == (payload.encode() if isinstance(payload, str) else payload)
        return frame[1]

    def expect_any(self, kinds):
        """The kind of the client's next frame."""
        kind, _ = self.next()
        assert kind in kinds
        return kind

    def take_payload(self):
        """Up to WIRE_START: its options, and the pieces of source."""
        pieces = []
        while True:
            kind, payload = self.next()
            if self.client_ends:
                self.drop_client_ends()
            if kind == "S":
                return payload.decode().splitlines(), pieces
            assert kind == "P"
            pieces.append(payload)

    def begin(self, prompt="(Pdb) "):
        """As far as the first prompt; returns the options."""
        options, _ = self.take_payload()
        self.send("G")
        self.send("M", "attached to %d, python3.12, 1 threads" % self.pid)
        self.send("T", "blocked 1")
        self.send("R", prompt)
        return options

    def answer(self, text, prompt="(Pdb) "):
        """What a command shows, and the next prompt."""
        self.send("O", text)
        self.send("R", prompt)

    def end(self, kind="E"):
        """The client leaves: its last frame, and WIRE_BYE."""
        self.expect(kind)
        self.bye()

    def bye(self):
        self.send("X")
        self.close()

    def close(self):
        for name in ("read_end", "write_end"):
            if getattr(self, name) >= 0:
                os.close(getattr(self, name))
                setattr(self, name, -1)
        self.drop_client_ends()


def wait_until(condition, seconds=WAIT):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "waited %d s in vain" % seconds
        time.sleep(0.005)


def process_state(pid):
    with open("/proc/%d/stat" % pid, encoding="ascii", errors="replace") as file:
        return file.read().rpartition(")")[2].split()[0]


class Program:
    """pydbclient with pipes, or on a terminal of its own (tty=True), whose screen is .shown."""

    def __init__(self, target, *options, home, payload, tty=False, env=None, client=CLIENT, stdin=subprocess.PIPE,
                 stdout=subprocess.PIPE, columns=80, prefix=(), pid=None, address=None):
        environment = {"HOME": str(home), "PATH": os.environ["PATH"], "TERM": "xterm", "LC_ALL": "C.UTF-8",
                       "INPUTRC": "/dev/null"}
        environment.update(env or {})
        command = list(prefix) + [client, "--payload", str(payload), *options, str(pid or target.pid),
                                  address or target.address]
        self.tty, self.master, self.raw = tty, -1, b""
        if tty:
            self.master, slave = pty.openpty()
            self.set_size(columns, 24)
            self.found = termios.tcgetattr(slave)
            self.process = subprocess.Popen(command, stdin=slave, stdout=slave, stderr=slave, env=environment,
                                            close_fds=True, preexec_fn=self.own_terminal)
            self.slave = slave
        else:
            self.process = subprocess.Popen(command, stdin=stdin, stdout=stdout, stderr=subprocess.PIPE,
                                            env=environment, close_fds=True)

    @staticmethod
    def own_terminal():
        os.setsid()
        fcntl.ioctl(0, termios.TIOCSCTTY, 0)

    def set_size(self, columns, rows):
        fcntl.ioctl(self.master, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))

    # --- on a terminal

    @property
    def shown(self):
        return self.raw.decode("utf-8", "replace").replace("\r\n", "\n")

    def read_screen(self, seconds=0.0):
        with contextlib.suppress(OSError):
            while select.select([self.master], [], [], seconds)[0]:
                data = os.read(self.master, 65536)
                if not data:
                    return
                self.raw += data
                seconds = 0

    def see(self, pattern, seconds=WAIT):
        """Wait for a pattern on the screen; forget it and what came before it, and return both."""
        end = time.monotonic() + seconds
        while True:
            match = re.search(pattern, self.shown, re.S)
            if match:
                before = self.shown[:match.end()]
                self.raw = self.shown[match.end():].encode()
                return before
            assert time.monotonic() < end, "%r is not on the screen: %r" % (pattern, self.shown)
            self.read_screen(0.05)

    def type(self, text):
        os.write(self.master, text.encode() if isinstance(text, str) else text)

    def modes(self):
        return termios.tcgetattr(self.slave)

    def is_cooked(self):
        return self.modes()[3] & termios.ICANON and self.modes()[3] & termios.ECHO

    def hang_up(self):
        """The window is closed."""
        os.close(self.slave)
        os.close(self.master)
        self.master = self.slave = -1

    # --- its end

    def signal(self, number):
        os.kill(self.process.pid, number)

    def wait(self, seconds=WAIT):
        """Its exit status. On a terminal, the screen is read meanwhile, and must be as it was found."""
        end = time.monotonic() + seconds
        while self.process.poll() is None:
            assert time.monotonic() < end, "the client does not end: %r" % self.raw
            if self.master >= 0:
                self.read_screen(0.01)
            else:
                time.sleep(0.005)
        if self.master >= 0:
            self.read_screen()
            assert self.modes() == self.found
        return self.process.returncode

    def finish(self, text=None, seconds=WAIT):
        """With pipes: feed stdin, wait for the end; status, stdout, stderr."""
        out, err = self.process.communicate(text.encode() if isinstance(text, str) else text, timeout=seconds)
        return self.process.returncode, (out or b"").decode(), err.decode()

    def close(self):
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
        for file in (self.process.stdin, self.process.stdout, self.process.stderr):
            if file:
                with contextlib.suppress(OSError):
                    file.close()
        if self.master >= 0:
            self.hang_up()


SMALL_PAYLOAD = "# small\n\ndef function():\n    pass\n"


@pytest.fixture
def target():
    """A Target whose channel is ready; or, called with a phase, another one."""
    one = Target()
    yield one
    one.close()


@pytest.fixture
def client(tmp_path):
    """client(target, options..., tty=..., ...): a Program; ended when the test is over."""
    started = []
    payload = tmp_path / "payload"
    payload.mkdir()
    for name in ("pythreadhacks.py", "pyinjectcode.py", "pybreaks.py", "pycatch.py", "pyenter.py"):
        (payload / name).write_text(SMALL_PAYLOAD)
    (tmp_path / "home").mkdir(mode=0o700)

    def start(*args, **named):
        named.setdefault("home", tmp_path / "home")
        named.setdefault("payload", payload)
        started.append(Program(*args, **named))
        return started[-1]

    start.home = tmp_path / "home"
    start.payload = payload
    yield start
    for one in started:
        one.close()


@pytest.fixture
def ending_target():
    """ending_target(how): this file as a process, with .pid and .address."""
    started = []

    def start(how):
        process = subprocess.Popen([sys.executable, os.path.abspath(__file__), how], stdout=subprocess.PIPE)
        started.append(process)
        process.address = process.stdout.readline().decode().split()[1]
        return process

    yield start
    for process in started:
        process.kill()
        process.wait()
        process.stdout.close()


def main(how):
    """A target that ends, becomes another program, or leaves a child with its descriptors behind."""
    signal.alarm(60)
    target = Target()
    print(target.pid, target.address, flush=True)
    target.begin()
    target.expect("L")
    if how == "hold" and os.fork() == 0:
        time.sleep(30)
        os._exit(0)
    if how == "exec":
        os.execv("/bin/sleep", ["sleep", "30"])
    if how == "bye":
        target.send("X")
    os._exit(3)


if __name__ == "__main__":
    main(sys.argv[1])
