# dump_lines.py - the line tables of a good part of the standard library, and the line that Python gives to each instruction.
# SPDX-License-Identifier: MIT
#
# Writes the records that unit/look_lines.c reads into the file `lines`.

import ctypes
import glob
import os
import struct
import time

line_of = ctypes.pythonapi.PyCode_Addr2Line
line_of.argtypes, line_of.restype = [ctypes.py_object, ctypes.c_int], ctypes.c_int
FILES_AT_MOST = 20


def write_code(file, code):
    table = code.co_linetable if hasattr(code, "co_linetable") else code.co_lnotab
    count = len(code.co_code) // 2
    lines = [line_of(code, 2 * number) for number in range(count)]
    file.write(struct.pack("=iii", code.co_firstlineno, len(table), count) + table + struct.pack("=%di" % count, *lines))
    for constant in code.co_consts:
        if hasattr(constant, "co_code"):
            write_code(file, constant)


with open("lines", "wb") as file:
    for path in sorted(glob.glob(os.path.join(os.path.dirname(os.__file__), "*.py")))[:FILES_AT_MOST]:
        with open(path, encoding="utf-8", errors="replace") as source:
            write_code(file, compile(source.read(), path, "exec"))
    far = "def f():\n a = 1" + "\n" * 70000 + " b = [\n1,\n a,\n" + "\n" * 500 + " a(\n)]\n"
    write_code(file, compile(far, "far", "exec"))
print("ready", flush=True)
time.sleep(3600)
