# Values that are too big to be shown whole.
import os

reading, writing = os.pipe()


class Node:
    def __init__(self, next):
        self.next = next
        self.items = list(range(30))


def limits():
    numbers = list(range(1000))
    few = (1, 2, 3)
    table = {i: str(i) for i in range(12)}
    members = set(range(11))
    deep = [[[[[1]]]]]
    text = "x" * 300
    quoted = "'\n" * 150
    data = b"\x00" * 300
    words = ["word%d" % i * 10 for i in range(9)]
    number = 7 ** 300
    node = Node(Node(None))
    print("ready", flush=True)
    os.read(reading, 1)
    return numbers, few, table, members, deep, text, quoted, data, words, number, node


limits()
