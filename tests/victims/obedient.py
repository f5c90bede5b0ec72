# obedient.py - does what a byte in the FIFO `orders` says, in one of two threads: fork, exec, exit, vfork, crash.
# SPDX-License-Identifier: MIT

import ctypes
import os
import sys
import threading
import time

library = ctypes.CDLL("./slow_library.so")
os.mkfifo("orders")
orders = os.open("orders", os.O_RDWR)


def obey():
    secret = 2101
    while True:
        order = os.read(orders, 1)
        if order == b"f":
            child = os.fork()
            if child == 0:
                time.sleep(3600)
            with open("child", "w") as file:
                file.write("%d\n" % child)
        elif order == b"e":
            os.execv("/bin/sleep", ["sleep", "3600"])
        elif order == b"x":
            os._exit(5)
        elif order == b"v":
            library.sleep_in_vfork(1)
        secret += 0


def price(base):
    return base * 2


def serve():
    while not os.access("stop", os.F_OK):
        price(21)
        time.sleep(0.005)


for _ in range(2):
    threading.Thread(target=obey, daemon=True).start()
print("ready", flush=True)
serve()
print("stopped", flush=True)
sys.stdout.flush()
