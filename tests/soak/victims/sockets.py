# sockets.py - Python that waits: sockets with time-outs, epoll, sigtimedwait, fed by another process with numbers.
# SPDX-License-Identifier: MIT
#
# The feeder is a process, so that no thread of the target sleeps anywhere else than in these calls.

import os
import select
import signal
import socket
import struct
import time

import ledger

main = ledger.Lane()
ours, theirs = socket.socketpair()
pipe_read, pipe_write = os.pipe()
signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGUSR2])
target = os.getpid()


def feed():
    number = 0
    while os.getppid() == target:
        theirs.sendall(struct.pack("q", number))
        os.write(pipe_write, struct.pack("q", number))
        theirs.recv(1)
        os.kill(target, signal.SIGUSR2)
        theirs.recv(1)
        time.sleep(0.002 if number % 50 else 0.06)      # some time-outs, too
        number += 1
    os._exit(0)


def receive():
    try:
        number, = struct.unpack("q", ours.recv(8))
    except socket.timeout:
        return receive()
    while not poller.poll(0.03):
        pass
    main.check(os.read(pipe_read, 8) == struct.pack("q", number))
    ours.send(b"1")
    while signal.sigtimedwait([signal.SIGUSR2], 0.03) is None:
        pass
    ours.send(b"2")
    main.item(number)


child = os.fork()
if child == 0:
    feed()
ours.settimeout(0.03)
poller = select.epoll()
poller.register(pipe_read, select.EPOLLIN)
ledger.ready()
try:
    while True:
        receive()
except BaseException:
    main.check(False)
    raise
