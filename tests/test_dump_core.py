# test_dump_core.py - --dump --core: the stacks of a core file are those that the process had; hostile files.
# SPDX-License-Identifier: MIT

import glob
import json
import os
import random
import re
import resource
import shutil
import signal
import subprocess

import pytest

import pythons
import support

DEBIAN = next(python for python in pythons.KNOWN if python.name == "debian3.11")
LOOK_ASAN = os.path.join(support.TOP, "build", "asan", "pydblook")
TRUNCATED_AT = [0, 1, 10, 63, 64, 65, 100, 500, 1000, 3000, 4000, 4096, 5000, 8192, 10000, 15000, 30000, 100000, 1000000]

every_python = pytest.mark.parametrize("python", pythons.DUMP, ids=str)


def load(done):
    """The one process of a JSON dump that has succeeded."""
    assert (done.returncode, done.stderr) == (0, "")
    process, = json.loads(done.stdout)["processes"]
    return process


def essence(process, state=None):
    """What a core has of each thread: no times, no source, no name that the kernel gives. A system call
    that was interrupted by a stop or a signal may be called restart_syscall."""
    return [(thread["number"], thread["name"], thread["native_id"], thread["ident"], thread["interpreter"],
             state or thread["state"], thread["complete"],
             [(frame["function"], frame["file"], frame["line"]) for frame in thread["frames"]
              if frame.get("kind") != "native"])
            for thread in process["threads"]]


def without_source(thread):
    return [dict(frame, source=None, source_changed=False) for frame in thread["frames"]]


def make_core(pid, directory):
    """gcore: what gdb makes of a process that lives on."""
    path = os.path.join(str(directory), "core")
    done = subprocess.run(["gcore", "-o", path, str(pid)], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT, encoding="utf-8", errors="replace", timeout=120)
    path += ".%d" % pid
    assert os.path.exists(path), done.stdout
    return path


def kernel_makes_files():
    """The kernel puts a core into the working directory: so it does unless somebody collects them."""
    pattern = support.read_file("/proc/sys/kernel/core_pattern").strip()
    return (pattern.startswith("core") and "/" not in pattern
            and resource.getrlimit(resource.RLIMIT_CORE)[1] in (resource.RLIM_INFINITY,))


def allow_core():
    """For preexec_fn."""
    hard = resource.getrlimit(resource.RLIMIT_CORE)[1]
    resource.setrlimit(resource.RLIMIT_CORE, (hard, hard))


@pytest.fixture
def cores(tmp_path):
    """A directory for cores, which are big: gone with the test."""
    yield tmp_path
    for path in glob.glob(str(tmp_path / "*")):
        if not os.path.isdir(path):
            os.unlink(path)


@pytest.fixture
def stuck(victim):
    """stuck(python): three threads that wait, with some frames."""
    def start(python=pythons.ONE, **named):
        target = victim(python, "dump_core", blocked=True, **named)
        for tid in target.before.threads:
            target.wait_blocked(tid)
        return target

    return start


# gcore of gdb 13 leaves out a stack in which it cannot read a guard page (glibc 2.42), as the second root's.
@pytest.mark.parametrize("python", [python for python in pythons.DUMP if not python.root], ids=str)
def test_core_of_gcore_shows_what_the_process_showed(python, stuck, batch, cores):
    target = stuck(python)
    live = load(batch("--dump", "--json", target.pid))
    core = make_core(target.pid, cores)
    target.assert_unharmed()
    process = load(batch("--dump", "--json", "--core", core))
    assert process["core"] == core
    assert (process["pid"], process["complete"]) == (target.pid, True)
    assert process["python"] == live["python"]
    assert process["interpreters"] == live["interpreters"]
    assert essence(process) == essence(live)
    assert process["threads"][0]["frames"][0]["function"] == "inner"


@every_python
def test_core_of_the_kernel_has_all_stacks(python, stuck, batch, cores):
    if not kernel_makes_files():
        pytest.skip("the kernel gives cores to %s here" % support.read_file("/proc/sys/kernel/core_pattern"))
    target = stuck(python, before=allow_core)
    live = load(batch("--dump", "--json", target.pid))
    os.kill(target.pid, signal.SIGABRT)
    assert target.finish(60) == -signal.SIGABRT
    core, = glob.glob(os.path.join(target.place, "core*"))
    program = [python.outside(python.path)] if python.root else []     # the core has the names of its own root
    process = load(batch("--dump", "--json", "--native", "--core", core, *program))
    assert essence(process, "idle") == essence(live, "idle")
    assert [thread["native_error"] for thread in process["threads"]] == [None] * 3
    assert [frame for frame in process["threads"][0]["frames"] if frame["kind"] == "native"]
    assert process["command"][-1] == "dump_core.py"
    os.unlink(core)


@pytest.mark.parametrize("python", [python for python in pythons.ENDS if not python.root], ids=str)
def test_core_with_c_frames(python, stuck, batch, cores):
    target = stuck(python)
    live = load(batch("--dump", "--json", "--native", target.pid))
    core = make_core(target.pid, cores)
    process = load(batch("--dump", "--json", "--native", "--core", core))
    assert essence(process) == essence(live)
    assert [thread["frames"] for thread in process["threads"]] == [without_source(thread) for thread in live["threads"]]
    assert [thread["native_error"] for thread in process["threads"]] == [None] * 3
    target.assert_unharmed()
    target.end()


def test_core_as_text(stuck, batch, cores):
    target = stuck()
    core = make_core(target.pid, cores)
    done = batch("--dump", "--core", core)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("core of process %d: " % target.pid)
    assert "    inner(), " in done.stdout
    assert re.search(r"^ +seconds = 3600$", batch("--dump", "--locals", "--core", core).stdout, re.M)
    target.end()


def test_program_that_is_not_where_it_was(stuck, batch, cores):
    """Debian's Python is one file with everything in it: gone, given as EXECUTABLE, and a wrong one given."""
    copy = shutil.copy(DEBIAN.path, str(cores / "python3.11"))
    target = stuck(pythons.Python("3.11", copy, None), env={"PYTHONHOME": "/usr"})
    core = make_core(target.pid, cores)
    target.end()
    os.unlink(copy)
    done = batch("--dump", "--core", core)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == ("pydbattach: process %d runs a Python of unknown version, supported are 3.6 to 3.15\n"
                           "pydbattach: %s is not the file that was mapped, or cannot be read\n" % (target.pid, copy))
    process = load(batch("--dump", "--json", "--core", core, DEBIAN.path))
    assert process["threads"][0]["frames"][0]["function"] == "inner"
    for wrong, why in [("/usr/bin/sleep", "'/usr/bin/sleep' is not the program of core file '%s'" % core),
                       (copy, "cannot open '%s': No such file or directory" % copy)]:
        done = batch("--dump", "--core", core, wrong)
        assert (done.returncode, done.stdout, done.stderr) == (1, "", "pydbattach: %s\n" % why)


def test_core_of_another_program(batch, cores):
    with subprocess.Popen(["sleep", "3600"]) as sleep:
        support.wait_blocked(sleep.pid)
        core = make_core(sleep.pid, cores)
        sleep.kill()
    done = batch("--dump", "--core", core)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == "pydbattach: process %d is not a CPython process: %s\n" % (
        sleep.pid, os.path.realpath(shutil.which("sleep")))


@pytest.mark.parametrize("args", [["--core"], ["--core", ""], ["--core", "a", "b", "c"], ["1", "--core", "a"]])
def test_wrong_usage(args, batch):
    done = batch("--dump", *args)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("usage: pydbattach.sh ")


def test_core_without_dump_is_wrong_usage(batch):
    done = batch("--core", "a", "1")
    assert (done.returncode, done.stdout) == (2, "")


def make_elf(machine=62, kind=2, type_=4):
    """An ELF header with nothing behind it."""
    return (b"\x7fELF" + bytes([kind, 1, 1]) + bytes(9) + bytes([type_, 0, machine, 0, 1, 0, 0, 0]) + bytes(24)
            + bytes([0, 0, 0, 0, 64, 0, 56, 0, 0, 0, 64, 0, 0, 0, 0, 0]))


@pytest.mark.parametrize("content, why", [
    (None, "cannot open core file '%s': No such file or directory"),
    (b"", "'%s' is not a core file"),
    (b"nonsense" * 100, "'%s' is not a core file"),
    (make_elf(type_=2), "'%s' is not a core file"),
    (make_elf(kind=1), "core file '%s' is not of a 64-bit program of this machine"),
    (make_elf(machine=183), "core file '%s' is not of a 64-bit program of this machine"),
    (make_elf(), "core file '%s' is truncated or damaged"),
], ids=["missing", "empty", "nonsense", "program", "32-bit", "aarch64", "damaged"])
def test_file_that_is_no_core(content, why, batch, cores):
    path = cores / "it's a core"
    if content is not None:
        path.write_bytes(content)
    done = batch("--dump", "--core", path)
    assert (done.returncode, done.stdout, done.stderr) == (1, "", "pydbattach: %s\n" % (why % path))


def test_core_that_tells_of_no_thread(batch, cores):
    path = cores / "core"
    load_only = make_elf()[:56] + bytes([1, 0]) + make_elf()[58:]
    load_only = load_only[:32] + bytes([64]) + load_only[33:] + b"\1\0\0\0" + bytes(52)
    path.write_bytes(load_only)
    done = batch("--dump", "--core", path)
    assert (done.returncode, done.stdout, done.stderr) == (1, "", "pydbattach: core file '%s' tells of no thread\n" % path)


# --- hostile files, with the sanitizers


def look_at_core(path):
    """pydblook with sanitizers: some lines or none, in time, and no crash."""
    done = subprocess.run([LOOK_ASAN, "--json", "--native", "--core", path, "dump"], stdin=subprocess.DEVNULL,
                          stdout=subprocess.PIPE, stderr=subprocess.PIPE, timeout=120,
                          env=dict(os.environ, ASAN_OPTIONS="detect_leaks=0"))
    assert done.returncode in (0, 1), done.stderr
    assert b"Sanitizer" not in done.stderr and b"crashed" not in done.stderr, done.stderr
    assert len(done.stderr.splitlines()) <= 2
    json.loads(done.stdout.decode())
    return done


@pytest.fixture
def core(stuck, cores):
    """A core of the kernel, which has its notes first, or of gcore, which has them last."""
    if kernel_makes_files():
        target = stuck(before=allow_core)
        os.kill(target.pid, signal.SIGABRT)
        assert target.finish(60) == -signal.SIGABRT
        made, = glob.glob(os.path.join(target.place, "core*"))
        return shutil.move(made, str(cores / "core"))
    target = stuck()
    return make_core(target.pid, cores)


def test_core_truncated_anywhere(core):
    whole = os.path.getsize(core)
    look_at_core(core)
    for size in sorted(set(TRUNCATED_AT + [whole * part // 8 for part in range(1, 8)] + [whole - 4096, whole - 1]), reverse=True):
        os.truncate(core, size)
        done = look_at_core(core)
        if size <= whole * 7 // 8:      # gdb writes the section headers last, which nobody needs
            assert done.returncode == 1
        if done.returncode and size >= 64:
            assert re.fullmatch(r"pydbattach: core file '%s' is truncated( or damaged|: it has %d of \d+ bytes)\n"
                                % (re.escape(core), size), done.stderr.decode())


@pytest.mark.parametrize("seed", range(3))
def test_core_with_random_bytes(seed, core):
    chosen = random.Random(seed)
    size = os.path.getsize(core)
    with open(core, "r+b") as file:
        for _ in range(30):
            before = []
            for _ in range(chosen.choice([1, 3, 20, 200])):
                at = chosen.randrange(chosen.choice([64, 4096, 65536, size]))
                file.seek(at)
                before.append((at, file.read(1)))
                file.seek(at)
                file.write(bytes([chosen.choice([0, 255, chosen.randrange(256)])]))
            file.flush()
            look_at_core(core)
            for at, byte in reversed(before):
                file.seek(at)
                file.write(byte)


@pytest.mark.parametrize("seed", range(2))
def test_core_of_a_program_whose_file_is_damaged(seed, stuck, cores):
    """Unwind tables, symbols and sections of a file that begins as it did, but is random further on."""
    copy = shutil.copy(DEBIAN.path, str(cores / "python3.11"))
    target = stuck(pythons.Python("3.11", copy, None), env={"PYTHONHOME": "/usr"})
    core = make_core(target.pid, cores)
    target.end()
    chosen = random.Random(seed)
    size = os.path.getsize(copy)
    whole = look_at_core(core)
    assert whole.returncode == 0
    for _ in range(12):
        with open(copy, "r+b") as file:
            for _ in range(chosen.choice([10, 1000, 20000])):
                file.seek(chosen.randrange(4096, size))
                file.write(bytes([chosen.choice([0, 255, chosen.randrange(256)])]))
            if chosen.randrange(3) == 0:
                file.seek(size - 30 * 64 - 64)          # section headers
                file.write(bytes(chosen.randrange(256) for _ in range(30 * 64)))
        look_at_core(core)
        shutil.copy(DEBIAN.path, copy)
