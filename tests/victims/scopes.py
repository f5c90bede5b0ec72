# Frames of every kind, one in another; the innermost one writes into `expected` what Python says of their variables.
import asyncio
import json
import os
import sys
import types

reading, writing = os.pipe()


def show(value):
    if isinstance(value, types.FunctionType):
        return "<function %s>" % value.__qualname__
    if isinstance(value, (types.GeneratorType, types.CoroutineType)):
        return "<%s object %s>" % (type(value).__name__, value.__qualname__)
    if isinstance(value, type):
        return "<class '%s.%s'>" % (value.__module__, value.__qualname__)
    return "Victim()" if type(value).__name__ == "Victim" else repr(value)


def wait():
    frames = []
    frame = sys._getframe(1)
    while frame:
        is_module = frame.f_locals is frame.f_globals
        variables = {} if is_module else dict(frame.f_locals)
        for name in frame.f_code.co_freevars:       # f_locals of a class body has them not
            variables.setdefault(name, frame.f_back.f_locals.get(name))
        frames.append([frame.f_code.co_name, {name: show(value) for name, value in variables.items()}])
        frame = frame.f_back
    with open("expected", "w") as file:
        json.dump(frames, file)
    print("ready", flush=True)
    os.read(reading, 1)


class Victim:
    def method(self, first, *rest, key="k", **others):
        local = (first, rest)
        deleted = 1
        del deleted
        captured = [1]

        def inner(x, captured_argument):
            nonlocal captured
            captured = captured + [x]
            get = lambda default=first: nested(default)  # noqa: E731

            def nested(depth):
                late = depth, captured_argument
                return outer_generator(late, captured)
            return get()

        result = inner(2, "argument")
        return local, result, self


def inner_generator(a):
    b = a * 2
    yield generator_wait(b)


def generator_wait(number):
    return [comprehended(i) for i in (number,)]


def comprehended(i):
    exec("inside = given + given\nbody(inside)", dict(given=i, body=body), {"separate": [i]})


def body(argument):
    class Body:
        attribute = argument
        sort_key = sorted([3], key=sort(argument))


def sort(free):
    def by(item):
        cell_of_by = item
        (lambda: cell_of_by)
        asyncio_run(free)
        return item
    return by


def asyncio_run(number):
    async def main(parameter):
        awaited = await deeper(parameter, flag=True)
        return awaited

    async def deeper(value, *, flag):
        before = not flag
        last(before, value)

    coroutine = main(number)
    try:
        coroutine.send(None)
    except StopIteration:
        pass


def last(one, two, three=3.5):
    try:
        raise ValueError(one)
    except ValueError as error:
        text = str(error)
        with open(os.devnull) as file:
            number = file.fileno() - file.fileno()
        del file, error
        wait()
    return text, number, asyncio


def outer_generator(late, captured):
    for item in inner_generator(late[0]):
        return item


Victim().method("first", 1, 2, other=None)
