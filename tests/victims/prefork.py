# prefork.py - a server that has forked workers before its first request; the worker is the target.
# SPDX-License-Identifier: MIT

import os
import socket


def work(server, parent):
    secret = 1017
    print("ready", os.getpid(), flush=True)
    server.accept()
    return secret, parent


listener = socket.socket()
listener.bind(("127.0.0.1", 0))
listener.listen(5)
pid = os.fork()
if pid == 0:
    work(listener, os.getppid())
os.waitpid(pid, 0)
