# allocator.py - one thread, and it only allocates.
# SPDX-License-Identifier: MIT

import ledger

lane = ledger.Lane()


def allocate():
    kept = []
    for size in range(600, 40000, 777):
        kept.append(bytearray(size))
        if size % 3 == 0:
            kept[size % len(kept)] += bytes(size)
    lane.check(sum(map(len, kept)) == 2042550)


ledger.ready()
lane.run(allocate)
