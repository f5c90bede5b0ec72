# dump_interpreters.py - one thread runs code in a subinterpreter, and stands still there.
# SPDX-License-Identifier: MIT

import ctypes
import json
import os
import sys
import threading
import time

try:
    import _interpreters as interpreters
except ImportError:
    import _xxsubinterpreters as interpreters

INSIDE = """
import json, os, sys, time

def walk(frame):
    while frame is not None:
        yield [frame.f_code.co_name, getattr(frame.f_code, "co_qualname", None), frame.f_code.co_filename, frame.f_lineno]
        frame = frame.f_back

def inner():
    frames = list(walk(sys._getframe()))
    frames[0][3] += 5
    with open("inside.new", "w") as file:
        json.dump(frames, file)
    os.rename("inside.new", "inside")
    time.sleep(3600)

def outer():
    inner()

outer()
"""
facts = {}


def walk(frame):
    while frame is not None:
        yield [frame.f_code.co_name, getattr(frame.f_code, "co_qualname", None), frame.f_code.co_filename, frame.f_lineno]
        frame = frame.f_back


def run_inside():
    number = interpreters.create()
    facts["native_id"] = ctypes.CDLL(None).syscall(186)
    facts["interpreter"] = int(number)
    facts["outside"] = list(walk(sys._getframe()))
    facts["outside"][0][3] += 2
    interpreters.run_string(number, INSIDE)


def begin():
    threading.Thread(target=run_inside, daemon=True).start()
    while not os.path.exists("inside"):
        time.sleep(0.01)
    with open("inside") as file:
        facts["inside"] = json.load(file)
    with open("oracle.json", "w") as file:
        json.dump(facts, file)
    print("ready", flush=True)
    time.sleep(3600)


begin()
