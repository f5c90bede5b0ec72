# prefork_server.py - a server with four worker processes under load; the master waits for them, the client asks them.
# SPDX-License-Identifier: MIT

import os
import socket
import subprocess
import sys
import time

import ledger

listener = socket.socket()
listener.bind(("127.0.0.1", 0))
listener.listen(16)
ledger.Lane()           # the first one is nobody's: the master does not work
ledger.words[0] = 0
workers = []
for _ in range(4):
    pid = os.fork()
    if pid == 0:
        connection, _ = listener.accept()
        with connection, connection.makefile("rb") as lines:
            for line in lines:
                connection.sendall(b"%d\n" % (int(line) * 2))
        os._exit(1)
    workers.append(pid)
client = subprocess.Popen([sys.executable, "client.py", str(listener.getsockname()[1]), str(os.getpid())])
while not all(ledger.words[lane * ledger.WORDS + ledger.ITEMS] for lane in range(1, 5)):
    time.sleep(0.01)
ledger.ready(os.getpid(), *workers)
os.waitpid(workers[0], 0)       # none of them ends by itself
sys.exit("a worker has ended")
