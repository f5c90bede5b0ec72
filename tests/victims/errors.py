# errors.py - three threads that count, raise and catch; one that ends by an exception when there is a file "die".
# SPDX-License-Identifier: MIT

import os
import threading
import time


class Shop(object):
    total = 0


shop = Shop()
counts = [0, 0, 0]
caught = [0, 0, 0]
died = []
stop = False


def fail(number):
    raise KeyError(number)


def count(place):
    before = counts[place]
    counts[place] = before + 1
    if place == 0 and counts[0] % 5 == 0:
        shop.total += 1
    return before


def work(place):
    while not stop:
        count(place)
        try:
            fail(counts[place])
        except KeyError:
            caught[place] += 1
        time.sleep(0.01)


def ends():
    last = "words"
    raise ValueError("dead " + last)


def note(args):
    died.append(args.exc_type.__name__)


def serve():
    while not os.access("stop", os.F_OK):
        if os.access("die", os.F_OK):
            os.unlink("die")
            threading.Thread(target=ends, name="mortal").start()
        time.sleep(0.01)


threading.excepthook = note
threads = [threading.Thread(target=work, args=(place,), name="counter-%d" % place) for place in range(3)]
for thread in threads:
    thread.start()
print("ready", flush=True)
serve()
stop = True
for thread in threads:
    thread.join()
print("stopped", caught == counts, len(died), set(died), flush=True)
