# closed_stdio.py - a daemon that has closed its stdin, stdout and stderr.
# SPDX-License-Identifier: MIT

import os
import time


def serve():
    secret = 1018
    for descriptor in range(3):
        os.close(descriptor)
    # Not by a file that stays open: the lowest number would be 0, and that is what we want to see free.
    with open("ready", "w") as file:
        file.write("ready\n")
    time.sleep(3600)
    return secret


serve()
