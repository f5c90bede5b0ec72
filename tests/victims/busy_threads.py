# busy_threads.py - three threads that compute in Python, the main thread is one of them.
# SPDX-License-Identifier: MIT

import threading


def compute():
    secret = 1010
    total = 0
    while secret:
        total = (total + secret) % 7919
    return total


for number in range(2):
    threading.Thread(target=compute, name="computer %d" % number, daemon=True).start()
print("ready", flush=True)
compute()
