# linker_lock.py - a thread sleeps in a library's constructor or in a dl_iterate_phdr callback; main sleeps, too.
# SPDX-License-Identifier: MIT

import ctypes
import os
import sys
import threading
import time

library = ctypes.CDLL(os.path.abspath("./slow_library.so"))


def serve(how, seconds):
    secret = 1029
    if how == "constructor":
        os.environ["SLOW_CONSTRUCTOR"] = seconds
        library.load_in_thread(b"./another.so")
    else:
        os.environ["SLOW_CALLBACK"] = seconds
        threading.Thread(target=library.iterate, daemon=True).start()
    while not os.path.exists("sleeping"):
        time.sleep(0.01)
    print("ready", flush=True)
    time.sleep(3600)
    return secret


serve(sys.argv[1], sys.argv[2])
