# walks.py - what stepping leads through: coroutines, generators, with, exceptions; in two threads at once.
# SPDX-License-Identifier: MIT

import asyncio
import os
import threading
import time


class Room:
    def __enter__(self):
        return "inside"

    def __exit__(self, *error):
        return False


def letters():
    yield "a"
    yield "b"


def fail(word):
    raise KeyError(word)


async def fetch(word):
    await asyncio.sleep(0)
    return word + "!"


async def walk():
    first = 1
    word = await fetch("x")
    with Room() as place:
        first += 1
    both = [letter for letter in letters()]
    try:
        fail(word)
    except KeyError:
        first += 10
    last = first, word, place, both
    return last


def tick():
    beat = 1
    return beat


def stroll():
    while not os.access("stop", os.F_OK):
        asyncio.run(walk())
        time.sleep(0.005)


def run():
    while not os.access("stop", os.F_OK):
        tick()
        time.sleep(0.005)


threading.Thread(target=run, name="runner", daemon=True).start()
walker = threading.Thread(target=stroll, name="walker")
walker.start()
print("ready", flush=True)
walker.join()
print("stopped", flush=True)
