# import_stuck.py - a program stuck inside an import.
# SPDX-License-Identifier: MIT

with open("slow.py", "w") as module:
    module.write("import time\n"
                 "secret = 1020\n"
                 "def connect():\n"
                 "    print('ready', flush=True)\n"
                 "    time.sleep(3600)\n"
                 "connect()\n")


def load():
    import slow
    return slow


load()
