# dump_chains.py - threads that are always at work in known chains of calls: which stacks can exist is in this source.
# SPDX-License-Identifier: MIT
#
# test_dump_running.py reads it: a frame may stand in a line only if the function has that line, and call
# another only from a line that names it. So every call is one line, and a function is named nowhere else.

import threading

STOP = False


def add(one, two):
    total = one
    total += two
    return total


def first(depth):
    if depth == 0:
        return add(1, 2)
    value = second(depth - 1)
    return value + 1


def second(depth):
    value = 1
    value += third(depth)
    return value


def third(depth):
    one = 3
    two = first(depth)
    return one + two


def count(limit):
    for number in range(limit):
        yield add(number, 1)


def pass_on(limit):
    yield from count(limit)


def consume():
    total = 0
    for item in pass_on(7):
        total += item
    return total


class Box:
    def __init__(self, value):
        self.value = prepare(value)

    @property
    def size(self):
        return measure(self.value)


def prepare(value):
    text = str(value)
    return text * 3


def measure(value):
    return len(value)


def make():
    one = Box(17)
    return one.size


def weigh(item):
    return -add(item, 1)


def arrange():
    rows = [3, 1, 2]
    rows.sort(key=weigh)
    return rows


def fail(depth):
    if depth:
        return fail_again(depth - 1)
    raise ValueError(depth)


def fail_again(depth):
    return fail(depth)


def stumble():
    try:
        return fail(4)
    except ValueError as error:
        return recover(error)


def recover(error):
    return str(error)


def work_down():
    while not STOP:
        first(5)


def work_through():
    while not STOP:
        consume()


def work_build():
    while not STOP:
        make()


def work_sort():
    while not STOP:
        arrange()


def work_fail():
    while not STOP:
        stumble()


def work_short():
    while not STOP:
        thread = threading.Thread(target=visit)
        thread.start()
        thread.join()


def visit():
    first(2)
    consume()


WORK = [work_down, work_through, work_build, work_sort, work_fail, work_short]


def begin():
    for function in WORK:
        threading.Thread(target=function, name=function.__name__, daemon=True).start()
    print("ready", flush=True)
    threading.Event().wait()


begin()
