# del_stuck.py - a program stuck inside a __del__ that the garbage collection runs.
# SPDX-License-Identifier: MIT

import gc
import time


class Connection(object):
    def __del__(self):
        secret = 1021
        print("ready", flush=True)
        time.sleep(3600)
        return secret


def drop():
    connection = Connection()
    connection.itself = connection


drop()
gc.collect()
