# test_dump_attach.py - the attach has eyes: who holds the GIL and where, all stacks while it waits, and in the session.
# SPDX-License-Identifier: MIT

import re

import pytest

import pythons

every_python = pytest.mark.parametrize("python", pythons.ALL, ids=str)

# What holds the GIL, and the line that says where: the innermost function, and the innermost line of the program.
# Up to 3.8 the name of a script is as it was typed; 3.15 has given match() a second name.
HOLDERS = {
    "catastrophic_re": ("40", r"in re\.(match|prefixmatch)\(\), (\S*/)?catastrophic_re\.py:11"),
    "pydll_sleep": ("8", r"in call\(\), (\S*/)?pydll_sleep\.py:13"),
}


def held(where):
    return (r"pydbattach: thread 1 holds the GIL and has not let go for 1 s: %s\r\n"
            r"pydbattach: waiting; d and Enter shows all stacks, Ctrl-C gives up\r\n" % where)


@every_python
@pytest.mark.parametrize("name", sorted(HOLDERS))
def test_holder_of_the_gil_is_named_and_d_shows_its_stack(python, name, victim, attach):
    argument, where = HOLDERS[name]
    target = victim(python, name, args=[argument])
    session = attach(target.pid, wait=False, seconds=60, NO_COLOR="1")
    session.expect(held(where))
    session.send("d\n")
    shown = session.expect(r"<module>, [^\r\n]*:\d+[^\r\n]*\r\n")
    assert "process %d: " % target.pid in shown
    assert re.search(r'^thread 1 "[^"]*" \(%d\): holds the GIL' % target.pid, shown, re.M)
    assert re.search(r"^    (parse|call)\(\), \S+\.py:1[13]$", shown, re.M)
    session.interrupt()
    assert session.finish(20) == 1
    assert session.screen.endswith("pydbattach: gave up; %d runs on\n" % target.pid)
    target.end()


@every_python
def test_prompt_comes_after_a_look(python, victim, attach):
    """The GIL comes at last; what was typed meanwhile is the answer to the first prompt."""
    target = victim(python, "pydll_sleep", args=["6"])
    session = attach(target.pid, wait=False, seconds=60, NO_COLOR="1")
    session.expect(held(HOLDERS["pydll_sleep"][1]))
    session.send("p 6*7\n")
    session.send("d\n")
    session.expect(r'thread 1 "[^"]*" \(%d\): holds the GIL' % target.pid)
    session.expect("attached to %d" % target.pid)
    session.expect(r"\n42\r\n")
    session.prompt()
    session.quit()
    target.assert_unharmed(stdout="ready\nback\n")
    target.end()


@pytest.mark.parametrize("name", sorted(HOLDERS))
def test_holder_of_the_gil_is_named_without_a_terminal(name, victim, batch):
    argument, where = HOLDERS[name]
    target = victim(pythons.ONE, name, args=[argument])
    done = batch("-c", "p 1", "--timeout", "3", target.pid)
    assert (done.returncode, done.stdout) == (1, "")
    assert re.fullmatch(r"pydbattach: thread 1 holds the GIL and has not let go for 1 s: %s\n"
                        r"pydbattach: waiting; Ctrl-C gives up\n"
                        r"pydbattach: no prompt from %d within 3 s; detached\n"
                        r"(pydbattach: %d has not confirmed the detach .*\n)?" % (where, target.pid, target.pid),
                        done.stderr)
    target.end()


def test_worker_that_holds_the_gil_is_named(victim, attach):
    """Its number is that of `threads`; a method, of a class in the program."""
    target = victim(pythons.ONE, source="""
import ctypes, threading
class Worker(threading.Thread):
    def run(self):
        print("ready", flush=True)
        ctypes.PyDLL(None).sleep(60)
worker = Worker(name="packer", daemon=True)
worker.start()
worker.join()
""")
    session = attach(target.pid, wait=False, seconds=60, NO_COLOR="1")
    function = r"Worker\.run" if pythons.ONE.minor >= 11 else "run"
    session.expect(held(r"in %s\(\), \S+\.py:6" % function).replace("thread 1", "thread 2"))
    session.interrupt()
    assert session.finish(20) == 1


@every_python
def test_dump_in_the_session(python, victim, attach):
    """All threads with their frames; then the session goes on where it was."""
    target = victim(python, "deadlock", blocked=True)
    session = attach(target.pid, seconds=60, NO_COLOR="1")
    shown = session.cmd("dump")
    assert "process %d: " % target.pid in shown
    assert re.search(r'^thread 1 "MainThread" \(%d\): ' % target.pid, shown, re.M)
    assert re.search(r"^    wait_for_both\(\), \S+:25$", shown, re.M)
    assert re.search(r"^2 threads: (there … back|back … there) \(2-3\): ", shown, re.M)     # one stack twice
    assert re.search(r"^    transfer\(\), \S+:13$", shown, re.M)
    assert "(Pdb) " not in shown
    assert session.cmd("p 6*7").strip() == "42"
    assert session.cmd("dump everything").strip() == "*** dump takes: locals, native"
    assert "All stacks, read from outside" in session.cmd("help dump")
    session.quit()
    target.assert_unharmed()


@pytest.mark.parametrize("python", pythons.ENDS, ids=str)
def test_dump_with_c_frames_and_variables_in_the_session(python, victim, attach, batch):
    target = victim(python, "deadlock", blocked=True)
    session = attach(target.pid, seconds=60, NO_COLOR="1")
    shown = session.cmd("dump native")
    assert re.search(r"^    \S.*, \S+/libc\.so\.6(\+0x[0-9a-f]+)?$", shown, re.M)
    assert "(no C frames" not in shown
    assert re.search(r"^ +secret = 1004$", session.cmd("dump locals"), re.M)
    session.quit()
    target.assert_unharmed()
    done = batch("-c", "dump native", "-c", "p 6*7", target.pid)
    assert done.returncode == 0
    assert done.stdout.startswith("process %d: " % target.pid) and done.stdout.endswith("\n42\n")
    target.assert_unharmed()


@every_python
def test_list_tells_version_and_threads(python, victim, batch):
    target = victim(python, "many_threads", args=["20"], blocked=True)
    done = batch("--list")
    assert done.returncode == 0
    row, = [line.split() for line in done.stdout.splitlines() if line.split()[0] == str(target.pid)]
    version = re.fullmatch(r"%s\.\d+((a|b|rc)\d+)?" % re.escape(python.version), row[2])
    assert version, row
    assert row[3] == str(len(target.before.threads))
    target.assert_unharmed()
