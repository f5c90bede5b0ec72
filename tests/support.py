# support.py - what the tests are told with: a Victim that hangs, an Attach as a user would do it.
# SPDX-License-Identifier: MIT
#
# A victim says `ready` on its standard output, or by a file of that name in its directory, just before
# it does what it is named after. Everything that waits here has a deadline, and everything that is
# started here is ended by its process id when the test is over.

import collections
import contextlib
import os
import pty
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time

import pexpect
import pytest

HERE = os.path.dirname(os.path.abspath(__file__))
TOP = os.path.dirname(HERE)
LAUNCHER = os.path.join(TOP, "pydbattach.sh")
VICTIMS = os.path.join(HERE, "victims")

PROMPT = "(Pdb) "
# The prompt at the end of what the terminal has shown, colours and readline's escapes around it allowed.
ANSWER = r"(?:\n|\(Pdb\) (?:\r|\x1b\[[?0-9;]*[a-zA-Z])*)%s\r?\n"      # of a line of its own, or behind a prompt that was drawn again
PROMPT_AT_END = r"\(Pdb\) (?:\x1b\[[0-9;?]*[a-zA-Z])*$"
ESCAPE = re.compile(r"\x1b\[[0-9;?]*[a-zA-Z]|\x1b[=>]|\x1b\][^\x07]*\x07")


def need(condition, reason):
    """What this machine lacks is a failure in CI, where everything must be tried, and a skip elsewhere."""
    if not condition:
        if os.environ.get("CI"):
            pytest.fail(reason, pytrace=False)
        pytest.skip(reason)


def wait_until(condition, seconds=30, pause=0.01):
    """The first true value of condition(), or its last value when the time is over."""
    end = time.monotonic() + seconds
    while True:
        value = condition()
        if value or time.monotonic() > end:
            return value
        time.sleep(pause)


def read_file(path):
    with open(path, encoding="utf-8", errors="replace") as file:
        return file.read()


def read_status(pid, tid=None):
    """The fields of /proc/PID/status, or of one thread's."""
    path = "/proc/%d/task/%d/status" % (pid, tid or pid)
    return dict(line.split(":\t", 1) for line in read_file(path).splitlines() if ":\t" in line)


def list_threads(pid):
    return sorted(int(name) for name in os.listdir("/proc/%d/task" % pid))


def list_descriptors(pid):
    """Number and target of every open descriptor."""
    found = {}
    for name in os.listdir("/proc/%d/fd" % pid):
        with contextlib.suppress(FileNotFoundError):
            found[int(name)] = os.readlink("/proc/%d/fd/%s" % (pid, name))
    return found


def count_mappings(pid):
    return len(read_file("/proc/%d/maps" % pid).splitlines())


def resident_kilobytes(pid):
    return int(read_status(pid)["VmRSS"].split()[0])


def list_children(pid):
    """The children of a process, of whichever of its threads."""
    found = []
    for tid in list_threads(pid):
        with contextlib.suppress(OSError):
            found += [int(child) for child in read_file("/proc/%d/task/%d/children" % (pid, tid)).split()]
    return found


def list_descendants(pid):
    """All processes below pid, parents first."""
    found = []
    for child in list_children(pid):
        found.append(child)
        with contextlib.suppress(OSError):
            found += list_descendants(child)
    return found


def process_name(pid):
    try:
        return read_file("/proc/%d/comm" % pid).strip()
    except OSError:
        return ""


def is_alive(pid):
    try:
        return read_status(pid)["State"][0] not in "ZX"
    except OSError:
        return False


def wait_blocked(pid, tid=None, seconds=40):
    """Wait until a thread (the first one) has been in the same system call for a while."""
    path = "/proc/%d/task/%d/" % (pid, tid or pid)
    seen = []

    def is_still():
        seen.append(read_file(path + "syscall") + read_file(path + "status").partition("ctxt_switches:")[2])
        return len(seen) >= 4 and len(set(seen[-4:])) == 1 and not seen[-1].startswith("running")

    assert wait_until(is_still, seconds, 0.015), "process %d does not block: %s" % (pid, seen[-1])


Facts = collections.namedtuple(
    "Facts", "threads descriptors state tracer masks ignored caught cwd root umask groups nice")


# glibc sets a handler for its own signal 33 when a process starts its first thread, whoever starts it.
OF_GLIBC = 1 << 32 | 1 << 31


def look_at(pid):
    """What an attach must leave as it was."""
    status = read_status(pid)
    masks = {}
    for tid in list_threads(pid):
        with contextlib.suppress(OSError, KeyError):
            masks[tid] = read_status(pid, tid)["SigBlk"]
    return Facts(
        threads=sorted(masks),
        descriptors=list_descriptors(pid),
        state="stopped" if status["State"][0] in "Tt" else "runs",
        tracer=status["TracerPid"],
        masks=masks,
        ignored=status["SigIgn"],
        caught="%016x" % (int(status["SigCgt"], 16) & ~OF_GLIBC),
        cwd=os.readlink("/proc/%d/cwd" % pid),
        root=os.readlink("/proc/%d/root" % pid),
        umask=status.get("Umask"),
        groups=status["Groups"],
        nice=os.getpriority(os.PRIO_PROCESS, pid))


class Victim:
    """A Python program that somebody will attach to, in a directory of its own.

    name: a file of victims/; source: or the program itself; command: or all arguments of the interpreter.
    The directory (cwd of the program, in its root) is .place as we see it and .inside as it sees it.
    """

    def __init__(self, python, name=None, source=None, command=None, args=(), env=None, files=None,
                 terminal=False, before=None, options=(), prefix=()):
        self.python = python
        self.name = name or "victim"
        self.place = tempfile.mkdtemp(prefix="pydbattach-test.", dir=python.outside("/tmp"))
        os.chmod(self.place, 0o755)
        self.inside = self.place[len(python.root or ""):]
        self.process = None
        self.pid = None
        self.before = None
        self.terminal = None
        self.expected_stdout = None
        self.released = False
        if source is None and name:
            source = read_file(os.path.join(VICTIMS, name + ".py"))
        for path, text in dict(files or {}, **({self.name + ".py": source} if source else {})).items():
            self.write(path, text)
        self._start(command or [self.name + ".py"], list(args), env, terminal, before, list(options), list(prefix))

    def write(self, path, content):
        """A file in the victim's directory."""
        path = os.path.join(self.place, path)
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(path, "wb") as file:
            file.write(content if isinstance(content, bytes) else content.encode())

    def _start(self, command, args, env, terminal, before, options, prefix):
        python = self.python
        environment = {"PATH": "/usr/bin:/bin:/usr/sbin:/sbin", "LC_ALL": "C.UTF-8", "HOME": self.inside,
                       "PYTHONDONTWRITEBYTECODE": "1"}
        environment.update(env or {})
        # chroot changes to /, so the directory is chosen inside; and only the interpreter gets the environment.
        enter = ["chroot", python.root] if python.root else []
        whole = prefix + enter + ["/bin/sh", "-c", 'cd "$0" && exec /usr/bin/env -i "$@"', self.inside] \
            + ["%s=%s" % pair for pair in environment.items()] + [python.path] + options + command + args
        if terminal:
            self.terminal, slave = pty.openpty()
        self.process = subprocess.Popen(
            whole, cwd=self.place, preexec_fn=before,
            stdin=slave if terminal else subprocess.DEVNULL,
            stdout=slave if terminal else open(os.path.join(self.place, "stdout"), "wb"),
            stderr=slave if terminal else open(os.path.join(self.place, "stderr"), "wb"))
        if terminal:
            os.close(slave)
        self.pid = self.process.pid

    @property
    def stdout(self):
        return read_file(os.path.join(self.place, "stdout"))

    @property
    def stderr(self):
        return "" if self.terminal else read_file(os.path.join(self.place, "stderr"))

    def _said_ready(self):
        """True, or the number that came with it: `ready 4242` names the process that is meant."""
        ready = os.path.join(self.place, "ready")
        if os.path.exists(ready) and read_file(ready).endswith("\n"):
            return read_file(ready).split()
        if self.terminal:
            return False
        return re.findall(r"^ready\b.*\n", self.stdout, re.M)

    def wait_ready(self, seconds=60):
        said = wait_until(lambda: self.process.poll() is not None or self._said_ready(), seconds)
        if not said or said is True:
            raise AssertionError("the victim did not get ready: status %s, stderr:\n%s"
                                 % (self.process.poll(), self.stderr))
        number = re.search(r"\d+", " ".join(said))
        if number:
            self.pid = int(number.group())
        return self

    def wait_blocked(self, tid=None):
        wait_blocked(self.pid, tid)
        return self

    def remember(self):
        """What the target is like before the attach."""
        # A thread that pthread_create has just made blocks all signals until it runs.
        assert wait_until(lambda: not any(mask.startswith("fffffff") for mask in look_at(self.pid).masks.values()))
        self.before = look_at(self.pid)
        self.expected_stdout = None if self.terminal else self.stdout
        return self

    def differences(self, but=()):
        """What has changed since remember(), in words; empty if nothing has."""
        if not is_alive(self.pid):
            return ["the target has ended: status %s, stderr: %s" % (self.process.poll(), self.stderr)]
        now = look_at(self.pid)
        return ["%s: %r, was %r" % (field, getattr(now, field), getattr(self.before, field))
                for field in Facts._fields
                if field not in but and getattr(now, field) != getattr(self.before, field)]

    def assert_unharmed(self, seconds=5, stdout=None, stderr="", but=()):
        """The target runs on as before: same threads, descriptors, signals, output; now or within a second or two."""
        __tracebackhide__ = True
        wait_until(lambda: not self.differences(but), seconds)
        assert self.differences(but) == []
        assert self.stderr == stderr
        if not self.terminal and stdout is not False:
            assert self.stdout == (self.expected_stdout if stdout is None else stdout)

    def end(self, number=signal.SIGINT, status=-signal.SIGINT, says="KeyboardInterrupt", seconds=40):
        """End it as its operator would, and see that it still obeys: exit status and last words."""
        __tracebackhide__ = True
        os.kill(self.pid, number)
        assert self.finish(seconds) == status
        assert says in self.stderr

    def finish(self, seconds=40):
        """Its exit status, once it has ended."""
        try:
            return self.process.wait(seconds)
        except subprocess.TimeoutExpired:
            raise AssertionError("the target does not end; %s" % read_status(self.pid)["State"]) from None

    def close(self):
        """End it and everything that it has started."""
        if self.process is not None:
            below = list_descendants(self.process.pid) if self.process.poll() is None else []
            for pid in [self.process.pid] + below:
                if pid == self.process.pid and self.process.poll() is not None:
                    continue
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            self.process.wait(10)
        if self.terminal:
            os.close(self.terminal)
        shutil.rmtree(self.place, ignore_errors=True)


def make_environment(home, **changes):
    """The environment of the person who attaches."""
    environment = {"PATH": os.environ["PATH"], "HOME": home, "TERM": "xterm", "LC_ALL": "C.UTF-8"}
    environment.update(changes)
    return {name: value for name, value in environment.items() if value is not None}


def plain(text):
    """What a terminal shows: without escapes, lines ended by newlines only."""
    return ESCAPE.sub("", text).replace("\r\n", "\n").replace("\r", "")


class Attach:
    """pydbattach in a terminal of its own, as a person uses it."""

    def __init__(self, *args, home, launcher=LAUNCHER, wait=True, seconds=60, columns=100, rows=40, **env):
        self.child = pexpect.spawn(
            launcher, [str(arg) for arg in args], env=make_environment(home, **env), encoding="utf-8",
            codec_errors="replace", dimensions=(rows, columns), timeout=seconds, echo=True)
        self.child.delaybeforesend = None
        self.log = self.child.logfile_read = _Log()
        self.greeting = None
        if wait:
            try:
                self.greeting = self.prompt()
            except BaseException:
                self.close()
                raise

    @property
    def screen(self):
        """Everything that it has shown, as text."""
        return plain(self.log.text)

    def expect(self, pattern, seconds=-1):
        """Wait for a pattern; the text before it and the match itself."""
        __tracebackhide__ = True
        try:
            self.child.expect(pattern, timeout=seconds)
        except (pexpect.TIMEOUT, pexpect.EOF) as error:
            raise AssertionError("%s while waiting for %r; the screen:\n%s"
                                 % (type(error).__name__, pattern, self.screen)) from None
        return plain(self.child.before + (self.child.after if isinstance(self.child.after, str) else ""))

    def prompt(self, seconds=-1):
        """Wait for the prompt; what was shown before it."""
        __tracebackhide__ = True
        return self.expect(PROMPT_AT_END, seconds)[:-len(PROMPT)]

    def send(self, text):
        """Type; a keyboard's Enter is a carriage return."""
        self.child.send(text.replace("\n", "\r"))

    def cmd(self, line, seconds=-1):
        """Type a line, wait for the next prompt; what was shown between."""
        __tracebackhide__ = True
        self.send(line + "\n")
        shown = self.prompt(seconds)
        # The echo: readline may show the start of the line once more, but it ends with its newline.
        return shown.split("\n", 1)[1] if "\n" in shown else shown

    marks = 0

    def rows_of(self, line):
        """Type a line, and a second one that tells where its answer ends: the rows shown between, echoes and all."""
        __tracebackhide__ = True
        self.marks += 1
        mark = "'mark %d'" % self.marks
        self.send("%s\np %s\n" % (line, mark))
        shown = self.expect(ANSWER % mark)
        self.prompt()
        return [row for row in shown.split("\n")[1:] if mark not in row]

    def ask(self, line):
        """As cmd(), where notices about other threads may come at any time, and show the prompt again: the end of
        the answer is told by a second line. Notices that a thread waits are left out."""
        __tracebackhide__ = True
        rows = [row for row in self.rows_of(line) if not row.startswith(("(Pdb) ", "(com) "))     # echoes
                and not row.endswith(" and waits for `continue`")]
        return "\n".join(rows[:-1] if rows and not rows[-1] else rows) + "\n" * bool(rows)

    def interrupt(self):
        self.child.send("\x03")

    def finish(self, seconds=40):
        """Its exit status, once it has ended; what it still has to say is on the screen then."""
        __tracebackhide__ = True
        self.expect(pexpect.EOF, seconds)
        self.child.wait()
        return self.child.exitstatus if self.child.exitstatus is not None else -self.child.signalstatus

    def quit(self, line="q"):
        """Leave as people do; the last words."""
        __tracebackhide__ = True
        before = len(self.log.text)
        self.send(line + "\n")
        assert self.finish() == 0, self.screen
        return plain(self.log.text[before:])

    def processes(self):
        """The pids of launcher, gdb, client... below this terminal, by name."""
        return {process_name(pid): pid for pid in [self.child.pid] + list_descendants(self.child.pid)}

    def hang_up(self):
        """Close the terminal window: the kernel tells those who are in it."""
        self.child.ptyproc.fileobj.close()

    def close(self):
        if self.child.ptyproc.fileobj.closed:
            # pexpect wants a terminal even to wait.
            if wait_until(lambda: os.waitpid(self.child.pid, os.WNOHANG)[0], 0.5):
                return
            os.kill(self.child.pid, signal.SIGKILL)
            os.waitpid(self.child.pid, 0)
            return
        if self.child.isalive():
            for pid in list_descendants(self.child.pid):
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            self.child.kill(signal.SIGKILL)
        self.child.close(force=True)


class _Log:
    """What pexpect has read, as one string."""

    def __init__(self):
        self.text = ""

    def write(self, text):
        self.text += text

    def flush(self):
        pass


def run_batch(*args, home, input=None, launcher=LAUNCHER, seconds=120, env=None, **more):
    """pydbattach without a terminal: -c, or a pipe."""
    more.setdefault("stdin", subprocess.DEVNULL if input is None else None)
    if input is not None:
        del more["stdin"]
    return subprocess.run([launcher] + [str(arg) for arg in args], input=input, timeout=seconds,
                          stdout=subprocess.PIPE, stderr=subprocess.PIPE, encoding="utf-8", errors="replace",
                          env=make_environment(home, **(env or {})), **more)


def compile_c(source, output, *flags):
    """A small C helper, compiled at the test's request."""
    subprocess.run(["gcc", "-O1", "-o", output, "-x", "c", source] + list(flags), check=True)
    return output


def pick_from_where(text):
    """The functions of a `where`, oldest first, and the index of the current one."""
    rows = re.findall(r"^([> ]) .*?\(\d+\)(\S+?)\(", text, re.M)
    current = [index for index, (mark, _) in enumerate(rows) if mark == ">"]
    return [name for _, name in rows], current[0] if current else None


if sys.version_info < (3, 8):
    raise SystemExit("the tests need Python 3.8 or newer")
