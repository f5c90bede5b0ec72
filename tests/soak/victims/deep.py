# deep.py - recursion to the limit and back, all the time; RecursionError is part of it.
# SPDX-License-Identifier: MIT

import sys

import ledger

lane = ledger.Lane()
sys.setrecursionlimit(900)


def descend(depth):
    return 1 + descend(depth - 1) if depth else 0


def dive():
    lane.check(descend(700) == 700)
    try:
        descend(5000)
        lane.check(False)
    except RecursionError:
        pass


ledger.ready()
lane.run(dive)
