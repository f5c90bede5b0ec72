# allocators.py - sixteen threads that allocate, free and resize at random sizes, none ever waits.
# SPDX-License-Identifier: MIT
#
# Fifteen are C threads that do not need the GIL and check what they find in their memory; the
# main thread allocates in Python.

import ctypes
import random

import ledger

library = ctypes.CDLL("./unlucky.so")
lane = ledger.Lane()
chance = random.Random(1)
kept = [bytearray(b"\7") for _ in range(100)]


def allocate():
    for _ in range(100):
        at = chance.randrange(100)
        lane.check(kept[at][0] == kept[at][-1] == 7)
        kept[at] = bytearray(b"\7") * chance.choice((1, 30, 500, 2000, 50000, 300000))


library.start_allocators(*ledger.lanes_for_c(library, 15))
ledger.ready()
lane.run(allocate)
