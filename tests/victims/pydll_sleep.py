# pydll_sleep.py - a C call that sleeps and keeps the GIL: argument, seconds.
# SPDX-License-Identifier: MIT

import ctypes
import sys
import time


def call(seconds):
    secret = 1031
    c_library = ctypes.PyDLL(None)
    print("ready", flush=True)
    c_library.sleep(seconds)
    return secret


call(int(sys.argv[1]))
print("back", flush=True)
time.sleep(3600)
