# workers.py - a service as the session tests want it: named threads, one without a Thread object, a busy main thread.
# SPDX-License-Identifier: MIT

import _thread
import os
import threading
import time

shelf_lock = threading.Lock()
count = 0


class Order(object):
    def __init__(self, number, customer):
        self.number = number
        self.customer = customer

    def __repr__(self):
        return "<Order %d of %s>" % (self.number, self.customer)


def price(order, factor):
    """What an order costs."""
    base = order.number * 10
    total = base * factor
    return total


def pack(order):
    secret = 2001
    amount = price(order, 3)
    label = "%s/%d" % (order.customer, amount)
    return label, secret


def tick():
    global count
    count += 1


def serve():
    secret = 2002
    order = Order(7, "Ada")
    while not os.access("stop", os.F_OK):
        tick()
        pack(order)
        time.sleep(0.005)
    return secret


def wait_for_shelf():
    secret = 2003
    with shelf_lock:
        return secret


def nap():
    secret = 2004
    while True:
        time.sleep(0.02)
        secret += 0


shelf_lock.acquire()
threading.Thread(target=wait_for_shelf, name="shelf", daemon=True).start()
threading.Thread(target=nap, name="napper", daemon=True).start()
_thread.start_new_thread(nap, ())
print("ready", flush=True)
serve()
print("stopped", flush=True)
