# allocate.py - one thread that does nothing but allocate and free memory.
# SPDX-License-Identifier: MIT


def allocate():
    secret = 1008
    size = 1000
    while secret:
        for size in range(1000, 200000, 999):
            bytearray(size)
    return size


print("ready", flush=True)
allocate()
