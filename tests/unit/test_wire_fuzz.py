# test_wire_fuzz.py - both ends of the channel, fed by libFuzzer: fuzz_library.c and fuzz_client.c.
# SPDX-License-Identifier: MIT
#
# CI has half a minute for each, `make fuzz` an hour (PYDBATTACH_FUZZ_SECONDS). What fails is shown with the input
# that did it; the same again: build/asan/fuzz-client FILE.

import base64
import os
import re
import struct
import subprocess

import pytest

import support

SECONDS = int(os.environ.get("PYDBATTACH_FUZZ_SECONDS") or 30)
# The same inputs are tried each time in CI, so that a failure is of the change that it comes with.
SEED = os.environ.get("PYDBATTACH_FUZZ_SEED") or "1"


def frames(*all_frames):
    return b"".join(kind.encode() + struct.pack("<I", len(payload)) + payload for kind, payload in all_frames)


def read_source(name, start, size):
    return support.read_file(os.path.join(support.TOP, name)).encode()[start:start + size]


def client_says():
    """What a client sends to the library: real sessions, and what is wrong with others."""
    pieces = [("P", b"%s\0%d\0%s" % (name.encode(), line, read_source(name + ".py", 2000, 600))) for name, line in (
        ("pythreadhacks", 1), ("pythreadhacks", 81), ("pyinjectcode", 1), ("pybreaks", 1), ("pycatch", 1), ("pyenter", 7))]
    start = ("S", b"thread worker-3\npid 4242\nrc alias pl pp locals()\nbatch 1\n")
    talk = [("W", b"80 24"), ("L", b"p 6*7"), ("C", b"2\x007\0p os.pa"), ("I", b""), ("L", b"breaks save f\0"),
            ("L", b"breaks load f\0break app.py:7\n"), ("E", b"")]
    whole = frames(*pieces, start, *talk, ("D", b""))
    return {
        "whole": whole, "no-payload": frames(start, *talk), "cut": whole[:-40], "after-detach": whole + whole,
        "fails": frames(("P", b"pyinjectcode\x001\0fail\n"), start), "unknown": frames(("L", b"p 1"), ("z", b"?"), ("L", b"p 2")),
        "too-long": frames(start) + b"L\xff\xff\xff\xff" + b"x" * 100, "one-too-long": b"L\x01\0\x10\0" + b"x" * 100,
        "no-line": frames(("P", b"pybreaks")), "no-text": frames(("P", b"pybreaks\x0012")), "no-number": frames(("P", b"pybreaks\0x\0y")),
        "number": frames(("P", b"pybreaks\x0099999999999999999999\0y")), "empty": frames(("P", b"")), "half-head": b"L\5\0",
    }


def target_says():
    """What a target sends to the client."""
    begin = [("G", b""), ("M", b"attached to 4242, python3.12, 2 threads"), ("T", b"blocked 1"), ("O", b"> app.py(3)f()\n"),
             ("Q", b"-> with self.stock_lock: # \xc3\xa4 'text' 0x1f\n"), ("R", b"(Pdb) ")]
    talk = [("O", b"<Order 3: \xe2\x82\xac 1>\n"), ("R", b"(Pdb) "), ("B", b"3 breakpoints\0break app.py:7\n"), ("R", b"(Pdb) "),
            ("C", b"os.path\nos.pardir\n"), ("T", b"stopped 2"), ("K", b"locals native"), ("M", b"no"), ("R", b"(com) ")]
    hostile = b"\x1b]0;title\x07\x1b[6n\x9b\xc2\x9b\xe2\x80\xae\xed\xa0\x80\xf4\x90\x80\x80\xff\0\x7f\r\n"
    whole = frames(*begin, *talk, *talk, ("X", b""))
    return {
        "whole": whole, "cut": whole[:-30], "after-bye": whole + whole, "error": frames(("F", b"no memory"), ("X", b"")),
        "hostile": frames(*begin, *[(kind, hostile) for kind in "OQMRCTKBF"], ("X", b"")), "halves": frames(*begin, ("O", b"\xe2"), ("O", b"\x82\xac")),
        "unknown": frames(*begin, ("z", b"?")), "too-long": frames(*begin) + b"O\xff\xff\xff\xff", "one-too-long": b"O\x01\0\x10\0",
        "reads": frames(*begin, *[("R", b"(Pdb) ")] * 30), "names": frames(*begin, ("C", b"a\x1b\n\n" + b"name\n" * 50)),
    }


SEEDS = {
    "library": (client_says, [b"\0\0", b"\0\1", b"\2\7"]),
    "client": (target_says, [b"\0@@@@\0", b"\1@@@@\1", b"\7@@@@\0", b"\x16\1@\x11@\3", b"\5\1\x1b@@\7", b"\x02\x1a\x1b\x1c\x1d\2"]),
}


@pytest.fixture(scope="module", autouse=True)
def built():
    done = subprocess.run(["make", "-C", support.TOP, "--no-print-directory", "fuzzers"],
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT, encoding="utf-8")
    assert done.returncode == 0, done.stdout


def write_seeds(which, place):
    say, heads = SEEDS[which]
    for number, head in enumerate(heads):
        for name, data in say().items():
            with open(os.path.join(place, "%s-%d" % (name, number)), "wb") as file:
                file.write(head + data)


@pytest.mark.timeout(2 * SECONDS + 600)
@pytest.mark.parametrize("which", ["library", "client"])
def test_what_the_other_side_makes_up_is_survived(which, tmp_path, record_property):
    found, seeds = tmp_path / "found", tmp_path / "seeds"
    found.mkdir()
    seeds.mkdir()
    write_seeds(which, seeds)
    done = subprocess.run([os.path.join(support.TOP, "build", "asan", "fuzz-" + which), "-max_total_time=%d" % SECONDS,
                           "-seed=" + SEED, "-max_len=8192", "-print_final_stats=1", "-artifact_prefix=%s/" % tmp_path,
                           str(found), str(seeds)],
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL, encoding="utf-8", errors="replace")
    inputs = re.search(r"^stat::number_of_executed_units: (\d+)$", done.stdout, re.M)
    guilty = [path for pattern in ("crash-*", "leak-*", "timeout-*", "oom-*") for path in tmp_path.glob(pattern)]
    assert (done.returncode, guilty) == (0, []) and inputs, "%s\nthe input that did it, in base64: %s" % (
        done.stdout[-6000:], [base64.b64encode(path.read_bytes()).decode() for path in guilty])
    assert int(inputs.group(1)) > len(SEEDS[which][0]()) * len(SEEDS[which][1])
    record_property("fuzzed", "wire parser of the %s: %d inputs in %d s" % (which, int(inputs.group(1)), SECONDS))
