# linker.py - threads that dlopen, import and dlclose in a loop; the dynamic linker's locks are never long free.
# SPDX-License-Identifier: MIT

import _ctypes
import ctypes
import importlib
import os
import sys
import threading

import ledger


def load_library(path):
    handle = _ctypes.dlopen(path, 2)
    function = ctypes.CFUNCTYPE(ctypes.c_int)(_ctypes.dlsym(handle, "answer"))
    value = function()
    _ctypes.dlclose(handle)
    return value


def load_module():
    sys.modules.pop("colorsys", None)
    return importlib.import_module("colorsys").rgb_to_hls(0, 0, 0) == (0.0, 0.0, 0.0)


def start(step):
    lane = ledger.Lane()
    threading.Thread(target=lane.run, args=(lambda: lane.check(step()),), daemon=True).start()


unlucky = ctypes.CDLL("./unlucky.so")
unlucky.start_loaders(*(ledger.lanes_for_c(unlucky, 2) + (os.path.abspath("./small1.so").encode(),)))
start(lambda: load_library(os.path.abspath("./small2.so")) == 42)
start(load_module)
main = ledger.Lane()
ledger.ready()
main.run(lambda: main.check(load_library(os.path.abspath("./small3.so")) == 42))
