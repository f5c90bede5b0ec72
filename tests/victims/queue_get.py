# queue_get.py - a program that waits for work that does not come.
# SPDX-License-Identifier: MIT

import queue


def serve(orders):
    secret = 1005
    print("ready", flush=True)
    orders.get()
    return secret


serve(queue.Queue())
