# test_dump_running.py - while a target runs, --dump invents nothing: each stack can exist, or is marked incomplete.
# SPDX-License-Identifier: MIT
#
# The source of victims/dump_chains.py tells which stacks can exist. PYDBATTACH_LOOKS: how often to look.

import ast
import collections
import json
import os

import pytest

import pythons
import support

LOOKS = int(os.environ.get("PYDBATTACH_LOOKS") or 250)
CHOSEN = [python for python in pythons.DUMP if python.name in ("3.8", "3.11", "3.12", "3.13", "sid3.15")] or [pythons.ONE]
DEEPEST = 24
# What is called by another name than its own.
NAMED = {"__init__": "Box"}


class Grammar:
    """Which function has which lines, and names which others in a line."""

    def __init__(self, source):
        self.lines, self.words = {}, collections.defaultdict(set)
        tree = ast.parse(source)
        self.lines["<module>"] = range(1, len(source.splitlines()) + 1)
        for node in ast.walk(tree):
            if isinstance(node, ast.FunctionDef):
                first = min([node.lineno] + [mark.lineno for mark in node.decorator_list])
                self.lines[node.name] = range(first, node.end_lineno + 1)
            elif isinstance(node, (ast.Name, ast.Attribute)):
                self.words[node.lineno].add(node.id if isinstance(node, ast.Name) else node.attr)

    def object_to(self, frames):
        """In words, why these frames of the victim (innermost first) cannot be; '' if they can."""
        for frame in frames[1:] if frames and frames[0]["line"] is None else frames:    # the end of `except ... as` has none
            if frame["line"] not in self.lines.get(frame["function"], ()):
                return "%s has no line %s" % (frame["function"], frame["line"])
        for inner, outer in zip(frames, frames[1:]):
            if NAMED.get(inner["function"], inner["function"]) not in self.words[outer["line"]]:
                return "line %d of %s does not call %s" % (outer["line"], outer["function"], inner["function"])
        return "%d frames" % len(frames) if len(frames) > DEEPEST else ""


def is_own(frame):
    """A relative path in some versions, an absolute one in others."""
    return os.path.basename(frame["file"]) == "dump_chains.py"


def object_to_thread(thread, grammar):
    """Why this thread cannot be as it is told, or ''."""
    frames, name = thread["frames"], thread["name"]
    own = [frame for frame in frames if is_own(frame)]
    begin = next((number for number, frame in enumerate(frames) if is_own(frame)), 0)
    objection = grammar.object_to(own)
    if objection:
        return objection
    if own and frames[begin:begin + len(own)] != own:
        return "foreign frames between"
    below = [frame["function"] for frame in frames[begin + len(own):]]
    if name == "MainThread":
        return "" if own and own[-1]["function"] == "<module>" and not below else "not the main thread's"
    if name and name.startswith("work_"):
        if not own or own[-1]["function"] != name or below != ["run", "_bootstrap_inner", "_bootstrap"]:
            return "not the thread's beginning"
        return "foreign frames in it" if begin and name != "work_short" else ""
    # One of those that come and go.
    if own and (own[-1]["function"] != "visit" or below not in (
            ["run", "_bootstrap_inner", "_bootstrap"], ["run", "_bootstrap_inner", "_context_run", "_bootstrap"])):
        return "not the beginning of a visit"
    return "foreign frames in a visit" if own and begin else ""


@pytest.mark.timeout(600)
@pytest.mark.parametrize("python", CHOSEN, ids=str)
def test_every_stack_can_exist(python, victim, batch):
    target = victim(python, name="dump_chains")
    grammar = Grammar(support.read_file(os.path.join(target.place, "dump_chains.py")))
    seen, incomplete, wrong, leaves = 0, 0, [], set()
    for _ in range(LOOKS):
        done = batch("--dump", "--json", target.pid)
        assert (done.returncode, done.stderr) == (0, "")
        process = json.loads(done.stdout)["processes"][0]
        assert [thread["state"] for thread in process["threads"]].count("holds the GIL") <= 1
        for thread in process["threads"]:
            if thread["ident"] is None:
                continue
            seen += 1
            incomplete += not thread["complete"]
            objection = thread["complete"] and object_to_thread(thread, grammar)
            if objection:
                stack = [(frame["function"], frame["file"], frame["line"]) for frame in thread["frames"]]
                wrong.append("%s (%s): %s: %r" % (thread["name"], thread["state"], objection, stack))
            leaves.update(frame["function"] for frame in thread["frames"])
    print("%s: %d stacks, %d incomplete, %d wrong" % (python, seen, incomplete, len(wrong)))
    assert wrong == [], "%d of %d:\n%s" % (len(wrong), seen, "\n".join(wrong[:5]))
    # Most threads wait for the GIL at any time, so most stacks must be whole, and in all places.
    assert incomplete < seen / 2
    assert {"first", "count", "prepare", "weigh", "fail"} <= leaves
    assert target.process.poll() is None and target.stderr == ""


def make_frame(function, line):
    return {"function": function, "file": "dump_chains.py", "line": line}


def test_grammar_objects_to_what_cannot_be():
    source = support.read_file(os.path.join(support.VICTIMS, "dump_chains.py"))
    lines = source.splitlines()
    grammar = Grammar(source)
    first, second, third = [make_frame(name, 1 + next(number for number, line in enumerate(lines) if text in line))
                            for name, text in [("first", "value = second("), ("second", "value += third("),
                                               ("third", "two = first(")]]
    assert grammar.object_to([third, second, first, third]) == ""
    assert "does not call third" in grammar.object_to([third, first])
    assert "does not call second" in grammar.object_to([second, third])
    assert "has no line" in grammar.object_to([make_frame("first", third["line"])])
    assert "has no line" in grammar.object_to([make_frame("nobody", third["line"])])
    assert "frames" in grammar.object_to([third, second, first] * 9)
