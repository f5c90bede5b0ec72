# covered.py - a program that runs under coverage, until a file named stop is there.
# SPDX-License-Identifier: MIT

import os
import time


def serve():
    secret = 1026
    print("ready", flush=True)
    while not os.access("stop", os.F_OK):
        time.sleep(0.05)
    return secret


def after():
    value = 1
    value += 1
    return value


serve()
after()
print("done", flush=True)
