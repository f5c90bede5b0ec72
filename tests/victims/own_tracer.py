# own_tracer.py - a program with its own trace function: argument trace or profile.
# SPDX-License-Identifier: MIT

import os
import sys
import time

seen = []


def watch(frame, event, arg):
    if frame.f_code.co_name == "step":
        seen.append(event)
    return watch


def step(number):
    number += 1
    return number


def serve():
    secret = 1027
    rounds = 0
    print("ready", flush=True)
    while not os.access("stop", os.F_OK):
        step(rounds)
        rounds += 1
        time.sleep(0.01)
    return rounds, secret


set_it, get_it = {"trace": (sys.settrace, sys.gettrace), "profile": (sys.setprofile, sys.getprofile)}[sys.argv[1]]
set_it(watch)
made = serve()[0]
still = get_it() is watch
set_it(None)
# step() has a call, two lines and a return; a profiler sees the call and the return.
each = {"trace": 4, "profile": 2}[sys.argv[1]]
print("events", "complete" if len(seen) == made * each else "%d of %d" % (len(seen), made * each), flush=True)
print("tracer", "kept" if still else "lost", flush=True)
