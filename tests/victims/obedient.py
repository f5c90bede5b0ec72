# obedient.py - does what a byte in the FIFO `orders` says, in one of two threads: fork, exec, exit, vfork, descriptors.
# SPDX-License-Identifier: MIT

import ctypes
import fcntl
import os
import sys
import threading
import time

library = ctypes.CDLL("./slow_library.so")
os.mkfifo("orders")
orders = os.open("orders", os.O_RDWR)


def note(name, text):
    with open(name, "w") as file:
        file.write("%s\n" % text)


def list_open():
    """The numbers in use; no /proc where this may run."""
    found = set()
    for number in range(1024):
        try:
            fcntl.fcntl(number, fcntl.F_GETFD)
            found.add(number)
        except OSError:
            pass
    return found


def close_and_reuse():
    """As a program does that becomes a daemon: all numbers that are not its own are closed, and given away again."""
    for number in list_open() - own:
        os.closerange(number, number + 1)       # no error if it has been closed meanwhile
    pipes.extend(os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC) for _ in range(60))


def look_at_pipes():
    """They are still the program's, and nobody has written into them."""
    for reader, writer in pipes:
        fcntl.fcntl(writer, fcntl.F_GETFL)
        try:
            return "%d: %r" % (reader, os.read(reader, 100))
        except BlockingIOError:
            pass
    return "whole"


def obey():
    secret = 2101
    while True:
        order = os.read(orders, 1)
        if order == b"f":
            child = os.fork()
            if child == 0:
                time.sleep(3600)
            note("child", child)
        elif order == b"e":
            os.execv("/bin/sleep", ["sleep", "3600"])
        elif order == b"x":
            os._exit(5)
        elif order == b"v":
            library.sleep_in_vfork(1)
        elif order == b"d":
            close_and_reuse()
            note("reused", "%d" % len(pipes))
        elif order == b"l":
            note("pipes", look_at_pipes())
        secret += 0


def price(base):
    return base * 2


def serve():
    while not os.access("stop", os.F_OK):
        price(21)
        time.sleep(0.005)


pipes = []
own = list_open()
for _ in range(2):
    threading.Thread(target=obey, daemon=True).start()
print("ready", flush=True)
serve()
print("stopped", flush=True)
sys.stdout.flush()
