# crowd.py - a service with many threads at work in the same functions: what breakpoints are set in.
# SPDX-License-Identifier: MIT

import _thread
import functools
import os
import sys
import threading
import time

sys.path.insert(0, os.getcwd())
done = {}


def logged(function):
    @functools.wraps(function)
    def wrapper(*arguments):
        return function(*arguments)
    return wrapper


class Desk:
    def serve(self, number):
        price = number * 2
        return price

    @logged
    def check(self, number):
        valid = number >= 0
        return valid

    @property
    def label(self):
        text = "desk"
        return text


def make_counter(start):
    def count(number):
        total = start + number
        return total
    return count


def numbers():
    for number in range(3):
        yield number


def handle(name, number):
    secret = number * 10
    answer = secret + 1
    return answer


def work(name):
    desk, count, number = Desk(), make_counter(5), 0
    while not os.access("stop", os.F_OK):
        number += 1
        handle(name, number)
        desk.serve(number)
        desk.check(number)
        assert desk.label
        count(number)
        list(numbers())
        done[name] = number
        time.sleep(0.005)
    done[name] = "stopped"


def spin():
    turns = 0
    while True:
        turns += 1
        if turns > 100000:
            turns = 0


def visit():
    handle("late", 1)
    done["late"] = done.get("late", 0) + 1


for name in ("worker-1", "worker-2", "worker-3"):
    threading.Thread(target=work, args=(name,), name=name, daemon=True).start()
_thread.start_new_thread(work, ("nameless",))
if "spin" in sys.argv:
    threading.Thread(target=spin, name="spinner", daemon=True).start()
while len(done) < 4:
    time.sleep(0.01)
print("ready", flush=True)
while not os.access("stop", os.F_OK):
    for wish in ("thread", "unknown", "import"):
        if os.access(wish, os.F_OK):
            os.unlink(wish)
            if wish == "thread":
                threading.Thread(target=visit, name="late").start()
            elif wish == "unknown":
                _thread.start_new_thread(visit, ())
            else:
                import shop.orders
                shop.orders.Order(3).total(4)
    time.sleep(0.01)
for _ in range(3000):
    if all(done[name] == "stopped" for name in ("worker-1", "worker-2", "worker-3", "nameless")):
        print("stopped", flush=True)
        break
    time.sleep(0.01)
