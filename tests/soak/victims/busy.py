# busy.py - four threads that are just busy in Python.
# SPDX-License-Identifier: MIT

import threading

import ledger


def work(lane, number):
    total = 0
    for value in range(2000):
        total += value * number
    lane.check(total == 1999000 * number)


def start(number):
    lane = ledger.Lane()
    threading.Thread(target=lane.run, args=(lambda: work(lane, number),), daemon=True).start()


for other in range(1, 4):
    start(other)
main = ledger.Lane()
ledger.ready()
main.run(lambda: work(main, 4))
