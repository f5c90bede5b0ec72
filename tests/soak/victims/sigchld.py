# sigchld.py - a storm of SIGCHLD: four children at a time, reaped by the handler, each exactly once.
# SPDX-License-Identifier: MIT

import os
import signal
import time

import ledger

main = ledger.Lane()
alive = set()
early = set()


def reap(number, frame):
    while True:
        try:
            pid, status = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return
        if not pid:
            return
        main.check(status == 0)
        if pid in alive:
            alive.remove(pid)
        else:
            early.add(pid)


def storm():
    for _ in range(4):
        pid = os.posix_spawn("/bin/true", ["true"], {})
        alive.add(pid)
        if pid in early:
            early.remove(pid)
            alive.remove(pid)
    end = time.monotonic() + 60
    while alive and time.monotonic() < end:
        time.sleep(0.001)
    main.check(not alive and not early)


signal.signal(signal.SIGCHLD, reap)
ledger.ready()
main.run(storm)
