# test_dump_locals.py - does --dump --locals say what the target itself says of its variables?
# SPDX-License-Identifier: MIT

import json
import os
import re

import pytest

import pythons
import support
from test_dump_core import make_core

every_python = pytest.mark.parametrize("python", pythons.DUMP, ids=str)
ALL_OF_IT = ["--depth", 20, "--length", 10000, "--width", 99999]


def dump(batch, pid, *options):
    done = batch("--dump", "--locals", *options, pid)
    assert (done.returncode, done.stderr) == (0, ""), done.stderr
    return done.stdout


def end(target):
    target.end(status=1 if target.python.minor < 8 else -2)      # 3.8: killed by the signal, not exit(1)


def read_frames(text):
    """The frames of a text: [name, {variable: value}], innermost first."""
    frames = []
    for line in text.splitlines():
        head = re.match(r"    (\S.*?)(?:\(\))?, .*:\d+$", line)
        variable = re.match(r"          ([\w.]+) = (.*)$", line)
        if head:
            frames.append([head.group(1).rsplit(".", 1)[-1], {}])
        elif variable:
            frames[-1][1][variable.group(1)] = variable.group(2)
    return frames


def read_expected(target):
    with open(os.path.join(target.place, "expected"), encoding="utf-8") as file:
        return json.load(file)


def find_frame(document, function):
    return next(frame for process in document["processes"] for thread in process["threads"] for frame in thread["frames"]
                if frame["function"] == function)


@every_python
def test_each_value_of_the_zoo_is_what_the_target_says(python, victim, batch):
    target = victim(python, name="zoo", blocked=True, options=["-W", "ignore"])
    expected = read_expected(target)
    text = dump(batch, target.pid, *ALL_OF_IT)
    shown = dict(read_frames(text))["zoo"]
    assert not [c for c in text if ord(c) < 32 and c != "\n" or 0x7f <= ord(c) < 0xa0 or 0x202a <= ord(c) <= 0x202e]
    del shown["values"]
    wrong = [(name, value, shown.get(name)) for name, value, _, _ in expected if shown.get(name) != value]
    assert wrong == []
    assert len(shown) == len(expected) > 200
    frame = find_frame(json.loads(dump(batch, target.pid, "--json", *ALL_OF_IT)), "zoo")
    assert frame["locals_state"] == "complete"
    for name, _, kind, plain in expected:
        said = frame["locals"][name]
        assert (said["type"], said["value"], type(said["value"])) == (kind.rsplit(".", 1)[-1], plain, type(plain)), name
        assert said["truncated"] == (str(plain).startswith("<int of") or "..." in str(plain)), name
    target.assert_unharmed()
    end(target)


@every_python
def test_variables_of_every_kind_of_frame(python, victim, batch):
    target = victim(python, name="scopes", blocked=True)
    expected = read_expected(target)
    shown = read_frames(dump(batch, target.pid, *ALL_OF_IT))
    assert shown[0][0] == "wait"
    # Inlined comprehensions (3.12) have no frame, neither there nor here.
    assert shown[1:] == expected
    assert len(expected) > 15
    target.assert_unharmed()
    end(target)


@pytest.mark.parametrize("python", pythons.ENDS, ids=str)
def test_variables_beside_c_frames_and_in_a_core_file_are_the_same(python, victim, batch, tmp_path):
    target = victim(python, name="scopes", blocked=True)
    expected = read_frames(dump(batch, target.pid, *ALL_OF_IT))
    assert read_frames(dump(batch, target.pid, "--native", *ALL_OF_IT)) == expected
    core = make_core(target.pid, tmp_path)
    target.assert_unharmed()
    root = [python.outside(python.path)] if python.root else []
    done = batch("--dump", "--locals", *ALL_OF_IT, "--core", core, *root)
    os.unlink(core)
    assert (done.returncode, done.stderr) == (0, "")
    assert read_frames(done.stdout) == expected


@pytest.mark.parametrize("python", pythons.ENDS, ids=str)
def test_what_is_too_big_is_cut_and_says_so(python, victim, batch):
    target = victim(python, name="limits", blocked=True)
    frame = find_frame(json.loads(dump(batch, target.pid, "--json")), "limits")
    quoted = dict(read_frames(dump(batch, target.pid)))["limits"]["quoted"]
    assert {name: said["value"] for name, said in frame["locals"].items() if said["truncated"]} == {
        "numbers": "[0, 1, 2, 3, 4, 5, 6, 7, 8, 9, ... 990 more]",
        "table": "{0: '0', 1: '1', 2: '2', 3: '3', 4: '4', 5: '5', 6: '6', 7: '7', 8: '8', 9: '9', ... 2 more}",
        "members": "{0, 1, 2, 3, 4, 5, 6, 7, 8, 9, ... 1 more}",
        "deep": "[[[[...]]]]",
        "text": "x" * 200,
        "quoted": "'\n" * 100,
        "data": "b'%s'..." % ("\\x00" * 49),
        "words": "[%s, 'word3word3word3word3word3word3word3w'...]" % ", ".join("'%s'" % ("word%d" % i * 10) for i in range(3)),
        "number": str(7 ** 300)[:200] + "...",
        "node": "Node(next=Node(...), items=[0, 1, 2, 3, 4, 5, 6, 7, 8, 9, ... 20 more])",
    }
    assert frame["locals"]["few"] == {"type": "tuple", "value": "(1, 2, 3)", "truncated": False}
    assert quoted == "\"%s'\"..." % ("'\\n" * 66)
    assert len(quoted) <= 210
    small = dict(read_frames(dump(batch, target.pid, "--depth", 1, "--length", 2, "--width", 30)))["limits"]
    assert small["deep"] == "[[...]]"
    assert small["few"] == "(1, 2, ... 1 more)"
    assert small["text"] == "'%s'..." % ("x" * 29)
    target.assert_unharmed()


def test_all_variables_together_have_a_limit(victim, batch):
    source = "import os\nreading, writing = os.pipe()\n\n\ndef long(text):\n%s    print('ready', flush=True)\n    os.read(reading, 1)\n\n\n" \
        % "".join("    v%d = text\n" % i for i in range(400)) + "long('x' * 60000)\n"
    target = victim(source=source, blocked=True)
    lines = dump(batch, target.pid, "--width", 99999).splitlines()
    variables = [line for line in lines if line.startswith("          v")]
    assert 270 < len(variables) < 290
    assert {line.split(" = ")[1] for line in variables} == {repr("x" * 60000)}
    remark = "          (the limit for all variables of a process is reached)"
    assert lines.count(remark) == 2         # of this frame, and that of the module
    assert lines[lines.index(variables[-1]) + 1] == remark
    assert find_frame(json.loads(dump(batch, target.pid, "--json", "--width", 99999)), "long")["locals_state"] == "limit"
    target.assert_unharmed()


@every_python
def test_what_changes_while_it_is_read_is_marked(python, victim, batch):
    target = victim(python, name="spin")
    for _ in range(20):
        done = batch("--dump", "--locals", "--json", target.pid)
        assert done.stderr == ""
        thread = json.loads(done.stdout)["processes"][0]["threads"][0]
        frames = {frame["function"]: frame for frame in thread["frames"]}
        if "hold" in frames and frames["hold"]["locals_state"] == "complete":
            assert frames["hold"]["locals"]["kept"]["value"] == "['kept']"
        said = frames.get("spin")
        if not said or said["locals_state"] != "complete":
            continue
        values = {name: one["value"] for name, one in said["locals"].items()}
        assert set(values) <= {"number", "pair", "text", "items"}
        if "<unreadable>" not in values.get("pair", "<unreadable>"):
            number = int(values["pair"][1:].split(",")[0])
            assert values["pair"] == "(%d, -%d)" % (number, number)
    assert support.is_alive(target.pid)
    assert target.stderr == ""


@pytest.mark.parametrize("option", ["--depth", "--length", "--width"])
@pytest.mark.parametrize("word", ["x", "", "0", "-1", "1000000"])
def test_a_limit_that_is_no_number_is_refused(option, word, batch):
    done = batch("--dump", "--locals", option, word, os.getpid())
    assert (done.returncode, done.stdout, done.stderr) == (2, "", "pydbattach: not a number: '%s'\n" % word)


@pytest.mark.parametrize("words", [["--locals"], ["--depth", "2"], ["--dump", "--locals", "--depth"]])
def test_limits_and_locals_belong_to_a_dump(words, batch):
    done = batch(*words, *([] if "--dump" in words else [os.getpid()]))
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("usage: pydbattach.sh ")
