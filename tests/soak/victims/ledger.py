# ledger.py - how a target of the soak counts, so that the driver can read it from outside at any moment.
# SPDX-License-Identifier: MIT
#
# A file of 64-bit words that the target has mapped, shared with its children: sixteen words for each
# lane (one worker each). Nothing is sent, locked or written to the driver, and no system call is made
# for it: the target does nothing but its own work. C code gets a lane as a pointer (tests/c/unlucky.h).

import builtins
import mmap
import os
import time
import traceback

LANES, WORDS = 64, 16
# The words of a lane; the driver reads them by the same names.
USED, ITEMS, LOST, REPEATED, ERRORS, PAUSE, CPU, EINTR, WARNED, LAST = range(10)

builtins.secret = os.getpid()       # so that `p secret` has one answer in whatever frame is on top

with open("ledger", "w+b") as _file:
    _file.truncate(LANES * WORDS * 8)
    memory = mmap.mmap(_file.fileno(), LANES * WORDS * 8)
words = memoryview(memory).cast("q")
_pids = os.open("pids", os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o644)     # while there still are descriptors


class Lane(object):
    """One worker's page of the ledger."""

    count = 0

    def __init__(self):
        self.at = Lane.count * WORDS
        Lane.count += 1
        self.expected = 0
        words[self.at + LAST] = time.monotonic_ns()
        words[self.at + USED] = 1

    def item(self, number=None):
        """One more piece of work; where it has a number, it must be the next one."""
        at, now = self.at, time.monotonic_ns()
        if number is not None and number != self.expected:
            words[at + (LOST if number > self.expected else REPEATED)] += 1
            self.expected = number
        self.expected += 1
        words[at + PAUSE] = max(words[at + PAUSE], now - words[at + LAST])
        words[at + LAST] = now
        words[at + CPU] = time.thread_time_ns()
        words[at + ITEMS] += 1

    def check(self, good):
        """What must be true."""
        if not good:
            words[self.at + ERRORS] += 1

    def warn(self, *unused):
        """For warnings.showwarning: the price of a fork while somebody is attached."""
        words[self.at + WARNED] += 1

    def run(self, step):
        """Call step() again and again; what it raises is an error."""
        try:
            while True:
                step()
                self.item()
        except BaseException:
            words[self.at + ERRORS] += 1
            traceback.print_exc()
            raise


def lanes_for_c(library, count):
    """Lanes for so many C threads, and the address of the first."""
    import ctypes
    lanes = [Lane() for _ in range(count)]
    page = (ctypes.c_int64 * WORDS).from_buffer(memory, lanes[0].at * 8)
    lanes_for_c.kept = page         # the mapping stays while C writes into it
    return ctypes.c_void_p(ctypes.addressof(page)), ctypes.c_int(count)


def ready(*pids):
    """Say so; the driver attaches to each of the processes in turn."""
    os.pwrite(_pids, " ".join(map(str, pids or [os.getpid()])).encode(), 0)
    print("ready", flush=True)
