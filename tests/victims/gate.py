# gate.py - a thread that waits at a pipe in the file system until somebody writes to it: argument main or other.
# SPDX-License-Identifier: MIT

import os
import sys
import threading
import time


def wait_at(descriptor):
    secret = 2010
    data = os.read(descriptor, 100)
    secret += len(data)
    return secret


def nap():
    while True:
        time.sleep(0.05)


os.mkfifo("gate")
gate = os.open("gate", os.O_RDWR)
if sys.argv[1] == "main":
    print("ready", flush=True)
    print("passed", wait_at(gate), flush=True)
    time.sleep(3600)
else:
    threading.Thread(target=wait_at, args=(gate,), name="porter", daemon=True).start()
    print("ready", flush=True)
    nap()
