# test_look.py - pydblook alone: are its plans right, does it survive targets that lie?
# SPDX-License-Identifier: MIT
#
# What it refuses is in test_refusals.py.

import json
import os
import re
import subprocess

import pytest

import pythons
import support

HERE = os.path.dirname(os.path.abspath(__file__))
LOOK = os.path.join(support.TOP, "build", "pydblook")
LOOK_ASAN = os.path.join(support.TOP, "build", "asan", "pydblook")
FUTEX, OPENAT, PAUSE = 202, 257, 34

every_python = pytest.mark.parametrize("python", pythons.ALL, ids=str)


@pytest.fixture(scope="session")
def compiled(tmp_path_factory):
    """compiled(name, *flags): the path of a compiled C file of this directory."""
    place = tmp_path_factory.mktemp("look")

    def compile_it(name, *flags):
        path = str(place / name)
        return path if os.path.exists(path) else support.compile_c(os.path.join(HERE, name + ".c"), path, *flags)

    return compile_it


@pytest.fixture(scope="session")
def waits(compiled):
    with open(compiled("look_waits", "-shared", "-fPIC", "-O0", "-fno-builtin", "-pthread"), "rb") as file:
        return file.read()


def look(*args, program=LOOK_ASAN, **env):
    return subprocess.run([program] + [str(arg) for arg in args], stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                          encoding="utf-8", timeout=60, env=dict(os.environ, **env))


def read_plan(pid):
    """The numbers of a plan, by name."""
    done = look("plan", pid)
    assert (done.returncode, done.stderr) == (0, ""), done.stderr
    numbers = re.findall(r"^set \$(\w+) = (-?(?:0x[0-9a-f]+|\d+))$", done.stdout, re.M)
    texts = re.findall(r"^# (\w+) (.*)$", done.stdout, re.M)
    assert len(numbers) + len(texts) == len(done.stdout.splitlines())
    return {name: int(value, 0) for name, value in numbers}, texts


def read_symbols(path):
    done = subprocess.run(["nm", "-D", "--defined-only", path], stdout=subprocess.PIPE, encoding="utf-8", check=True)
    return {line.split()[2].split("@")[0]: int(line.split()[0], 16) for line in done.stdout.splitlines()}


def read_maps(pid):
    """(start, end, permissions, path) of each mapping."""
    rows = [line.split(None, 5) for line in support.read_file("/proc/%d/maps" % pid).splitlines()]
    return [tuple(int(word, 16) for word in row[0].split("-")) + (row[1], row[5] if len(row) > 5 else "") for row in rows]


def read_bytes(pid, at, size):
    with open("/proc/%d/mem" % pid, "rb", 0) as memory:
        memory.seek(at)
        return memory.read(size)


@every_python
def test_addresses_and_places_are_right(python, victim):
    target = victim(python, name="sleep", blocked=True)
    plan, texts = read_plan(target.pid)
    maps = read_maps(target.pid)
    libc = next(path for _, _, _, path in maps if path.endswith("/libc.so.6"))
    base = min(start for start, _, _, path in maps if path == libc)
    symbols = read_symbols(libc)
    for name in ("pthread_create", "pthread_detach", "dlopen"):
        assert plan[name] == base + symbols[name]
    for place, needed, permissions in (("stub", 768, "r-xp"), ("note", 64, "rw-p")):
        at, room = plan[place], plan[place + "_room"]
        assert room >= needed
        assert [row for row in maps if row[0] <= at and at + room <= row[1] and row[2] == permissions]
        assert not any(read_bytes(target.pid, at, room))
    assert plan["version"] == 0x300 + python.minor and ("version", python.version) in texts
    assert plan["pid"] == plan["tid0"] == plan["nspid"] == target.pid
    assert ("place", "/tmp") in texts


@pytest.mark.parametrize("call, number", [
    ("wait_for_mutex()", FUTEX), ("wait_for_fifo()", OPENAT), ("wait_in_handler(0, 0)", PAUSE),
    ("wait_in_handler(0, 1)", PAUSE)])
def test_thread_is_borrowed_where_it_waits(call, number, victim, waits):
    target = victim(source='import ctypes\nctypes.CDLL("./waits.so").%s\n' % call, files={"waits.so": waits})

    def chosen():
        plan, _ = read_plan(target.pid)
        return plan["candidates"] == 1 and plan["nr0"] == number

    assert support.wait_until(chosen)


@pytest.mark.parametrize("alternate", [0, 1])
def test_thread_in_a_handler_over_the_c_library_is_not_borrowed(alternate, victim, waits):
    target = victim(source='import ctypes\nctypes.CDLL("./waits.so").wait_in_handler(1, %d)\n' % alternate,
                    files={"waits.so": waits})
    done = look("plan", target.pid)
    assert done.stderr == ("pydbattach: no thread of process %d can be borrowed for the attach "
                           "(thread %d is in a signal handler that has interrupted the C library)\n" % (target.pid, target.pid))
    assert (done.returncode, done.stdout) == (1, "")


def test_memory_that_does_not_answer_is_given_up(victim, compiled):
    target = victim(name="sleep", blocked=True)
    done = look("plan", target.pid, program=LOOK, LD_PRELOAD=compiled("look_hangs", "-shared", "-fPIC"))
    assert done.stderr == ("pydbattach: the memory of process %d could not be read within 3 s "
                           "(a disk or file server that does not answer?)\n" % target.pid)
    assert done.returncode == 1


def test_dump_of_a_memory_that_does_not_answer_is_a_document(victim, compiled):
    target = victim(name="sleep", blocked=True)
    done = look("--json", "dump", target.pid, program=LOOK, LD_PRELOAD=compiled("look_hangs", "-shared", "-fPIC"))
    line = "the memory of process %d could not be read within 30 s (a disk or file server that does not answer?)" % target.pid
    assert (done.returncode, done.stderr) == (1, "pydbattach: %s\n" % line)
    process, = json.loads(done.stdout)["processes"]
    assert (process["pid"], process["error"], process["complete"], process["threads"]) == (target.pid, line, False, [])


CROWD = """
import threading
def wait(depth, number, text):
    if depth:
        return wait(depth - 1, number + 1, text + "x")
    lock.acquire()
lock = threading.Lock()
lock.acquire()
for number in range(100):
    threading.Thread(target=wait, args=(7, number, "text %d " % number), daemon=True).start()
print("ready", flush=True)
wait(7, 100, "main")
"""


@pytest.mark.parametrize("kind", ["asan", "tsan"])
@pytest.mark.parametrize("option", ["--no-fold", "--locals"])
def test_helper_and_first_thread_do_not_meet(kind, option, victim):
    target = victim(source=CROWD)
    for tid in support.list_threads(target.pid):
        target.wait_blocked(tid)
    program = os.path.join(support.TOP, "build", kind, "pydblook")
    prefix = ["setarch", "-R"] if kind == "tsan" else []        # it wants its addresses for itself
    outputs = []
    for command in [[LOOK]] + 3 * [prefix + [program]]:
        done = subprocess.run(command + ["--json", option, "dump", str(target.pid)], stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                              encoding="utf-8", timeout=60)
        assert (done.returncode, done.stderr) == (0, ""), done.stderr
        process, = json.loads(done.stdout)["processes"]
        assert len(process["threads"]) == 101 and process["complete"]
        outputs.append([thread["frames"] for thread in process["threads"]])
    assert all(output == outputs[0] for output in outputs)


def test_names_of_the_target_cannot_write_into_plan_or_terminal(tmp_path, victim):
    path = tmp_path / "py\nshell touch owned\x1b[31m"
    os.symlink("/usr/bin/sleep", path)
    with open("/usr/bin/sleep", "rb") as file:
        os.unlink(path)
        path.write_bytes(file.read())
    path.chmod(0o755)
    process = subprocess.Popen([str(path), "60"])
    try:
        assert support.wait_until(lambda: look("plan", process.pid).stderr.endswith("\\x1b[31m\n"))
        assert "py\\x0ashell touch owned\\x1b[31m" in look("plan", process.pid).stderr
    finally:
        process.kill()
        process.wait()


def find_libpythons():
    """The interpreters of our root that have a shared libpython, and its path."""
    for python in pythons.ALL:
        found = python.path.replace("/bin/python", "/lib/libpython") + ".so.1.0"
        if not python.root and os.path.exists(found):
            yield python, found


def test_forged_memory_gets_one_line_or_a_plan(compiled):
    """The images of interpreter and C library are overwritten at random while they are read."""
    forged = compiled("look_forged", "-static")
    initialized = {8: 12, 9: 12, 10: 12, 11: 16, 12: 16, 13: 600}       # in _PyRuntime, see look/layout.c
    libc = next(row[3] for row in read_maps(os.getpid()) if row[3].endswith("/libc.so.6"))
    libraries = [(python.minor, path) for python, path in find_libpythons() if python.minor in initialized]
    support.need(libraries, "no interpreter with a shared libpython (make deps)")
    outcomes = []
    for seed, (minor, path) in enumerate(libraries):
        at = read_symbols(path)["_PyRuntime"] + initialized[minor]
        process = subprocess.Popen([forged, str(seed), hex(at), path, libc], stdout=subprocess.PIPE)
        try:
            assert process.stdout.readline() == b"ready\n"
            for _ in range(100):
                done = look("plan", process.pid)
                assert done.returncode in (0, 1) and done.stderr.count("\n") == done.returncode, done.stderr
                assert re.match(r"pydbattach: (no )?(process|thread|memory)|$", done.stderr), done.stderr
                outcomes.append(done.stderr.partition(str(process.pid))[2])
        finally:
            process.kill()
            process.wait()
            process.stdout.close()
    assert "" in outcomes and len(set(outcomes)) > 2


@every_python
def test_list_shows_each_interpreter(python, victim):
    target = victim(python, name="sleep", blocked=True)
    row = next(line for line in look("list").stdout.splitlines() if line.split()[0] == str(target.pid))
    assert re.match(r" *%d root +%s\.\d+\S* +1 +\d+s .*sleep\.py$" % (target.pid, re.escape(python.version)), row)
