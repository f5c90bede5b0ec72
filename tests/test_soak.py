# test_soak.py - the soak's short form: each target at least once, on an interpreter that changes with the day.
# SPDX-License-Identifier: MIT
#
# The long form is `make soak` (tests/soak/soak.py). Here as there, what may be refused stands in
# tests/soak/targets.py, and everything else but a prompt, and every trace in the target, is a failure.

import os
import random
import sys
import time

import pytest

import pythons
import support

sys.path.insert(0, os.path.join(support.HERE, "soak"))

import soak  # noqa: E402
import targets  # noqa: E402

ATTACHES = 2
DAY = int(time.time() // 86400)


def choose_python(number):
    return pythons.ALL[(DAY + number) % len(pythons.ALL)]


@pytest.fixture(scope="session")
def helpers(tmp_path_factory):
    return targets.compile_helpers(str(tmp_path_factory.mktemp("helpers")))


@pytest.mark.timeout(400)
@pytest.mark.parametrize("one, python", [(one, choose_python(number)) for number, one in enumerate(targets.ALL)],
                         ids=lambda value: getattr(value, "name", None))
def test_target_made_to_be_unlucky_is_not_harmed(one, python, helpers, tmp_path):
    support.need(python.is_there(), "no interpreter %s (tests/pythons.py, make deps)" % python.name)
    if one.preload:
        support.need(os.path.exists(os.path.join(targets.LIBRARIES, one.preload)), "no %s (make deps)" % one.preload)
    log = str(tmp_path / "log")
    soak.run_round((one, python, helpers, log, 0, ATTACHES, ""))
    records = soak.read_records([log])
    assert soak.judge_group(one, records) == []
    assert len(records) == ATTACHES


def test_the_judge_sees_each_kind_of_harm(tmp_path):
    """What the driver would find if something were harmed: the check is checked."""
    good = {"what": "prompt", "reason": "", "bad": "", "harm": []}
    one = targets.target("some", "idle")._replace(refusals=[("pydbattach: no", 50)])
    assert soak.judge_group(one, [good, dict(good, what="refused", reason="pydbattach: no")]) == []
    assert soak.judge_group(one, [dict(good, what="refused", reason="pydbattach: no")] * 2) == [
        "refused 2 of 2: pydbattach: no"]
    assert soak.judge_group(one, [good, dict(good, what="refused", reason="pydbattach: other")]) == [
        "refused 1 of 2: pydbattach: other"]
    assert soak.judge_group(one, [dict(good, what="hang", reason="why")]) == ["hang: why"]
    assert soak.judge_group(one, [dict(good, bad="harm", harm=["lane 0: lost 1"])]) == ["harm: lane 0: lost 1"]


def test_breakpoints_at_random_wait_for_none_that_is_not_there():
    for seed in range(500):
        there, on = [], set()           # of each breakpoint: does it stop; those that are on
        for command in soak.make_breaks(random.Random(seed), True):
            deed, _, rest = command.partition(" ")
            if deed in ("break", "logpoint"):
                there.append(command == soak.SET_BREAK["stops"])
                on.add(len(there))
            elif deed == "continue":
                assert any(there[number - 1] for number in on), seed
            elif deed == "enable":
                on.add(int(rest))
            elif deed in ("clear", "disable"):
                on.remove(int(rest))
        assert "continue" not in soak.make_breaks(random.Random(seed), False)


HARMS = {
    "lost": ("import ledger\nledger.words[ledger.LOST] += 1", "lane 0: lost 1"),
    "descriptor": ("import os\nos.dup(0)", "descriptors: "),
    "thread": ("import _thread, time\n_thread.start_new_thread(time.sleep, (3600,))", "threads: "),
    "output": ("print('x', flush=True)", "stdout: "),
    "mask": ("import signal\nsignal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGUSR2])", "masks: "),
}


@pytest.mark.parametrize("name", HARMS)
def test_the_driver_sees_harm_from_outside(name, monkeypatch, tmp_path, helpers):
    """A target that harms itself when a file appears, which an attach of ours only pretends to have done."""
    code, words = HARMS[name]
    python = pythons.ONE
    support.need(python.is_there(), "no interpreter %s (tests/pythons.py, make deps)" % python.name)
    source = """
import os, time
import ledger
lane = ledger.Lane()
ledger.ready()
def step():
    time.sleep(0.005)
    if os.path.exists("harm"):
        with open("code") as code:
            text = code.read()
        exec(text)
        os.unlink("harm")
lane.run(step)
"""
    one = targets.target("some", "idle")
    run = soak.Run(one, python, helpers, str(tmp_path / "log"), 0)
    run.victim.close()
    run.victim = support.Victim(python, "idle", source=source, files={
        "ledger.py": support.read_file(os.path.join(targets.VICTIMS, "ledger.py")), "code": code})

    def pretend(one, pid, number, home):
        run.victim.write("harm", "")
        support.wait_until(lambda: not os.path.exists(os.path.join(run.victim.place, "harm")), 20)
        return "-c", soak.Outcome(0, "%d\n" % run.victim.process.pid, "", 0.1), []

    monkeypatch.setattr(soak, "attach", pretend)
    monkeypatch.setattr(soak, "SETTLE_SECONDS", 0.5)
    try:
        run.prepare()
        assert not run.attach_once(0)
    finally:
        run.close()
    record, = soak.read_records([str(tmp_path / "log")])
    assert record["bad"] == "harm" and any(line.startswith(words) for line in record["harm"]), record["harm"]
