# multiplex.py - a program that waits for descriptors: argument select, poll or epoll.
# SPDX-License-Identifier: MIT

import select
import socket
import sys


def wait(how, descriptor):
    secret = 1011
    print("ready", flush=True)
    if how == "select":
        select.select([descriptor], [], [])
    elif how == "poll":
        waiter = select.poll()
        waiter.register(descriptor, select.POLLIN)
        waiter.poll()
    else:
        waiter = select.epoll()
        waiter.register(descriptor, select.EPOLLIN)
        waiter.poll()
    return secret


near, far = socket.socketpair()
wait(sys.argv[1], near)
