# test_dump_native.py - --dump --native: C and Python frames as one stack, and a target that is let go whatever happens.
# SPDX-License-Identifier: MIT

import contextlib
import json
import os
import random
import re
import signal
import subprocess
import time

import pytest

import pythons
import support

CHECKOUT = "shop::Order::checkout(void (*)())"
# Innermost first: what native_frames.py is in.
ORDER = ["nap", "key", "generate", "__del__", "drop", "deliver", "order", "<module>"]

every_python = pytest.mark.parametrize("python", pythons.DUMP, ids=str)
both_ends = pytest.mark.parametrize("python", pythons.ENDS, ids=str)


@pytest.fixture(scope="session")
def native_call(tmp_path_factory):
    """The compiled tests/c/native_call.c, as bytes."""
    path = support.compile_c(os.path.join(support.HERE, "c", "native_call.c"),
                             str(tmp_path_factory.mktemp("c") / "native_call.so"), "-shared", "-fPIC")
    with open(path, "rb") as file:
        return file.read()


@pytest.fixture
def frames_victim(victim, native_call):
    """frames_victim(python): native_frames.py in its sleep."""
    def start(python):
        target = victim(python, "native_frames", files={"native_call.so": native_call}, blocked=True)
        porter, = [tid for tid in support.list_threads(target.pid) if tid != target.pid]
        return target.wait_blocked(porter)

    return start


def dump(batch, *args):
    """The one process of a JSON dump that has succeeded."""
    done = batch("--dump", "--json", *args)
    assert (done.returncode, done.stderr) == (0, "")
    process, = json.loads(done.stdout)["processes"]
    return process


def python_frames(thread):
    return [(frame["function"], frame["file"], frame["line"]) for frame in thread["frames"]
            if frame.get("kind") != "native"]


@every_python
def test_python_frames_are_put_between_the_c_frames(python, frames_victim, batch):
    target = frames_victim(python)
    process = dump(batch, "--native", target.pid)
    assert process["complete"]
    main, porter = process["threads"]
    plain_main, plain_porter = dump(batch, target.pid)["threads"]
    assert python_frames(main) == python_frames(plain_main)
    assert python_frames(porter) == python_frames(plain_porter)
    assert [name for name, _, _ in python_frames(main)] == ORDER
    for thread in main, porter:
        frames = thread["frames"]
        assert thread["native_error"] is None
        assert frames[0]["kind"] == frames[-1]["kind"] == "native"
        assert not [frame for frame in frames if (frame["function"] or "").startswith("_PyEval_EvalFrameDefault")]
    # Each pair of Python functions with C between them, and nothing else.
    names = ["C" if frame["kind"] == "native" else frame["function"] for frame in main["frames"]]
    calls = re.sub(r"(C )+", "C ", " ".join(names) + " ")
    assert calls.startswith("C nap C key C generate C __del__ C drop ")
    assert " deliver C order " in calls
    functions = [frame["function"] for frame in main["frames"]]
    assert functions.index("order") > functions.index(CHECKOUT) > functions.index("__del__")
    module = main["frames"][functions.index(CHECKOUT)]["file"]
    assert module.endswith(os.path.basename(target.place) + "/native_call.so")
    target.assert_unharmed()


@both_ends
def test_native_as_text(python, frames_victim, batch):
    target = frames_victim(python)
    done = batch("--dump", "--native", target.pid)
    assert (done.returncode, done.stderr) == (0, "")
    lines = done.stdout.splitlines()
    where = [number for number, line in enumerate(lines) if line.startswith("    %s+0x" % CHECKOUT)]
    deliver = [number for number, line in enumerate(lines) if line.startswith("    deliver(), ")]
    order = [number for number, line in enumerate(lines) if line.startswith("    order(), ")]
    assert deliver < where < order and len(where) == 1
    assert re.search(r"^    \?, \S+\+0x[0-9a-f]+$", done.stdout, re.M)     # the C library has no name for everything
    target.assert_unharmed()


def test_threads_with_the_same_c_frames_are_folded(victim, batch):
    target = victim(pythons.ONE, source="""
import threading, time
for i in range(20):
    threading.Thread(target=time.sleep, args=(3600,), daemon=True).start()
print("ready", flush=True)
threading.Event().wait()
""", blocked=True)
    for tid in target.before.threads:
        target.wait_blocked(tid)
    assert re.search(r"^20 threads: ", batch("--dump", "--native", target.pid).stdout, re.M)
    target.assert_unharmed()


def test_process_that_is_stopped_stays_stopped(frames_victim, batch):
    target = frames_victim(pythons.ONE)
    os.kill(target.pid, signal.SIGSTOP)
    assert support.wait_until(lambda: support.read_status(target.pid)["State"][0] == "T")
    main, porter = dump(batch, "--native", target.pid)["threads"]
    assert [name for name, _, _ in python_frames(main)] == ORDER
    assert main["native_error"] is porter["native_error"] is None
    for tid in support.list_threads(target.pid):
        assert support.read_status(target.pid, tid)["State"][0] == "T"
    os.kill(target.pid, signal.SIGCONT)
    target.assert_unharmed()


def test_thread_that_does_not_stop_has_a_deadline(victim, batch, slow_library):
    target = victim(pythons.ONE, source="""
import ctypes, threading, time
sleep = ctypes.CDLL("./slow_library.so").sleep_in_vfork
def stuck():
    sleep(60)
thread = threading.Thread(target=stuck, daemon=True)
thread.start()
print("ready", flush=True)
time.sleep(3600)
""", files={"slow_library.so": slow_library})

    def sleeping():
        return [tid for tid in support.list_threads(target.pid)
                if support.read_status(target.pid, tid)["State"][0] == "D"]

    assert support.wait_until(sleeping, 20)
    tid, = sleeping()
    main, stuck = dump(batch, "--native", target.pid)["threads"]
    assert main["native_error"] is None
    assert (stuck["native_id"], stuck["native_error"]) == (tid, "the thread did not stop within 300 ms")
    assert "stuck" in [name for name, _, _ in python_frames(stuck)]
    assert "(no C frames: the thread did not stop within 300 ms)" in batch("--dump", "--native", target.pid).stdout
    assert support.read_status(target.pid, tid)["TracerPid"].strip() == "0"
    child, = support.list_children(target.pid)
    os.kill(child, signal.SIGKILL)      # it wakes up, and is not stopped
    assert support.wait_until(lambda: not os.path.exists("/proc/%d/task/%d" % (target.pid, tid)), 20)
    target.end()


def test_thread_that_is_traced_by_others(frames_victim, batch):
    target = frames_victim(pythons.ONE)
    tracer = subprocess.Popen(["strace", "-qq", "-o", "/dev/null", "-p", str(target.pid)], stdin=subprocess.DEVNULL)
    try:
        assert support.wait_until(lambda: support.read_status(target.pid)["TracerPid"].strip() == str(tracer.pid), 20)
        main, porter = dump(batch, "--native", target.pid)["threads"]
        assert main["native_error"] == "cannot stop the thread: Operation not permitted"
        assert [name for name, _, _ in python_frames(main)] == ORDER
        assert porter["native_error"] is None
    finally:
        tracer.send_signal(signal.SIGINT)
        tracer.wait(20)
    target.assert_unharmed()


def test_libdw_is_not_installed(frames_victim, batch, tmp_path):
    target = frames_victim(pythons.ONE)
    (tmp_path / "libdw.so.1").write_text("")
    done = batch("--dump", "--native", target.pid, env={"LD_LIBRARY_PATH": str(tmp_path)})
    assert done.stderr == ("pydbattach: process %d is shown without C frames: libdw (elfutils) is not installed; install "
                           "it: apt-get install libdw1, dnf install elfutils-libs or apk add libdw\n" % target.pid)
    assert done.returncode == 1
    for name in ORDER:
        assert name in done.stdout
    target.assert_unharmed()


@both_ends
def test_killed_in_the_middle_lets_all_threads_go(python, victim):
    """pydblook is killed at any moment: the kernel detaches, nobody stays stopped."""
    target = victim(python, "busy_threads", ready=True)
    look = os.path.join(support.TOP, "build", "pydblook")
    for _ in range(25):
        process = subprocess.Popen([look, "--native", "dump", str(target.pid)], stdin=subprocess.DEVNULL,
                                   stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True)
        time.sleep(random.uniform(0, 0.03))
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)      # the child that reads, too
        process.wait()

    def all_run():
        states = [support.read_status(target.pid, tid) for tid in support.list_threads(target.pid)]
        return all(state["State"][0] in "RS" and state["TracerPid"].strip() == "0" for state in states)

    assert support.wait_until(all_run, 20)
    target.assert_unharmed(stdout=False)
