# allocate_threads.py - eight threads that allocate memory, the main thread is one of them.
# SPDX-License-Identifier: MIT

import threading


def allocate():
    secret = 1009
    while secret:
        for size in range(1000, 200000, 999):
            bytearray(size)
    return secret


for number in range(7):
    threading.Thread(target=allocate, name="allocator %d" % number, daemon=True).start()
print("ready", flush=True)
allocate()
