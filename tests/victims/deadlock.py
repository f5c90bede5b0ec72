# deadlock.py - two threads take two locks in opposite order, the main thread joins them.
# SPDX-License-Identifier: MIT

import threading

first, second = threading.Lock(), threading.Lock()
both = threading.Barrier(2)


def transfer(one, other):
    with one:
        both.wait()
        with other:
            pass


def wait_for_both():
    secret = 1004
    workers = [threading.Thread(target=transfer, args=pair, name=name, daemon=True)
               for name, pair in (("there", (first, second)), ("back", (second, first)))]
    for worker in workers:
        worker.start()
    print("ready", flush=True)
    for worker in workers:
        worker.join()
    return secret


wait_for_both()
