# test_harm.py - one test for each harm that the soak (tests/soak/) has found.
# SPDX-License-Identifier: MIT

import os
import shutil
import signal
import subprocess
import sys

import pytest

import pythons
import support

ends = pytest.mark.parametrize("python", pythons.ENDS, ids=str)

SLEEPS = """
import signal, time
secret = 77
signal.signal(signal.SIGUSR1, lambda number, frame: print("caught", flush=True))
print("ready", flush=True)
while True:
    time.sleep(3600)
"""


@pytest.fixture
def changed_script(tmp_path):
    """changed_script(old, new): an installation of ours whose gdb script has been changed; its launcher."""
    def change(old, new):
        subprocess.run(["make", "-C", support.TOP, "install", "PREFIX=/usr", "DESTDIR=%s" % tmp_path], check=True,
                       stdout=subprocess.DEVNULL)
        script = tmp_path / "usr/libexec/pydbattach/pydbattach.gdb"
        text = script.read_text()
        assert old in text
        script.write_text(text.replace(old, new))
        return str(tmp_path / "usr/bin/pydbattach")

    return change


@ends
def test_signal_arrives_while_the_borrowed_thread_is_stopped(python, victim, batch, changed_script):
    """The kernel then runs the handler and lets the sleep fail with EINTR instead of restarting it: the stub has to go
    back behind the system call. It went to the system call itself, which failed with ENOSYS."""
    target = victim(python, source=SLEEPS, blocked=True)
    launcher = changed_script("set $rip = $stub + 2\n", 'set $rip = $stub + 2\neval "shell kill -USR1 %d", $pid\n')
    done = batch("-c", "p secret", target.pid, launcher=launcher)
    assert (done.returncode, done.stdout.split()[-1:]) == (0, ["77"]), done.stderr
    assert support.wait_until(lambda: target.stdout == "ready\ncaught\n", 30), (target.stdout, target.stderr)
    target.assert_unharmed(seconds=20, stdout="ready\ncaught\n")
    target.end()


FORKS = """
import ctypes, os
secret = 88
library = ctypes.CDLL("./slow_birth.so")
under_way = ctypes.c_int.in_dll(library, "under_way")
ctypes.c_int.in_dll(library, "armed").value = 1
print("ready", flush=True)
while True:
    pid = os.fork()
    if pid == 0:
        os._exit(under_way.value)
    if os.waitpid(pid, 0)[1]:
        print("a child was born meanwhile", flush=True)
"""


NO_MEMORY = """
import ctypes, time
library = ctypes.CDLL("./slow_birth.so")
ctypes.c_int.in_dll(library, "armed").value = 2
print("ready", flush=True)
while True:
    time.sleep(3600)
"""

# Where the interpreter is a library of its own, another library can stand before it.
SHARED = [p for p in pythons.ALL if not p.root and p.name[0] == "3"]


@pytest.fixture
def slow_birth(tmp_path):
    """Arguments of victim() for tests/c/slow_birth.c."""
    library = support.compile_c(os.path.join(support.HERE, "c", "slow_birth.c"), str(tmp_path / "slow_birth.so"),
                                "-shared", "-fPIC")
    with open(library, "rb") as file:
        return {"files": {"slow_birth.so": file.read()}, "env": {"LD_PRELOAD": "./slow_birth.so"}, "options": ["-W", "ignore"]}


@pytest.mark.parametrize("python", [p for p in SHARED if p.minor < 13], ids=str)
def test_fork_waits_while_a_thread_of_ours_is_being_made(python, victim, batch, slow_birth):
    """Up to 3.12 the child would have the lock of the interpreter's list of threads, locked for ever."""
    target = victim(python, source=FORKS, **slow_birth)
    done = batch("-c", "p secret", target.pid)
    assert (done.returncode, done.stdout.split()[-1:]) == (0, ["88"]), done.stderr
    target.assert_unharmed(seconds=20)


@pytest.mark.parametrize("python", SHARED, ids=str)
def test_no_memory_for_a_thread_state(python, victim, batch, slow_birth):
    """PyGILState_Ensure would abort the program."""
    target = victim(python, source=NO_MEMORY, blocked=True, **slow_birth)
    done = batch("-c", "p 1", target.pid)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == "pydbattach: the process has no memory left for a session; it runs on\n"
    target.assert_unharmed(seconds=20)
    target.end()


# --- the two prices, said when look sees the situation

C_WAITS = """
import ctypes, select
epoll = select.epoll()
secret = 99
print("ready", flush=True)
if HOW == "C":
    while True:
        ctypes.CDLL(None).epoll_wait(epoll.fileno(), ctypes.create_string_buffer(16), 1, 3600000)
epoll.poll(3600)
"""


@pytest.mark.parametrize("how", ["C", "Python"])
@ends
def test_eintr_is_foretold_where_c_code_waits(python, how, victim, batch):
    target = victim(python, source=C_WAITS.replace("HOW", repr(how)), blocked=True)
    done = batch("-c", "p secret", target.pid)
    assert (done.returncode, done.stdout) == (0, "99\n"), done.stderr
    foretold = "pydbattach: thread %d of process %d waits in a system call that the attach makes fail with EINTR\n" % (
        target.pid, target.pid)
    assert (foretold in done.stderr) == (how == "C")
    target.assert_unharmed(seconds=20)
    target.end()


PREFORKS = """
import os, time
secret = 55
child = os.fork()
if child == 0:
    while True:
        time.sleep(3600)
print("ready", flush=True)
os.waitpid(child, 0)
"""


@ends
def test_warning_of_fork_is_foretold(python, victim, batch):
    target = victim(python, source=PREFORKS, blocked=True)
    child, = support.list_children(target.pid)
    for pid in (target.pid, child):
        done = batch("-c", "p secret", pid)
        assert (done.returncode, done.stdout) == (0, "55\n"), done.stderr
        foretold = "pydbattach: process %d forks: while you are attached its os.fork() gives a DeprecationWarning\n" % pid
        assert (foretold in done.stderr) == (python.minor >= 12 and pid == target.pid)
    target.assert_unharmed(seconds=20)


# --- what was refused without need, and what waited without need


LIMITED = """
import resource, signal, time
secret = 66
resource.setrlimit(resource.RLIMIT_AS, (1 << 33, resource.RLIM_INFINITY))
signal.signal(signal.SIGUSR1, lambda number, frame: resource.setrlimit(resource.RLIMIT_AS, (resource.RLIM_INFINITY,) * 2))
with open("/proc/self/statm") as file:
    size = int(file.read().split()[0]) * 4096
resource.setrlimit(resource.RLIMIT_AS, (size + (17 << 20), resource.RLIM_INFINITY))
print("ready", flush=True)
while True:
    time.sleep(3600)
"""


def test_what_a_failed_attach_has_left_is_not_taken_for_an_answer(victim, batch, changed_script):
    """The note bears the token of an attach only when nothing of an earlier one stands in it any more."""
    target = victim(source=LIMITED, blocked=True)
    done = batch("-c", "p secret", target.pid)
    assert (done.returncode, done.stderr) == (
        1, "pydbattach: process %d has no room for the channel: Cannot allocate memory\n" % target.pid)
    target.assert_unharmed(seconds=20)
    os.kill(target.pid, signal.SIGUSR1)
    target.wait_blocked()
    write = "set *(unsigned long *)($note + 24) = 0\n"
    done = batch("-c", "p secret", target.pid, launcher=changed_script(write, "shell sleep 1\n" + write))
    assert (done.returncode, done.stdout) == (0, "66\n"), done.stderr
    target.assert_unharmed(seconds=20)
    target.end()


VFORKS = """
import ctypes
secret = 44
library = ctypes.CDLL("./unlucky.so")
print("ready", flush=True)
library.vfork_often(10)
"""


def test_parent_of_a_vfork_is_waited_for(victim, batch, tmp_path):
    """It is in uninterruptible sleep for some milliseconds, again and again."""
    library = support.compile_c(os.path.join(support.HERE, "c", "unlucky.c"), str(tmp_path / "unlucky.so"), "-shared", "-fPIC")
    with open(library, "rb") as file:
        content = file.read()
    target = victim(source=VFORKS, files={"unlucky.so": content})
    for _ in range(4):
        done = batch("-c", "p secret", target.pid)
        assert (done.returncode, done.stdout) == (0, "44\n"), done.stderr


@pytest.fixture
def changed_gdb(tmp_path):
    """changed_gdb(code): a PATH whose gdb is this Python code; GDB is the real one."""
    def change(code):
        (tmp_path / "bin").mkdir()
        path = tmp_path / "bin" / "gdb"
        path.write_text("#!%s\nimport os, signal, subprocess, sys, time\nGDB = %r\n%s" % (sys.executable, shutil.which("gdb"), code))
        path.chmod(0o755)
        return "%s:%s" % (tmp_path / "bin", os.environ["PATH"])

    return change


def test_gdb_that_does_not_end_after_its_work(victim, batch, changed_gdb, tmp_path):
    """gdb 13 does so in 2 of 3,242 attaches. It is ended long before the 8 s that a gdb at work is given."""
    target = victim(name="sleep", blocked=True)
    path = changed_gdb("""
with open("%s/pid", "w") as file:
    file.write("%%d\\n" %% os.getpid())
subprocess.call([GDB] + sys.argv[1:], close_fds=False)
time.sleep(7)
open("%s/slept", "w").close()
""" % (tmp_path, tmp_path))
    done = batch("-c", "p 6*7", target.pid, env={"PATH": path})
    assert (done.returncode, done.stdout) == (0, "42\n"), done.stderr
    gdb = int((tmp_path / "pid").read_text())
    assert support.wait_until(lambda: not support.is_alive(gdb), 60)
    assert not (tmp_path / "slept").exists()
    target.assert_unharmed(seconds=20)
    done = batch("-c", "p 6*7", target.pid)
    assert (done.returncode, done.stdout) == (0, "42\n"), done.stderr
    target.assert_unharmed(seconds=20)
    target.end()


def test_machine_that_stands_still_makes_no_deadline_pass(victim, batch, changed_gdb):
    """The guard stands still for longer than the 8 s that gdb has, as on a virtual machine that is moved."""
    target = victim(name="sleep", blocked=True)
    path = changed_gdb("""
guard = os.getppid()
os.kill(guard, signal.SIGSTOP)
time.sleep(9)
os.kill(guard, signal.SIGCONT)
os.execv(GDB, [GDB] + sys.argv[1:])
""")
    done = batch("-c", "p 6*7", target.pid, env={"PATH": path})
    assert (done.returncode, done.stdout) == (0, "42\n"), done.stderr
    target.assert_unharmed(seconds=20)
    target.end()


# It stays so many calls below its limit of recursion, where it executes lines, and goes over it when it is told to.
AT_THE_LIMIT = """
import builtins, os, sys, time
builtins.secret = 99

def overflow():
    try:
        return overflow()
    except RecursionError:
        return 1

def descend(left):
    if left:
        return descend(left - 1)
    while not os.path.exists("go"):
        pass
    overflow()

print("ready", flush=True)
for _ in range(3):
    descend(sys.getrecursionlimit() - 3 - int(sys.argv[1]))
    print("over", flush=True)
while True:
    time.sleep(3600)
"""


@pytest.mark.parametrize("room", [6, 15])
@ends
def test_thread_that_runs_just_below_its_limit_of_recursion(python, room, victim, batch):
    """What we ran in it went over the limit: up to 3.9 its own next RecursionError then was fatal for the process,
    elsewhere the session ended."""
    target = victim(python, source=AT_THE_LIMIT, args=[str(room)])
    done = batch("-c", "p secret", "-c", "threads", "-c", "where", "-c", "p secret", target.pid)
    assert (done.returncode, done.stdout.count("99\n")) == (0, 2), done.stderr
    target.write("go", "")
    assert support.wait_until(lambda: target.stdout == "ready\nover\nover\nover\n", 30), (target.stdout, target.stderr)
    target.assert_unharmed(seconds=20, stdout=False)
    target.end()


@ends
def test_thread_that_sleeps_just_below_its_limit_of_recursion_is_not_entered(python, victim, batch):
    target = victim(python, blocked=True, source="""
import sys, time

def descend(left):
    if left:
        descend(left - 1)
    print("ready", flush=True)
    time.sleep(3600)

descend(sys.getrecursionlimit() - 30)
""")
    done = batch("-c", "enter", "-c", "p left", target.pid)
    assert done.stdout == '*** thread 1 "MainThread" cannot be entered: it is too near its limit of recursion\n0\n', done.stderr
    target.assert_unharmed(seconds=20)
    target.end()
