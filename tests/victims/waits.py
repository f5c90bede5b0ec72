# waits.py - waits in every way: `waits.py main` one after the other in the main thread, freed by TimeoutError;
# `waits.py others` each in a thread of its own, named after it.
# SPDX-License-Identifier: MIT

import asyncio
import contextvars
import queue
import select
import socket
import sys
import threading
import time
import traceback

held, held_by_other, rlock = threading.Lock(), threading.Event(), threading.RLock()
held.acquire()
pair = socket.socketpair()
local, context = threading.local(), contextvars.ContextVar("context")


def hold():
    rlock.acquire()
    held_by_other.set()
    time.sleep(3600)


def wait_with():
    with held:
        pass


def wait_condition():
    condition = threading.Condition()
    with condition:
        condition.wait()


async def sleep_in_task():
    asyncio.current_task().name_of_mine = "the task"
    time.sleep(3600)


WAITS = {
    "lock": lambda: held.acquire(),
    "timed": lambda: held.acquire(timeout=3600),
    "with": wait_with,
    "rlock": lambda: rlock.acquire(),
    "join": lambda: holder.join(),
    "queue": lambda: queue.Queue().get(),
    "condition": wait_condition,
    "event": lambda: threading.Event().wait(),
    "sleep": lambda: time.sleep(3600),
    "recv": lambda: pair[0].recv(1),
    "select": lambda: select.select([pair[0]], [], []),
    "asyncio": lambda: asyncio.run(asyncio.sleep(3600)),
    "task": lambda: asyncio.run(sleep_in_task()),
}


def run(kind):
    local.mine = "local of " + kind
    context.set("context of " + kind)
    try:
        WAITS[kind]()
        print(kind, "returned", flush=True)
    except TimeoutError as error:
        names = [frame.name for frame in traceback.extract_tb(error.__traceback__)
                 if frame.filename in ("pyenter", "pyinjectcode", "pythreadhacks")]
        print(kind, "freed:", repr(error), names or "clean", flush=True)


def main():
    global holder
    holder = threading.Thread(target=hold, name="holder", daemon=True)
    holder.start()
    held_by_other.wait()
    if sys.argv[1] == "others":
        for kind in WAITS:
            threading.Thread(target=run, args=(kind,), name=kind, daemon=True).start()
        print("ready", flush=True)
        time.sleep(3600)
    print("ready", flush=True)
    for kind in WAITS:
        run(kind)
    print("the end", flush=True)
    time.sleep(3600)


main()
