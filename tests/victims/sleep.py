# sleep.py - a program that sleeps.
# SPDX-License-Identifier: MIT

import time


def nap(seconds):
    secret = 1002
    print("ready", flush=True)
    time.sleep(seconds)
    return secret


nap(3600)
