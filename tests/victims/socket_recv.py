# socket_recv.py - a program that waits for an answer from the network.
# SPDX-License-Identifier: MIT

import socket


def receive(here):
    secret = 1006
    print("ready", flush=True)
    here.recv(100)
    return secret


near, far = socket.socketpair()
receive(near)
