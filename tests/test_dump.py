# test_dump.py - --dump as a person sees it: its text, and what it says where it cannot read.
# SPDX-License-Identifier: MIT
#
# Whether the stacks are true is judged in test_dump_oracle.py.

import json
import os
import re
import signal
import subprocess
import time

import pytest

import pythons
import support

OLD = [pythons.Python(version, pythons.find_pyenv(version), None) for version in ("3.6", "3.7")]
every_python = pytest.mark.parametrize("python", OLD + pythons.ALL, ids=str)
at_the_ends = pytest.mark.parametrize("python", pythons.ENDS, ids=str)

POOL = """
import threading, time

def work():
    lock.acquire()

class Shop:
    def checkout(self):
        with lock:
            pass

lock = threading.Lock()
lock.acquire()
for number in range(5):
    threading.Thread(target=work, name="pool-1_%d" % number, daemon=True).start()
time.sleep(0.1)        # threads are numbered by their start in hundredths of a second, then by an id that starts anew at its maximum
thread = threading.Thread(target=Shop().checkout, name="checkout", daemon=True)
thread.start()
"""
SLEEP = "print('ready', flush=True)\ntime.sleep(3600)\n"


@pytest.fixture
def dump(batch):
    """dump(args...): the document of --dump --json; checks status and standard error."""
    def run(*args, status=0, stderr=""):
        __tracebackhide__ = True
        done = batch("--dump", "--json", *args, seconds=120)
        assert (done.stderr, done.returncode) == (stderr, status)
        document = json.loads(done.stdout)
        assert set(document) == {"pydbattach", "time", "processes"}
        return document["processes"]

    return run


def unused_pid():
    return int(support.read_file("/proc/sys/kernel/pid_max"))      # one more than the last


def wait_all_blocked(target):
    for tid in support.list_threads(target.pid):
        support.wait_blocked(target.pid, tid)
    return target


def without_times(text):
    text = re.sub(r"CPU [\d.]+ s", "CPU T", text)
    text = re.sub(r", off the CPU for [\d.]+ s( to [\d.]+ s)?", "", text)
    return re.sub(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d", "NOW", text)


# --- the text


@every_python
def test_text_folds_threads_that_stand_at_the_same_place(python, victim, batch):
    target = wait_all_blocked(victim(python, source=POOL + SLEEP))
    done = batch("--dump", target.pid)
    assert (done.returncode, done.stderr) == (0, "")
    text = without_times(done.stdout)
    call = re.search(r"idle in (\w+)", text).group(1)
    shop, run = ("Shop.checkout", "Thread.run") if python.minor >= 11 else ("checkout", "run")
    head, main, pool, last = text.split("\n\n")
    version = re.fullmatch(
        r"process %d: %s victim.py\nuser root, Python (3\.%d\.\d+\w*) \((.*)\), 7 threads, NOW"
        % (target.pid, re.escape(python.path), python.minor), head)
    assert version and os.path.exists(python.outside(version.group(2))), head
    assert main.splitlines() == [
        'thread 1 "MainThread" (%d): idle in %s, CPU T' % (target.pid, call),
        "    <module>, %s:%d" % ("victim.py" if python.minor < 9 else target.inside + "/victim.py", 20),
        "        time.sleep(3600)"]
    wait = re.search(r"5 threads: pool-1_\d … _\d \(2-6\): idle in (\w+), CPU T together", pool.splitlines()[0])
    assert wait, pool
    assert re.fullmatch(r"    work\(\), .*victim.py:5", pool.splitlines()[1])
    assert pool.splitlines()[2] == "        lock.acquire()"
    assert re.fullmatch(r"    %s\(\), .*/threading\.py:\d+" % re.escape(run), pool.splitlines()[3])
    checkout = re.fullmatch(r'thread 7 "checkout" \((\d+)\): idle in %s, CPU T' % wait.group(1), last.splitlines()[0])
    assert int(checkout.group(1)) in support.list_threads(target.pid)
    assert re.fullmatch(r"    %s\(\), .*victim.py:9" % re.escape(shop), last.splitlines()[1])
    assert last.splitlines()[2] == "        with lock:"
    target.assert_unharmed()


def test_no_fold_shows_each_thread(victim, batch):
    target = wait_all_blocked(victim(source=POOL + SLEEP))
    done = batch("--dump", "--no-fold", target.pid)
    shown = re.findall(r'^thread (\d) "(.*?)"', done.stdout, re.M)
    assert [number for number, _ in shown] == list("1234567")
    assert [shown[0][1]] + sorted(name for _, name in shown[1:6]) + [shown[6][1]] == \
        ["MainThread"] + ["pool-1_%d" % n for n in range(5)] + ["checkout"]
    assert "threads:" not in done.stdout


def test_colours_on_a_terminal_only(victim, batch, attach):
    target = victim(source=POOL + SLEEP)
    assert "\033" not in batch("--dump", target.pid).stdout
    terminal = attach("--dump", target.pid, wait=False)
    assert terminal.finish() == 0
    assert "\033[1mprocess %d:" % target.pid in terminal.log.text
    plain = attach("--dump", target.pid, wait=False, NO_COLOR="1")
    assert plain.finish() == 0
    assert "\033[1m" not in plain.log.text and "process %d:" % target.pid in plain.log.text


@at_the_ends
def test_what_the_target_names_is_escaped(python, victim, batch, dump):
    source = r"""
import threading, time
name = "evil\033[2J\nname\u202e\udc80"
space = {}
exec(compile("def hang():\n    import time\n    time.sleep(3600)", "/evil\033]0;x\007\nfile", "exec"), space)
hang = space["hang"]
hang.__code__ = hang.__code__.replace(co_name="h\r\u9999ng") if hasattr(hang.__code__, "replace") else hang.__code__
threading.Thread(target=hang, name=name, daemon=True).start()
"""
    target = wait_all_blocked(victim(python, source=source + SLEEP))
    text = batch("--dump", target.pid).stdout
    assert not re.search("[\x00-\x09\x0b-\x1f\x7f-\x9f\u202e]", text)
    assert 'thread 2 "evil\\x1b[2J\\x0aname\\u202e\\udc80"' in text
    assert "/evil\\x1b]0;x\\x07\\x0afile:3" in text
    thread = dump(target.pid)[0]["threads"][1]
    assert thread["name"] == "evil\033[2J\nname\u202e\udc80"
    assert thread["frames"][0]["file"] == "/evil\033]0;x\007\nfile"
    if python.minor >= 8:
        assert thread["frames"][0]["function"] == "h\r\u9999ng"


# --- source lines


def test_source_that_was_changed_is_marked(victim, batch, dump):
    target = wait_all_blocked(victim(source=POOL + SLEEP))
    frame = dump(target.pid)[0]["threads"][0]["frames"][0]
    assert (frame["source"], frame["source_changed"]) == ("time.sleep(3600)", False)
    time.sleep(0.05)        # a start is known to a hundredth of a second
    target.write("victim.py", POOL + SLEEP.replace("3600", "7200"))
    frame = dump(target.pid)[0]["threads"][0]["frames"][0]
    assert (frame["source"], frame["source_changed"]) == ("time.sleep(7200)", True)
    assert "        time.sleep(7200)    [file changed since the process started]\n" in batch("--dump", target.pid).stdout


@pytest.mark.parametrize("kind", ["fifo", "device", "directory", "outside", "missing", "string"])
def test_only_regular_files_below_its_root_are_read_for_source(kind, victim, dump, tmp_path):
    python = next((p for p in pythons.ALL if p.root), None)
    support.need(python, "no interpreter in another root")
    secret = tmp_path / "secret.py"
    secret.write_text("\n\nsecret\n")
    file = {"fifo": "fifo.py", "device": "/dev/zero", "directory": "/etc", "outside": "link.py", "missing": "/nowhere.py",
            "string": "<string>"}[kind]
    source = ("import os, time\nif %r == 'fifo': os.mkfifo('fifo.py')\nif %r == 'outside': os.symlink(%r, 'link.py')\n"
              % (kind, kind, str(secret))
              + "exec(compile('\\n\\ntime.sleep(3600)', %r, 'exec'))\n" % file)
    target = victim(python, source="print('ready', flush=True)\n" + source, blocked=True)
    frame = dump(target.pid)[0]["threads"][0]["frames"][0]
    assert (frame["file"], frame["line"], frame["source"]) == (file, 3, None)


# --- states in which an attach is refused


@at_the_ends
def test_stopped_process_is_dumped(python, victim, batch, dump):
    target = wait_all_blocked(victim(python, source=POOL + SLEEP))
    os.kill(target.pid, signal.SIGSTOP)
    support.wait_until(lambda: support.read_status(target.pid)["State"].startswith("T"), 20)
    threads = dump(target.pid)[0]["threads"]
    assert {thread["state"] for thread in threads} == {"stopped"}
    assert threads[6]["frames"][0]["function"] == "checkout"
    os.kill(target.pid, signal.SIGCONT)
    target.assert_unharmed(seconds=20)


def test_traced_process_is_dumped(victim, dump):
    target = wait_all_blocked(victim(source=POOL + SLEEP))
    tracer = subprocess.Popen(["strace", "-q", "-o", "/dev/null", "-p", str(target.pid)], stdin=subprocess.DEVNULL)
    try:
        assert support.wait_until(lambda: support.read_status(target.pid)["TracerPid"] == str(tracer.pid), 20)
        assert dump(target.pid)[0]["threads"][0]["frames"][0]["source"] == "time.sleep(3600)"
    finally:
        tracer.terminate()
        tracer.wait(20)


def test_other_threads_are_dumped_after_the_first_one_has_ended(victim, dump):
    source = ("import ctypes, threading, time\ndef hang():\n    print('ready', flush=True)\n    time.sleep(3600)\n"
              "threading.Thread(target=hang).start()\nctypes.CDLL(None).pthread_exit(None)\n")
    target = victim(source=source, ready=False).wait_ready()
    assert support.wait_until(lambda: support.read_status(target.pid)["State"].startswith("Z"), 20)
    process, = dump(target.pid)
    hanging, = [thread for thread in process["threads"] if thread["frames"] and thread["state"] != "ended"]
    assert [frame["function"] for frame in hanging["frames"]][0] == "hang"


@pytest.mark.parametrize("python", OLD + pythons.ALL, ids=str)
def test_interpreter_that_ends_says_so(python, victim, dump):
    source = """
import os, sys, time
class Slow:
    def __del__(self, write=os.write, sleep=time.sleep):
        write(1, b"ready\\n")
        sleep(3600)
sys.slow = Slow()
"""
    target = victim(python, source=source, ready=False).wait_ready()
    support.wait_blocked(target.pid)
    thread, = dump(target.pid)[0]["threads"]
    assert (thread["state"], [frame["function"] for frame in thread["frames"]]) == ("finalizing", ["__del__"])


# --- who has the GIL


@every_python
def test_one_thread_holds_the_gil_and_the_others_wait_for_it(python, victim, dump):
    source = ("import threading, time\ndef spin():\n    while True: pass\n"
              "for n in range(3): threading.Thread(target=spin, name='spin', daemon=True).start()\n")
    target = victim(python, source=source + SLEEP, ready=False).wait_ready()

    def look():
        states = [t["state"] for t in dump(target.pid)[0]["threads"] if t["name"] == "spin"]
        return sorted(states) == ["holds the GIL", "waits for the GIL", "waits for the GIL"]

    assert support.wait_until(look, 60)


# --- threads and interpreters of other kinds


@at_the_ends
def test_thread_without_python_has_its_native_name_and_system_call(python, victim, batch, dump):
    source = """
import ctypes, time
libc = ctypes.CDLL(None)
thread = ctypes.c_ulong()
assert libc.pthread_create(ctypes.byref(thread), None, libc.pause, None) == 0
"""
    target = wait_all_blocked(victim(python, source=source + SLEEP))
    name = support.read_file("/proc/%d/comm" % target.pid).strip()
    thread = dump(target.pid)[0]["threads"][1]
    assert {key: thread[key] for key in ("number", "name", "native_name", "ident", "interpreter", "state", "system_call",
                                         "frames")} == \
        {"number": 2, "name": None, "native_name": name, "ident": None, "interpreter": None, "state": "idle",
         "system_call": "pause", "frames": []}
    assert 'thread 2 "%s" (%d), no Python: idle in pause, CPU ' % (name, thread["native_id"]) in batch("--dump", target.pid).stdout


def test_interpreter_without_symbols_is_found(tmp_path, dump):
    """Linked into a program, without its dynamic symbols, stripped."""
    config = "/usr/lib/python3.11/config-3.11-x86_64-linux-gnu/libpython3.11.a"
    support.need(os.path.exists(config), "no libpython3.11-dev (make deps)")
    (tmp_path / "program.c").write_text(
        '#include <Python.h>\nint main(void) {\nPy_Initialize();\nreturn PyRun_SimpleString("import threading, time\\n'
        'def work(): time.sleep(3600)\\nthreading.Thread(target=work, name=\'inside\', daemon=True).start()\\n'
        'print(\'ready\', flush=True)\\ntime.sleep(3600)\\n"); }\n')
    program = support.compile_c(str(tmp_path / "program.c"), str(tmp_path / "program"), "-x", "none", "-no-pie", "-s",
                                "-I/usr/include/python3.11", config, "-lm", "-lz", "-lexpat")
    with subprocess.Popen([program], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE) as running:
        try:
            assert running.stdout.readline() == b"ready\n"
            process, = dump(running.pid)
            assert process["python"]["library"] == program and process["python"]["version"].startswith("3.11.")
            assert [thread["name"] for thread in process["threads"]] == ["MainThread", "inside"]
            assert process["threads"][1]["frames"][0]["function"] == "work"
        finally:
            running.kill()


@pytest.mark.parametrize("python", [one for one in pythons.KNOWN if one.name in ("3.12", "debian3.11")], ids=str)
def test_files_that_an_upgrade_has_deleted_are_not_needed(python, victim, dump, tmp_path):
    real = os.path.realpath(python.outside(python.path))
    copy = str(tmp_path / "renamed")
    subprocess.run(["cp", real, copy], check=True)
    home = subprocess.run([python.path, "-c", "import sys; print(sys.base_prefix)"], stdout=subprocess.PIPE, encoding="utf-8",
                          check=True).stdout.strip()
    target = wait_all_blocked(victim(python._replace(path=copy), source=POOL + SLEEP, env={"PYTHONHOME": home}))
    os.unlink(copy)
    process, = dump(target.pid)
    assert process["complete"] and len(process["threads"]) == 7
    assert process["executable"] == copy


# --- several processes


def test_one_bad_pid_does_not_spoil_the_others(victim, batch, dump):
    one, two, missing = victim(source="import time\n" + SLEEP), victim(source="import time\n" + SLEEP), unused_pid()
    line = "pydbattach: no process with pid %d\n" % missing
    done = batch("--dump", one.pid, missing, two.pid)
    assert (done.returncode, done.stderr) == (1, line)
    assert re.findall(r"^process (\d+):", done.stdout, re.M) == [str(one.pid), str(two.pid)]
    processes = dump(one.pid, missing, two.pid, status=1, stderr=line)
    assert [process["pid"] for process in processes] == [one.pid, missing, two.pid]
    assert [process["error"] for process in processes] == [None, line[12:-1], None]
    assert [process["complete"] for process in processes] == [True, False, True]
    assert [len(process["threads"]) for process in processes] == [1, 0, 1]


def test_all_children_takes_the_tree_of_a_server(victim, batch, dump):
    source = """
import os, subprocess, sys, time
subprocess.Popen(["/bin/sleep", "3600"])
for depth in range(2):
    if os.fork() == 0:
        if depth == 0 and os.fork() == 0:
            time.sleep(3600)
        time.sleep(3600)
"""
    target = victim(source=source + SLEEP)
    python = os.readlink("/proc/%d/exe" % target.pid)

    def family():
        found = [pid for pid in support.list_descendants(target.pid) if os.readlink("/proc/%d/exe" % pid) == python]
        return len(found) == 3 and found

    below = support.wait_until(family, 30)
    assert below
    assert [process["pid"] for process in dump(target.pid)] == [target.pid]
    processes = dump("--all-children", target.pid)
    assert processes[0]["pid"] == target.pid
    assert sorted(process["pid"] for process in processes[1:]) == sorted(below)
    assert all(process["complete"] for process in processes)


# What is true of a process at one moment or another of its end.
MOMENTS = ["process {} has ended while it was read", "no process with pid {}",
           "process {} is a zombie: it has exited and its parent {} has not collected it"]


def test_a_process_that_ends_meanwhile_leaves_a_whole_document(batch):
    source = "import time, threading\n[threading.Thread(target=time.sleep, args=(9,)).start() for n in range(60)]\n"
    for pause in (0, 0.001, 0.002, 0.005, 0.01, 0.02):
        python = subprocess.Popen([pythons.ONE.outside(pythons.ONE.path), "-c", source + "print(1, flush=True)"],
                                  stdin=subprocess.DEVNULL, stdout=subprocess.PIPE)
        python.stdout.readline()
        dump = subprocess.Popen([support.LAUNCHER, "--dump", "--json", str(python.pid)], stdout=subprocess.PIPE,
                                stderr=subprocess.PIPE, encoding="utf-8", stdin=subprocess.DEVNULL)
        time.sleep(pause)
        python.kill()
        python.wait()
        stdout, stderr = dump.communicate(timeout=60)
        process, = json.loads(stdout)["processes"]
        assert dump.returncode == (1 if process["error"] else 0)
        assert stderr == ("pydbattach: %s\n" % process["error"] if process["error"] else "")
        assert not process["error"] or process["error"] in [line.format(python.pid, os.getpid()) for line in MOMENTS], process["error"]
        python.stdout.close()


# --- what cannot be read


@pytest.fixture
def refused(batch, dump):
    """refused(message, pid): exactly that, in both forms."""
    def check(message, pid, status=1, **named):
        __tracebackhide__ = True
        done = batch("--dump", pid, **named)
        assert (done.stderr, done.stdout, done.returncode) == ("pydbattach: " + message + "\n", "", status)
        process = dump(pid, status=1, stderr="pydbattach: " + message + "\n")[0]
        assert (process["pid"], process["error"], process["python"]) == (pid, message.split("\n")[0], None)

    return check


@pytest.mark.parametrize("args", [["--dump"], ["--json", "1"], ["--all-children", "1"], ["--dump", "-t", "1", "1"],
                                  ["--dump", "-c", "where", "1"], ["--dump", "-n", "1"], ["--dump", "--nonsense", "1"]])
def test_wrong_usage(args, batch):
    done = batch(*args)
    assert (done.returncode, done.stdout) == (2, "") and done.stderr.startswith("usage: pydbattach.sh ")


def test_not_a_number(batch):
    done = batch("--dump", "abc")
    assert (done.returncode, done.stdout, done.stderr) == (2, "", "pydbattach: not a process id: 'abc'\n")


def test_no_such_process(refused):
    pid = unused_pid()
    refused("no process with pid %d" % pid, pid)


def test_not_python(refused):
    with subprocess.Popen(["sleep", "3600"], stdin=subprocess.DEVNULL) as sleep:
        support.wait_blocked(sleep.pid)
        refused("process %d is not a CPython process: %s" % (sleep.pid, os.readlink("/proc/%d/exe" % sleep.pid)), sleep.pid)
        sleep.kill()


def test_version_that_is_not_known(refused):
    path = pythons.find_pyenv("2.7")
    support.need(path, "no interpreter 2.7 in pyenv")
    with subprocess.Popen([path, "-c", "import time; time.sleep(3600)"], stdin=subprocess.DEVNULL) as python:
        support.wait_blocked(python.pid)
        refused("process %d runs Python 2.7, supported are 3.6 to 3.15" % python.pid, python.pid)
        python.kill()


def test_pypy(refused):
    support.need(os.path.exists("/usr/bin/pypy3"), "no pypy3 (make deps)")
    with subprocess.Popen(["/usr/bin/pypy3", "-c", "import time\n" + SLEEP], stdin=subprocess.DEVNULL,
                          stdout=subprocess.PIPE) as pypy:
        assert pypy.stdout.readline() == b"ready\n"
        refused("process %d runs PyPy, supported is CPython 3.6 to 3.15" % pypy.pid, pypy.pid)
        pypy.kill()


def test_zombie(refused):
    child = os.fork()
    if child == 0:
        os._exit(0)
    try:
        assert support.wait_until(lambda: support.read_status(child)["State"].startswith("Z"), 20)
        refused("process %d is a zombie: it has exited and its parent %d has not collected it" % (child, os.getpid()), child)
    finally:
        os.waitpid(child, 0)


def test_not_permitted_says_why(victim, batch, home):
    target = victim(source="import time\n" + SLEEP)
    os.chmod(home, 0o777)

    def become_nobody():
        os.setgroups([])
        os.setgid(65534)
        os.setuid(65534)

    look = os.path.join(support.TOP, "build", "pydblook")
    copy = os.path.join(home, "pydblook")
    subprocess.run(["cp", look, copy], check=True)
    os.chmod(copy, 0o755)
    os.chmod(home, 0o755)
    done = subprocess.run([copy, "--json", "dump", str(target.pid)], stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                          encoding="utf-8", preexec_fn=become_nobody, timeout=60)
    assert done.stderr == ("pydbattach: cannot attach to process %d: Operation not permitted\n"
                           "pydbattach: it belongs to user root; try it as that user or as root\n" % target.pid)
    assert done.returncode == 1
    process, = json.loads(done.stdout)["processes"]
    assert process["error"] == "cannot attach to process %d: Operation not permitted" % target.pid
    assert (process["user"], process["threads"]) == ("root", [])


# --- the layouts


@pytest.mark.parametrize("python", OLD + pythons.ALL, ids=str)
def test_layouts_are_those_of_the_headers(python):
    """layouts.h against the headers of each interpreter that has some."""
    done = subprocess.run([python.outside(python.path), "-c", "import sysconfig; print(sysconfig.get_path('include'))"]
                          if not python.root else ["chroot", python.root, python.path, "-c",
                                                   "import sysconfig; print(sysconfig.get_path('include'))"],
                          stdout=subprocess.PIPE, encoding="utf-8", check=True)
    include = python.outside(done.stdout.strip())
    if not os.path.exists(include + "/internal/pycore_pystate.h") and python.minor > 7:
        pytest.skip("no internal headers of %s" % python.name)
    done = subprocess.run([os.path.join(support.TOP, "look", "make_layout.py"), "--compare", include],
                          stdout=subprocess.PIPE, stderr=subprocess.PIPE, encoding="utf-8")
    assert (done.returncode, done.stdout) == (0, ""), done.stderr
