# test_look_lines.py - lines.c against each interpreter's own PyCode_Addr2Line, for a good part of its standard library.
# SPDX-License-Identifier: MIT

import os
import subprocess

import pytest

import pythons
import support

HERE = os.path.dirname(os.path.abspath(__file__))


@pytest.fixture(scope="session")
def look_lines(tmp_path_factory):
    path = str(tmp_path_factory.mktemp("lines") / "look_lines")
    subprocess.run(["gcc", "-std=gnu11", "-g", "-fsanitize=address,undefined", "-fno-sanitize-recover=all", "-I", support.TOP,
                    os.path.join(HERE, "look_lines.c"), os.path.join(support.TOP, "look", "lines.c"), "-o", path], check=True)
    return path


@pytest.mark.parametrize("python", pythons.DUMP, ids=str)
def test_every_instruction_has_its_line(python, look_lines, victim):
    target = victim(python, name="dump_lines", ready=False)
    target.wait_ready(60)
    with open(os.path.join(target.place, "lines"), "rb") as file:
        done = subprocess.run([look_lines, "0x03%02x" % python.minor], stdin=file, stdout=subprocess.PIPE, encoding="utf-8")
    assert done.returncode == 0, done.stdout
    assert int(done.stdout) > 20000
