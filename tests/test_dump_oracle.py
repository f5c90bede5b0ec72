# test_dump_oracle.py - is what --dump shows true? The target tells itself what it is like, standing still.
# SPDX-License-Identifier: MIT
#
# victims/dump_zoo.py has a thread for every kind of frame; sys._current_frames() and faulthandler are the witnesses.
# Then what no witness inside can tell: who holds the GIL, who collects garbage, who is in a subinterpreter.

import ast
import collections
import json
import os
import re

import pytest

import pythons
import support

every_python = pytest.mark.parametrize("python", pythons.DUMP, ids=str)

# What differs between a target that has just begun and one that has run long, is traced, is compiled ...:
# the first version that has it, arguments of the zoo, options and environment of the interpreter.
MODES = {
    "cold": (6, ["cold"], [], {}),
    "warm": (6, ["warm"], [], {}),
    "traced": (6, ["traced"], [], {}),
    "covered": (6, ["covered"], [], {}),
    "monitored": (12, ["monitored"], [], {}),
    "perf": (12, ["warm", "tame"], ["-X", "perf"], {}),         # a trampoline between each two frames
    "compiled": (14, ["warm"], [], {"PYTHON_JIT": "1"}),
}
ZOOS = [(python, mode) for mode, (first, _, _, _) in MODES.items() for python in pythons.DUMP
        if python.minor >= first and (mode != "covered" or python.site())
        and (mode, python.name) != ("perf", "3.13")]            # 3.13.0 crashes by itself
TEXT_AT_MOST = 4096         # characters of a name that are told
HANGING_MODULE = "import zoo\n\n\ndef hang():\n    zoo.stand()\n\n\nhang()\n"


@pytest.fixture
def dump(batch):
    """dump(pid, ...): the document of --dump --json, and its threads by native id."""
    def run(pid, *options, status=0):
        done = batch("--dump", "--json", *options, pid, seconds=120)
        assert (done.returncode, done.stderr) == (status, ""), done.stderr
        document = json.loads(done.stdout)
        assert len(document["processes"]) == 1
        return document["processes"][0]

    return run


def by_native_id(process):
    return {thread["native_id"]: thread for thread in process["threads"]}


def find_line(source, text):
    """The number of the one line that has this text."""
    found = [number for number, line in enumerate(source.splitlines(), 1) if text in line]
    assert len(found) == 1, text
    return found[0]


def cut(text):
    """A text as it is told: not endless, and a NUL by its picture."""
    return None if text is None else text[:TEXT_AT_MOST].replace("\0", "\u2400")


def is_same_frame(got, expected):
    function, qualified, file, line = expected
    return (got["function"], got["file"], got["line"]) == (function, file, line) \
        and got["qualified_name"] in ([qualified] if qualified is not None else [None, function])


def compare_frames(got, expected):
    """In words, the first difference between the frames of a thread and what its witness has seen; '' if none."""
    for number, (one, other) in enumerate(zip(got, expected)):
        if not is_same_frame(one, other):
            return "frame %d: %r, the witness has seen %r" % (
                number, tuple(one[key] for key in ("function", "qualified_name", "file", "line")), tuple(other))
    return "" if len(got) == len(expected) else "%d frames, the witness has seen %d" % (len(got), len(expected))


def compare_source(frames, name, lines):
    for frame in frames:
        if os.path.basename(frame["file"]) == name and (frame["source_changed"] or frame["source"] is None
                                      or frame["source"].strip() != lines[frame["line"] - 1].strip()):
            return "source %r of line %d" % (frame["source"], frame["line"])
    return ""


def escape(text):
    """A name as faulthandler writes it."""
    text = "".join(c if " " <= c <= "~" else "\\x%02x" % ord(c) if c <= "\xff" else
                   "\\u%04x" % ord(c) if c <= "\uffff" else "\\U%08x" % ord(c) for c in text[:500])
    return text


def read_faulthandler(text):
    """Frames by ident: (file, function, line), innermost first, no more than 100 of them."""
    found, frames = {}, []
    for line in text.splitlines():
        head = re.match(r"(?:Current thread|Thread) 0x([0-9a-f]+)", line)
        frame = re.match(r'  File "(.*)", line (\d+) in (.*)$', line)
        if head:
            frames = found[int(head.group(1), 16)] = []
        elif frame:
            frames.append((frame.group(1), frame.group(3), int(frame.group(2))))
        elif line.startswith("  File ") and "<shim>" not in line:
            frames.append(None)                 # a line that it does not know
    return found


def compare_faulthandler(thread, frames):
    for got, other in zip(thread["frames"], frames):
        if other and len(got["file"]) < 500 and len(got["function"]) < 500 and got["line"] is not None \
                and (escape(got["file"]), escape(got["function"]), got["line"]) != other:
            return "%r, faulthandler has seen %r" % (got, other)
    return ""


@pytest.mark.parametrize("python, mode", ZOOS, ids=str)
def test_every_frame_is_as_the_target_sees_it(python, mode, victim, dump):
    _, args, options, env = MODES[mode]
    if mode == "covered":
        env = {"PYTHONPATH": python.site()}
    target = victim(python, ready=False, name="dump_zoo", args=args, options=options, env=env,
                    files={"zoo_hanging_module.py": HANGING_MODULE})
    target.wait_ready(90)
    target.remember()
    try:
        check_zoo(target, dump)
    finally:
        if mode == "perf":
            os.unlink(python.outside("/tmp/perf-%d.map" % target.pid))


def wait_all_blocked(pid):
    """Until no thread has moved for a while."""
    def read_switches():
        return {tid: [line for line in support.read_file("/proc/%d/task/%d/status" % (pid, tid)).splitlines()
                      if "_switches" in line or line.startswith("State")] for tid in support.list_threads(pid)}

    def is_still():
        seen.append(read_switches())
        return len(seen) > 2 and seen[-1] == seen[-2] == seen[-3] and "R" not in [lines[0][7] for lines in seen[-1].values()]

    seen = []
    assert support.wait_until(is_still, 60, 0.02), "the zoo does not come to rest"


def check_zoo(target, dump):
    oracle = json.loads(support.read_file(os.path.join(target.place, "oracle.json")))
    handler = read_faulthandler(support.read_file(os.path.join(target.place, "faulthandler.txt")))
    name, lines = "dump_zoo.py", support.read_file(os.path.join(target.place, "dump_zoo.py")).splitlines()
    wait_all_blocked(target.pid)
    process = dump(target.pid)
    threads = by_native_id(process)
    wrong, agreed = [], 0
    for expected in oracle["threads"]:
        thread = threads.pop(expected["native_id"])
        difference = compare_frames(thread["frames"], expected["frames"]) or compare_source(thread["frames"], name, lines) \
            or compare_faulthandler(thread, handler.get(expected["ident"], []))
        facts = (thread["ident"], thread["name"], thread["state"], thread["system_call"], thread["complete"])
        told = (expected["ident"], cut(expected["name"]), "idle", "futex", True)
        if difference or facts != told:
            wrong.append("%s: %s" % (expected["animal"], difference or "%r, the witness has seen %r" % (facts, told)))
        agreed += expected["ident"] in handler
    assert wrong == [], "\n".join(wrong[:20])
    assert agreed > 50
    assert threads.pop(oracle["witness"])["frames"][0]["function"] == "witness"
    bare = [(thread["ident"], thread["interpreter"], thread["frames"], thread["state"], thread["system_call"])
            for thread in threads.values()]
    assert bare == [(None, None, [], "idle", "pause")] * oracle["bare"]
    numbers = [thread["number"] for thread in process["threads"]]
    assert sorted(numbers) == list(range(1, len(numbers) + 1))
    assert (process["pid"], process["error"], process["complete"]) == (target.pid, None, True)
    assert process["python"]["version"].startswith(target.python.version + ".")
    assert by_native_id(process)[target.pid]["number"] == 1
    target.assert_unharmed()


def wait_for_states(target, dump, main_state, waiter_state="waits for the GIL"):
    """Its main thread and its waiter, once they are in these states: what waits for the GIL looks up every 5 ms."""
    def look():
        threads = {thread["name"]: thread for thread in dump(target.pid)["threads"]}
        main, waiter = threads["MainThread"], threads["waiter"]
        seen.append((main["state"], waiter["state"]))
        return seen[-1] == (main_state, waiter_state) and (main, waiter)

    seen = []
    found = support.wait_until(look, 60)
    assert found, "only seen: %r" % collections.Counter(seen)
    return found


def own_frames(thread, name="dump_gil.py"):
    """(function, line) of the frames of the victim's own file."""
    return [(frame["function"], frame["line"]) for frame in thread["frames"] if os.path.basename(frame["file"]) == name]


@every_python
@pytest.mark.parametrize("how, function, text", [("sleep", "hold_asleep", "# asleep with the GIL"),
                                                 ("match", "hold_matching", "# matches for ever")])
def test_who_holds_the_gil_in_c_is_named(python, how, function, text, victim, dump):
    target = victim(python, name="dump_gil", args=[how])
    source = support.read_file(os.path.join(target.place, "dump_gil.py"))
    holder, waiter = wait_for_states(target, dump, "holds the GIL")
    assert own_frames(holder)[0] == (function, find_line(source, text))
    assert own_frames(waiter) == [("wait", find_line(source, "# wants the GIL"))]
    assert holder["complete"] and waiter["complete"]
    target.assert_unharmed()


@every_python
def test_garbage_collection_is_seen(python, victim, dump):
    target = victim(python, name="dump_gil", args=["collect"])
    source = support.read_file(os.path.join(target.place, "dump_gil.py"))
    # 3.6 keeps it in a static variable that nobody can find.
    main, _ = wait_for_states(target, dump, "holds the GIL" if python.minor == 6 else "collecting garbage")
    assert own_frames(main)[0] == ("collect", find_line(source, "# in the collector"))
    target.assert_unharmed()


@every_python
def test_finalizing_is_seen(python, victim, dump):
    target = victim(python, name="dump_gil", args=["finish"], blocked=True)
    main = by_native_id(dump(target.pid))[target.pid]
    assert main["state"] == "finalizing"
    assert [function for function, _ in own_frames(main)] == ["__del__"]
    target.assert_unharmed()


@pytest.mark.parametrize("python", [python for python in pythons.DUMP if python.minor >= 8], ids=str)
def test_subinterpreter_is_labelled(python, victim, dump):
    target = victim(python, name="dump_interpreters")
    oracle = json.loads(support.read_file(os.path.join(target.place, "oracle.json")))
    support.wait_blocked(target.pid, oracle["native_id"], 60)
    process = dump(target.pid)
    mains = [one["id"] for one in process["interpreters"] if one["main"]]
    others = [one["id"] for one in process["interpreters"] if not one["main"]]
    assert (mains, others) == ([0], [oracle["interpreter"]])
    entries = {thread["interpreter"]: thread for thread in process["threads"] if thread["native_id"] == oracle["native_id"]}
    assert compare_frames(entries[oracle["interpreter"]]["frames"], oracle["inside"]) == ""
    assert compare_frames(entries[0]["frames"], oracle["outside"]) == ""
    target.assert_unharmed()


def test_names_of_the_zoo_are_complete():
    """A new animal that nobody starts would be no judge."""
    tree = ast.parse(support.read_file(os.path.join(support.VICTIMS, "dump_zoo.py")))
    marked = [node.name for node in tree.body if isinstance(node, ast.FunctionDef)
              and any(getattr(mark, "id", "") in ("animal", "once", "untamed") for mark in node.decorator_list)]
    assert len(marked) == len(set(marked)) > 90
