# machine.py - the machine that breaks an attach at a chosen step, and judges what is left.
# SPDX-License-Identifier: MIT
#
# steps.c, preloaded into our programs, holds one of them at one step; then the test does its worst, and lets it
# go on if it still lives. Every process of a trial is known by a mark in its environment.

import collections
import contextlib
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time

sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))

import support  # noqa: E402

HERE = os.path.dirname(os.path.abspath(__file__))
GENEROUS = 45           # seconds: our longest deadline is 20, and the machine may be busy
COMMANDS = ["break price", "continue", "p base", "p 6*7"]
ANSWER = "42\n"

Step = collections.namedtuple("Step", "name when nth")


def read_environ(pid):
    try:
        with open("/proc/%d/environ" % pid, "rb") as file:
            return file.read()
    except OSError:
        return b""


class Machine:
    """Where trials happen: the preloaded library, its socket and its log."""

    def __init__(self):
        self.place = tempfile.mkdtemp(prefix="pydbattach-faults.")
        self.shim = support.compile_c(os.path.join(HERE, "steps.c"), os.path.join(self.place, "steps.so"),
                                      "-shared", "-fPIC", "-ldl")
        self.log = os.path.join(self.place, "log")
        self.mark = "STEPS_SOCKET=" + os.path.join(self.place, "socket")
        self.socket = None

    def files(self):
        """What the victim `obedient` needs in its directory."""
        return {"slow_library.so": self.compile("slow_library")}

    def compile(self, name):
        """A library of tests/c, as bytes."""
        path = os.path.join(self.place, name + ".so")
        if not os.path.exists(path):
            support.compile_c(os.path.join(support.HERE, "c", name + ".c"), path, "-shared", "-fPIC")
        with open(path, "rb") as file:
            return file.read()

    def close(self):
        self.kill_all()
        shutil.rmtree(self.place, ignore_errors=True)

    def environment(self, home, hold=None, **more):
        name, value = self.mark.split("=", 1)
        changes = {"LD_PRELOAD": self.shim, "STEPS_LOG": self.log, name: value}
        if hold:
            changes.update(STEPS_HOLD=hold.name, STEPS_WHEN=hold.when, STEPS_NTH=str(hold.nth))
        changes.update(more)
        return support.make_environment(home, **changes)

    def ours(self):
        """All living processes of this trial: {pid: name}."""
        found = {}
        for entry in os.listdir("/proc"):
            if entry.isdigit() and self.mark.encode() in read_environ(int(entry)).split(b"\0") \
                    and support.is_alive(int(entry)):
                found[int(entry)] = self.role(int(entry))
        return found

    def find(self, role):
        """The pid of the one that plays this role now, 0 if nobody does."""
        return next((pid for pid, name in self.ours().items() if name == role), 0)

    def role(self, pid):
        """launcher, look, gdb, client, load or guard: who that process is."""
        name = support.process_name(pid)
        if name == "pydbload":
            with contextlib.suppress(OSError):
                return "guard" if os.getsid(pid) == pid else "load"
        return {"pydbattach.sh": "launcher", "sh": "launcher", "pydbclient": "client", "pydblook": "look"}.get(name, name)

    def kill_all(self, but=None):
        for pid, role in self.ours().items():
            with contextlib.suppress(ProcessLookupError):
                if role != but:
                    os.kill(pid, signal.SIGKILL)

    def steps(self):
        """The names of all steps so far, in order."""
        names = support.read_file(self.log).splitlines() if os.path.exists(self.log) else []
        return list(dict.fromkeys(names))

    def copies(self, target):
        """The copies of the library that the last attach has made and that are still there."""
        path = self.log + ".created"
        made = support.read_file(path).split() if os.path.exists(path) else []
        return [place + name for name in made for place in ("/tmp/", "/var/tmp/", "/dev/shm/", "/run/", "/")
                if os.path.lexists("/proc/%d/root%s%s" % (target.pid, place, name))]

    @contextlib.contextmanager
    def attach(self, target, home, hold=None, commands=COMMANDS, launcher=support.LAUNCHER, **more):
        """An attach with these commands, held where asked: yields it with .held, the pid, or None if it never came there."""
        trial = Trial(self, target, home, hold, commands, launcher, more)
        try:
            yield trial
        finally:
            trial.close()


class Trial:
    """One attach that is about to go wrong."""

    def __init__(self, machine, target, home, hold, commands, launcher, more):
        self.machine = machine
        self.target = target
        path = machine.mark.split("=", 1)[1]
        for old in (path, path + ".held", machine.log + ".created"):
            with contextlib.suppress(FileNotFoundError):
                os.unlink(old)
        self.listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.listener.bind(path)
        os.chmod(path, 0o777)
        self.listener.listen(4)
        self.connection = None
        self.held = None
        arguments = [launcher] + [word for command in commands for word in ("-c", command)] + [str(target.pid)]
        self.files = [tempfile.TemporaryFile("w+"), tempfile.TemporaryFile("w+")]
        self.process = subprocess.Popen(arguments, stdin=subprocess.DEVNULL, stdout=self.files[0], stderr=self.files[1],
                                        env=machine.environment(home, hold, **more), start_new_session=True)
        if hold:
            self._await_hold()

    def _await_hold(self):
        self.listener.settimeout(0.05)
        end = time.monotonic() + GENEROUS
        while time.monotonic() < end:
            try:
                self.connection = self.listener.accept()[0]
            except (TimeoutError, socket.timeout):
                if self.process.poll() is not None and not self.machine.ours():
                    return
                continue
            self.connection.settimeout(GENEROUS)
            self.held = int(self.connection.makefile().readline())
            return

    def go_on(self):
        """Let the held one go on, if it lives."""
        if self.connection:
            self.connection.close()
            self.connection = None

    def finish(self, seconds=GENEROUS):
        """(status, stdout, stderr) of the launcher; it and all that it has started must end by themselves."""
        try:
            status = self.process.wait(seconds)
        except subprocess.TimeoutExpired:
            raise AssertionError("the attach hangs: %s, stderr: %s" % (self.machine.ours(), self._read(1))) from None
        # A guard whose gdb was too slow stays a minute, to continue a target that stops late.
        assert support.wait_until(lambda: not self.machine.ours(), seconds + 60, 0.05), "still there: %s" % self.machine.ours()
        return status, self._read(0), self._read(1)

    def _read(self, which):
        self.files[which].seek(0)
        return self.files[which].read()

    def close(self):
        self.go_on()
        self.listener.close()
        self.machine.kill_all()
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
        for file in self.files:
            file.close()


def judge(target, home, but=(), seconds=GENEROUS):
    """What must hold after every fault: the target runs as before, and the next attach works; the words for what does not."""
    start = time.monotonic()
    support.wait_until(lambda: not target.differences(but), seconds)
    took = time.monotonic() - start
    wrong = target.differences(but)
    if not wrong:
        done = support.run_batch("-c", "p 6*7", target.pid, home=home)
        if (done.returncode, done.stdout) != (0, ANSWER):
            wrong = ["the next attach: status %d, %r, %r" % (done.returncode, done.stdout, done.stderr)]
        else:
            support.wait_until(lambda: not target.differences(but), seconds)
            wrong = target.differences(but)
    return took, wrong




# What we may say when one of us was killed: our own lines, and the shell's word for a killed child.
SAID = re.compile(r"(pydbattach: [^\n]+\n|Killed\n|Terminated\n|Hangup\n|User defined signal \d\n|Interrupt\n)*")

# Roles of steps, as their names begin.
ROLES = {"launcher": r"launcher", "look": r"pydblook", "load": r"pydbload\+? ", "guard": r"pydbload\+\+ ",
         "gdb": r"gdb|pydbload\+\+\+", "client": r"pydbclient"}
# These happen in the first attach to a process only.
PLACES_THE_COPY = re.compile(r"\.pydbattach\.| fchmod|/root| openat root|pydbload write")


def steps_of(names, role):
    return [name for name in names if re.match(ROLES[role], name)]


def start_victim(python, name="workers", **named):
    return support.Victim(python, name, **named).wait_ready().remember()


def order(target, letter):
    """Let `obedient` do something (see there)."""
    with open(os.path.join(target.place, "orders"), "w") as file:
        file.write(letter)


class Targets:
    """One program to attach to again and again, as long as nothing has happened to it."""

    def __init__(self, python, name="workers", **named):
        self.name = str(python)
        self.make = lambda: start_victim(python, name, **named)
        self.one = None

    def get(self, fresh=False):
        if self.one and (fresh or not support.is_alive(self.one.pid)):
            self.drop()
        if not self.one:
            self.one = self.make()
        return self.one

    def drop(self):
        if self.one:
            self.one.close()
        self.one = None


# What happens to the one of us that is held at a step.


def kill_it(machine, trial):
    os.kill(trial.held, signal.SIGKILL)


def kill_everybody(machine, trial):
    machine.kill_all(but="guard")       # who kills gdb and guard at one moment may leave the target stopped (BUGS)


def send(number):
    def send_it(machine, trial):
        os.kill(trial.held, number)
        if number == signal.SIGTSTP:            # and then "fg"
            support.wait_until(lambda: support.read_status(trial.held)["State"][0] == "T", 0.05)
            os.kill(trial.held, signal.SIGCONT)
    return send_it


TO_US = {"kill": kill_it, "kill all": kill_everybody, "INT": send(signal.SIGINT), "TERM": send(signal.SIGTERM),
         "HUP": send(signal.SIGHUP), "TSTP": send(signal.SIGTSTP)}


def learn_steps(machine, targets, home):
    """The names of all steps of an attach to a fresh process."""
    with machine.attach(targets.get(fresh=True), home) as trial:
        status, said, complaint = trial.finish()
        assert (status, said.endswith(ANSWER)) == (0, True), complaint
    return machine.steps()


def break_us(machine, targets, home, step, fault):
    """One trial: the fault at the step; the words for what does not hold, [] if all does. None: it never came there."""
    target = targets.get(fresh=PLACES_THE_COPY.search(step.name))
    said = ""
    try:
        with machine.attach(target, home, step) as trial:
            if trial.held is None:
                trial.finish()
                return None
            TO_US[fault](machine, trial)
            trial.go_on()
            status, _, said = trial.finish()
        _, wrong = judge(target, home)
    except AssertionError as error:
        wrong = [str(error)]
    if not SAID.fullmatch(said):
        wrong = wrong + ["it said %r" % said]
    # Between its copy and its guard nobody is there to remove it: the next attach does (remove_stale_copies).
    if machine.copies(target) and fault != "kill all" and not step.name.startswith("pydbload "):
        wrong = wrong + ["left behind: %s" % machine.copies(target)]
    if wrong:
        targets.drop()
    return wrong


def kill_at_a_moment(machine, targets, home, who, chance):
    """(seconds until nothing of ours was left, what does not hold), or None where `who` did not live at the moment."""
    target = targets.get(fresh=chance.random() < 0.2)
    took, said = 0.0, ""
    try:
        with machine.attach(target, home) as trial:
            moment = chance.uniform(0, 0.35)
            found = 0
            end = time.monotonic() + 10
            if who in ("gdb", "guard", "client"):   # the moment counts from its birth
                moment /= 3
                while not (found or trial.process.poll() is not None or time.monotonic() > end):
                    found = machine.find(who)
            time.sleep(moment)
            if who == "launcher":                   # it becomes the client
                found = trial.process.pid if support.process_name(trial.process.pid) == "pydbattach.sh" else 0
            if who == "all":
                found = trial.process.poll() is None
                machine.kill_all(but="guard")
            elif found:
                try:
                    os.kill(found, signal.SIGKILL)
                except ProcessLookupError:
                    found = 0
            _, _, said = trial.finish()
        took, wrong = judge(target, home)
    except AssertionError as error:
        wrong = [str(error)]
    if not SAID.fullmatch(said):
        wrong = wrong + ["it said %r" % said]
    if wrong:
        targets.drop()
    return (took, wrong) if found or wrong else None


# What the target does while one of us is held at a step: "ends", "becomes another program", "goes on".


def signal_target(number):
    def send_it(target):
        os.kill(target.pid, number)
    return send_it


def order_target(letter):
    def send_it(target):
        order(target, letter)
    return send_it


TO_TARGET = {
    "target exits": (order_target("x"), "ends"),
    "target crashes": (signal_target(signal.SIGSEGV), "ends"),
    "target is killed": (signal_target(signal.SIGKILL), "ends"),
    "target execs": (order_target("e"), "becomes"),
    "target forks": (order_target("f"), "forks"),
    "target stops": (signal_target(signal.SIGSTOP), "stops"),
    "target in state D": (order_target("v"), "goes on"),
    "target reuses descriptors": (order_target("d"), "reuses"),
}


def break_target(machine, targets, home, step, fault):
    """As break_us, but it is the target that changes. Needs the victim `obedient`."""
    do, then = TO_TARGET[fault]
    target = targets.get(fresh=PLACES_THE_COPY.search(step.name))
    said, wrong = "", []
    try:
        with machine.attach(target, home, step) as trial:
            if trial.held is None:
                trial.finish()
                return None
            do(target)
            if then == "ends":
                support.wait_until(lambda: not support.is_alive(target.pid), 0.2)
            elif then in ("becomes", "forks", "reuses"):
                support.wait_until(lambda: has_changed(target, then), 0.2)
            elif then == "stops":
                support.wait_until(lambda: support.read_status(target.pid)["State"][0] in "Tt", 0.2)
            trial.go_on()
            if then == "stops":
                support.wait_until(lambda: trial.process.poll() is not None, 1)
                if step_leaves_stops(step) and support.read_status(target.pid)["State"][0] not in "Tt":
                    wrong.append("somebody has stopped it, and it was continued")
                os.kill(target.pid, signal.SIGCONT)
            _, _, said = trial.finish()
        wrong += judge_target(target, home, then)
    except AssertionError as error:
        wrong.append(str(error))
    if not SAID.fullmatch(said):
        wrong.append("it said %r" % said)
    if machine.copies(target):
        wrong.append("left behind: %s" % machine.copies(target))
    if wrong or then != "goes on" and then != "stops":
        targets.drop()
    return wrong


def step_leaves_stops(step):
    """gdb takes a stop that comes while it is attached for its own."""
    return not re.match(ROLES["gdb"] + "|" + ROLES["guard"], step.name)


def has_changed(target, how):
    if how == "becomes":
        return support.process_name(target.pid) == "sleep"
    return bool(noted(target, "child" if how == "forks" else "reused"))


def noted(target, name):
    """What `obedient` has written into a file of that name, "" if it has not yet."""
    path = os.path.join(target.place, name)
    text = support.read_file(path) if os.path.exists(path) else ""
    return text[:-1] if text.endswith("\n") else ""


def judge_target(target, home, then):
    if then in ("goes on", "stops"):
        # The next attach waits a second for the end of a state D, on a machine that may be much slower.
        support.wait_until(lambda: "D" not in [support.read_status(target.pid, tid)["State"][0]
                                               for tid in support.list_threads(target.pid)], GENEROUS)
        return judge(target, home)[1]
    if then == "ends":
        if not support.wait_until(lambda: target.process.poll() is not None, GENEROUS):
            return ["it does not end"]
        return [] if target.stderr == "" else ["its last words: %r" % target.stderr]
    if not support.wait_until(lambda: has_changed(target, then), GENEROUS):
        return ["it did not come to it"]
    if then == "becomes":
        good = support.wait_until(lambda: is_clean(target.pid, 1), GENEROUS)
        return [] if good else ["after exec: %s, %s" % (support.look_at(target.pid), support.list_descriptors(target.pid))]
    if then == "reuses":
        return judge_descriptors(target)
    child = int(noted(target, "child"))
    try:
        good = support.wait_until(lambda: is_clean(child, 1), GENEROUS)
        wrong = [] if good else ["its child: %s" % (support.look_at(child),)]
        # From 3.12 on fork() warns of other threads; obedient has two of its own.
        wrong += judge(target, home)[1]
    finally:
        os.kill(child, signal.SIGKILL)
    return wrong


def judge_descriptors(target):
    """The pipes that have our numbers now are left alone; and the program's own threads are all that is there."""
    good = support.wait_until(lambda: not target.differences(but=("descriptors",)), GENEROUS)
    order(target, "l")
    if not good or not support.wait_until(lambda: noted(target, "pipes"), GENEROUS):
        return target.differences(but=("descriptors",)) or ["it has not looked at its pipes"]
    own = [name for name in support.list_descriptors(target.pid).values() if name.startswith("pipe:")]
    wrong = [] if noted(target, "pipes") == "whole" else ["somebody has used its pipes: " + noted(target, "pipes")]
    return wrong + ([] if len(own) == 120 else ["it has %d ends of pipes, was 120" % len(own)])


def is_clean(pid, threads):
    """Runs, with so many threads, traced by nobody, without a pipe or a file of ours."""
    facts = support.look_at(pid)
    ours = [name for name in facts.descriptors.values() if name.startswith("pipe:") or name.endswith("/mem")]
    return (facts.state, facts.tracer, len(facts.threads), ours) == ("runs", "0", threads, [])
