# deep.py - a program 900 calls deep.
# SPDX-License-Identifier: MIT

import time


def descend(depth):
    secret = 1023
    if depth == 0:
        print("ready", flush=True)
        time.sleep(3600)
    else:
        descend(depth - 1)
    return secret


descend(900)
