# exhausted.py - a process at one of its limits: descriptors, threads, or address space. It works on.
# SPDX-License-Identifier: MIT

import mmap
import os
import resource
import sys
import time

import ledger

lane = ledger.Lane()
if sys.argv[1] == "descriptors":
    resource.setrlimit(resource.RLIMIT_NOFILE, (64, 64))
    try:
        while True:
            os.dup(0)
    except OSError:
        pass
elif sys.argv[1] == "threads":
    # A user of its own, who has this one process and may have so many threads.
    resource.setrlimit(resource.RLIMIT_NPROC, (int(sys.argv[2]), int(sys.argv[2])))
    uid = 100000 + os.getpid() % 100000
    os.setgroups([])
    os.setgid(uid)
    os.setuid(uid)
else:
    # Its size, without /proc: the smallest limit that lets another page in.
    low, high = 0, 1 << 40
    while high - low > 4096:
        middle = (low + high) // 2
        resource.setrlimit(resource.RLIMIT_AS, (middle, resource.RLIM_INFINITY))
        try:
            mmap.mmap(-1, 4096).close()
            high = middle
        except (OSError, MemoryError):
            low = middle
    size = high + int(float(sys.argv[2]) * (1 << 20))
    resource.setrlimit(resource.RLIMIT_AS, (size, size))
ledger.ready()
lane.run(lambda: time.sleep(0.005))
