# dump_gil.py - the main thread holds the GIL for good, or works in the collector, or ends and does not get far.
# SPDX-License-Identifier: MIT
#
# usage: dump_gil.py sleep|match|collect|finish

import ctypes
import gc
import os
import re
import sys
import threading
import time


def say_ready():
    os.write(1, b"ready\n")


def wait(begun):
    begun.set()
    while True:
        time.sleep(0.0001)  # wants the GIL


def start_waiter():
    """A thread that comes back at once, and finds the GIL taken."""
    begun = threading.Event()
    threading.Thread(target=wait, args=(begun,), name="waiter", daemon=True).start()
    begun.wait()


def hold_asleep():
    start_waiter()
    nap = ctypes.PyDLL(None).sleep
    say_ready()
    nap(3600)  # asleep with the GIL


def hold_matching():
    start_waiter()
    pattern = re.compile("(a+)+$")
    say_ready()
    pattern.match("a" * 64 + "b")  # matches for ever


def collect():
    rows = [[] for _ in range(300000)]
    for row in rows:
        row.append(rows)
    start_waiter()
    say_ready()
    while True:
        gc.collect()  # in the collector


class Last:
    def __del__(self, sleep=time.sleep, say=say_ready, write=os.write):
        write(1, b"ready\n")
        sleep(3600)


def finish():
    global last
    last = Last()


{"sleep": hold_asleep, "match": hold_matching, "collect": collect, "finish": finish}[sys.argv[1]]()
