# test_refusals.py - what bad input and bad targets get: one line, a status, and an untouched target.
# SPDX-License-Identifier: MIT
#
# Every test compares the whole standard error. `refused` also sees to it that nothing went to standard
# output and that the target is as it was, down to its mappings.

import contextlib
import ctypes
import os
import re
import signal
import subprocess
import tempfile
import time

import pytest

import pythons
import support

USAGE = ("usage: pydbattach.sh [-t THREAD] [-c COMMAND]... PID\n"
         "       pydbattach.sh --dump [--locals] [--json] [--no-fold] [--all-children] [--native] PID...\n"
         "       pydbattach.sh --dump --core CORE [EXECUTABLE]\n")
NOBODY = 65534
SLEEPER = "import time\nsecret = 1\nprint('ready', flush=True)\ntime.sleep(3600)\n"
DEBIAN = next(python for python in pythons.KNOWN if python.name == "debian3.11")

every_python = pytest.mark.parametrize("python", pythons.ALL, ids=str)


def become_nobody():
    """For preexec_fn: another user, without any right of root's."""
    os.setgroups([])
    os.setgid(NOBODY)
    os.setuid(NOBODY)


@contextlib.contextmanager
def program(*command, **named):
    """Something that is no victim, until the test is over."""
    process = subprocess.Popen(command, stdin=subprocess.DEVNULL, **named)
    try:
        yield process
    finally:
        process.kill()
        process.wait()


@pytest.fixture
def refused(batch):
    """refused(message, *args): pydbattach says exactly that (a pattern, if compiled), with that status."""
    def check(message, *args, status=1, target=None, **named):
        __tracebackhide__ = True
        before = target and (support.look_at(target), support.count_mappings(target))
        start = time.monotonic()
        done = batch(*args, **named)
        took = time.monotonic() - start
        if isinstance(message, re.Pattern):
            assert message.fullmatch(done.stderr), done.stderr
        else:
            assert done.stderr == message
        assert (done.returncode, done.stdout) == (status, "")
        assert took < 40, "took %.1f s" % took
        if target:
            assert (support.look_at(target), support.count_mappings(target)) == before

    return check


# --- what is typed


@pytest.mark.parametrize("args", [[], ["-t"], ["-c"], ["--timeout"], ["--nonsense", "1"], ["1", "2"], ["-5"]])
def test_wrong_usage_gets_the_usage_line(args, refused):
    refused(USAGE, *args, status=2)


@pytest.mark.parametrize("word", ["abc", "12x", "", "0", "1.5", "1 2", "99999999999", "$(id)", "it's", "caf\xe9"])
def test_not_a_number(word, refused):
    refused("pydbattach: not a process id: '%s'\n" % word, word, status=2)


def test_no_such_process(refused):
    unused = int(support.read_file("/proc/sys/kernel/pid_max"))      # one more than the last
    refused("pydbattach: no process with pid %d\n" % unused, unused)


def test_thread_id_names_its_process(victim, refused):
    target = victim(name="deadlock")
    thread = [tid for tid in support.list_threads(target.pid) if tid != target.pid][0]
    refused("pydbattach: %d is a thread of process %d; give the process id\n" % (thread, target.pid),
            thread, target=target.pid)


def test_ourselves(home):
    done = subprocess.run(["sh", "-c", 'echo $$; exec "$0" $$', support.LAUNCHER], stdout=subprocess.PIPE,
                          stderr=subprocess.PIPE, encoding="utf-8", env=support.make_environment(home))
    assert done.stderr == "pydbattach: process %s is pydbattach itself\n" % done.stdout.strip()
    assert done.returncode == 1


# --- what is not a Python that we serve


def test_not_python(refused):
    with program("sleep", "3600") as sleep:
        support.wait_blocked(sleep.pid)
        refused("pydbattach: process %d is not a CPython process: %s\n"
                % (sleep.pid, os.readlink("/proc/%d/exe" % sleep.pid)), sleep.pid, target=sleep.pid)


@pytest.mark.parametrize("version", ["2.7", "3.7"])
def test_version_that_is_not_served(version, refused):
    path = pythons.find_pyenv(version)
    support.need(path, "no interpreter %s in pyenv" % version)
    source = "import sys, time; sys.stdout.write('ready\\n'); sys.stdout.flush(); time.sleep(3600)"
    with program(path, "-c", source, stdout=subprocess.PIPE) as python:
        assert python.stdout.readline() == b"ready\n"
        support.wait_blocked(python.pid)
        refused("pydbattach: process %d runs Python %s, supported are 3.8 to 3.15\n" % (python.pid, version),
                python.pid, target=python.pid)


def test_pypy(refused):
    support.need(os.path.exists("/usr/bin/pypy3"), "no pypy3 (make deps)")
    with program("/usr/bin/pypy3", "-c", SLEEPER, stdout=subprocess.PIPE) as pypy:
        assert pypy.stdout.readline() == b"ready\n"
        refused("pydbattach: process %d runs PyPy, supported is CPython 3.8 to 3.15\n" % pypy.pid,
                pypy.pid, target=pypy.pid)


def test_32_bit_program(refused, tmp_path):
    (tmp_path / "wait.c").write_text("#include <unistd.h>\nint main(void) { write(1, \"ready\\n\", 6); pause(); }\n")
    support.compile_c(str(tmp_path / "wait.c"), str(tmp_path / "wait"), "-m32")
    with program(str(tmp_path / "wait"), stdout=subprocess.PIPE) as wait:
        assert wait.stdout.readline() == b"ready\n"
        refused("pydbattach: process %d is a 32-bit program; only 64-bit ones can be attached to\n" % wait.pid,
                wait.pid, target=wait.pid)


def test_kernel_thread(refused):
    if support.process_name(2) != "kthreadd":
        pytest.skip("no kernel threads are visible here")
    refused("pydbattach: process 2 is a kernel thread\n", 2)


# --- states in which a process must be left alone


def test_zombie(refused):
    with program("true") as true:
        assert support.wait_until(lambda: support.read_status(true.pid)["State"][0] == "Z")
        refused("pydbattach: process %d is a zombie: it has exited and its parent %d has not collected it\n"
                % (true.pid, os.getpid()), true.pid)


def test_stopped_by_a_signal(victim, refused):
    target = victim(name="sleep", blocked=True)
    os.kill(target.pid, signal.SIGSTOP)
    assert support.wait_until(lambda: support.look_at(target.pid).state == "stopped")
    refused("pydbattach: process %d is stopped (SIGSTOP); continue it first: kill -CONT %d\n"
            % (target.pid, target.pid), target.pid, target=target.pid)
    os.kill(target.pid, signal.SIGCONT)
    target.assert_unharmed()
    target.end()


def test_already_traced(victim, refused):
    target = victim(name="sleep", blocked=True)
    with program("strace", "-qq", "-o", "/dev/null", "-p", str(target.pid)) as strace:
        assert support.wait_until(lambda: support.look_at(target.pid).tracer == str(strace.pid))
        target.wait_blocked()
        refused("pydbattach: process %d is already being traced by pid %d (strace)\n" % (target.pid, strace.pid),
                target.pid, target=target.pid)
        strace.terminate()
        strace.wait(10)
    target.assert_unharmed()
    target.end()


@contextlib.contextmanager
def frozen(pid):
    """pid in a cgroup that is frozen; with cgroup v2 or the freezer of v1, whichever is here."""
    ways = [("/sys/fs/cgroup/freezer", "freezer.state", "FROZEN", "THAWED"),
            ("/sys/fs/cgroup/unified", "cgroup.freeze", "1", "0"), ("/sys/fs/cgroup", "cgroup.freeze", "1", "0")]
    for top, switch, on, off in ways:
        group = "%s/pydbattach-test-%d" % (top, pid)
        try:
            os.mkdir(group)
        except OSError:
            continue
        try:
            if not os.path.exists(os.path.join(group, switch)):
                continue
            for path, text in (("cgroup.procs", str(pid)), (switch, on)):
                with open(os.path.join(group, path), "w") as file:
                    file.write(text)
            time.sleep(0.1)
            yield
            return
        finally:
            with contextlib.suppress(OSError):
                with open(os.path.join(group, switch), "w") as file:
                    file.write(off)
                with open(os.path.join(top, "cgroup.procs"), "w") as file:
                    file.write(str(pid))
            support.wait_until(lambda: not support.read_file(os.path.join(group, "cgroup.procs")), 2)
            os.rmdir(group)
    support.need(False, "no cgroup here that can be frozen")


def test_frozen(victim, refused):
    target = victim(name="sleep", blocked=True)
    with frozen(target.pid):
        refused("pydbattach: process %d is frozen by its cgroup; thaw it first\n" % target.pid,
                target.pid, target=target.pid)
    target.assert_unharmed()
    target.end()


@pytest.mark.parametrize("which", ["main", "other"])
def test_thread_in_uninterruptible_sleep(which, victim, refused, slow_library):
    target = victim(source="""
import ctypes, sys, threading, time
sleep = ctypes.CDLL("./slow_library.so").sleep_in_vfork
print("ready", flush=True)
if sys.argv[1] == "other":
    threading.Thread(target=sleep, args=(60,), daemon=True).start()
    time.sleep(3600)
sleep(60)
""", args=[which], files={"slow_library.so": slow_library})

    def sleeping():
        return [tid for tid in support.list_threads(target.pid)
                if support.read_status(target.pid, tid)["State"][0] == "D"]

    assert support.wait_until(sleeping)
    refused(re.compile(r"pydbattach: thread %d of process %d is in uninterruptible sleep \([^)]*\); gdb would wait for it"
                       r"( \(.*\))?\n" % (sleeping()[0], target.pid)), target.pid, target=target.pid)
    assert sleeping()


@every_python
def test_interpreter_not_yet_initialised(python, victim, refused, slow_library):
    target = victim(python, name="sleep", files={"slow_library.so": slow_library}, ready=False, options=["-S"],
                    env={"LD_PRELOAD": "./slow_library.so", "SLOW_CONSTRUCTOR": "60"})
    assert support.wait_until(lambda: os.path.exists(os.path.join(target.place, "sleeping")))
    refused("pydbattach: process %d has not finished starting its Python interpreter; try again in a moment\n"
            % target.pid, target.pid, target=target.pid)


@every_python
def test_interpreter_being_finalized(python, victim, refused):
    target = victim(python, source="""
import os, time
class Last(object):
    def __del__(self, write=os.write, sleep=time.sleep):
        write(1, b"ready\\n")
        sleep(3600)
last = Last()
""", blocked=True)
    refused("pydbattach: process %d is ending: its Python interpreter is being finalized\n" % target.pid,
            target.pid, target=target.pid)
    target.assert_unharmed()


# --- rights


@pytest.fixture(scope="session")
def installed(tmp_path_factory):
    """The launcher of an installation that every user can read."""
    top = tempfile.mkdtemp(prefix="pydbattach-installed.")
    os.chmod(top, 0o755)
    try:
        subprocess.run(["make", "-C", support.TOP, "install", "PREFIX=/usr", "DESTDIR=" + top], check=True,
                       stdout=subprocess.DEVNULL)
        yield os.path.join(top, "usr/bin/pydbattach")
    finally:
        subprocess.run(["rm", "-rf", top], check=True)


def test_another_users_process(victim, refused, installed):
    target = victim(DEBIAN, "sleep", blocked=True)
    refused("pydbattach: cannot attach to process %d: Operation not permitted\n"
            "pydbattach: it belongs to user root; try it as that user or as root\n" % target.pid,
            target.pid, target=target.pid, launcher=installed, preexec_fn=become_nobody)
    target.assert_unharmed()
    target.end()


def test_own_process_of_an_ordinary_user_can_be_attached_to(victim, batch, installed):
    target = victim(DEBIAN, "sleep", blocked=True, before=become_nobody)
    done = batch("-c", "p 6*7", target.pid, launcher=installed, preexec_fn=become_nobody)
    assert (done.returncode, done.stdout) == (0, "42\n"), done.stderr
    target.assert_unharmed()
    target.end()


def test_root_can_attach_to_another_users_process(victim, batch):
    target = victim(DEBIAN, "sleep", blocked=True, before=become_nobody)
    done = batch("-c", "p 6*7", target.pid)
    assert (done.returncode, done.stdout) == (0, "42\n"), done.stderr
    target.assert_unharmed()
    target.end()


def start_undumpable(victim):
    return victim(DEBIAN, source="import ctypes\nctypes.CDLL(None).prctl(4, 0, 0, 0, 0)\n" + SLEEPER, blocked=True,
                  before=become_nobody)


def test_not_dumpable_process(victim, refused, batch, installed):
    target = start_undumpable(victim)
    refused("pydbattach: cannot attach to process %d: Operation not permitted\n"
            "pydbattach: it has made itself not dumpable (PR_SET_DUMPABLE or a set-user-id program); try it as root\n"
            % target.pid, target.pid, target=target.pid, launcher=installed, preexec_fn=become_nobody)
    done = batch("-c", "p 6*7", target.pid)
    assert (done.returncode, done.stdout) == (0, "42\n"), done.stderr
    target.assert_unharmed()


def test_yama_restricts(victim, refused, installed):
    scope = "/proc/sys/kernel/yama/ptrace_scope"
    if not os.path.exists(scope):
        pytest.skip("this kernel has no Yama")
    value = support.read_file(scope).strip()
    if value == "0":
        pytest.skip("kernel.yama.ptrace_scope is 0 here")
    target = victim(DEBIAN, "sleep", blocked=True, before=become_nobody)
    refused("pydbattach: cannot attach to process %d: Operation not permitted\n"
            "pydbattach: sysctl kernel.yama.ptrace_scope = %s may be restricting this attach; try it as root\n"
            % (target.pid, value), target.pid, target=target.pid, launcher=installed, preexec_fn=become_nobody)


def drop_ptrace_right():
    """For preexec_fn: root, but without CAP_SYS_PTRACE, as in most containers."""
    libc = ctypes.CDLL(None)
    if libc.prctl(24, 19, 0, 0, 0):      # PR_CAPBSET_DROP, CAP_SYS_PTRACE: gone at the next exec
        raise OSError("prctl")


def test_root_without_the_ptrace_capability(victim, refused):
    target = victim(DEBIAN, "sleep", blocked=True, before=become_nobody)
    refused(re.compile(r"pydbattach: cannot attach to process %d: Operation not permitted\n"
                       r"pydbattach: .*CAP_SYS_PTRACE.*\n" % target.pid),
            target.pid, target=target.pid, preexec_fn=drop_ptrace_right)
    target.assert_unharmed()


# --- what is missing


def make_path_without(place, *names):
    """A PATH of one directory with all commands but these."""
    os.mkdir(place)
    for directory in ("/usr/sbin", "/usr/bin", "/sbin", "/bin"):
        for name in os.listdir(directory):
            if name not in names:
                with contextlib.suppress(FileExistsError):
                    os.symlink(os.path.join(directory, name), os.path.join(place, name))
    return str(place)


def test_gdb_missing(victim, refused, tmp_path):
    target = victim(name="sleep", blocked=True)
    refused(re.compile(r"pydbattach: gdb .*apt-get install gdb.*dnf install gdb.*apk add gdb\n"), target.pid,
            target=target.pid, env={"PATH": make_path_without(tmp_path / "bin", "gdb")})


def copy_checkout(place, *without):
    place.mkdir()
    copy = 'top=$0 place=$1; shift; tar "$@" -C "$top" -cf - . | tar --no-same-owner -C "$place" -xf -'
    subprocess.run(["sh", "-c", copy, support.TOP, str(place)] + ["--exclude=./" + name for name in (".git",) + without], check=True)
    return place


@pytest.fixture
def fresh_copy(tmp_path):
    """A checkout where nothing has been built, under a name that wants quoting."""
    return copy_checkout(tmp_path / "it's a \"new\" $HOME checkout", "build")


@pytest.mark.parametrize("missing", [["gcc", "cc"], ["make"]], ids=["gcc", "make"])
def test_compiler_missing(missing, victim, refused, fresh_copy, tmp_path):
    target = victim(name="sleep", blocked=True)
    without = make_path_without(tmp_path / "bin", *(missing + ["c89", "c99"]))
    refused(re.compile(r"pydbattach: .*compiler.*apt-get install .*dnf install .*apk add .*\n"), target.pid,
            target=target.pid, launcher=str(fresh_copy / "pydbattach.sh"), env={"PATH": without})


@pytest.mark.parametrize("header, message", [
    ("elfutils/libdwfl.h", "the headers of elfutils are missing; install them: apt-get install libdw-dev, "
                           "dnf install elfutils-devel or apk add elfutils-dev"),
    ("readline/readline.h", "the headers of readline are missing; install them: apt-get install libreadline-dev, "
                            "dnf install readline-devel or apk add readline-dev")], ids=["elfutils", "readline"])
def test_headers_missing(header, message, victim, batch, fresh_copy, tmp_path):
    target = victim(name="sleep", blocked=True)
    compiler = tmp_path / "cc"
    compiler.write_text("#!/bin/sh\necho 'fatal error: %s: No such file or directory' >&2\nexit 1\n" % header)
    compiler.chmod(0o755)
    done = batch(target.pid, launcher=str(fresh_copy / "pydbattach.sh"), env={"CC": str(compiler)})
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.splitlines()[-1] == "pydbattach: " + message
    target.assert_unharmed()


def test_fresh_checkout_builds_itself_and_says_so(victim, batch, fresh_copy):
    target = victim(name="sleep", blocked=True)
    for said in ("pydbattach: building ...\n", ""):
        done = batch("-c", "p 6*7", target.pid, launcher=str(fresh_copy / "pydbattach.sh"), seconds=600)
        assert (done.returncode, done.stdout) == (0, "42\n"), done.stderr
        assert done.stderr.startswith(said) and ("building" in done.stderr) == bool(said)
    target.assert_unharmed()


@pytest.mark.parametrize("what", ["directory", "parent", "program"])
def test_root_does_not_run_what_others_can_write(what, victim, refused, fresh_copy):
    target = victim(name="sleep", blocked=True)
    bad = {"directory": fresh_copy, "parent": fresh_copy.parent, "program": fresh_copy / "pyinjectcode.py"}[what]
    os.chmod(str(bad), 0o777)
    refused("pydbattach: others than root and you can write %s; as root nothing is run from there\n" % bad, target.pid,
            target=target.pid, launcher=str(fresh_copy / "pydbattach.sh"))
    assert not (fresh_copy / "build").exists()


@pytest.mark.parametrize("entry", ["directory", "parent", "link", "relative"])
def test_root_takes_no_program_from_where_others_can_write(entry, victim, batch, tmp_path):
    """Neither gdb nor what the launcher itself needs; what comes later in PATH is taken."""
    target = victim(name="sleep", blocked=True)
    place = tmp_path / "parent" / "bin"
    place.mkdir(parents=True)
    for name in ("gdb", "find", "readlink", "id", "make", "cc", "stat"):
        (place / name).write_text("#!/bin/sh\ntouch %s/taken\nexit 1\n" % tmp_path)
        (place / name).chmod(0o755)
    (place.parent if entry == "parent" else place).chmod(0o777)
    (tmp_path / "link").symlink_to(place)
    (tmp_path / "pydbattach").symlink_to(support.LAUNCHER)
    word = {"link": str(tmp_path / "link"), "relative": "."}.get(entry, str(place))
    done = batch("-c", "p 6*7", target.pid, env={"PATH": "%s:%s" % (word, os.environ["PATH"])}, cwd=str(place),
                 launcher=str(tmp_path / "pydbattach"))
    assert (done.returncode, done.stdout) == (0, "42\n"), done.stderr
    assert not (tmp_path / "taken").exists()


@pytest.fixture
def built_copy(tmp_path):
    """A checkout where all has been built."""
    return copy_checkout(tmp_path / "a built checkout")


@pytest.mark.parametrize("change", ["mode", "owner"])
@pytest.mark.parametrize("what", ["directory", "parent", "build", "build/pydbdump", "build/pydblook", "pydbattach.sh"])
def test_root_does_not_dump_with_what_others_can_write(what, change, victim, batch, built_copy):
    """A dump runs little, so little is checked: but all of that."""
    target = victim(name="sleep", blocked=True)
    bad = {"directory": built_copy, "parent": built_copy.parent}.get(what, built_copy / what)
    for program in ("pydbdump", "pydblook"):
        (built_copy / "build" / program).write_text("#!/bin/sh\necho done by somebody else\n")
    if change == "mode":
        os.chmod(str(bad), 0o777)
    else:
        os.chown(str(bad), 54321, 0)
    done = batch("--dump", target.pid, launcher=str(built_copy / "pydbattach.sh"))
    assert (done.returncode, done.stdout, done.stderr) == (
        1, "", "pydbattach: others than root and you can write %s; as root nothing is run from there\n" % bad)
    target.assert_unharmed()


@pytest.mark.parametrize("name", ["look/lines.c", "steps.h"])
def test_dump_builds_what_is_older_than_its_source(name, victim, batch, built_copy):
    target = victim(name="sleep", blocked=True)
    source = built_copy / name
    source.write_text(source.read_text())
    for said in ("pydbattach: building ...\n", ""):
        done = batch("--dump", "--no-fold", target.pid, launcher=str(built_copy / "pydbattach.sh"), seconds=600,
                     env={"CFLAGS": "-O0"})
        assert (done.returncode, done.stderr) == (0, said)
        assert done.stdout.startswith("process %d: " % target.pid) and "time.sleep(" in done.stdout
    target.assert_unharmed()


def test_no_place_for_the_library(victim, refused):
    """In the target's mount namespace nothing can be executed any more, wherever it is put."""
    target = victim(DEBIAN, "sleep", blocked=True, prefix=["unshare", "--mount", "--propagation", "private"])
    noexec = ("for at in /tmp /var/tmp /dev/shm /run; do mount --bind $at $at && mount -o remount,bind,noexec $at; done; "
              "mount -o remount,bind,noexec /dev; mount -o remount,bind,noexec /")
    subprocess.run(["nsenter", "--mount", "--target", str(target.pid), "sh", "-c", noexec], check=True)
    refused(re.compile(r"pydbattach: process %d has no directory that it could load a library from \(.*\)\n" % target.pid),
            target.pid, target=target.pid)
    target.assert_unharmed()
    target.end()


# --- what is exhausted, taken, or not there


def test_descriptors_exhausted(victim, refused):
    target = victim(source="""
import os, resource, time
resource.setrlimit(resource.RLIMIT_NOFILE, (40, 40))
try:
    while True:
        os.dup(0)
except OSError:
    pass
print("ready", flush=True)
time.sleep(3600)
""", blocked=True)
    refused(re.compile(r"pydbattach: process %d .*(Too many open files|descriptor).*\n" % target.pid), target.pid)
    target.assert_unharmed()
    target.end()


def test_threads_exhausted(victim, refused):
    target = victim(DEBIAN, source="""
import resource, os, time
resource.setrlimit(resource.RLIMIT_NPROC, (1, 1))
os.setgroups([]), os.setgid(54321), os.setuid(54321)
print("ready", flush=True)
time.sleep(3600)
""", blocked=True)
    refused("pydbattach: process %d cannot start another thread: Resource temporarily unavailable\n" % target.pid,
            target.pid)
    target.assert_unharmed()
    target.end()


def test_another_session_is_named(victim, refused, attach):
    target = victim(name="sleep", blocked=True)
    session = attach(target.pid)
    refused("pydbattach: another session is attached to process %d: pid %d\n" % (target.pid, session.child.pid),
            target.pid)
    assert session.cmd("p secret").strip() == "1002"
    session.quit()
    target.assert_unharmed()


@pytest.mark.parametrize("thread", ["99", "nobody", "MainThread2"])
def test_thread_that_does_not_exist(thread, victim, batch):
    target = victim(name="sleep", blocked=True)
    done = batch("-t", thread, "-c", "p 1", target.pid)
    assert (done.returncode, done.stdout) == (1, "")
    assert re.fullmatch(r"pydbattach: .*no thread.*%s.*\n" % thread, done.stderr), done.stderr
    target.assert_unharmed()


def test_ctrl_c_during_the_attach_lets_go(victim, attach, slow_library):
    """The attach waits for the dynamic linker's lock: our thread is in the target, and finds nobody."""
    target = victim(name="linker_lock", args=["constructor", "6"], blocked=True,
                    files={"slow_library.so": slow_library, "another.so": slow_library})
    session = attach(target.pid, wait=False)
    assert support.wait_until(lambda: len(support.list_threads(target.pid)) == 3)
    session.interrupt()
    assert session.finish(2) == 1
    assert session.screen.replace("^C", "") == "pydbattach: gave up; %d runs on\n" % target.pid
    assert support.wait_until(lambda: support.list_threads(target.pid) == [target.pid], 10, 0.1)
    target.assert_unharmed(but=("threads", "masks"))
    target.end()
