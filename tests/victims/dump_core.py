# dump_core.py - three threads that wait with some frames: a core is made of it.
# SPDX-License-Identifier: MIT

import threading
import time


def wait(seconds):
    event.wait(seconds)


def inner(seconds):
    time.sleep(seconds)


def outer():
    return [inner(3600) for _ in range(1)]


event = threading.Event()
for name in "shelf", "porter":
    thread = threading.Thread(target=wait, args=(3600,), name=name)
    thread.daemon = True
    thread.start()
print("ready", flush=True)
outer()
