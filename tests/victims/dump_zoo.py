# dump_zoo.py - stands still in every kind of Python frame, one thread for each, and writes down what it is like.
# SPDX-License-Identifier: MIT
#
# usage: dump_zoo.py MODE [ANIMAL...], or MODE tame: without what other readers fall over
# MODE: cold       each animal runs once
#       warm       each has run 300 times before: specialised, inlined, perhaps compiled
#       traced     warm, under sys.settrace
#       covered    warm, under coverage, with greenlets
#       monitored  warm, under sys.monitoring (3.12), every event
#
# Two witnesses that stand inside write when all others stand still: sys._current_frames() into oracle.json,
# faulthandler into faulthandler.txt. Runs on 3.6 to 3.15: what is younger is in a string.

import asyncio
import contextlib
import ctypes
import faulthandler
import functools
import gc
import itertools
import json
import operator
import re
import signal
import sys
import threading
import time
import _thread
import weakref

MODE, WANTED = sys.argv[1], sys.argv[2:]
TAME = WANTED == ["tame"]
WARM = 300 if MODE != "cold" else 0
LIBC = ctypes.CDLL(None)
SYS_GETTID = 186

stand_here = threading.Lock()
stand_here.acquire()
here = threading.local()
arrived, animals, wild, names = [], [], [], {}


def get_native_id():
    return threading.get_native_id() if hasattr(threading, "get_native_id") else LIBC.syscall(SYS_GETTID)


def stand():
    """Where every animal stands still; while it warms up it only passes by."""
    if getattr(here, "armed", False):
        here.armed = False
        arrived.append((threading.get_ident(), get_native_id(), here.animal))
        stand_here.acquire()


def animal(function):
    animals.append(function)
    return function


def once(function):
    """An animal that cannot be warmed up."""
    function.once = True
    return animal(function)


def untamed(function):
    """One that other readers of stacks may fall over."""
    wild.append(function)
    return once(function)


def young(minor, source, name="young.py"):
    """An animal in a syntax that not every version knows: source defines `it`."""
    if sys.version_info >= (3, minor):
        space = {"stand": stand, "__name__": "__main__"}
        exec(compile(source, name, "exec"), space)
        animal(space["it"])


# --- calls

@animal
def plain():
    def outer():
        return middle(1, second=2)

    def middle(first, second=0, *rest, **named):
        stand()
        return first

    outer()


class Beast:
    made = 0

    def __init__(self, arm=True):
        if arm:
            stand()

    def method(self):
        stand()

    @classmethod
    def of_class(cls):
        stand()

    @staticmethod
    def static():
        stand()

    @property
    def attribute(self):
        stand()
        return 1

    @attribute.setter
    def attribute(self, value):
        stand()

    def __call__(self, *args):
        stand()

    def __getitem__(self, index):
        stand()
        return index

    def __add__(self, other):
        stand()
        return self

    def __eq__(self, other):
        stand()
        return True

    def __hash__(self):
        return 7

    def __bool__(self):
        stand()
        return True

    def __len__(self):
        stand()
        return 3

    def __contains__(self, item):
        stand()
        return True

    def __enter__(self):
        stand()
        return self

    def __exit__(self, *what):
        return False

    def __str__(self):
        stand()
        return "beast"

    def __index__(self):
        stand()
        return 1

    def __lt__(self, other):
        stand()
        return True


@animal
def method():
    Beast(False).method()


@animal
def class_method():
    Beast.of_class()


@animal
def static_method():
    Beast.static()


@animal
def property_getter():
    return Beast(False).attribute


@animal
def property_setter():
    Beast(False).attribute = 3


@animal
def initialiser():
    return Beast()


@animal
def initialiser_of_subclass():
    class Whelp(Beast):
        def __init__(self):
            super().__init__(True)

    return Whelp()


@animal
def call_operator():
    Beast(False)(1, 2)


@animal
def subscript():
    return Beast(False)[5]


@animal
def binary_operator():
    return Beast(False) + 1


@animal
def comparison():
    return Beast(False) < 1


@animal
def truth():
    if Beast(False):
        return 1


@animal
def length():
    return len(Beast(False))


@animal
def containment():
    return 1 in Beast(False)


@animal
def formatting():
    return "%s" % Beast(False)


@animal
def index():
    return [1, 2, 3][Beast(False)]


@animal
def equality_in_dict():
    return {Beast(False): 1}.get(Beast(False))


@animal
def enter():
    with Beast(False):
        pass


@animal
def leave():
    class Door:
        def __enter__(self):
            return self

        def __exit__(self, *what):
            stand()

    with Door():
        int("1")


@animal
def missing_attribute():
    class Ghost:
        def __getattr__(self, name):
            stand()
            return name

    return Ghost().anything


@animal
def every_attribute():
    class Guard:
        def __getattribute__(self, name):
            stand()
            return name

    return Guard().anything


@animal
def descriptor():
    class Slot:
        def __get__(self, one, kind):
            stand()

    class Holder:
        slot = Slot()

    return Holder().slot


@animal
def lambda_in_lambda():
    return (lambda f: (lambda: f())())(lambda: stand())


@animal
def decorated():
    def twice(function):
        @functools.wraps(function)
        def wrapper(*args, **named):
            return function(*args, **named)
        return wrapper

    @twice
    @twice
    def inner():
        stand()

    inner()


@animal
def cached():
    @functools.lru_cache(None)
    def inner(number):
        stand()

    inner(1)


@animal
def context_manager():
    @contextlib.contextmanager
    def room():
        stand()
        yield

    with room():
        pass


@animal
def closure_with_cells():
    value = [1]

    def outer():
        def inner():
            value.append(len(value))
            stand()
            return value
        return inner()

    outer()


# --- comprehensions, generators, coroutines

@animal
def list_comprehension():
    return [stand() for _ in range(2)]


@animal
def nested_comprehension():
    return [[stand() for inner in range(outer)] for outer in range(1, 3)]


@animal
def set_comprehension():
    return {stand() for _ in range(2)}


@animal
def dict_comprehension():
    return {number: stand() for number in range(2)}


@animal
def comprehension_with_call():
    return [item for item in (Beast(False)[number] for number in range(2)) if not stand()]


@animal
def generator_expression():
    return sum(1 for _ in range(3) if not stand())


@animal
def generator_in_loop():
    def count():
        for number in range(3):
            stand()
            yield number

    for _ in count():
        int()


@animal
def generator_in_list():
    def count():
        yield 1
        stand()
        yield 2

    return list(count())


@animal
def yield_from_chain():
    def deepest():
        yield 1
        stand()
        yield 2

    def middle():
        yield from deepest()

    def top():
        yield 0
        yield from middle()

    return [item for item in top()]


@animal
def generator_throw():
    def catch():
        try:
            yield 1
        except ValueError:
            stand()
        yield 2

    def around():
        yield from catch()

    one = around()
    next(one)
    one.throw(ValueError())


@animal
def generator_close():
    def tidy():
        try:
            yield 1
        finally:
            stand()

    one = tidy()
    next(one)
    one.close()


@animal
def generator_send():
    def echo():
        got = yield
        stand()
        yield got

    one = echo()
    next(one)
    one.send(1)


def drive(coroutine):
    """The smallest event loop."""
    try:
        while True:
            coroutine.send(None)
    except StopIteration as end:
        return end.value


class Pause:
    def __await__(self):
        yield


@animal
def await_chain():
    async def deepest():
        await Pause()
        stand()
        return 1

    async def middle():
        return await deepest()

    async def top():
        await Pause()
        return await middle()

    drive(top())


@animal
def async_generator():
    async def ticks():
        await Pause()
        yield 1
        stand()
        yield 2

    async def top():
        async for _ in ticks():
            pass

    drive(top())


@animal
def async_comprehension():
    async def ticks():
        yield 1
        stand()

    async def top():
        return [tick async for tick in ticks()]

    drive(top())


@animal
def async_with():
    class Door:
        async def __aenter__(self):
            await Pause()
            stand()

        async def __aexit__(self, *what):
            await Pause()

    async def top():
        async with Door():
            pass

    drive(top())


@once
def in_asyncio():
    async def leaf():
        await asyncio.sleep(0)
        stand()

    async def top():
        await asyncio.gather(leaf(), asyncio.sleep(0))

    loop = asyncio.new_event_loop()
    loop.run_until_complete(top())


@once
def asyncio_callback():
    loop = asyncio.new_event_loop()
    loop.call_soon(stand)
    loop.call_soon(loop.stop)
    loop.run_forever()


# --- code that is made at run time, classes, imports

@animal
def executed():
    exec("def inner():\n    stand()\n\n\ninner()\n", globals())


@animal
def evaluated():
    eval("[stand() for _ in (1,)] and (lambda: 5)()")


@animal
def class_body():
    class Outer:
        class Inner:
            stand()


@animal
def metaclass():
    class Meta(type):
        def __new__(meta, name, bases, space):
            stand()
            return super().__new__(meta, name, bases, space)

    class Made(metaclass=Meta):
        pass


@animal
def init_subclass():
    class Base:
        def __init_subclass__(cls):
            stand()

    class Derived(Base):
        pass


@animal
def set_name():
    class Field:
        def __set_name__(self, owner, name):
            stand()

    with contextlib.suppress(RuntimeError):
        class Owner:
            field = Field()


@once
def importing():
    import zoo_hanging_module  # noqa: F401


# --- through C and back

@animal
def sorted_key():
    sorted([3, 1], key=lambda item: stand() or item)


@animal
def mapped():
    def one(item):
        stand()

    return list(map(one, [1]))


@animal
def filtered():
    return list(filter(lambda item: stand(), [1]))


@animal
def reduced():
    return functools.reduce(lambda one, two: stand(), [1, 2, 3])


@animal
def partial():
    functools.partial(operator.call if hasattr(operator, "call") else (lambda f: f()), stand)()


@animal
def substituted():
    re.sub("b", lambda match: stand() or "c", "abc")


@animal
def starmapped():
    return list(itertools.starmap(lambda a, b: stand(), [(1, 2)]))


@animal
def json_default():
    return json.dumps(object(), default=lambda item: stand() or 1)


@animal
def deleted():
    class Dying:
        def __del__(self):
            stand()

    one = Dying()
    del one


@animal
def deleted_at_return():
    class Dying:
        def __del__(self):
            stand()

    def holder():
        one = Dying()
        return bool(one)

    holder()


@animal
def weak_callback():
    class Dying:
        pass

    one = Dying()
    keep = weakref.ref(one, lambda reference: stand())
    del one
    return keep


@once
def collected():
    class Cycle:
        def __del__(self):
            stand()

    one = Cycle()
    one.self = one
    del one
    gc.collect()


@animal
def ctypes_callback():
    ctypes.CFUNCTYPE(ctypes.c_int)(lambda: stand() or 1)()


@animal
def foreign_sort():
    compare_type = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_void_p, ctypes.c_void_p)
    array = (ctypes.c_int * 2)(2, 1)
    LIBC.qsort(array, 2, ctypes.sizeof(ctypes.c_int), compare_type(lambda a, b: stand() or 0))


@animal
def nested_c_calls():
    return list(map(lambda item: max([1, 2], key=lambda other: sorted([3], key=lambda last: stand() or 1) and other), [1]))


@once
def in_trace_function():
    def tracer(frame, event, arg):
        if frame.f_code.co_name == "traced":
            sys.settrace(None)
            stand()

    def traced():
        return 1

    sys.settrace(tracer)
    traced()


@once
def in_line_trace():
    def tracer(frame, event, arg):
        if event == "line" and frame.f_code.co_name == "traced":
            sys.settrace(None)
            stand()
        return tracer

    def traced():
        one = 1
        return one

    sys.settrace(tracer)
    traced()


# --- other stacks

@once
def in_greenlets():
    try:
        import greenlet
    except ImportError:
        return stand()

    def inner():
        outer.parent.switch()
        stand()

    def middle():
        one = greenlet.greenlet(inner)
        one.switch()
        one.switch()

    outer = greenlet.greenlet(middle)
    outer.switch()
    outer.switch()


# --- lines

@animal
def expression_of_many_lines():
    return dict(
        first=1,
        second=[
            2,
            stand(),
        ],
        third=3)


@animal
def arguments_after_the_call():
    def take(*args):
        stand()

    take(
        1,
        int(
            "2"
        ),
    )


@animal
def chained_calls():
    (Beast(False)
     .method
     ())


@animal
def condition_of_many_lines():
    if (1 and
            not
            stand() or
            2):
        return 3


@animal
def string_of_many_lines():
    return """
    {}
    {}
    """.format(
        1,
        stand())


@animal
def exception_handler():
    try:
        raise ValueError(
            "one")
    except ValueError:
        stand()


@animal
def while_raising():
    with contextlib.suppress(ValueError):
        raise ValueError(
            1,
            stand(),
        )


@animal
def finally_block():
    try:
        try:
            int("x")
        finally:
            stand()
    except ValueError:
        pass


@animal
def finally_on_return():
    for _ in range(2):
        try:
            return 1
        finally:
            stand()


@animal
def loops():
    number = 0
    while number < 3:
        number += 1
        for other in range(2):
            if other:
                continue
            stand()
        else:
            number += 1


@animal
def assertion():
    with contextlib.suppress(AssertionError):
        assert not 1, (
            stand())


@animal
def default_arguments():
    def inner(
            first=stand(),
            second=2):
        return first

    inner()


@animal
def decorator_expression():
    def mark(function):
        stand()
        return function

    @mark
    # a comment between
    def inner():
        return 1

    return inner


def build(source, name):
    """The function `it` of a source of that file name."""
    space = {"stand": stand, "__name__": "__main__"}
    exec(compile(source, name, "exec"), space)
    return space["it"]


@once
def far_lines():
    build("\n" * 70000 + "def it():\n    stand()\n", "far.py")()


@once
def far_apart():
    build("def it():\n    one = 1" + "\n" * 70001 + "    two = [\n one,\n" + "\n" * 300 + "stand()]\n", "apart.py")()


@once
def long_function():
    lines = "".join("    one = one + %d if one else [\n%d, two.x, \n3]\n" % (number, number) for number in range(2000))
    build("def it():\n    one = 1\n    two = lambda: 3\n    two.x = 1\n" + lines + "    stand()\n" + lines, "long.py")()


@once
def long_line():
    build("def it():\n    return (" + "1 + " * 60 + "(stand() or 1))\n", "wide.py")()


@once
def backward_lines():
    build("def it():\n    return [\n 1,\n\n\n\n (lambda: 3)(), max(\n4,\n\n\n stand() or 5\n)]\n", "back.py")()


# --- names

@animal
def ümläut():
    stand()


@animal
def 日本():
    stand()


@animal
def 𐐀():
    stand()


@untamed
def file_names():
    last = stand
    for name in ["böse.py", "/srv/日本/\U0001f600.py", "bytes\udcff\udc80.py", "line\nfeed \x1b[31m\".py", "x" * 3000 + ".py",
                 "back\\slash.py", "."]:
        one = build("def it():\n    following()", name)
        one.__globals__["following"] = last
        last = one
    last()


@untamed
def function_names():
    """Names that only replaced code has."""
    last = stand
    for name in ["\U0001f600", "a b\n\x1b]0;x\x07", "", "<\u0416>", "\udcfe", "n" * 2000]:
        one = build("def it():\n    following()", "names.py")
        one.__globals__["following"] = last
        if hasattr(one.__code__, "replace"):
            one.__code__ = one.__code__.replace(co_name=name)
        last = one
    last()


@untamed
def no_line():
    """Instructions that belong to no line (3.10)."""
    one = build("def it():\n    stand()", "none.py")
    units = len(one.__code__.co_code) // 2
    if sys.version_info >= (3, 11):
        table = bytes([0xF8 | 7] * (units // 8) + ([0xF8 | units % 8 - 1] if units % 8 else []))
        one.__code__ = one.__code__.replace(co_linetable=table)
    elif sys.version_info >= (3, 10):
        one.__code__ = one.__code__.replace(co_linetable=bytes([units * 2, 0x80]))
    one()


@untamed
def first_line_of_the_last():
    one = build("def it():\n    stand()", "last.py")
    if hasattr(one.__code__, "replace"):
        one.__code__ = one.__code__.replace(co_firstlineno=2000000000)
    one()


# --- depth

def descend(depth):
    if depth:
        return descend(depth - 1)
    stand()


def ascend(depth):
    """Through C at every step."""
    if depth:
        return list(map(ascend, [depth - 1]))
    stand()


@once
def deep_500():
    descend(500)


@untamed
def deep_5000():
    descend(5000)


@once
def deep_through_c():
    ascend(150)


@once
def deep_generators():
    def chain(depth):
        if depth:
            yield from chain(depth - 1)
        else:
            stand()
            yield 1

    list(chain(100))


# --- younger syntax

young(8, """
def it(a=1, /, *, b=2):
    if (c := a) and [d := stand()]:
        return c, d
""", "walrus.py")

young(10, """
class Point:
    __match_args__ = ("x", "y")

    def __init__(self):
        self.y = 2

    @property
    def x(self):
        stand()
        return 1

def it():
    match Point():
        case [1, 2]:
            return 1
        case Point(
                1,
                y=2) if True:
            return 2
""", "match.py")

young(11, """
def it():
    try:
        raise ExceptionGroup("", [ValueError(), KeyError()])
    except* ValueError:
        pass
    except* KeyError:
        stand()
""", "group.py")

young(12, """
def it():
    def generic[T: stand()](first: T) -> T:
        return first
    return generic.__type_params__[0].__bound__
""", "generic.py")

young(12, """
def it():
    return f"{1} {[
        f'''{
            stand()
        }''' for _ in (1,)]}"
""", "nested.py")

young(14, """
def it():
    return t"{1} {
        stand()}"
""", "template.py")

young(14, """
def it():
    def inner(first: stand()):
        pass
    return inner.__annotations__
""", "annotated.py")


# --- the keeper of the zoo

def make_events():
    """What the mode puts between the animals and the evaluator."""
    if MODE == "traced":
        def trace(frame, event, arg):
            return trace
        return lambda: sys.settrace(trace)
    if MODE == "covered":
        import coverage
        coverage.Coverage(data_file=None).start()
    if MODE == "monitored":
        monitoring, all_events = sys.monitoring, 0
        monitoring.use_tool_id(3, "zoo")
        for name in ("PY_START", "PY_RESUME", "PY_RETURN", "PY_YIELD", "CALL", "LINE", "INSTRUCTION", "JUMP", "RAISE",
                     "EXCEPTION_HANDLED", "PY_UNWIND", "PY_THROW"):
            event = getattr(monitoring.events, name)
            monitoring.register_callback(3, event, lambda *what: None)
            all_events |= event
        monitoring.set_events(3, all_events)
    return lambda: None


def keep(one, prepare):
    """The life of one animal."""
    here.animal = one.__name__
    prepare()
    if not getattr(one, "once", False):
        for _ in range(WARM):
            one()
    here.armed = True
    one()


def walk(frame):
    while frame is not None:
        code = frame.f_code
        yield [code.co_name, getattr(code, "co_qualname", None), code.co_filename, frame.f_lineno]
        frame = frame.f_back


def take_picture():
    return {ident: list(walk(frame)) for ident, frame in sys._current_frames().items()}


def witness(count):
    """Write everything down when all stand still."""
    pictures = [1, 2, 3]
    while len(arrived) < count or not pictures[-1] == pictures[-2] == pictures[-3] or not all(
            frames[0][0] == "stand" for ident, frames in pictures[-1].items() if ident != threading.get_ident()):
        time.sleep(0.02)
        pictures = pictures[-2:] + [take_picture()]
    picture = pictures[-1]
    threads = [{"animal": name, "ident": ident, "native_id": tid, "name": names.get(ident), "frames": picture[ident]}
               for ident, tid, name in arrived]
    with open("oracle.json", "w") as file:
        json.dump({"threads": threads, "witness": get_native_id(), "bare": BARE}, file)
    with open("faulthandler.txt", "w") as file:
        faulthandler.dump_traceback(file, all_threads=True)
    print("ready", flush=True)
    stand_here.acquire()


def start(one, name, prepare):
    thread = threading.Thread(target=keep, args=(one, prepare), name=name, daemon=True)
    thread.start()
    names[thread.ident] = thread.name


def start_bare(count):
    """Threads that Python knows nothing of."""
    for _ in range(count):
        handle = ctypes.c_ulong()
        LIBC.pthread_create(ctypes.byref(handle), None, ctypes.cast(LIBC.pause, ctypes.c_void_p), None)


BARE = 2
STRANGE_NAMES = ["", "name\nwith\x1b[31m\x00\x7f", "böse", "日本", "\U0001f600", "n" * 5000, "\ud800", "'\"\\"]


def main():
    """The main thread stands in a signal handler."""
    sys.setrecursionlimit(20000)
    sys.modules["zoo"] = sys.modules["__main__"]
    prepare = make_events()
    chosen = [one for one in animals if not WANTED or one.__name__ in WANTED or TAME and one not in wild]
    strange = [] if TAME else STRANGE_NAMES
    start_bare(BARE)
    for one in chosen:
        threading.stack_size((256 if one.__name__.startswith("deep") else 8) << 20)
        start(one, one.__name__, prepare)
    for name in strange:
        start(plain, name, prepare)
    names[threading.get_ident()] = threading.current_thread().name
    count = len(chosen) + len(strange) + 2
    _thread.start_new_thread(keep, (plain, prepare))
    _thread.start_new_thread(witness, (count,))
    here.animal, here.armed = "signal_handler", True
    signal.signal(signal.SIGUSR1, lambda number, frame: stand())
    signal.pthread_kill(threading.get_ident(), signal.SIGUSR1)


main()
