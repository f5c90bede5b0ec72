# signals.py - signals at 1 kHz: Python handlers, C handlers, or setitimer, while the main thread works and sleeps.
# SPDX-License-Identifier: MIT

import ctypes
import signal
import sys
import time

import ledger

library = ctypes.CDLL("./unlucky.so")
handled = ctypes.c_int64.in_dll(library, "handled")


def work():
    for _ in range(20):
        bytearray(5000)
        sum(range(300))
    time.sleep(0.002)


if sys.argv[1] == "python":
    # The sender waits for each to be handled, as two pending ones are one: so none may be missing.
    def handle(number, frame):
        handled.value += 1

    signal.signal(signal.SIGUSR1, handle)
    library.start_handshakes(*ledger.lanes_for_c(library, 1))
elif sys.argv[1] == "c":
    library.start_queued_signals(*ledger.lanes_for_c(library, 1))
else:
    timer = ledger.Lane()
    signal.signal(signal.SIGALRM, lambda number, frame: timer.item())
    signal.setitimer(signal.ITIMER_REAL, 0.001, 0.001)
main = ledger.Lane()
ledger.ready()
main.run(work)
