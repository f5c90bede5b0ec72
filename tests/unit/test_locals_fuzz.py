# test_locals_fuzz.py - values read through a memory that lies: look neither crashes nor hangs nor exceeds its limits.
# SPDX-License-Identifier: MIT

import os
import re
import subprocess

import pytest

import pythons
import support

FUZZ = os.path.join(support.TOP, "build", "asan", "locals-fuzz")        # locals_fuzz.c, made by `make asan`
ROUNDS = 20
# The ways to keep objects: up to 3.7, 3.10, 3.11, 3.12, 3.13, and the newest.
FUZZED = [python for python in pythons.ALL if python.name in ("3.8", "3.10", "3.11", "3.12", "sid3.13")]
FUZZED += [] if pythons.NEWEST in FUZZED else [pythons.NEWEST]

TWO = """
import os
reading, writing = os.pipe()
def two(first, second):
    print("ready", flush=True)
    os.read(reading, 1)
two([1], [2])
"""


@pytest.mark.parametrize("python", FUZZED, ids=str)
def test_values_from_a_memory_that_lies(python, victim):
    target = victim(python, name="zoo", blocked=True, options=["-W", "ignore"])
    done = subprocess.run([FUZZ, str(target.pid), str(python.minor), str(ROUNDS)], stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT, encoding="utf-8", errors="replace", timeout=600)
    assert done.returncode == 0, done.stdout[-4000:]
    values = int(re.fullmatch(r"rounds %d, values (\d+)\n" % ROUNDS, done.stdout).group(1))
    assert values > ROUNDS * 20
    target.assert_unharmed()


@pytest.mark.parametrize("how, shown", [
    ("changing", "          second = [2]\n          (these have changed while they were read)\n"),
    ("gone", "          (the frame has gone on before its variables were read)\n")])
@pytest.mark.parametrize("python", pythons.ENDS, ids=str)
def test_what_never_stands_still_is_marked(python, how, shown, victim):
    target = victim(python, source=TWO, blocked=True)
    done = subprocess.run([FUZZ, str(target.pid), how, "two"], stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                          encoding="utf-8", errors="replace", timeout=600, env=dict(os.environ, ASAN_OPTIONS="detect_leaks=0"))
    assert done.returncode == 0, done.stdout
    lines = done.stdout.splitlines(True)
    assert "".join(line for line in lines if " first = " not in line) == shown
    assert lines[0].strip() in ("first = [1]", "first = [2]") or how == "gone"
