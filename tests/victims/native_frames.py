# native_frames.py - Python and C frames in turn: a C++ name, sorted(key=), list(map()), a generator, __del__.
# SPDX-License-Identifier: MIT

import ctypes
import threading
import time

CHECKOUT = "_ZN4shop5Order8checkoutEPFvvE"


def nap(_):
    time.sleep(3600)


def key(_):
    return list(map(nap, [1]))


def generate():
    yield sorted([1], key=key)


class Ends:
    def __del__(self):
        for _ in generate():
            pass


def drop():
    last = Ends()
    del last


def deliver():
    drop()


def order(library):
    callback = ctypes.CFUNCTYPE(None)(deliver)
    getattr(library, CHECKOUT)(callback)


def work():
    event.wait()


event = threading.Event()
thread = threading.Thread(target=work, name="porter")
thread.daemon = True
thread.start()
print("ready", flush=True)
order(ctypes.CDLL("./native_call.so"))
