# pipe_read.py - a program that reads from a pipe into which nobody writes.
# SPDX-License-Identifier: MIT

import os


def receive(descriptor):
    secret = 1012
    print("ready", flush=True)
    os.read(descriptor, 100)
    return secret


near, far = os.pipe()
receive(near)
