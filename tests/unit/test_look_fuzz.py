# test_look_fuzz.py - what pydblook reads from a target is corrupted: it neither crashes, hangs nor prints without end.
# SPDX-License-Identifier: MIT
#
# look_fuzz.c does it, in a pydblook with the sanitizers. CI runs the seeds 1 to SEEDS; `make fuzz` more of them
# (PYDBATTACH_SEEDS='FIRST COUNT'). A seed that fails is run again with
#     LOOK_FUZZ='SEED 1 DIRECTORY' build/asan/pydblook-fuzz ... PID

import json
import os
import subprocess

import pytest

import pythons
import support

FUZZ = os.path.join(support.TOP, "build", "asan", "pydblook-fuzz")
FIRST, SEEDS = [int(word) for word in (os.environ.get("PYDBATTACH_SEEDS") or "1 30").split()]
CHOSEN = [python for python in pythons.DUMP
          if python.name in ("3.6", "3.8", "3.11", "3.12", "sid3.13", "sid3.15")] or [pythons.ONE]
OUTPUT_AT_MOST = 64 << 20
# The deepest stacks of the zoo would take most of the time, and fewer animals are as good a prey.
PREY = ["plain", "await_chain", "nested_comprehension", "sorted_key", "class_body", "file_names", "function_names",
        "deep_through_c", "initialiser", "no_line", "closure_with_cells"]


@pytest.fixture(scope="session", autouse=True)
def built():
    done = subprocess.run(["make", "-C", support.TOP, "--no-print-directory", "build/asan/pydblook-fuzz"],
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT, encoding="utf-8")
    assert done.returncode == 0, done.stdout


def complain(seed, status, place):
    """What is wrong with the run of a seed; '' if nothing is."""
    out, err = [os.path.join(place, "%d.%s" % (seed, ending)) for ending in ("out", "err")]
    errors = support.read_file(err)
    if status not in ("0", "1"):
        return "status %s: %s" % (status, errors[-2000:])
    for word in ("Sanitizer", "runtime error", "crashed"):
        if word in errors or word in support.read_file(out)[-10000:]:
            return errors[-4000:]
    if os.path.getsize(out) > OUTPUT_AT_MOST or len(errors) > 10000:
        return "%d and %d bytes of output" % (os.path.getsize(out), len(errors))
    if status == "1" and not errors and not os.path.getsize(out):
        return "status 1, and not a word"
    return ""


def complain_of_json(seed, place):
    text = support.read_file(os.path.join(place, "%d.out" % seed))
    if not text:
        return ""
    try:
        document = json.loads(text)
    except ValueError as error:
        return "%s: %s" % (error, text[-500:])
    return "" if document["processes"] else "no process"


def run_seeds(arguments, place, first, count):
    """(seed, status, milliseconds, reads) of each."""
    done = subprocess.run([FUZZ] + [str(word) for word in arguments], stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                          encoding="utf-8", timeout=1200, stdin=subprocess.DEVNULL,
                          env=dict(os.environ, LOOK_FUZZ="%d %d %s" % (first, count, place)))
    assert (done.returncode, done.stderr) == (0, "")
    rows = [line.split() for line in done.stdout.splitlines()]
    assert [int(row[0]) for row in rows] == [0] + list(range(first, first + count))
    assert rows[0][1] == "0" and int(rows[0][3]) > 20, "the run that is not corrupted: %r" % rows[0]
    return rows


@pytest.mark.timeout(1500)
@pytest.mark.parametrize("python, options", [(python, ["--json", "--locals"]) for python in CHOSEN] + [(pythons.ONE, [])], ids=str)
def test_a_corrupt_target_is_survived(python, options, victim, tmp_path):
    target = victim(python, name="dump_zoo", args=["warm"] + PREY)
    wrong = []
    for seed, status, _, _ in run_seeds(options + ["dump", target.pid], tmp_path, FIRST, SEEDS):
        objection = complain(int(seed), status, tmp_path) or options and complain_of_json(int(seed), tmp_path)
        if objection:
            wrong.append("seed %s: %s" % (seed, objection))
    assert wrong == [], "%d seeds\n%s" % (len(wrong), "\n".join(wrong[:3]))
    target.assert_unharmed()


@pytest.mark.timeout(600)
def test_a_plan_of_a_corrupt_target_is_survived(victim, tmp_path):
    target = victim(name="sleep", blocked=True)
    wrong = []
    for seed, status, _, _ in run_seeds(["plan", target.pid], tmp_path, FIRST, SEEDS):
        objection = complain(int(seed), status, tmp_path)
        if objection:
            wrong.append("seed %s: %s" % (seed, objection))
    assert wrong == [], "\n".join(wrong[:3])
    target.assert_unharmed()
