# collector.py - gc.collect in a loop, with cycles, weak references and finalizers; one other thread makes garbage.
# SPDX-License-Identifier: MIT

import gc
import threading
import time
import weakref

import ledger


class Node(object):
    finalized = 0

    def __init__(self):
        self.me = self

    def __del__(self):
        Node.finalized += 1


def is_over(before, references):
    return Node.finalized >= before + 50 and not any(reference() for reference in references)


def collect():
    before = Node.finalized
    nodes = [Node() for _ in range(50)]
    references = [weakref.ref(node) for node in nodes]
    del nodes
    end = time.monotonic() + 60
    gc.collect()
    # It does nothing while the other thread collects, and from 3.14 on references die only after all finalizers.
    while not is_over(before, references) and time.monotonic() < end:
        time.sleep(0.001)
        gc.collect()
    main.check(is_over(before, references))


def litter():
    for _ in range(100):
        cycle = []
        cycle.append(cycle)


other, main = ledger.Lane(), ledger.Lane()
threading.Thread(target=other.run, args=(litter,), daemon=True).start()
ledger.ready()
main.run(collect)
