# client.py - asks a server of the soak, numbered requests over four connections: none lost, repeated or out of order.
# SPDX-License-Identifier: MIT
#
# client.py PORT PARENT: its lanes are those that the server has left in the ledger for it.

import mmap
import os
import selectors
import socket
import sys
import time

FIRST, COUNT, WORDS = 1, 4, 16
USED, ITEMS, LOST, REPEATED, ERRORS, PAUSE, CPU, EINTR, WARNED, LAST = range(10)
with open("ledger", "r+b") as file:
    words = memoryview(mmap.mmap(file.fileno(), 0)).cast("q")


def connect():
    connection = socket.create_connection(("127.0.0.1", int(sys.argv[1])))
    connection.settimeout(60)
    return connection


def run():
    poll = selectors.DefaultSelector()
    parent = int(sys.argv[2])
    for lane in range(FIRST, FIRST + COUNT):
        words[lane * WORDS + LAST] = time.monotonic_ns()
        words[lane * WORDS + USED] = 1
        connection = connect()
        connection.sendall(b"0\n")
        poll.register(connection, selectors.EVENT_READ, [lane * WORDS, 0, b""])
    while os.getppid() == parent:
        for key, _ in poll.select(5):
            at, number, text = key.data
            got = key.fileobj.recv(4096)
            if not got:
                words[at + LOST] += 1
                raise SystemExit("the server has closed a connection")
            text += got
            if text.endswith(b"\n"):
                if text != b"%d\n" % (number * 2):
                    words[at + (REPEATED if text == b"%d\n" % (number * 2 - 2) else ERRORS)] += 1
                number += 1
                text = b""
                now = time.monotonic_ns()
                words[at + PAUSE] = max(words[at + PAUSE], now - words[at + LAST])
                words[at + LAST] = now
                words[at + ITEMS] += 1
                key.fileobj.sendall(b"%d\n" % number)
            key.data[1:] = [number, text]
            time.sleep(0.0005)


run()
