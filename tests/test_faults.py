# test_faults.py - everything that can go wrong, at each step of an attach: the target runs on, and the next attach works.
# SPDX-License-Identifier: MIT
#
# The short form of `make faults`. The steps are found by the machine (tests/faults/), which holds one of our
# programs at one of them while the test does its worst.

import os
import re
import signal
import struct
import subprocess
import sys

import pytest

import pythons
import support

sys.path.insert(0, os.path.join(support.HERE, "faults"))
import machine as machines  # noqa: E402

both_ends = pytest.mark.parametrize("python", pythons.ENDS, ids=str)
long = pytest.mark.timeout(400)
IN_WRITE = 44           # of struct pydb_state (wire.h)


@pytest.fixture(scope="module")
def machine():
    one = machines.Machine()
    yield one
    one.close()


@pytest.fixture
def targets():
    """targets(python, name): a Targets, ended when the test is over."""
    started = []

    def start(*args, **named):
        started.append(machines.Targets(*args, **named))
        return started[-1]

    yield start
    for one in started:
        one.drop()


def assert_nothing_breaks(machine, targets, home, trials, at_least):
    """trials: (step, fault)...; all hold, and the machine has come to so many of them."""
    __tracebackhide__ = True
    reached, wrong = 0, []
    for step, fault in trials:
        break_it = machines.break_us if fault in machines.TO_US else machines.break_target
        result = break_it(machine, targets, home, step, fault)
        reached += result is not None
        if result:
            wrong.append("%s %s %s: %s" % (fault, step.when, step.name, "; ".join(result)))
    assert not wrong, "\n".join(wrong)
    assert reached >= at_least, "only %d steps were reached" % reached


# --- one of us is killed, at each step


@long
@pytest.mark.parametrize("role, steps", [("launcher", 15), ("look", 15), ("load", 12), ("guard", 7), ("client", 8)])
def test_killed_at_each_step(role, steps, machine, targets, home):
    all_of_them = targets(pythons.ONE)
    names = machines.steps_of(machines.learn_steps(machine, all_of_them, home), role)
    assert_nothing_breaks(machine, all_of_them, home,
                          [(machines.Step(name, "before", 1), "kill") for name in names], steps)


@long
@both_ends
def test_gdb_killed_before_and_after_each_step(python, machine, targets, home):
    """Among them its one register write; a plain gdb leaves its target stopped in one of ten."""
    all_of_them = targets(python)
    names = machines.steps_of(machines.learn_steps(machine, all_of_them, home), "gdb")
    assert "gdb ptrace SETREGS" in names
    if python != pythons.NEWEST:        # to gdb they are all alike
        names = [name for name in names if "ptrace" in name]
    assert_nothing_breaks(machine, all_of_them, home, [(machines.Step(name, when, 1), "kill") for name in names
                                                       for when in ("before", "after")], 12)


@long
def test_signals_at_each_step(machine, targets, home):
    """One of the four at each step; `make faults` has all of them."""
    all_of_them = targets(pythons.ONE)
    names = machines.learn_steps(machine, all_of_them, home)
    signals = ["INT", "TERM", "HUP", "TSTP"]
    assert_nothing_breaks(machine, all_of_them, home, [(machines.Step(name, "before", 1), signals[number % 4])
                                                       for number, name in enumerate(names[::2])], 30)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGTSTP])
def test_gdb_hears_no_signal(number, machine, targets, home):
    """It would pass its SIGINT on to the target, where it is a KeyboardInterrupt, and leave a stopped target at the others."""
    target = targets(pythons.ONE).get()
    with machine.attach(target, home, machines.Step("gdb ptrace GETREGS", "before", 1)) as trial:
        assert support.process_name(trial.held) == "gdb"
        os.kill(trial.held, number)
        trial.go_on()
        status, said, complaint = trial.finish()
    assert (status, said.endswith(machines.ANSWER)) == (0, True), complaint
    target.assert_unharmed()


@long
def test_target_changes_at_each_step(machine, targets, home):
    """It exits, crashes, execs, forks, stops, has a thread in state D or reuses descriptors: one of them at each step."""
    all_of_them = targets(pythons.ONE, "obedient", files=machine.files())
    names = machines.learn_steps(machine, all_of_them, home)
    faults = sorted(machines.TO_TARGET)
    assert_nothing_breaks(machine, all_of_them, home, [(machines.Step(name, "before", 1), faults[number % len(faults)])
                                                       for number, name in enumerate(names[::2])], 30)


@both_ends
def test_fork_while_the_channel_is_made(python, victim, machine, home):
    """The child knows of no descriptor of ours, so it must have none."""
    files = dict(machine.files(), **{"slow_channel.so": machine.compile("slow_channel")})
    target = victim(python, "obedient", files=files, env={"LD_PRELOAD": "./slow_channel.so"})
    session = support.Attach(target.pid, home=home, wait=False)
    try:
        assert support.wait_until(lambda: os.path.exists(os.path.join(target.place, "moving")), 20)
        machines.order(target, "f")
        assert support.wait_until(lambda: machines.has_changed(target, "forks"), 20)
        child = int(machines.noted(target, "child"))
        assert machines.is_clean(child, 1), support.list_descriptors(child)
        os.kill(child, signal.SIGKILL)
        session.prompt()
        session.quit()
    finally:
        session.close()


@pytest.mark.parametrize("step", ["pydbclient open /proc/#/fd/#", "pydbclient read", "pydbclient write stdout"])
@both_ends
def test_descriptors_of_ours_are_closed_and_their_numbers_reused(step, python, machine, targets, home):
    """Neither library nor client touches what has the numbers now, and nobody waits for the other for ever."""
    all_of_them = targets(python, "obedient", files=machine.files())
    assert_nothing_breaks(machine, all_of_them, home, [(machines.Step(step, "before", 1), "target reuses descriptors")], 1)


HOLDS_A_FILE = """
import os, time
file = os.open("precious", os.O_RDONLY | os.O_CREAT)
print("ready", flush=True)
while True:
    time.sleep(3600)
"""


def test_number_of_a_file_in_the_targets_memory(victim, machine, home):
    """A hostile target says that its channel is a file that it can only read; the guard would write to it as root."""
    target = victim(source=HOLDS_A_FILE, files={"precious": "precious"}, blocked=True)
    assert support.run_batch("-c", "p 1", target.pid, home=home).returncode == 0
    build = os.path.join(support.TOP, "build")
    plan = subprocess.run([os.path.join(build, "pydblook"), "--library", os.path.join(build, "pyinjectcode.so"), "plan",
                           str(target.pid)], stdout=subprocess.PIPE, encoding="utf-8", check=True).stdout
    state = int(re.search(r"^set \$state = (\S+)", plan, re.M).group(1), 16)
    file, = [fd for fd, name in target.before.descriptors.items() if name.endswith("/precious")]
    with machine.attach(target, home, machines.Step("launcher execve pydbclient", "before", 1)) as trial:
        assert trial.held
        with open("/proc/%d/mem" % target.pid, "r+b", buffering=0) as memory:
            memory.seek(state + IN_WRITE)
            assert struct.unpack("i", memory.read(4))[0] > 2
            memory.seek(state + IN_WRITE)
            memory.write(struct.pack("i", file))
        os.kill(trial.held, signal.SIGKILL)
        trial.finish()
    assert support.read_file(os.path.join(target.place, "precious")) == "precious"
    target.assert_unharmed(seconds=20)
    target.end()


@long
def test_all_killed_together(machine, targets, home):
    """At each step from the first touch of the target to the prompt: whoever is left helps nobody, and nobody needs help."""
    all_of_them = targets(pythons.ONE)
    names = machines.learn_steps(machine, all_of_them, home)
    names = [name for name in machines.steps_of(names, "gdb") if "ptrace" in name] + machines.steps_of(names, "client")[::2]
    assert_nothing_breaks(machine, all_of_them, home, [(machines.Step(name, "before", 1), "kill all") for name in names], 12)


@pytest.mark.parametrize("step, message", [
    ("launcher+ execve find", "cannot find out who can write my own directory"),
    ("launcher execve pydbload", "the attach was killed; process %d runs on"),
    ("launcher+++ execve pydbload", "the attach was killed; process %d runs on"),
    ("pydbload read", "the attach was killed; process %d runs on"),
    ("gdb ptrace GETREGS", "gdb was killed; process %d runs on")])
def test_who_was_killed_is_said(step, message, machine, targets, home):
    """Among them the one that tells whether it is safe to run what lies there: without an answer nothing is run."""
    target = targets(pythons.ONE).get()
    with machine.attach(target, home, machines.Step(step, "before", 1)) as trial:
        assert trial.held
        os.kill(trial.held, signal.SIGKILL)
        status, said, complaint = trial.finish()
    message = "pydbattach: %s\n" % (message.replace("%d", str(target.pid)))
    assert (status, said, complaint.replace("Killed\n", "")) == (1, "", message)
    target.assert_unharmed()


@pytest.mark.parametrize("guarded", [True, False], ids=["guarded", "alone"])
def test_gdb_that_hangs(guarded, machine, targets, home):
    target = targets(pythons.ONE).get()
    step = "gdb ptrace GETREGS" if guarded else "gdb ptrace DETACH"
    with machine.attach(target, home, machines.Step(step, "before", 1)) as trial:
        if not guarded:
            os.kill(machine.find("guard"), signal.SIGKILL)
        status, said, complaint = trial.finish()
    assert (status, said) == (1, "")
    assert complaint == "pydbattach: gdb has not attached to process %d within 8 s; let go\n" % target.pid
    assert machines.judge(target, home)[1] == []


def test_stop_that_comes_long_after_gdb_was_killed(machine, targets, home):
    """Of threads in state D (vfork), which take the SIGSTOP of the attach when they come out of it."""
    target = targets(pythons.ONE, "obedient", files=machine.files()).get()

    def threads(field, wanted):
        return [tid for tid in support.list_threads(target.pid) if wanted(support.read_status(target.pid, tid)[field])]

    with machine.attach(target, home, machines.Step("gdb ptrace ATTACH", "before", 1)) as trial:
        assert trial.held
        machines.order(target, "vv")
        assert support.wait_until(lambda: len(threads("State", lambda state: state[0] == "D")) == 2, 20)
        trial.go_on()
        assert support.wait_until(lambda: threads("TracerPid", lambda tracer: tracer != "0"), 20)
        os.kill(trial.held, signal.SIGKILL)
        trial.finish()
    support.wait_until(lambda: support.read_status(target.pid)["State"][0] == "T", 2)
    assert machines.judge(target, home)[1] == []


def test_thread_that_does_not_run_the_stub_is_named(machine, targets, home):
    target = targets(pythons.ONE, "sleep").get()
    with machine.attach(target, home, machines.Step("gdb ptrace DETACH", "before", 1)) as trial:
        os.kill(target.pid, signal.SIGSTOP)         # it comes when gdb has gone
        trial.go_on()
        status, said, complaint = trial.finish()
    assert (status, said) == (1, "")
    assert complaint == "pydbattach: thread %d of process %d has not run the attach stub within 2 s; let go\n" % (
        target.pid, target.pid)
    os.kill(target.pid, signal.SIGCONT)
    assert machines.judge(target, home)[1] == []


def test_wall_clock_that_jumps(machine, targets, home):
    """By hours, each time that one of us or the target looks at it: no deadline is told by it."""
    target = targets(pythons.ONE, env={"LD_PRELOAD": machine.shim, "STEPS_CLOCK": "1"}).get()
    for _ in range(3):
        with machine.attach(target, home, STEPS_CLOCK="1") as trial:
            status, said, complaint = trial.finish()
        assert status == 0 and said.endswith("\n42\n"), complaint
    assert machines.judge(target, home)[1] == []


def test_copy_of_an_attach_that_was_killed_is_removed_by_a_later_one(machine, targets, home):
    target = targets(pythons.ONE)
    with machine.attach(target.get(), home, machines.Step("pydbload pipe", "before", 1)) as trial:
        assert trial.held
        copies = machine.copies(target.one)
        assert len(copies) == 1
        machine.kill_all()
    assert machine.copies(target.one) == copies
    path = "/proc/%d/root%s" % (target.one.pid, copies[0])
    os.utime(path, (1, 1))
    done = support.run_batch("-c", "p 6*7", target.one.pid, home=home)
    assert (done.returncode, done.stdout) == (0, "42\n"), done.stderr
    assert not os.path.lexists(path)


def test_copy_of_an_attach_that_lives_is_left_alone(machine, targets, home):
    one, other = targets(pythons.ONE), targets(pythons.ONE)
    with machine.attach(one.get(), home, machines.Step("pydbload pipe", "before", 1)) as trial:
        path = "/proc/%d/root%s" % (one.one.pid, machine.copies(one.one)[0])
        os.utime(path, (1, 1))
        done = support.run_batch("-c", "p 6*7", other.get().pid, home=home)
        assert (done.returncode, done.stdout) == (0, "42\n"), done.stderr
        assert os.path.lexists(path)
        trial.go_on()
        assert trial.finish()[0] == 0
    assert not os.path.lexists(path)
