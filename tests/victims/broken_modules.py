# broken_modules.py - a program in whose directory socket.py, code.py, cmd.py... are not Python's.
# SPDX-License-Identifier: MIT

import sys
import time

with open("trap.py", "w") as trap:
    trap.write("open('sprung', 'a').write(__name__ + '\\n')\nraise RuntimeError('not the module you wanted')\n")
for name in "socket code cmd bdb pdb threading json linecache inspect traceback codeop types".split():
    with open(name + ".py", "w") as broken:
        broken.write("import trap\n")
    sys.modules.pop(name, None)


def serve():
    secret = 1019
    print("ready", flush=True)
    time.sleep(3600)
    return secret


serve()
