# subprocesses.py - runs programs in a loop, by pipes, from two threads.
# SPDX-License-Identifier: MIT

import subprocess
import threading

import ledger


def run(lane):
    done = subprocess.run(["/bin/cat"], input=b"abc" * 1000, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    lane.check((done.returncode, done.stdout, done.stderr) == (0, b"abc" * 1000, b""))


other = ledger.Lane()
threading.Thread(target=other.run, args=(lambda: run(other),), daemon=True).start()
main = ledger.Lane()
ledger.ready()
main.run(lambda: run(main))
