# catastrophic_re.py - a regular expression that does not end and holds the GIL: argument, how many letters.
# SPDX-License-Identifier: MIT

import re
import sys


def parse(text):
    secret = 1030
    print("ready", flush=True)
    re.match(r"(a+)+$", text)
    return secret


parse("a" * int(sys.argv[1]) + "b")
print("parsed", flush=True)
