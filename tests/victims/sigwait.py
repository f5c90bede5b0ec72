# sigwait.py - a program that blocks SIGTERM everywhere and waits for it.
# SPDX-License-Identifier: MIT

import signal
import sys


def wait():
    secret = 1028
    print("ready", flush=True)
    signal.sigwait([signal.SIGTERM])
    return secret


signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGTERM])
wait()
print("ended in order", flush=True)
sys.exit(3)
