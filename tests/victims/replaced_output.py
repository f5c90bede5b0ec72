# replaced_output.py - a program that has replaced sys.stdout, print, sys.excepthook and sys.displayhook.
# SPDX-License-Identifier: MIT

import builtins
import sys
import time

calls = []
say = sys.stdout


class Mute(object):
    encoding = "ascii"

    def write(self, text):
        calls.append(text)

    def flush(self):
        calls.append("flush")


def record(*args, **named):
    calls.append(args)


def serve():
    secret = 1025
    sys.stdout = sys.stderr = Mute()
    builtins.print = sys.excepthook = sys.displayhook = record
    say.write("ready\n")
    say.flush()
    time.sleep(3600)
    return secret


serve()
