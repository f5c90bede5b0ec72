# lock.py - a program that waits for a lock that nobody will release.
# SPDX-License-Identifier: MIT

import threading

stock_lock = threading.Lock()


def checkout():
    secret = 1003
    print("ready", flush=True)
    stock_lock.acquire()
    return secret


stock_lock.acquire()
checkout()
