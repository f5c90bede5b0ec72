# test_hostile.py - a target that means harm to who looks at it: what its objects do when they are shown, what it is named.
# SPDX-License-Identifier: MIT

import ctypes
import os
import re
import stat
import subprocess

import pexpect
import pytest

import pythons
import support

NOBODY = 65534
# In both states: the main thread hangs in a call ("blocked"), or runs and is stopped.
OBJECTS = r"""
import sys, threading, time

BIG = 100_000_000

class Shown:
    def __init__(self, do):
        self.do = do
    def __repr__(self):
        return self.do()

def throw(error):
    raise error

def wait():
    with never:
        pass

never, forever = threading.Lock(), threading.Lock()
never.acquire(), forever.acquire()
bad = {
    "lock": Shown(wait),
    "loop": Shown(lambda: [None for one in iter(int, 1)]),
    "exception": Shown(lambda: throw(ValueError("no repr"))),
    "base": Shown(lambda: throw(BaseException("no repr"))),
    "exit": Shown(lambda: sys.exit(3)),
    "interrupt": Shown(lambda: throw(KeyboardInterrupt("no repr"))),
    "recursion": None,
    "number": Shown(lambda: 7),
    "big": Shown(lambda: "x" * BIG),
}
bad["recursion"] = Shown(lambda: repr(bad["recursion"]))

def work(it):
    time.sleep(0.001)

def turn(it):
    for _ in range(10 ** 9):
        work(it)

print("ready", flush=True)
if sys.argv[1] == "blocked":
    forever.acquire()
turn(bad)
"""
STATES = ["blocked", "stopped"]
in_both_states = pytest.mark.parametrize("state", STATES)


@pytest.fixture
def open_session(victim, attach):
    """open_session(state, source): a target and a session at a thread of it that hangs, or that has stopped."""
    def start(state, source=OBJECTS, python=pythons.ONE, **named):
        target = victim(python, source=source, args=[state], blocked=state == "blocked")
        session = attach(target.pid, **named)
        if state == "stopped":
            session.cmd("tbreak work")
            assert "hit breakpoint" in session.cmd("continue")
        return target, session

    return start


# --- __repr__


RAISES = {"exception": "ValueError", "base": "BaseException", "exit": "SystemExit", "interrupt": "KeyboardInterrupt",
          "recursion": "RecursionError", "number": "TypeError"}
IS_OLD = pythons.ONE.minor < 12     # its pdb may say nothing


@in_both_states
def test_repr_that_raises(state, open_session):
    """Whatever it raises is told, and goes no further."""
    target, session = open_session(state)
    for name, error in sorted(RAISES.items()):
        for command in ("p bad[%r]", "pp bad[%r]", "bad[%r]"):
            shown = session.cmd(command % name)
            assert shown.startswith("*** %s" % error) and shown.count("\n") == 1 or IS_OLD and not shown, shown
        assert error in session.cmd("display bad[%r]" % name) or IS_OLD
        session.cmd("undisplay bad[%r]" % name)
        assert session.cmd("p 6*7") == "42\n"
    session.quit()
    target.assert_unharmed()
    target.end()


@pytest.mark.parametrize("python", pythons.ENDS, ids=str)
@in_both_states
@pytest.mark.parametrize("name", ["lock", "loop"])
def test_ctrl_c_ends_a_repr_that_does_not_return(name, state, python, open_session):
    """It is interrupted, or left behind until its lock comes; the prompt is back in any case."""
    target, session = open_session(state, python=python)
    for command in ("p bad[%r]", "display bad[%r]"):
        session.send((command + "\n") % name)
        assert not session.child.expect([pexpect.TIMEOUT, support.PROMPT_AT_END], timeout=0.3)
        session.interrupt()
        session.prompt()
        assert session.cmd("p 6*7") == "42\n"
    assert ("left behind" in session.screen) <= (name == "lock" and state == "blocked")
    session.cmd("never.release()")
    session.quit()
    target.assert_unharmed()
    target.end()


@pytest.mark.parametrize("name", ["lock", "loop"])
def test_batch_ends_a_repr_that_does_not_return(name, victim, batch):
    target = victim(source=OBJECTS, args=["blocked"], blocked=True)
    done = batch("--timeout", "1", "-c", "p bad[%r]" % name, "-c", "p 6*7", target.pid)
    assert (done.returncode, "42" in done.stdout) == (1, False)
    assert done.stderr.endswith("did not come back within 1 s; detached\n"), done.stderr
    done = batch("-c", "p 6*7", "-c", "!never.release()", target.pid)
    assert (done.returncode, done.stdout) == (0, "42\n"), done.stderr
    target.assert_unharmed()
    target.end()


BIG = 100_000_000
CLIENT_KILOBYTES = 50_000        # it takes 3400


@in_both_states
def test_ctrl_c_cuts_a_repr_of_100_megabytes(state, open_session):
    """The client does not keep what the terminal has not yet taken."""
    target, session = open_session(state)
    client = session.processes()["pydbclient"]
    session.send("p bad['big']\n")
    session.expect("x{1000}")
    session.interrupt()
    assert session.prompt().endswith("pydbattach: output cut\n")
    assert int(support.read_status(client)["VmHWM"].split()[0]) < CLIENT_KILOBYTES
    assert session.cmd("p 6*7") == "42\n"
    session.quit()
    target.assert_unharmed()
    target.end()


def test_batch_prints_100_megabytes(victim, batch):
    target = victim(source=OBJECTS, args=["blocked"], blocked=True)
    done = batch("-c", "p bad['big']", "-c", "p 6*7", target.pid)
    assert done.returncode == 0 and done.stdout == "x" * BIG + "\n42\n"
    target.assert_unharmed()
    target.end()


# --- what would give orders to the terminal


ORDERS = ["\x1b]0;owned\x07", "\x1b[2J", "\x9b2J", "\x9d0;owned\x9c", "\x1b[6n\x05", "\u202e"]
NAMES = r"""
import sys, threading, time

orders = %r
never = threading.Lock()
never.acquire()

class Shown:
    def __repr__(self):
        return orders
    __str__ = __repr__

class Error(Exception):
    __str__ = __repr__ = Shown.__repr__

Error.__name__ = Error.__qualname__ = "Error" + orders

def fail():
    raise Error

space = dict(globals(), bad={orders: Shown()}, shown=Shown())
text = '''
def work(it):       # ORDERS
    return it       # ORDERS

def turn(it):
    while True:
        time.sleep(0.001); work(it)     # ORDERS

def hang(it):
    never.acquire()     # ORDERS
'''.replace("ORDERS", orders)
with open("evil" + orders + ".py", "w") as file:
    file.write(text)
exec(compile(text, file.name, "exec"), space)
for name in ("work", "turn", "hang"):
    code = space[name].__code__
    space[name].__code__ = code.replace(co_name=name + orders, co_varnames=("it" + orders,) + code.co_varnames[1:])
threading.current_thread().name = "main" + orders
threading.Thread(target=space["hang"], args=[space["shown"]], name="other" + orders, daemon=True).start()
print("ready", flush=True)
space["hang" if sys.argv[1] == "blocked" else "turn"](space["shown"])
""" % "".join(ORDERS)
# Those whose answer contains all of it.
TELLING = [
    "p shown", "pp shown", "p bad", "pp bad", "bad", "shown", "print(shown)", "print(orders)", "args", "where", "threads", "thread",
    "thread nobody", "ll", "source work", "whatis Error", "display shown", "display bad", "display", "p fail()", "fail()",
    "display fail()", "!raise SystemExit(shown)", "!raise KeyboardInterrupt(shown)", "break work", "break", "thread 2", "args",
    "where", "thread 1", "dump", "dump locals", "dump native", "list",
]


@in_both_states
@pytest.mark.parametrize("colour", [None, "1"], ids=["colours", "plain"])
def test_no_order_of_the_target_reaches_the_terminal(state, colour, open_session):
    """Neither in values, messages and source lines nor in names; what is shown of it is text."""
    target, session = open_session(state, NAMES, NO_COLOR=colour)
    for command in TELLING:
        shown = session.ask(command)        # a notice that it stands still may come
        assert r"\x1b]0;owned\x07\x1b[2J\x9b2J\x9d0;owned\x9c\x1b[6n\x05\u202e" in shown, (command, shown)
    session.quit()
    for order in ORDERS:
        assert order not in session.log.text
    assert not re.search("[\x00-\x07\x0e-\x1a\x1c-\x1f\x7f-\x9f]", session.log.text)
    target.assert_unharmed()
    target.end()


def test_no_order_of_the_target_is_printed_by_a_batch(victim, batch):
    target = victim(source=NAMES, args=["blocked"], blocked=True)
    done = batch(*[word for command in TELLING for word in ("-c", command)], target.pid)
    assert done.returncode == 0 and done.stdout.count(r"\x1b]0;owned") >= len(TELLING), done
    assert not re.search("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202e]", done.stdout + done.stderr)
    target.assert_unharmed()
    target.end()


# --- what others have put where the library goes


PLACES = ["/tmp", "/var/tmp", "/dev/shm", "/run"]


def enter(target, command):
    """In the target's mount namespace."""
    return subprocess.run(["nsenter", "--mount", "--target", str(target.pid), "sh", "-ec", command], check=True,
                          stdout=subprocess.PIPE, encoding="utf-8").stdout


def list_place(target, place):
    return enter(target, "cd %s; find . -name '.pydbattach.*' -printf '%%p %%y %%m %%U %%T@ %%l\\n' | sort" % place)


class Watch:
    """The names in a directory that are opened, made or removed (inotify)."""

    def __init__(self, path):
        libc = ctypes.CDLL(None)
        self.fd = libc.inotify_init1(os.O_NONBLOCK | os.O_CLOEXEC)
        assert libc.inotify_add_watch(self.fd, path.encode(), 0x20 | 0x100 | 0x200) > 0

    def close(self):
        names = set(re.findall(rb"\.pydbattach\.[\w.]+", os.read(self.fd, 1 << 20)))
        os.close(self.fd)
        return sorted(name.decode() for name in names)


def find_library(target):
    """The file of the library, as it is in the target."""
    mapped = re.search(r"^(\S+) .*/\.pydbattach\.", support.read_file("/proc/%d/maps" % target.pid), re.M).group(1)
    return os.stat("/proc/%d/map_files/%s" % (target.pid, mapped))


@pytest.mark.parametrize("place", PLACES)
def test_planted_names_are_left_alone(place, victim, batch, tmp_path):
    """They are neither followed nor opened nor removed; a copy that an attach of ours has left there is."""
    target = victim(name="sleep", blocked=True, prefix=["unshare", "--mount", "--propagation", "private"])
    for before in PLACES[:PLACES.index(place) + 1]:
        enter(target, "mount -t tmpfs -o mode=1777%s none %s" % ("" if before == place else ",noexec", before))
    secret = tmp_path / "secret"
    secret.write_text("secret\n")
    enter(target, """cd %s
        touch -d -1hour .pydbattach.0.so
        setpriv --reuid %d --regid %d --clear-groups sh -ec '
            ln -s %s .pydbattach.link.so; mkfifo .pydbattach.fifo.so; mkdir .pydbattach.directory.so
            echo mine > .pydbattach.file.so; chmod 777 .pydbattach.f*; touch -h -d -1hour .pydbattach.[dfl]*'
        """ % (place, NOBODY, NOBODY, secret))
    planted = list_place(target, place)
    assert planted.count("\n") == 5
    watch = Watch("/proc/%d/root%s" % (target.pid, place))
    done = batch("-c", "p 6*7", target.pid)
    assert (done.returncode, done.stdout) == (0, "42\n"), done.stderr
    left, own = watch.close()
    assert left == ".pydbattach.0.so" and re.fullmatch(r"\.pydbattach\.[0-9a-f]{16}\.so", own)
    assert list_place(target, place) == planted.partition("\n")[2]
    library = find_library(target)
    assert (stat.S_IMODE(library.st_mode), library.st_uid, library.st_nlink) == (0o500, 0, 0)
    assert secret.read_text() == "secret\n"
    target.assert_unharmed()
    target.end()


# --- no room for the library


FULL = "mount -t tmpfs -o mode=1777,size=64k none %s; head -c 64k /dev/zero > %s/full"
HOW = {
    "full": (FULL, "No space left on device"),
    "small": ("mount -t tmpfs -o mode=1777,size=16k none %s # %s", "No space left on device"),
    "no file more": ("mount -t tmpfs -o mode=1777,nr_inodes=1 none %s # %s", "No space left on device"),
    "read-only": ("mount -t tmpfs -o ro none %s # %s", ""),
}


@pytest.mark.parametrize("how", sorted(HOW))
def test_no_room_for_the_library(how, victim, batch):
    """Nothing but one line comes of it; when there is room again, the attach works."""
    target = victim(name="sleep", blocked=True, prefix=["unshare", "--mount", "--propagation", "private"])
    command, reason = HOW[how]
    for place in PLACES:
        enter(target, command % (place, place))
    enter(target, "mount -o remount,bind,ro /")
    mappings = support.count_mappings(target.pid)
    done = batch("-c", "p 6*7", target.pid)
    assert (done.returncode, done.stdout) == (1, "")
    places = r"\(/tmp, /var/tmp, /dev/shm, (/run, )?its working directory\)"
    line = r"no place takes the library %s: " % places if reason else r"has no directory that it could load a library from %s" % places
    assert re.fullmatch("pydbattach: process %d:? %s%s\n" % (target.pid, line, reason), done.stderr), done.stderr
    assert support.count_mappings(target.pid) == mappings
    assert [list_place(target, place) for place in PLACES] == [""] * len(PLACES)
    target.assert_unharmed()
    enter(target, "umount /tmp; mount -t tmpfs -o mode=1777 none /tmp")
    done = batch("-c", "p 6*7", target.pid)
    assert (done.returncode, done.stdout) == (0, "42\n"), done.stderr
    assert list_place(target, "/tmp") == ""
    target.assert_unharmed()
    target.end()
