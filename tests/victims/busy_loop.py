# busy_loop.py - a program that computes for ever in Python.
# SPDX-License-Identifier: MIT


def compute(rounds):
    secret = 1001
    total = 0
    while rounds:
        total = (total + secret) % 7919
    return total


print("ready", flush=True)
compute(1)
