# test_locals_fuzz.py - values read through a memory that lies: look neither crashes nor hangs nor exceeds its limits.
# SPDX-License-Identifier: MIT

import glob
import os
import re
import subprocess

import pytest

import pythons
import support

HERE = os.path.dirname(os.path.abspath(__file__))
SANITIZE = ["-std=gnu11", "-g", "-fno-omit-frame-pointer", "-fsanitize=address,undefined", "-fno-sanitize-recover=all", "-pthread"]
ROUNDS = 60
# The ways to keep objects: up to 3.7, 3.10, 3.11, 3.12, 3.13, and the newest.
FUZZED = [python for python in pythons.ALL if python.name in ("3.8", "3.10", "3.11", "3.12", "sid3.13")]
FUZZED += [] if pythons.NEWEST in FUZZED else [pythons.NEWEST]


@pytest.fixture(scope="module")
def fuzz(tmp_path_factory):
    """The compiled locals_fuzz.c, with all of look but its main()."""
    sources = [path for path in glob.glob(os.path.join(support.TOP, "look", "*.c")) if not path.endswith("/pydblook.c")]
    return support.compile_c(os.path.join(HERE, "locals_fuzz.c"), str(tmp_path_factory.mktemp("fuzz") / "locals_fuzz"),
                             "-I" + support.TOP, *SANITIZE, *sources)


@pytest.mark.parametrize("python", FUZZED, ids=str)
def test_values_from_a_memory_that_lies(python, fuzz, victim):
    target = victim(python, name="zoo", blocked=True, options=["-W", "ignore"])
    done = subprocess.run([fuzz, str(target.pid), str(python.minor), str(ROUNDS)], stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT, encoding="utf-8", errors="replace", timeout=600)
    assert done.returncode == 0, done.stdout[-4000:]
    values = int(re.fullmatch(r"rounds %d, values (\d+)\n" % ROUNDS, done.stdout).group(1))
    assert values > ROUNDS * 100
    target.assert_unharmed()
