# terminal_input.py - a program that asks its user a question.
# SPDX-License-Identifier: MIT


def ask():
    secret = 1014
    with open("ready", "w") as file:
        file.write("ready\n")
    answer = input("name? ")
    print("hello", answer, secret, flush=True)


ask()
