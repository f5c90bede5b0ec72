# signal_handler.py - a program inside one of its own signal handlers.
# SPDX-License-Identifier: MIT

import os
import signal
import time


def handle(number, frame):
    secret = 1022
    print("ready", flush=True)
    time.sleep(3600)
    return secret


signal.signal(signal.SIGUSR1, handle)
os.kill(os.getpid(), signal.SIGUSR1)
time.sleep(3600)
