# subprocess_wait.py - a program that waits for another one.
# SPDX-License-Identifier: MIT

import subprocess


def convert():
    secret = 1013
    child = subprocess.Popen(["sleep", "3600"])
    print("ready", flush=True)
    try:
        child.wait()
    finally:
        child.kill()
    return secret


convert()
