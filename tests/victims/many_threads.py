# many_threads.py - a program with 500 threads.
# SPDX-License-Identifier: MIT

import threading

threading.stack_size(256 * 1024)
stop = threading.Event()


def idle():
    stop.wait()


def serve():
    secret = 1016
    for number in range(499):
        threading.Thread(target=idle, name="idler %d" % number, daemon=True).start()
    print("ready", flush=True)
    stop.wait()
    return secret


serve()
