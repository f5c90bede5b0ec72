# test_company.py - others are there before us or with us: ten attaches at once, other tracers, other builds of ours.
# SPDX-License-Identifier: MIT

import contextlib
import os
import re
import subprocess

import pytest

import pythons
import support

both_ends = pytest.mark.parametrize("python", pythons.ENDS, ids=str)
every_python = pytest.mark.parametrize("python", pythons.ALL, ids=str)
OTHERS = os.path.join(pythons.CACHE, "bench", "bin")
ANSWER = (0, "42\n")


# --- ten at the same instant


@every_python
def test_ten_attaches_at_once_of_which_one_wins(python, victim, home):
    """The others name the one that has won. It answers to the end."""
    target = victim(python, "sleep", blocked=True)
    ten = [subprocess.Popen([support.LAUNCHER, str(target.pid)], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                            stderr=subprocess.PIPE, encoding="utf-8", env=support.make_environment(home)) for _ in range(10)]
    try:
        assert support.wait_until(lambda: sum(one.poll() is None for one in ten) == 1, 120)
        winner, = [one for one in ten if one.poll() is None]
        message = "pydbattach: another session is attached to process %d: pid %d\n" % (target.pid, winner.pid)
        for loser in ten:
            if loser is not winner:
                assert (loser.communicate(), loser.returncode) == (("", message), 1)
        out, _ = winner.communicate("p 6*7\n", timeout=60)
        assert (winner.returncode, out) == ANSWER
    finally:
        for one in ten:
            with contextlib.suppress(OSError, ValueError):
                one.kill()
                one.communicate()
    target.assert_unharmed(seconds=20)
    target.end()


# --- another tracer has the target


@contextlib.contextmanager
def tracer(target, *command):
    """A program that traces the target, from when it does until the end of the block."""
    process = subprocess.Popen([word.replace("PID", str(target.pid)) for word in command], stdin=subprocess.DEVNULL,
                               stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        assert support.wait_until(lambda: support.read_status(target.pid)["TracerPid"] == str(process.pid), 60, 0)
        yield process
    finally:
        process.terminate()
        process.wait(30)


TRACERS = {
    "strace": ["strace", "-qq", "-f", "-o", "/dev/null", "-p", "PID"],
    # it stands at its prompt: a target that does not run
    "gdb": ["gdb", "-nx", "-q", "-readnever", "-iex", "set sysroot /nonexistent", "-iex", "set auto-load off", "-ex",
            "attach PID", "-ex", "python import time; time.sleep(3600)"],
}


@pytest.mark.parametrize("name", sorted(TRACERS))
@both_ends
def test_attach_beside_a_tracer_names_it(python, name, victim, batch):
    target = victim(python, "lock", blocked=True)
    with tracer(target, *TRACERS[name]) as other:
        before = support.count_mappings(target.pid)
        done = batch("-c", "p 6*7", target.pid)
        assert (done.returncode, done.stdout, done.stderr) == (
            1, "", "pydbattach: process %d is already being traced by pid %d (%s)\n" % (target.pid, other.pid, name))
        assert support.read_status(target.pid)["TracerPid"] == str(other.pid)
        assert support.count_mappings(target.pid) == before
        done = batch("--dump", target.pid)
        assert done.returncode == 0, done.stderr
        assert re.search(r"^thread 1 .*\n.*", done.stdout, re.M) and "lock.py" in done.stdout, done.stdout
    target.wait_blocked()
    done = batch("-c", "p 6*7", target.pid)
    assert (done.returncode, done.stdout) == ANSWER, done.stderr
    target.assert_unharmed(seconds=20)
    target.end()


@both_ends
def test_attach_beside_a_sampler(python, victim, home):
    """py-spy traces all threads a hundred times in a second, for a moment each: the attach finds its own moment, or names it."""
    support.need(os.access(os.path.join(OTHERS, "py-spy"), os.X_OK), "no py-spy (make deps)")
    target = victim(python, "workers")
    sampler = subprocess.Popen([os.path.join(OTHERS, "py-spy"), "record", "-r", "100", "-d", "3600", "-o", "/dev/null", "-p",
                                str(target.pid)], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        assert support.wait_until(lambda: support.read_status(target.pid)["TracerPid"] != "0", 60, 0)
        refusal = re.compile(r"pydbattach: process %d is already being traced by pid (\d+) \(py-spy\)\n" % target.pid)
        for _ in range(6):
            done = support.run_batch("-c", "p 6*7", target.pid, home=home)
            refused = refusal.fullmatch(done.stderr)
            if (done.returncode, done.stdout) != ANSWER:
                assert refused and (done.returncode, done.stdout) == (1, ""), done
                assert os.path.exists("/proc/%d/task/%s" % (sampler.pid, refused.group(1)))
            done = support.run_batch("--dump", target.pid, home=home)
            assert done.returncode == 0 and "workers.py" in done.stdout, done
        assert sampler.poll() is None
    finally:
        sampler.terminate()
        sampler.wait(30)
    done = support.run_batch("-c", "p 6*7", target.pid, home=home)
    assert (done.returncode, done.stdout) == ANSWER, done.stderr
    target.assert_unharmed(seconds=20)


# --- another build of ours was there


DETACHES, LEAVES = '"q" detaches', '"q" leaves'


@pytest.fixture
def other_build(tmp_path):
    """A checkout whose library and payload are not those of this one; its launcher."""
    place = tmp_path / "other"
    copy = 'mkdir "$1"; tar --exclude=./build --exclude=./.git --exclude=./tests -C "$0" -cf - . | tar --no-same-owner -C "$1" -xf -'
    subprocess.run(["sh", "-c", copy, support.TOP, str(place)], check=True)
    payload = place / "pyinjectcode.py"
    text = payload.read_text()
    assert DETACHES in text
    payload.write_text(text.replace(DETACHES, LEAVES))
    subprocess.run(["make", "-C", str(place), "all"], check=True, stdout=subprocess.DEVNULL)
    return str(place / "pydbattach.sh")


def list_libraries(pid):
    """The copies of our library that are mapped: one name each."""
    return sorted(set(re.findall(r"\S*/\.pydbattach\.\S*", support.read_file("/proc/%d/maps" % pid))))


@pytest.mark.parametrize("first", ["this", "other"])
@both_ends
def test_library_of_another_build_is_left_alone(python, first, victim, batch, other_build):
    """Each build uses its own library and payload; both stay, and there are never more."""
    target = victim(python, "sleep", blocked=True)
    launchers = [(DETACHES, support.LAUNCHER), (LEAVES, other_build)]
    if first == "other":
        launchers.reverse()
    for turn in range(3):
        for number, (greeting, launcher) in enumerate(launchers):
            done = batch("-c", "p 6*7", target.pid, launcher=launcher)
            assert (done.returncode, done.stdout) == ANSWER and greeting in done.stderr, done.stderr
            assert len(list_libraries(target.pid)) == (2 if turn or number else 1)
        if not turn:
            mappings = support.count_mappings(target.pid)
    assert support.count_mappings(target.pid) == mappings
    target.assert_unharmed(seconds=20)
    target.end()
