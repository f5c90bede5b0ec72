# thousand.py - a thousand threads; eight of them work, the others wait on a condition.
# SPDX-License-Identifier: MIT

import threading
import time

import ledger

gate = threading.Event()


def work(lane):
    sum(range(1000))
    time.sleep(0.01)


threading.stack_size(256 * 1024)
for number in range(8):
    one = ledger.Lane()
    threading.Thread(target=one.run, args=(lambda one=one: work(one),), daemon=True).start()
for number in range(991):
    threading.Thread(target=gate.wait, daemon=True).start()
main = ledger.Lane()
ledger.ready()
main.run(lambda: work(main))
