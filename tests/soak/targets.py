# targets.py - the targets of the soak, and the one table of what may be refused.
# SPDX-License-Identifier: MIT

import collections
import os
import re
import subprocess

import support

HERE = os.path.dirname(os.path.abspath(__file__))
VICTIMS = os.path.join(HERE, "victims")
LIBRARIES = "/usr/lib/x86_64-linux-gnu"

# name: in the table; victim, args: the program; each: attaches to one process in a round; c: what it loads of tests/c
# (name of the file in its directory: source); preload: a Debian library that it is started with; cpu: its processor
# time per item is compared with and without an attach; comes_by: a thread of it calls Lane.item again and again;
# moving: what may differ between two looks without us (threads, descriptors: then only what is always there
# counts); refusals: below.
Target = collections.namedtuple("Target", "name victim args each c preload cpu comes_by moving refusals")

UNLUCKY = {"unlucky.so": "unlucky.c"}
SLOW = dict(UNLUCKY, **{"slow_library.so": "slow_library.c"})
SMALL = dict(UNLUCKY, **{"small%d.so" % number: "small.c" for number in (1, 2, 3)})

# What an attach to a target may be refused with, and in how many of a hundred attaches at most: the whole last line,
# with PID for the process id. ANY: every target, on a machine that is so loaded that a deadline passes; a gdb that is
# given up may keep its lock for a while then.
ALWAYS = 100
ANY = [("pydbattach: another session is attached to process PID: pid N", 0.2),
       ("pydbattach: the memory of process PID could not be read within 3 s (a disk or file server that does not answer?)", 0.2),
       ("pydbattach: the session in PID did not begin within 10 s; detached", 0.2),
       ("pydbattach: gdb has not attached to process PID within 8 s; let go", 0.2)]
# Sixteen threads that never wait leave little of two processors.
CROWDED = ANY[:2] + [
    ("pydbattach: the session in PID did not begin within 10 s; detached", 2),
    ("pydbattach: gdb has not attached to process PID within 8 s; let go", 1),
    ("pydbattach: no thread of process PID has come to a place where it is safe to attach; let go", 1)]
REFUSALS = {
    "16 allocate": CROWDED,
    "jemalloc": CROWDED,
    "tcmalloc": CROWDED,
    "descriptors reached": [("pydbattach: process PID has too few free descriptors left: 64 of 64 are open", ALWAYS)],
    "threads reached": [("pydbattach: process PID cannot start another thread: Resource temporarily unavailable", ALWAYS)],
    "threads reached but one": [("pydbattach: process PID has no room for the channel: Resource temporarily unavailable", ALWAYS)],
    "memory reached": [("pydbattach: process PID cannot start another thread: Resource temporarily unavailable", ALWAYS)],
    "memory for a thread": [("pydbattach: process PID has no room for the channel: Cannot allocate memory", ALWAYS)],
    "memory for two threads": [("pydbattach: process PID has no room for the channel: Cannot allocate memory", ALWAYS)],
}


# The lines that foretell the price of an attach.
PRICES = ("a system call that the attach makes fail with EINTR", "its os.fork() gives a DeprecationWarning")
MANY, FEW, ONE = 12, 3, 1        # few: an attach takes long, for the target takes both processors or is slow itself


def target(name, victim, *args, each=MANY, c=None, preload=None, cpu=False, comes_by=True, moving=()):
    return Target(name, victim, args, each, c or {}, preload, cpu, comes_by, moving, REFUSALS.get(name, ANY))


THREADS, FILES, MASKS = "threads", "descriptors", "masks"
ALL = [
    target("idle", "idle"),         # no cpu: it has so little work that our own in its thread is a third of it
    target("allocates", "allocator", each=FEW, cpu=True),
    target("16 allocate", "allocators", each=FEW, c=UNLUCKY),
    target("busy in Python", "busy", each=FEW, cpu=True),
    target("dlopen, import, dlclose", "linker", each=FEW, c=SMALL, moving=[FILES]),
    target("in dl_iterate_phdr", "linker_lock", "callback", each=FEW, c=SLOW),
    target("in a constructor", "linker_lock", "constructor", each=FEW, c=SLOW, moving=[FILES]),
    target("threads start and end", "churn", each=FEW, c=UNLUCKY, moving=[THREADS]),
    target("fork", "forks", "fork", "alone"),
    target("fork beside a thread", "forks", "fork", "beside"),
    target("fork and exec", "forks", "exec", "alone"),
    target("fork and exec beside", "forks", "exec", "beside"),
    target("subprocess", "subprocesses", moving=[FILES]),
    target("C++ exceptions", "exceptions", each=FEW, c={"throws.so": "throws.cc"}),
    target("1 kHz, Python handler", "signals", "python", c=UNLUCKY),
    target("1 kHz, C handler", "signals", "c", c=UNLUCKY),
    target("setitimer", "signals", "timer", c=UNLUCKY),
    target("SIGCHLD storm", "sigchld"),
    target("sockets, epoll, sigwait", "sockets"),
    target("C waits, alone", "waits", "alone", each=FEW, c=UNLUCKY, comes_by=False),
    target("C waits, beside", "waits", "beside", each=FEW, c=UNLUCKY),
    target("gc.collect", "collector", each=FEW),
    target("deep recursion", "deep", each=FEW, cpu=True),
    target("1,000 threads", "thousand"),
    target("asyncio server", "asyncio_server", cpu=True),
    target("pre-fork server", "prefork_server", comes_by=False),
    target("jemalloc", "allocators", each=FEW, c=UNLUCKY, preload="libjemalloc.so.2"),
    target("tcmalloc", "allocators", each=FEW, c=UNLUCKY, preload="libtcmalloc_minimal.so.4"),
    target("descriptors reached", "exhausted", "descriptors", each=ONE),
    target("threads reached", "exhausted", "threads", "1", each=ONE),
    target("threads reached but one", "exhausted", "threads", "2", each=ONE),
    target("memory reached", "exhausted", "memory", "1", each=ONE),
    target("memory for a thread", "exhausted", "memory", "9.5", each=ONE),
    target("memory for two threads", "exhausted", "memory", "17", each=ONE),
]


def find_refusal(one, line, pid):
    """The words of the table that allow this refusal, or None; where in our code it was does not matter."""
    line = re.sub(r" \(\w+:\d+.*\)$", "", line)
    line = re.sub(r": pid \d+$", ": pid N", re.sub(r"\b%d\b" % pid, "PID", line))
    for words, _ in one.refusals:
        if line == words:
            return words
    return None


def compile_helpers(place):
    """All helpers in C, once: {source: bytes}."""
    built = {}
    for source in sorted({source for one in ALL for source in one.c.values()}):
        output = os.path.join(place, source + ".so")
        compiler = "g++" if source.endswith(".cc") else "gcc"
        subprocess.run([compiler, "-O1", "-shared", "-fPIC", "-o", output, os.path.join(support.HERE, "c", source)],
                       check=True)
        with open(output, "rb") as file:
            built[source] = file.read()
    return built


def start(one, python, helpers):
    """A Victim that is ready, and the processes of it that are attached to in turn."""
    files = {name: helpers[source] for name, source in one.c.items()}
    for name in ("ledger.py", "client.py"):
        files[name] = support.read_file(os.path.join(VICTIMS, name))
    environment = {}
    if one.preload:
        with open(os.path.join(LIBRARIES, one.preload), "rb") as file:
            files[one.preload] = file.read()
        environment["LD_PRELOAD"] = "./" + one.preload
    # In a session of its own, as a service is: the kernel shares its processors between sessions.
    return support.Victim(python, one.victim, source=support.read_file(os.path.join(VICTIMS, one.victim + ".py")),
                          args=one.args, files=files, env=environment, prefix=["setsid"])
