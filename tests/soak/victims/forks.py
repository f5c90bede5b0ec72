# forks.py - forks in a loop; each child answers by its exit status, some after running Python or another program.
# SPDX-License-Identifier: MIT
#
# `alone`: the main thread forks and there is no other; `beside`: a thread forks while another is busy.

import os
import sys
import threading
import warnings

import ledger

number = 0


def fork(lane, execs):
    global number
    number += 1
    status = number % 100
    pid = os.fork()
    if pid == 0:
        if execs:
            os.execv("/bin/sh", ["sh", "-c", "exit %d" % status])
        os._exit(status if sum(range(status)) == status * (status - 1) // 2 else 255)
    lane.check(os.waitpid(pid, 0) == (pid, status << 8))


def work():
    sum(range(5000))


def start(step):
    lane = ledger.Lane()
    threading.Thread(target=lane.run, args=(step,), daemon=True).start()


main = ledger.Lane()
if sys.argv[2] == "beside":
    start(work)
    warnings.simplefilter("ignore", DeprecationWarning)     # it has two threads of its own
else:
    warnings.simplefilter("always", DeprecationWarning)
    warnings.showwarning = main.warn
ledger.ready()
main.run(lambda: fork(main, sys.argv[1] == "exec"))
