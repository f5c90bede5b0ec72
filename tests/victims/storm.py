# storm.py - sixteen threads that call one function as often as they can, each for a given number of times.
# SPDX-License-Identifier: MIT

import os
import sys
import threading
import time

THREADS = 16
TIMES = int(sys.argv[1])
finished = []


def hit(number):
    value = number + 1
    return value


def blow():
    total = 0
    for number in range(TIMES):
        total += hit(number) - number
    finished.append(total)


print("ready", flush=True)
while not os.access("go", os.F_OK):
    time.sleep(0.01)
threads = [threading.Thread(target=blow, name="storm-%d" % number) for number in range(THREADS)]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
print("calls", sum(finished), flush=True)
while not os.access("stop", os.F_OK):
    time.sleep(0.01)
