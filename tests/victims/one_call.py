# one_call.py - makes one system call, by its number where Python would try again, and says what came of it and when.
# SPDX-License-Identifier: MIT

import ctypes
import mmap
import os
import select
import signal
import socket
import sys
import time

libc = ctypes.CDLL(None, use_errno=True)
TIME = 6
pair = ctypes.c_long * 2
shared = mmap.mmap(-1, 4096)
word = ctypes.c_int.from_buffer(shared)
ours, theirs = socket.socketpair()
into, out = os.pipe()


def end_later(action):
    """A child that does it when the time is over."""
    child = os.fork()
    if child == 0:
        signal.signal(signal.SIGINT, signal.SIG_DFL)
        time.sleep(TIME)
        action()
        os._exit(0)
    return child


def wake():
    word.value = 1
    libc.syscall(202, ctypes.byref(word), 1, 1, None, None, 0)


def wait_bitset():
    end = pair(*divmod(time.monotonic_ns() + TIME * 10**9, 10**9))
    return libc.syscall(202, ctypes.byref(word), 9, 0, end, None, -1)


byte = ctypes.create_string_buffer(1)
length = pair(TIME, 0)
CALLS = {       # name: (what ends it, the call, its result, its errno)
    "nanosleep": (None, lambda: libc.syscall(35, length, None), 0, 0),
    "clock_nanosleep": (None, lambda: libc.syscall(230, 1, 0, length, None), 0, 0),
    "poll": (None, lambda: libc.syscall(7, None, 0, TIME * 1000), 0, 0),
    "ppoll": (None, lambda: libc.syscall(271, None, 0, length, None, 8), 0, 0),
    "select": (None, lambda: libc.syscall(23, 0, None, None, None, length), 0, 0),
    "futex_timed": (None, lambda: libc.syscall(202, ctypes.byref(word), 0, 0, length, None, 0), -1, 110),
    "futex_bitset": (None, wait_bitset, -1, 110),
    "futex": (wake, lambda: libc.syscall(202, ctypes.byref(word), 0, 0, None, None, 0), 0, 0),
    "recv": (lambda: theirs.send(b"x"), lambda: libc.syscall(45, ours.fileno(), byte, 1, 0, None, None), 1, 0),
    "read": (lambda: os.write(out, b"x"), lambda: libc.syscall(0, into, byte, 1), 1, 0),
    "wait4": (lambda: None, lambda: libc.syscall(61, -1, None, 0, None) > 0, True, 0),
    # These see EINTR, which Python hides.
    "epoll": (None, lambda: select.epoll().poll(TIME), [], 0),
    "sigtimedwait": (None, lambda: signal.sigtimedwait([signal.SIGUSR1], TIME), None, 0),
}


def main(name):
    action, call, result, error = CALLS[name]
    child = action and end_later(action)
    ctypes.set_errno(0)
    print("ready", flush=True)
    start = time.monotonic()
    got = call()
    took = time.monotonic() - start
    right = (got, ctypes.get_errno()) == (result, error)
    print("%s %.3f" % ("right" if right else "wrong: %r, errno %d" % (got, ctypes.get_errno()), took), flush=True)
    if child and name != "wait4":
        os.waitpid(child, 0)


main(sys.argv[1])
