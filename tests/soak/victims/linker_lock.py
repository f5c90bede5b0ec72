# linker_lock.py - a thread sleeps inside a dl_iterate_phdr callback, or inside a library's constructor, again and again.
# SPDX-License-Identifier: MIT

import ctypes
import os
import sys
import threading
import time

import ledger

unlucky = ctypes.CDLL("./unlucky.so")
if sys.argv[1] == "callback":
    slow = ctypes.CDLL(os.path.abspath("./slow_library.so"))
    os.environ["SLOW_CALLBACK"] = "0.3"
    lane = ledger.Lane()
    threading.Thread(target=lane.run, args=(slow.iterate,), daemon=True).start()
else:
    os.environ["SLOW_CONSTRUCTOR"] = "0.3"
    unlucky.start_loaders(*(ledger.lanes_for_c(unlucky, 1) + (os.path.abspath("./slow_library.so").encode(),)))
while not os.path.exists("sleeping"):
    time.sleep(0.01)
main = ledger.Lane()
ledger.ready()
main.run(lambda: time.sleep(0.005))
