# come_and_go.py - threads that start and end all the time, and count what they have done.
# SPDX-License-Identifier: MIT

import os
import threading
import time

done = [0] * 4
errors = []
stop = threading.Event()


def work(slot):
    for number in range(20):
        done[slot] += number & 1


def start_threads(slot):
    while not stop.is_set():
        thread = threading.Thread(target=work, args=(slot,))
        before = done[slot]
        thread.start()
        thread.join()
        if done[slot] != before + 10:
            errors.append((slot, before, done[slot]))


starters = [threading.Thread(target=start_threads, args=(slot,)) for slot in range(len(done))]
for starter in starters:
    starter.start()
print("ready", flush=True)
while not os.access("stop", os.F_OK):
    time.sleep(0.05)
stop.set()
for starter in starters:
    starter.join()
print("stopped", errors, flush=True)
