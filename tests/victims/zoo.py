# A zoo of values in the variables of one function, and in the file `expected` what each should look like.
import array
import collections
import ctypes
import enum
import json
import os
import sys
import threading
import types

ZOO = []


def add(value, text=None):
    """A value, and how it should be shown: as its repr, if nothing else is said."""
    ZOO.append((value, repr(value) if text is None else text))


def plain(value, text):
    """What JSON should say: the value itself where JSON has such values."""
    if type(value) is str or value is None or type(value) is bool:
        return value
    if type(value) is int and len(text) <= 15 or type(value) is float and value - value == 0:
        return value
    return text


class Plain:
    def __init__(self, **attributes):
        self.__dict__.update(attributes)


class Fixed:
    def __init__(self, order):
        self.order = order
        self.price = 9.5
        self.customer = "Ada"


class Slots:
    __slots__ = ("b", "a", "unset")

    def __init__(self):
        self.a, self.b = 1, "two"


class MoreSlots(Slots):
    __slots__ = ("c",)

    def __init__(self):
        Slots.__init__(self)
        self.c = 3


class SlotsAndDict(Slots):
    def __init__(self):
        Slots.__init__(self)
        self.z = None


class Colour(enum.Enum):
    RED = 1
    GREEN = "g"


class Level(enum.IntEnum):
    LOW = 10


class Flags(enum.Flag):
    READ = 1
    WRITE = 2


class Word(str):
    pass


class Number(int):
    pass


class Real(float):
    pass


class Data(bytes):
    pass


class Row(list):
    pass


class Pair(tuple):
    pass


class Table(dict):
    pass


class Bag(set):
    pass


class Line(collections.deque):
    pass


class Oops(Exception):
    pass


class Thread(threading.Thread):
    pass


class Outer:
    class Inner:
        def method(self):
            pass


Point = collections.namedtuple("Point", "x y")


def generator():
    yield 1


async def coroutine():
    pass


async def async_generator():
    yield 1


def outer(x):
    def inner():
        return x
    return inner


def add_scalars():
    for value in (None, True, False, Ellipsis, NotImplemented, 0, 1, -1, 255, -5, 256, 257, -6, 1 << 15, 2 ** 30 - 1, 2 ** 30, -2 ** 30,
                  2 ** 31, 2 ** 60 - 1, 2 ** 60, -2 ** 60 - 1, 2 ** 63, 2 ** 64, 10 ** 18, 10 ** 40, -10 ** 100 + 7, 3 ** 2000):
        add(value)
    add(7 ** 20000, "<int of about %d bits>" % (((7 ** 20000).bit_length() + 29) // 30 * 30))
    for value in (0.0, -0.0, 1.0, -1.5, 0.1, 1 / 3, 1e15, 1e16, 123456789012345680.0, 1e22, 1e-4, 0.00012345, 1e-5, 1.5e-7, 5e-324,
                  1.7976931348623157e308, 2.0 ** 53, 2.0 ** 70, 100.0, 12345.678, 1e100, -2.5e-10, 299792458.0, 3.14159,
                  float("inf"), float("-inf"), float("nan"), 9007199254740993.0, 4.35, 0.3, 2.675, 1e21, 999999999999999.9):
        add(value)
    for value in (1j, -1j, 1 + 2j, -0.0 + 1j, 1.5 - 2.25j, complex(0, -0.0), complex("nan"), complex(float("inf"), 1e20)):
        add(value)


def add_texts():
    for value in ("", "a", "plain", "it's", 'say "hi"', "both ' and \"", "tab\there", "new\nline\r", "back\\slash", "\x00\x01\x1b[31m\x7f",
                  "caf\xe9", "\xff\xa0\xad\x85", "\u20ac 5", "\u4e2d\u6587", "\u202e evil \u2066", "\U0001f600 ok", "\udc80 alone", "\ufeff",
                  "a" * 200, "\xe9" * 300, "\U0001f600" * 50, "x\u0100y"):
        add(value)
    for value in (b"", b"abc", b"it's", b'"', b"\x00\xff\n\t\\", bytes(range(256)), bytearray(b""), bytearray(b"ab\x00")):
        add(value)
    add(bytearray(b"it's"), "bytearray(b\"it's\")")
    moved = bytearray(b"0123456789")
    del moved[:4]
    add(moved)


def add_wide_text():
    """A str of wchar_t that is not made ready yet: it is so only up to 3.11."""
    new = ctypes.pythonapi.PyUnicode_FromUnicode
    new.restype, new.argtypes = ctypes.py_object, [ctypes.c_void_p, ctypes.c_ssize_t]
    value = new(None, 5)
    # PyUnicode_AsUnicode gives the buffer without making the str ready.
    get = ctypes.pythonapi.PyUnicode_AsUnicode
    get.restype, get.argtypes = ctypes.c_void_p, [ctypes.py_object]
    ctypes.memmove(get(value), ctypes.create_unicode_buffer("w\xed\u0111e\U0001f600"), 20)
    add(value, "'w\xed\u0111e\U0001f600'")


def add_containers():
    for value in ([], [1], [1, "two", 3.0, None], (), (1,), (1, 2), ((1, 2), [3]), {}, {"a": 1}, {1: "one", "two": 2, None: (3,)},
                  set(), {1}, {1, 2, 3}, {"x"}, frozenset(), frozenset([1, 2]), [[[]]], [{}], range(5), range(2, 10), range(10, 0, -3),
                  slice(1), slice(1, 2, 3), {b"k": [1, {2: 3}]}, list(range(100)), tuple(range(70)), dict.fromkeys(range(60)),
                  {i: i for i in range(5)}):
        add(value)
    add(set(range(1000, 1040)))
    removed = {i: str(i) for i in range(20)}
    for i in (0, 3, 7, 19):
        del removed[i]
    removed["again"] = 1
    add(removed)
    text = {"k%d" % i: i for i in range(12)}
    del text["k5"]
    text["k5"] = "last"
    add(text)
    for size in (200, 300, 50000):
        big = {"k%d" % i: 0 for i in range(size)}
        for key in list(big)[100:]:
            del big[key]
        add(big)
    wide = {i: None for i in range(70000)}
    for key in range(50, 70000):
        del wide[key]
    add(wide)
    holes = set(range(40))
    holes -= set(range(0, 40, 3))
    add(holes)
    add(collections.deque())
    add(collections.deque([1, 2, 3]))
    add(collections.deque("abc", maxlen=2), "deque(['b', 'c'], maxlen=2)")
    line = collections.deque(range(80))
    line.rotate(70)
    line.popleft()
    add(line)
    itself = [1]
    itself.append(itself)
    add(itself)
    circle = {}
    circle["me"] = [circle]
    add(circle, "{'me': [{...}]}")
    tangle = ([],)
    tangle[0].append(tangle)
    add(tangle)
    add(collections.OrderedDict([("b", 1), ("a", 2)]), "OrderedDict({'b': 1, 'a': 2})")
    add(collections.defaultdict(int, a=1), "defaultdict({'a': 1})")
    add(collections.Counter("aab"), "Counter({'a': 2, 'b': 1})")
    if sys.version_info >= (3, 15):
        add(eval("frozendict(a=1)"))


def add_instances():
    add(Plain(), "Plain()")
    add(Plain(b=1, a=[2]), "Plain(b=1, a=[2])")
    add(Plain(inner=Plain(x=1), many=[Fixed(1)]), "Plain(inner=Plain(...), many=[Fixed(...)])")
    add(Fixed(7), "Fixed(order=7, price=9.5, customer='Ada')")
    changed = Fixed(8)
    del changed.price
    changed.more = True
    add(changed, "Fixed(order=8, customer='Ada', more=True)")
    other = Fixed(9)
    vars(other)["late"] = 1
    add(other, "Fixed(order=9, price=9.5, customer='Ada', late=1)")
    grown = Fixed(10)
    for i in range(40):
        setattr(grown, "a%d" % i, i)
    add(grown, "Fixed(order=10, price=9.5, customer='Ada', %s)" % ", ".join("a%d=%d" % (i, i) for i in range(40)))
    backwards = Fixed.__new__(Fixed)
    backwards.customer = "Bob"
    backwards.order = 11
    add(backwards, "Fixed(customer='Bob', order=11)")
    replaced = Fixed(12)
    replaced.__dict__ = {"only": 1}
    add(replaced, "Fixed(only=1)")
    add(Slots(), "Slots(a=1, b='two')")
    add(MoreSlots(), "MoreSlots(a=1, b='two', c=3)")
    add(SlotsAndDict(), "SlotsAndDict(a=1, b='two', z=None)")
    add(Colour.RED, "<Colour.RED: 1>")
    add(Colour.GREEN, "<Colour.GREEN: 'g'>")
    add(Level.LOW, "<Level.LOW: 10>")
    add(Flags.WRITE, "<Flags.WRITE: 2>")
    add(Word("w"), "Word('w')")
    add(Word("\u4e2d"), "Word('\u4e2d')")
    tagged = Number(2 ** 70)
    tagged.tag = 1
    for value, text in ((tagged, "Number(1180591620717411303424)"), (Number(3), "Number(3)"), (Real(0.5), "Real(0.5)"), (Data(b"d"), "Data(b'd')"),
                        (Row([1]), "Row([1])"), (Pair([1]), "Pair((1,))"), (Table(a=1), "Table({'a': 1})"), (Bag([1]), "Bag({1})"),
                        (Bag(), "Bag(set())"), (Line([1]), "Line(deque([1]))"), (Point(1, y="b"), "Point(x=1, y='b')"),
                        (Oops("bad", 2), "Oops('bad', 2)"), (Oops(), "Oops()"), (ValueError("one"), "ValueError('one')"),
                        (OSError(2, "No such"), "FileNotFoundError(2, 'No such')")):
        add(value, text)
    if sys.version_info >= (3, 7):
        add(eval("__import__('dataclasses').make_dataclass('Item', ['name', 'count'])('nut', 3)"), "Item(name='nut', count=3)")
    itself = Plain()
    itself.me = itself
    add(itself, "Plain(me=Plain(...))")
    rude = type("bad\n\x1b[31mname", (), {})()
    add(rude, "bad\\n\\x1b[31mname()")
    lock = threading.Lock()
    add(lock, "<_thread.lock object at %#x>" % id(lock))
    bare = object()
    add(bare, "<object object at %#x>" % id(bare))
    numbers = array.array("i", [1])
    add(numbers, "<array.array object at %#x>" % id(numbers))


def add_named():
    add(outer, "<function outer>")
    add(outer(1), "<function outer.<locals>.inner>")
    add(lambda: 0, "<function add_named.<locals>.<lambda>>")
    add(Outer.Inner().method, "<bound method Outer.Inner.method>")
    add(len, "<built-in function len>")
    add([].append, "<built-in method append of list object>")
    add(os, "<module 'os'>")
    add(types.ModuleType("m\xfcde"), "<module 'm\xfcde'>")
    add(int)
    add(Outer.Inner, "<class '__main__.Outer.Inner'>")
    add(collections.deque)
    add(collections.OrderedDict)
    add(Colour, "<class '__main__.Colour'>")
    add(type("Meta", (type,), {})("Made", (), {}), "<class '__main__.Made'>")
    add(generator(), "<generator object generator>")
    asleep = coroutine()
    add(asleep, "<coroutine object coroutine>")
    add(async_generator(), "<async_generator object async_generator>")
    add(outer.__code__, "<code object outer>")
    add(outer("seen").__closure__[0], "<cell: 'seen'>")


def main():
    add_scalars()
    add_texts()
    if (3, 3) <= sys.version_info < (3, 12):
        add_wide_text()
    add_containers()
    add_instances()
    add_named()
    names = ["v%d" % i for i in range(len(ZOO))]
    with open("expected", "w") as file:
        json.dump([[name, text, type(value).__name__, plain(value, text)] for name, (value, text) in zip(names, ZOO)], file)
    scope = {}
    # More than 255 arguments are no syntax error from 3.7 on.
    lines = ["def zoo(values):"] + ["    %s = values[%d][0]" % (name, i) for i, name in enumerate(names)] + ["    wait()"]
    exec("\n".join(lines), scope)
    reading, writing = os.pipe()

    def wait():
        print("ready", flush=True)
        os.read(reading, 1)

    scope["wait"] = wait
    scope["zoo"](ZOO)


main()
