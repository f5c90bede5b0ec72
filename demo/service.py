# service.py - a small tea shop that hangs: two threads take the same two locks in opposite order.
# SPDX-License-Identifier: MIT
#
# An ordinary program. It imports nothing of pydbattach, opens no port and does not know that it will
# be looked at. demo.sh starts it and attaches to it.

import signal
import threading
import time


class Order:
    def __init__(self, number, customer, article, count):
        self.number, self.customer, self.article, self.count = number, customer, article, count

    def __repr__(self):
        return "<Order %d: %d %s for %s>" % (self.number, self.count, self.article, self.customer)


class Shop:
    def __init__(self):
        self.stock = {"oolong": 40, "sencha": 25}
        self.books = []
        self.stock_lock = threading.Lock()
        self.books_lock = threading.Lock()
        # The bad luck that a real service has once a month, made sure: both threads have their
        # first lock before one of them asks for the second.
        self.bad_luck = threading.Barrier(2)

    def checkout(self, order):
        """In the main thread: first the stock, then the books."""
        with self.stock_lock:
            left = self.stock[order.article] - order.count
            if order.number == 3:
                self.bad_luck.wait()
            with self.books_lock:
                self.books.append(order)
                self.stock[order.article] = left
        say("%r is paid" % order)

    def close_day(self):
        """In the bookkeeper's thread: first the books, then the stock. One of the two is wrong."""
        with self.books_lock:
            sold = sum(order.count for order in self.books)
            self.bad_luck.wait()
            with self.stock_lock:
                say("%d sold, in stock: %s" % (sold, self.stock))


def say(text):
    print("shop: " + text, flush=True)


def main():
    signal.alarm(3600)          # a demo that is left behind ends by itself, deadlock or not
    shop = Shop()
    shop.checkout(Order(1, "Ada", "sencha", 2))
    shop.checkout(Order(2, "Grace", "oolong", 5))
    threading.Thread(target=shop.close_day, name="bookkeeper", daemon=True).start()
    say("ready for the next order")
    try:
        shop.checkout(Order(3, "Edsger", "sencha", 1))
    except TimeoutError as error:       # no lock is ever waited for with a time limit here: nobody raises it
        say("order 3 is put off: %r" % error)
    while True:
        say("open for business")
        time.sleep(30)


if __name__ == "__main__":
    main()
