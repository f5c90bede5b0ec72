#!/usr/bin/env python3
# soak.py - attaches again and again to targets made to be unlucky, and judges both sides after each attach.
# SPDX-License-Identifier: MIT
#
# Each attach is one of a user: the real pydbattach.sh, in one of the forms of FORMS; a prompt that has answered
# `p secret` is what counts. After it has ended, the target must be as before: it lives, is not stopped or traced,
# has its threads, signal masks and descriptors and none of ours, has printed nothing, has lost, repeated and
# mistaken nothing (its ledger: victims/ledger.py), and every worker of it goes on.
#
# The targets and the table of what may be refused are in targets.py. Results are lines of JSON in --log, one an
# attach, written at once: a run can be cut, and the lines of several runs be summed (--table). It works in rounds
# of some attaches to a fresh process of each target on each interpreter, so that a cut run is even. --memory and
# --cpu are measurements, with one process for many attaches.
# It exits with 0 if there was no hang, no crash, no harm, no error and no refusal beyond the table.

import argparse
import collections
import contextlib
import itertools
import json
import math
import multiprocessing
import os
import random
import shutil
import signal
import statistics
import struct
import subprocess
import sys
import tempfile
import time

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.dirname(HERE))

import pythons  # noqa: E402
import support  # noqa: E402

import targets  # noqa: E402

ATTACH_SECONDS = 90             # an attach that takes longer hangs
WORK_SECONDS = 60               # a worker that does nothing for so long hangs
SETTLE_SECONDS = 30             # design: a second after the GIL is free; the machine may be loaded
MEMORY_ATTACHES = 1000
MEMORY_KB = 256                 # so much the process may be bigger after the last than after the hundredth
CPU_WINDOWS = 100               # with an attach, and as many without; below that the ratio is not judged
CPU_RATIO = 1.25

WORDS, LANES = 16, 64
LANE = ("used", "items", "lost", "repeated", "errors", "pause", "cpu", "eintr", "warned")
EXACT = ("lost", "repeated", "errors")
OUR_MASK = 0xfffffffe7ffbfeff   # every signal that a thread can block, without glibc's own two


# ---- the target, seen from outside ----

class Ledger:
    """The counters of a target; see victims/ledger.py."""

    def __init__(self, path):
        self.file = open(path, "r+b", buffering=0)

    def read(self):
        """[{word: value}] of the lanes in use."""
        text = os.pread(self.file.fileno(), LANES * WORDS * 8, 0)
        words = struct.unpack("%dq" % (LANES * WORDS), text)
        lanes = [dict(zip(LANE, words[at:at + len(LANE)])) for at in range(0, len(words), WORDS)]
        return [lane for lane in lanes if lane["used"]]

    def forget_pauses(self):
        for lane in range(LANES):
            os.pwrite(self.file.fileno(), bytes(8), (lane * WORDS + LANE.index("pause")) * 8)

    def close(self):
        self.file.close()


def is_going_on(before, now):
    return all(new["items"] > old["items"] for old, new in zip(before, now))


def keep_common(samples):
    """What all samples have in common: that which is always there."""
    facts = dict(samples[-1])
    for sample in samples:
        facts["threads"] = sorted(set(facts["threads"]) & set(sample["threads"]))
        facts["descriptors"] = dict(facts["descriptors"].items() & sample["descriptors"].items())
    facts["masks"] = {tid: mask for tid, mask in facts["masks"].items() if tid in facts["threads"]}
    return facts


class Subject:
    """One process that is attached to, and what it was like before.

    Where it starts threads or opens files itself, only what stays is judged: after the attach nothing may be there
    for good that was not there before."""

    def __init__(self, pid, moving):
        self.pid = pid
        self.moving = moving
        self.libraries = None
        self.before = self.look()

    def look(self):
        return support.look_at(self.pid)._asdict()

    def compare(self, name, now):
        """Words for a fact that has changed, or ''."""
        old, new = self.before[name], now[name]
        if self.moving and name == "threads":
            new = sorted(set(new) - set(old))
            old = []
        elif self.moving and name == "masks":
            new = {tid: mask for tid, mask in new.items() if old.get(tid) != mask}
            old = {}
        elif self.moving and name == "descriptors":
            new = dict(new.items() - old.items())
            old = {}
        return "%s: %r, was %r" % (name, new, old) if old != new else ""

    def differences(self, seconds):
        """What stays different, in words; [] as soon as nothing is."""
        end, seen, found, libraries = time.monotonic() + seconds, [], ["never looked"], 0
        while found and time.monotonic() < end:
            try:
                seen.append(self.look())
                libraries = support.read_file("/proc/%d/maps" % self.pid).count(".pydbattach.")
            except OSError:
                return ["the process has ended"]
            now = keep_common(seen) if self.moving else seen[-1]
            found = [words for words in (self.compare(name, now) for name in self.before) if words]
            if self.libraries and libraries > self.libraries:
                found.append("%d mappings of the library, were %d" % (libraries, self.libraries))
            if found:
                time.sleep(0.01)
        self.libraries = self.libraries or libraries
        return found


def describe_threads(pid):
    """For the record of a hang: what every thread is in."""
    lines = []
    with contextlib.suppress(OSError):
        for tid in support.list_threads(pid):
            with contextlib.suppress(OSError):
                status = support.read_status(pid, tid)
                lines.append("%d %s %s %s blocks %s" % (
                    tid, status["State"].split()[0], support.read_file("/proc/%d/task/%d/wchan" % (pid, tid)),
                    support.read_file("/proc/%d/task/%d/syscall" % (pid, tid)).strip(), status["SigBlk"]))
    return lines


# ---- one attach ----

Outcome = collections.namedtuple("Outcome", "status stdout stderr seconds")


def end_tree(process):
    """Kill what a launcher has started, by process ids."""
    for pid in support.list_descendants(process.pid) + [process.pid]:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    process.wait()


def attach_without_terminal(pid, home, commands, by_pipe=False):
    arguments = [] if by_pipe else [word for command in commands for word in ("-c", command)]
    start = time.monotonic()
    process = subprocess.Popen([support.LAUNCHER] + arguments + [str(pid)],
                               stdin=subprocess.PIPE if by_pipe else subprocess.DEVNULL,
                               stdout=subprocess.PIPE, stderr=subprocess.PIPE, encoding="utf-8", errors="replace",
                               env=support.make_environment(home))
    try:
        out, err = process.communicate("".join(command + "\n" for command in commands) if by_pipe else None,
                                       timeout=ATTACH_SECONDS)
    except subprocess.TimeoutExpired:
        hung = describe_threads(process.pid) + [support.process_name(p) for p in support.list_descendants(process.pid)]
        end_tree(process)
        return Outcome(None, "", "\n".join(hung), time.monotonic() - start)
    except BaseException:
        end_tree(process)
        raise
    return Outcome(process.returncode, out, err, time.monotonic() - start)


def attach_in_terminal(pid, home):
    start = time.monotonic()
    session = support.Attach(pid, home=home, wait=False, seconds=ATTACH_SECONDS)
    answer, status = "", None
    try:
        session.prompt()
        answer = session.cmd("p secret")
        seconds = time.monotonic() - start
        session.send("q\n")
        status = session.finish(ATTACH_SECONDS)
        return Outcome(status, support.plain(answer), session.screen, seconds)
    except AssertionError as error:
        ended = "EOF" in str(error)
        return Outcome(1 if ended else None, "", session.screen, time.monotonic() - start)
    finally:
        session.close()


SET_BREAK = {"stops": "break ledger:Lane.item", "passes": "break ledger:Lane.item, self.at < 0",
             "elsewhere": "break ledger:Lane.check, False", "logs": "logpoint ledger:Lane.item self.at"}


def make_breaks(chance, comes_by):
    """Commands that set and remove breakpoints at random; comes_by: some thread calls Lane.item again and again."""
    count, there, disabled, commands = 0, {}, {}, []        # number: how it was set
    for _ in range(chance.randint(4, 9)):
        deed = chance.choice(list(SET_BREAK) + ["stops", "clear", "disable", "enable", "wait", "continue", "continue"])
        chosen = disabled if deed == "enable" else there
        number = chance.choice(sorted(chosen)) if chosen else None
        if deed in SET_BREAK:
            count += 1
            there[count] = deed
            commands.append(SET_BREAK[deed])
        elif deed == "wait":
            commands.append("!__import__('time').sleep(0.01)")
        elif deed == "continue":
            commands += ["continue"] if comes_by and "stops" in there.values() else []
        elif number:
            commands.append("%s %d" % (deed, number))
            what = chosen.pop(number)
            if deed != "clear":
                (there if deed == "enable" else disabled)[number] = what
    return commands


FORMS = ["-c", "breaks", "pipe", "terminal", "enter", "-c", "around"]


def attach(one, pid, number, home):
    """(the form, its outcome, the commands that are not always the same)"""
    how, more = FORMS[number % len(FORMS)], []
    if how == "terminal":
        return how, attach_in_terminal(pid, home), more
    if how == "breaks":
        more = make_breaks(random.Random(), one.comes_by)
    elif how == "around":
        more = ["threads", "thread 2", "where", "dump"]
    elif how == "enter":
        more = ["enter", "p secret", "leave"]
    return how, attach_without_terminal(pid, home, more + ["p secret"], how == "pipe"), more


def classify(one, pid, outcome, secret):
    """(what it was, the words of the refusal or of the failure)"""
    lines = [line for line in outcome.stderr.splitlines() if line.strip()]
    last = lines[-1] if lines else ""
    if outcome.status is None:
        return "hang", outcome.stderr
    # Before it may stand --Return--, behind it what a logpoint says.
    if outcome.status == 0 and str(secret) in outcome.stdout.splitlines():
        return "prompt", ""
    allowed = [words for words in (targets.find_refusal(one, line, pid) for line in lines) if words]
    if outcome.status == 1 and allowed:
        return "refused", allowed[0]
    if outcome.status == 1 and last.startswith("pydbattach: "):
        return "refused", " ".join(line.replace(str(pid), "PID") for line in lines[-2:])
    return "error", "status %s, stdout %r, stderr %r" % (outcome.status, outcome.stdout, outcome.stderr)


# ---- one process, some attaches ----

class Run:
    """A fresh process of a target, attached to some times."""

    def __init__(self, one, python, helpers, log, number):
        self.one, self.python, self.log, self.number = one, python, log, number
        self.home = tempfile.mkdtemp(prefix="pydbattach-home.")
        self.victim = targets.start(one, python, helpers)
        self.ledger = None
        self.prompts = 0

    def prepare(self):
        self.victim.wait_ready(60)
        self.pids = [int(word) for word in support.read_file(os.path.join(self.victim.place, "pids")).split()]
        self.ledger = Ledger(os.path.join(self.victim.place, "ledger"))
        first = self.ledger.read()
        support.wait_until(lambda: is_going_on(first, self.ledger.read()), WORK_SECONDS)
        self.subjects = {pid: Subject(pid, self.one.moving) for pid in self.pids}
        self.output = self.victim.stdout

    def write(self, **record):
        record = dict({"target": self.one.name, "python": self.python.name}, **record)
        with open(self.log, "a", encoding="utf-8") as file:
            file.write(json.dumps(record) + "\n")

    def measure_memory(self, attaches):
        time.sleep(0.5)
        self.write(what="memory", attaches=attaches, resident=support.resident_kilobytes(self.victim.pid),
                   mappings=support.count_mappings(self.victim.pid))

    def find_harm(self, before, subject):
        """Everything that is not as it must be after an attach, in words."""
        if self.victim.process.poll() is not None or not support.is_alive(subject.pid):
            return "crash", ["status %s, stderr: %s" % (self.victim.process.poll(), self.victim.stderr[-2000:])]
        harm = subject.differences(SETTLE_SECONDS)
        start = self.ledger.read()
        if not support.wait_until(lambda: is_going_on(start, self.ledger.read()), WORK_SECONDS, 0.002):
            if not support.is_alive(subject.pid):
                return "crash", ["status %s, stderr: %s" % (self.victim.process.poll(), self.victim.stderr[-2000:])]
            return "hang", ["lanes %r" % [lane["items"] for lane in self.ledger.read()]] + [
                line for pid in self.pids for line in describe_threads(pid)]
        for number, (old, new) in enumerate(zip(before, self.ledger.read())):
            harm += ["lane %d: %s %d" % (number, word, new[word] - old[word]) for word in EXACT if new[word] != old[word]]
        if self.victim.stderr:
            harm.append("stderr: " + self.victim.stderr[-2000:])
        if self.victim.stdout != self.output:
            harm.append("stdout: " + self.victim.stdout[-2000:])
        return ("harm" if harm else ""), harm

    def processor_time(self, before, now):
        """Nanoseconds of the workers per item."""
        items = sum(new["items"] - old["items"] for old, new in zip(before, now))
        return sum(new["cpu"] - old["cpu"] for old, new in zip(before, now)) / items if items else None

    def attach_once(self, number, first=False, measure=""):
        """True if the process can be used further."""
        subject = self.subjects[self.pids[number % len(self.pids)]]
        self.ledger.forget_pauses()
        before, start = self.ledger.read(), time.monotonic()
        how, outcome, more = attach(self.one, subject.pid, number, self.home)
        what, reason = classify(self.one, subject.pid, outcome, self.victim.process.pid)
        after, seconds = self.ledger.read(), time.monotonic() - start
        bad, harm = self.find_harm(before, subject)
        now = self.ledger.read()
        record = {"at": round(time.time(), 1), "n": number, "how": how, "first": first, "what": what, "reason": reason,
                  "seconds": round(outcome.seconds, 4), "bad": bad, "harm": harm, "pause": max(lane["pause"] for lane in after) / 1e6,
                  "foretold": any(words in outcome.stderr for words in targets.PRICES),
                  "eintr": sum(new["eintr"] - old["eintr"] for old, new in zip(before, now)),
                  "warned": sum(new["warned"] - old["warned"] for old, new in zip(before, now))}
        if more and (bad or what in ("hang", "error")):
            record["commands"] = more
        if measure == "cpu" and what == "prompt":
            control = self.ledger.read()
            time.sleep(seconds)
            record["cpu"] = self.processor_time(before, after)
            record["control"] = self.processor_time(control, self.ledger.read())
        self.write(**record)
        self.prompts += what == "prompt"
        return what != "hang" and not bad

    def close(self):
        if self.ledger:
            self.ledger.close()
        self.victim.close()
        shutil.rmtree(self.home, ignore_errors=True)


def run_round(job):
    """One job of a worker: a process and its attaches; how many prompts were reached."""
    one, python, helpers, log, number, count, measure = job
    run = Run(one, python, helpers, log, number)
    try:
        run.prepare()
        for attempt in range(count):
            if not run.attach_once(FORMS.index("-c") if measure else number * count + attempt, attempt == 0, measure):
                break
            if measure == "memory" and attempt + 1 in (100, count):
                run.measure_memory(attempt + 1)
    except AssertionError as error:
        run.write(n=number, what="error", reason="the target: %s" % error, bad="", harm=[], seconds=0, pause=0, eintr=0, warned=0,
                  how="")
    finally:
        run.close()
    return run.prompts


# ---- the table ----

def read_records(paths):
    records = []
    for path in paths:
        with open(path, encoding="utf-8") as file:
            for line in file:
                with contextlib.suppress(ValueError):       # the last line of a run that was cut
                    records.append(json.loads(line))
    return records


def count_refusals(records):
    return collections.Counter(record["reason"] for record in records if record["what"] == "refused")


def judge_group(one, records):
    """Words for everything that must not be in the records of one target and version."""
    bad = []
    for record in records:
        if record["what"] in ("hang", "error"):
            bad.append("%s: %s" % (record["what"], record["reason"]))
        if record.get("bad"):
            bad.append("%s: %s" % (record["bad"], "; ".join(record["harm"])))
    limits = dict(one.refusals)
    for words, count in count_refusals(records).items():
        if count > math.ceil(limits.get(words, 0) * len(records) / 100):
            bad.append("refused %d of %d: %s" % (count, len(records), words))
    return bad


def judge_processor_time(records):
    """(median with an attach / median without, or None)"""
    pairs = [(record["cpu"], record["control"]) for record in records if record.get("cpu") and record.get("control")]
    if not pairs:
        return None, 0
    with_attach, without = [statistics.median(column) for column in zip(*pairs)]
    return with_attach / without, len(pairs)


def judge_memory(records):
    """What has grown between the hundredth attach and the last, in words."""
    bad = []
    marks = collections.defaultdict(list)
    for record in records:
        if record["what"] == "memory":
            marks[record["target"], record["python"]].append(record)
    for (name, python), pair in marks.items():
        for early, late in zip(pair[::2], pair[1::2]):
            print("memory of %s, %s: %d KB after %d attaches, %d KB after %d; mappings %d and %d" % (
                name, python, early["resident"], early["attaches"], late["resident"], late["attaches"],
                early["mappings"], late["mappings"]))
            if late["resident"] > early["resident"] + MEMORY_KB or late["mappings"] > early["mappings"]:
                bad.append("%s, %s: memory or mappings have grown" % (name, python))
    return bad


ROW = "%-26s %-10s %7s %7s %7s %5s %7s %4s %5s %6s %7s %8s %8s %8s %8s %6s"


def print_row(name, python, records):
    what = collections.Counter(record["what"] for record in records)
    bad = collections.Counter(record.get("bad") for record in records)
    seconds = sorted(record["seconds"] for record in records if record["what"] == "prompt") or [0]
    ratio, windows = judge_processor_time(records)
    print(ROW % (name, python, len(records), what["prompt"], what["refused"], what["hang"] + bad["hang"], bad["crash"],
                 bad["harm"], what["error"], sum(r["eintr"] for r in records), sum(r["warned"] for r in records),
                 sum(r.get("foretold", False) for r in records),
                 "%.0f" % (statistics.median(seconds) * 1e3), "%.0f" % (seconds[-1] * 1e3),
                 "%.0f" % max(r["pause"] for r in records), "%.2f" % ratio if ratio else ""))


def print_summary(records):
    """For README.md: a row for each target, over all versions."""
    attaches = [record for record in records if record["what"] != "memory"]
    print("| target | attaches | prompts | refused | median, ms | worst, ms | worst pause, ms |\n|---|--:|--:|--:|--:|--:|--:|")
    for name in [one.name for one in targets.ALL] + ["all"]:
        group = [record for record in attaches if name in (record["target"], "all")]
        seconds = sorted(record["seconds"] for record in group if record["what"] == "prompt")
        times = ["%.0f" % (one * 1e3) for one in (statistics.median(seconds), seconds[-1])] if seconds else ["", ""]
        pause = "%.0f" % max(record["pause"] for record in group) if seconds else ""
        print("| %s |" % " | ".join([name, str(len(group)), str(len(seconds)), str(sum(count_refusals(group).values()))] + times + [pause]))
    for key in ("python", "how"):
        count = collections.Counter(record[key] for record in attaches if record["what"] == "prompt")
        print("prompts by %s: %s" % (key, ", ".join("%s %d" % pair for pair in sorted(count.items()))))
    print("%d of the prompts were the first in their process" % sum(record.get("first", False) and record["what"] == "prompt"
                                                                    for record in attaches))


def print_table(records):
    """The table, then everything that is wrong; 0 if nothing is."""
    by_name = {one.name: one for one in targets.ALL}
    attaches = [record for record in records if record["what"] != "memory"]
    groups = collections.defaultdict(list)
    for record in attaches:
        groups[record["target"], record["python"]].append(record)
    print(ROW % ("target", "Python", "attach", "prompts", "refused", "hangs", "crashes", "harm", "error", "EINTR", "warned",
                 "foretold", "median", "worst", "pause", "cpu"))
    bad, order = [], [one.name for one in targets.ALL]
    known = [p.name for p in pythons.KNOWN]
    for name, python in sorted(groups, key=lambda key: (order.index(key[0]), known.index(key[1]) if key[1] in known else 99)):
        group = groups[name, python]
        print_row(name, python, group)
        bad += ["%s, %s: %s" % (name, python, words) for words in judge_group(by_name[name], group)]
        ratio, windows = judge_processor_time(group)
        if ratio and windows >= CPU_WINDOWS and ratio > CPU_RATIO:
            bad.append("%s, %s: %.2f times the processor time per item" % (name, python, ratio))
    if attaches:
        print_row("all", "", attaches)
    print("median, worst: ms from the command to the end (in a terminal: to the answer); pause: ms, the longest in which a worker "
          "of the target did nothing\nEINTR: the kernel's price, seen by C code of the borrowed thread; warned: CPython's, by os.fork() "
          "while attached\nforetold: attaches in which a line has said so\ncpu: processor time per item in a window with an attach, divided by that in one without (medians)")
    for (name, words), count in sorted(collections.Counter(
            (record["target"], record["reason"]) for record in attaches if record["what"] == "refused").items()):
        print("refused %d times: %s: %s" % (count, name, words))
    bad += judge_memory(records)
    for words in bad:
        print("BAD: " + words)
    print("%d prompts reached, %s" % (sum(record["what"] == "prompt" for record in attaches),
                                      "%d things are wrong" % len(bad) if bad else "no hang, no crash, no harm"))
    return 1 if bad else 0


# ---- the story ----

def parse(arguments):
    parser = argparse.ArgumentParser(description="Attach again and again to targets made to be unlucky.")
    parser.add_argument("--attaches", type=int, default=10000, help="end after so many prompts were reached (%(default)s)")
    parser.add_argument("--seconds", type=float, default=0, help="begin no new round after so long")
    parser.add_argument("--jobs", type=int, default=2, help="at the same time (%(default)s)")
    parser.add_argument("--each", type=int, default=0, help="attaches to one process (those of targets.py)")
    parser.add_argument("--memory", action="store_true", help="measure it: %d attaches to one idle process" % MEMORY_ATTACHES)
    parser.add_argument("--cpu", action="store_true",
                        help="measure processor time per item: %d attaches, each beside a window without" % CPU_WINDOWS)
    parser.add_argument("--target", action="append", help="only targets whose name contains this")
    parser.add_argument("--log", default="soak.jsonl", help="results, one line of JSON an attach; appended (%(default)s)")
    parser.add_argument("--table", nargs="+", metavar="LOG", help="attach to nothing, sum these results")
    parser.add_argument("--summary", nargs="+", metavar="LOG", help="the same, by targets only, as in README.md")
    return parser.parse_args(arguments)


def make_jobs(options, helpers):
    """Rounds without end, each one in an order of its own; or one of measurements."""
    chosen = [one for one in targets.ALL if not options.target or any(word in one.name for word in options.target)]
    there = [python for python in pythons.ALL if python.is_there()]
    for python in there if options.memory else []:
        yield targets.ALL[0], python, helpers, options.log, 0, MEMORY_ATTACHES, "memory"
    for one, python in [(one, python) for one in chosen if one.cpu for python in there] if options.cpu else []:
        yield one, python, helpers, options.log, 0, CPU_WINDOWS, "cpu"
    number = 0
    while not options.memory and not options.cpu:
        pairs = [(one, python) for one in chosen for python in there]
        random.shuffle(pairs)
        for one, python in pairs:
            yield one, python, helpers, options.log, number, options.each or one.each, ""
        number += 1


def work(jobs, results):
    """A worker process: jobs until None comes."""
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(1))
    with contextlib.suppress(KeyboardInterrupt):
        while True:
            job = jobs.get()
            if job is None:
                return
            results.put(run_round(job))


def drive(options, helpers):
    """Feed the workers until enough prompts were reached."""
    context = multiprocessing.get_context("fork")
    jobs, results = context.Queue(), context.Queue()
    workers = [context.Process(target=work, args=(jobs, results)) for _ in range(options.jobs)]
    for worker in workers:
        worker.start()
    source, start, prompts, waiting = make_jobs(options, helpers), time.monotonic(), 0, 0
    said = start
    try:
        while prompts < options.attaches:
            if options.seconds and time.monotonic() - start > options.seconds:
                break
            for job in itertools.islice(source, options.jobs + 1 - waiting):
                jobs.put(job)
                waiting += 1
            if not waiting:
                break
            while results.empty():
                if not all(worker.is_alive() for worker in workers):
                    raise SystemExit("soak: a worker has died")
                time.sleep(0.01)
            prompts += results.get()
            waiting -= 1
            if time.monotonic() - said > 60:
                said = time.monotonic()
                print("%5.0f s  %d prompts" % (said - start, prompts), file=sys.stderr, flush=True)
        for _ in workers:
            jobs.put(None)
        for worker in workers:
            worker.join()
    finally:
        jobs.cancel_join_thread()       # nobody reads what is left of them
        for worker in workers:
            if worker.is_alive():
                worker.terminate()
        for worker in workers:
            worker.join(60)


def main(arguments=None):
    options = parse(arguments)
    if options.table:
        return print_table(read_records(options.table))
    if options.summary:
        return print_summary(read_records(options.summary))
    signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(1))
    signal.signal(signal.SIGINT, signal.default_int_handler)
    subprocess.run(["make", "-C", support.TOP, "-s", "all"], check=True)
    place = tempfile.mkdtemp(prefix="pydbattach-soak.")
    try:
        drive(options, targets.compile_helpers(place))
    finally:
        shutil.rmtree(place, ignore_errors=True)
        status = print_table(read_records([options.log])) if os.path.exists(options.log) else 1
    return status


if __name__ == "__main__":
    sys.exit(main())
