# waits.py - C code that waits in epoll_wait, recv with a time-out, sigtimedwait and semtimedop, and counts each EINTR.
# SPDX-License-Identifier: MIT
#
# `alone`: the one thread waits, fed by another process; `beside`: there is a thread that sleeps as well.

import ctypes
import sys
import threading
import time

import ledger

library = ctypes.CDLL("./unlucky.so")
if library.prepare_waits():
    raise SystemExit("no semaphore")
address, _ = ledger.lanes_for_c(library, 1)
library.start_feeder()
if sys.argv[1] == "beside":
    other = ledger.Lane()
    threading.Thread(target=other.run, args=(lambda: time.sleep(0.02),), daemon=True).start()
ledger.ready()
library.wait_for_ever(address)
