# churn.py - threads start and end all the time, Python's and C's.
# SPDX-License-Identifier: MIT

import _thread
import ctypes
import threading
import time

import ledger

library = ctypes.CDLL("./unlucky.so")


def start_and_join(lane):
    done = []
    threads = [threading.Thread(target=done.append, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    lane.check(sorted(done) == [0, 1, 2, 3])


def start_raw(lane):
    lock = _thread.allocate_lock()
    lock.acquire()
    _thread.start_new_thread(lock.release, ())
    lane.check(lock.acquire(True, 60))
    time.sleep(0)


def start(step):
    lane = ledger.Lane()
    threading.Thread(target=lane.run, args=(lambda: step(lane),), daemon=True).start()


start(start_and_join)
start(start_raw)
library.start_starters(*ledger.lanes_for_c(library, 2))
main = ledger.Lane()
ledger.ready()
main.run(lambda: start_and_join(main))
