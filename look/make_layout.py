#!/usr/bin/env python3
# make_layout.py - makes layouts.h, the offsets of CPython's structs, from the headers of each version.
# SPDX-License-Identifier: MIT
#
#     look/make_layout.py > look/layouts.h                     from the interpreters of pyenv
#     look/make_layout.py INCLUDE_DIRECTORY... > look/layouts.h
#     look/make_layout.py --compare INCLUDE_DIRECTORY...       status 1 if layouts.h says something else
#
# An include directory is the one with patchlevel.h (".../include/python3.12"). For each version a small C
# program is compiled against its internal headers (Py_BUILD_CORE) and says offsetof() of every field below.
# A field that a version does not have is 0. From 3.13 on there are two more rows of each version: the same
# for free-threaded builds, and where in _Py_DebugOffsets the target itself tells the field.

import glob
import os
import re
import subprocess
import sys
import tempfile

HERE = os.path.dirname(os.path.abspath(__file__))
SPARE = 0       # in a row: this version has no such field

R, I, T, G, F, C = "_PyRuntimeState", "PyInterpreterState", "PyThreadState", "struct _gil_runtime_state", "FRAME", "PyCodeObject"

# name of the field in struct layout: [(first minor, last minor, C expression)], and its name in _Py_DebugOffsets
FIELDS = []


def at(struct, member):
    return "offsetof(%s, %s)" % (struct, member)


def field(name, *ways, told=None):
    """A field: ways are (first, last, expression), told is its place in _Py_DebugOffsets."""
    FIELDS.append((name, ways, told))


# -- the interpreter
field("runtime_initialized", (7, 15, at(R, "initialized")))
field("runtime_finalizing", (7, 8, at(R, "finalizing")), (9, 15, at(R, "_finalizing")), told="runtime_state.finalizing")
field("runtime_interpreters", (7, 15, at(R, "interpreters.head")), told="runtime_state.interpreters_head")
field("runtime_main", (7, 15, at(R, "interpreters.main")))
field("runtime_main_thread", (8, 15, at(R, "main_thread")))
field("runtime_gil", (7, 11, at(R, "ceval.gil")))
field("runtime_collecting", (7, 8, at(R, "gc.collecting")))
field("interpreter_next", (6, 11, at(I, "next")), (12, 15, at(I, "next")), told="interpreter_state.next")
field("interpreter_id", (7, 15, at(I, "id")), told="interpreter_state.id")
field("interpreter_threads", (6, 10, at(I, "tstate_head")), (11, 15, at(I, "threads.head")), told="interpreter_state.threads_head")
field("interpreter_modules", (6, 11, at(I, "modules")), (12, 15, at(I, "imports.modules")), told="interpreter_state.imports_modules")
field("interpreter_gil", (12, 15, at(I, "ceval.gil")), told="interpreter_state.ceval_gil")
field("interpreter_gc", (9, 15, at(I, "gc")), told="interpreter_state.gc")
field("gc_collecting", (7, 15, at("struct _gc_runtime_state", "collecting")), told="gc.collecting")
field("gil_holder", (7, 15, at(G, "last_holder")))
field("gil_locked", (7, 15, at(G, "locked")))
field("gil_switches", (7, 15, at(G, "switch_number")))
field("gil_size", (7, 15, "sizeof(%s)" % G))
field("thread_next", (6, 15, at(T, "next")), told="thread_state.next")
field("thread_interpreter", (6, 15, at(T, "interp")), told="thread_state.interp")
field("thread_frame", (6, 10, at(T, "frame")), (13, 15, at(T, "current_frame")), told="thread_state.current_frame")
field("thread_cframe", (11, 12, at(T, "cframe")))
field("cframe_frame", (11, 12, at("_PyCFrame", "current_frame")))
field("thread_ident", (6, 15, at(T, "thread_id")), told="thread_state.thread_id")
field("thread_native_id", (11, 15, at(T, "native_thread_id")), told="thread_state.native_thread_id")
field("thread_status", (12, 15, at(T, "_status")), told="thread_state.status")
field("thread_breaker", (14, 15, at(T, "eval_breaker")), told="debugger_support.eval_breaker")

# -- the slot of each thread for a script (PEP 768)
field("thread_remote", (14, 15, at(T, "remote_debugger_support")), told="debugger_support.remote_debugger_support")
field("remote_enabled", (14, 15, at(I, "config.remote_debug")), told="debugger_support.remote_debugging_enabled")
field("remote_pending", (14, 15, at("_PyRemoteDebuggerSupport", "debugger_pending_call")), told="debugger_support.debugger_pending_call")
field("remote_path", (14, 15, at("_PyRemoteDebuggerSupport", "debugger_script_path")), told="debugger_support.debugger_script_path")
field("remote_audits", (14, 15, at(R, "audit_hooks.head")))
field("remote_own_audits", (14, 15, at(I, "audit_hooks")))
field("remote_path_size", (14, 15, "_Py_MAX_SCRIPT_PATH_SIZE"), told="debugger_support.debugger_script_path_size")

# -- frames: PyFrameObject up to 3.10, _PyInterpreterFrame after it
field("frame_size", (6, 10, at(F, "f_localsplus")), (11, 15, at(F, "localsplus")), told="interpreter_frame.localsplus")
field("frame_previous", (6, 10, at(F, "f_back")), (11, 15, at(F, "previous")), told="interpreter_frame.previous")
field("frame_code", (6, 12, at(F, "f_code")), (13, 15, at(F, "f_executable")), told="interpreter_frame.executable")
field("frame_instruction", (6, 10, at(F, "f_lasti")), (11, 12, at(F, "prev_instr")), (13, 15, at(F, "instr_ptr")),
      told="interpreter_frame.instr_ptr")
field("frame_locals", (6, 10, at(F, "f_localsplus")), (11, 15, at(F, "localsplus")), told="interpreter_frame.localsplus")
field("frame_owner", (11, 15, at(F, "owner")), told="interpreter_frame.owner")
field("frame_bytecode", (14, 15, "FRAME_TLBC"), told="interpreter_frame.tlbc_index")

# -- code objects
field("code_size", (6, 10, "sizeof(%s)" % C), (11, 15, at(C, "co_code_adaptive")), told="code_object.co_code_adaptive")
field("code_arguments", (6, 15, at(C, "co_argcount")), told="code_object.argcount")
field("code_keyword_only", (6, 15, at(C, "co_kwonlyargcount")))
field("code_local_count", (6, 15, at(C, "co_nlocals")))
field("code_locals_plus", (11, 15, at(C, "co_nlocalsplus")))
field("code_flags", (6, 15, at(C, "co_flags")))
field("code_first_line", (6, 15, at(C, "co_firstlineno")), told="code_object.firstlineno")
field("code_file", (6, 15, at(C, "co_filename")), told="code_object.filename")
field("code_name", (6, 15, at(C, "co_name")), told="code_object.name")
field("code_qualified_name", (11, 15, at(C, "co_qualname")), told="code_object.qualname")
field("code_lines", (6, 9, at(C, "co_lnotab")), (10, 15, at(C, "co_linetable")), told="code_object.linetable")
field("code_bytes", (6, 10, at(C, "co_code")))
field("code_adaptive", (11, 15, at(C, "co_code_adaptive")), told="code_object.co_code_adaptive")
field("code_first_traceable", (11, 15, at(C, "_co_firsttraceable")))
field("code_thread_local", (14, 15, "CODE_TLBC"), told="code_object.co_tlbc")
field("code_variables", (6, 10, at(C, "co_varnames")))
field("code_cells", (6, 10, at(C, "co_cellvars")))
field("code_free", (6, 10, at(C, "co_freevars")))
field("code_local_names", (11, 15, at(C, "co_localsplusnames")), told="code_object.localsplusnames")
field("code_local_kinds", (11, 15, at(C, "co_localspluskinds")), told="code_object.localspluskinds")

# -- objects
field("object_type", (6, 15, at("PyObject", "ob_type")), told="pyobject.ob_type")
field("object_size", (6, 15, "sizeof(PyObject)"), told="pyobject.size")
field("var_size", (6, 15, at("PyVarObject", "ob_size")))
field("var_items", (6, 15, "sizeof(PyVarObject)"))
field("type_size", (6, 15, "sizeof(PyTypeObject)"), told="type_object.size")
field("type_name", (6, 15, at("PyTypeObject", "tp_name")), told="type_object.tp_name")
field("type_flags", (6, 15, at("PyTypeObject", "tp_flags")), told="type_object.tp_flags")
field("type_basic_size", (6, 15, at("PyTypeObject", "tp_basicsize")))
field("type_item_size", (6, 15, at("PyTypeObject", "tp_itemsize")))
field("type_dict_offset", (6, 15, at("PyTypeObject", "tp_dictoffset")))
field("type_base", (6, 15, at("PyTypeObject", "tp_base")))
field("type_dict", (6, 15, at("PyTypeObject", "tp_dict")))
field("type_mro", (6, 15, at("PyTypeObject", "tp_mro")))
field("type_cached_keys", (6, 15, at("PyHeapTypeObject", "ht_cached_keys")))
field("managed_dict", (11, 15, "-(MANAGED_DICT)"))      # so many bytes before the object
field("dict_used", (6, 15, at("PyDictObject", "ma_used")))
field("dict_keys", (6, 15, at("PyDictObject", "ma_keys")), told="dict_object.ma_keys")
field("dict_values", (6, 15, at("PyDictObject", "ma_values")), told="dict_object.ma_values")
field("values_items", (6, 10, "0"), (11, 12, "0"), (13, 15, at("PyDictValues", "values")))
field("keys_log2_size", (11, 15, at("PyDictKeysObject", "dk_log2_size")))
field("keys_log2_index_bytes", (11, 15, at("PyDictKeysObject", "dk_log2_index_bytes")))
field("keys_kind", (11, 15, at("PyDictKeysObject", "dk_kind")))
field("keys_size", (6, 10, at("KEYS", "dk_size")))
field("keys_entry_count", (6, 10, at("KEYS", "dk_nentries")), (11, 15, at("PyDictKeysObject", "dk_nentries")))
field("keys_indices", (6, 10, "KEYS_INDICES"), (11, 15, at("PyDictKeysObject", "dk_indices")))
field("unicode_length", (6, 15, at("PyASCIIObject", "length")), told="unicode_object.length")
field("unicode_state", (6, 15, at("PyASCIIObject", "state")), told="unicode_object.state")
field("unicode_ascii_size", (6, 15, "sizeof(PyASCIIObject)"), told="unicode_object.asciiobject_size")
field("unicode_compact_size", (6, 15, "sizeof(PyCompactUnicodeObject)"))
field("unicode_data", (6, 15, at("PyUnicodeObject", "data")))
field("unicode_kind_shift", (6, 15, "FIRST_BIT(kind)"))
field("unicode_compact_shift", (6, 15, "FIRST_BIT(compact)"))
field("unicode_ascii_shift", (6, 15, "FIRST_BIT(ascii)"))
field("bytes_items", (6, 15, at("PyBytesObject", "ob_sval")), told="bytes_object.ob_sval")
field("long_size", (6, 11, at("PyLongObject", "ob_base.ob_size")), (12, 15, at("PyLongObject", "long_value.lv_tag")),
      told="long_object.lv_tag")
field("long_digits", (6, 11, at("PyLongObject", "ob_digit")), (12, 15, at("PyLongObject", "long_value.ob_digit")),
      told="long_object.ob_digit")
field("float_value", (6, 15, at("PyFloatObject", "ob_fval")), told="float_object.ob_fval")
field("list_items", (6, 15, at("PyListObject", "ob_item")), told="list_object.ob_item")
field("tuple_items", (6, 15, at("PyTupleObject", "ob_item")), told="tuple_object.ob_item")
field("set_used", (6, 15, at("PySetObject", "used")))
field("set_table", (6, 15, at("PySetObject", "table")))
field("set_mask", (6, 15, at("PySetObject", "mask")))
field("module_dict", (6, 15, "MODULE_DICT"))

# -- values (values.c)
field("type_qualified_name", (6, 15, at("PyHeapTypeObject", "ht_qualname")))
field("unicode_wide", (6, 11, at("PyASCIIObject", "wstr")))
field("bytearray_start", (6, 15, at("PyByteArrayObject", "ob_start")))
field("function_qualified_name", (6, 15, at("PyFunctionObject", "func_qualname")))
field("generator_qualified_name", (6, 15, at("PyGenObject", "gi_qualname")))
field("module_name", (6, 12, "MODULE_DICT + 4 * sizeof(void *)"), (13, 15, at("PyModuleObject", "md_name")))
field("frame_mapping", (6, 15, at(F, "f_locals")))
field("frame_globals", (6, 15, at(F, "f_globals")))
# ... and what is not a place but a manner
field("has_tagged_lengths", (12, 15, "1"))          # of int: length << 3 | sign; before: a signed length
field("has_tagged_references", (14, 15, "1"))       # in frames: bits 0 and 1 are no part of the address
field("has_count_flags", (14, 15, "1"))             # a reference count has 32 bits
field("has_prefixed_values", (11, 12, "1"))         # split dictionary: the order of its values is before them
field("has_inline_values", (13, 15, "1"))           # ... is behind them, and they may be in the object itself
field("has_values_pointer", (11, 11, "1"))          # values of an instance: a word of their own before its dictionary
field("has_tagged_values", (12, 12, "1"))           # ... one word for either, bit 0 tells

PROGRAM = r"""
#define Py_BUILD_CORE 1
#define Py_BUILD_CORE_MODULE 1
#include <Python.h>
#include <frameobject.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
%(includes)s
static unsigned first_bit(const void *state, size_t size) {
    const unsigned char *byte = state;
    for (unsigned i = 0; i < size * 8; i++)
        if (byte[i / 8] >> i %% 8 & 1)
            return i;
    return 0;
}
static unsigned bit_of_kind(void) { PyASCIIObject o; memset(&o, 0, sizeof o); o.state.kind = 1; return first_bit(&o.state, sizeof o.state); }
static unsigned bit_of_compact(void) { PyASCIIObject o; memset(&o, 0, sizeof o); o.state.compact = 1; return first_bit(&o.state, sizeof o.state); }
static unsigned bit_of_ascii(void) { PyASCIIObject o; memset(&o, 0, sizeof o); o.state.ascii = 1; return first_bit(&o.state, sizeof o.state); }
#define FIRST_BIT(name) bit_of_##name()
%(defines)s
int main(void) {
%(lines)s
    return 0;
}
"""

# Objects/dict-common.h is not installed up to 3.10.
OLD_KEYS = """typedef struct { Py_ssize_t dk_refcnt, dk_size; void *dk_lookup; Py_ssize_t dk_usable, dk_nentries; char dk_indices[]; } KEYS;
#define KEYS_INDICES offsetof(KEYS, dk_indices)"""
# Objects/moduleobject.c, and a header from 3.11 on
MODULE = "#define MODULE_DICT sizeof(PyObject)"


def read_version(include):
    text = open(os.path.join(include, "patchlevel.h"), encoding="utf-8").read()
    return int(re.search(r"^#define PY_MINOR_VERSION\s+(\d+)", text, re.M).group(1))


def list_includes(minor):
    names = {7: ["internal/pystate.h"], 8: ["internal/pycore_pystate.h"]}
    if minor <= 6:
        return []
    wanted = names.get(minor, ["internal/pycore_interp.h", "internal/pycore_runtime.h", "internal/pycore_gil.h"])
    if minor >= 11:
        wanted += ["internal/pycore_frame.h", "internal/pycore_dict.h", "internal/pycore_code.h", "internal/pycore_object.h"]
    if minor >= 13:
        wanted.append("internal/pycore_moduleobject.h")
    if minor >= 14:
        wanted += ["internal/pycore_interpframe.h", "internal/pycore_interpframe_structs.h"]
    return wanted


def define_differences(minor, free_threaded):
    lines = ["typedef %s FRAME;" % ("_PyInterpreterFrame" if minor >= 11 else "struct _frame"), MODULE]
    if minor <= 10:
        lines.append(OLD_KEYS)
    if minor in (11, 12):
        lines.append("#define MANAGED_DICT (-3 * (int)sizeof(void *))")     # Objects/dictobject.c
    if minor >= 13:
        lines.append("#define MANAGED_DICT MANAGED_DICT_OFFSET")
    lines.append("#define FRAME_TLBC " + ("offsetof(FRAME, tlbc_index)" if free_threaded else "0"))
    lines.append("#define CODE_TLBC " + ("offsetof(PyCodeObject, co_tlbc)" if free_threaded else "0"))
    return "\n".join(lines)


def run(include, minor, lines, *flags, free_threaded=False):
    source = PROGRAM % {"includes": "".join("#include <%s>\n" % name for name in list_includes(minor)),
                        "defines": define_differences(minor, free_threaded), "lines": "\n".join(lines)}
    architecture = glob.glob(os.path.join(os.path.dirname(include), "*-linux-gnu"))     # Debian's pyconfig.h is there
    with tempfile.TemporaryDirectory() as place:
        program = os.path.join(place, "offsets")
        subprocess.run(["cc", "-w", "-std=gnu11", "-x", "c", "-", "-o", program, "-I", include, "-I", os.path.dirname(include)]
                       + ["-I" + directory for directory in [os.path.join(include, "internal")] + architecture
                          + [os.path.join(a, os.path.basename(include)) for a in architecture]] + list(flags),
                       input=source, encoding="utf-8", check=True)
        return subprocess.run([program], stdout=subprocess.PIPE, encoding="utf-8", check=True).stdout


def make_row(include, minor, free_threaded):
    lines = ['    printf("    {.version = 0x03%02x, .free_threaded = %d");' % (minor, free_threaded)]
    for name, ways, _ in FIELDS:
        for first, last, expression in ways:
            if first <= minor <= last:
                lines.append('    printf(", .%s = %%ld", (long)(%s));' % (name, expression))
    lines.append('    printf("},\\n");')
    return run(include, minor, lines, *(["-DPy_GIL_DISABLED=1"] if free_threaded else []), free_threaded=free_threaded)


def make_told_row(include, minor):
    """Where _Py_DebugOffsets has each field, in bytes from its start; 0: it does not tell."""
    text = open(os.path.join(include, "internal", "pycore_debug_offsets.h" if minor >= 14 else "pycore_runtime.h"),
                encoding="utf-8").read()
    text = text[text.index("typedef struct _Py_DebugOffsets"):text.index("} _Py_DebugOffsets;")]
    has = {"%s.%s" % (group.group(2), member) for group in re.finditer(r"struct[^{;]*\{([^{}]*)\}\s*(\w+);", text)
           for member in re.findall(r"uint64_t (\w+);", group.group(1))}
    lines = ['    printf("    {.version = 0x03%02x, .size = %%ld, .at = {.version = 0x03%02x", (long)sizeof(_Py_DebugOffsets));'
             % (minor, minor)]
    for name, _, told in FIELDS:
        if told in has:
            lines.append('    printf(", .%s = %%ld", (long)offsetof(_Py_DebugOffsets, %s));' % (name, told))
    lines.append('    printf("}},\\n");')
    return run(include, minor, lines)


def find_includes():
    pyenv = os.environ.get("PYENV_ROOT") or os.path.expanduser("~/.pyenv")
    found = {}
    for path in sorted(glob.glob(pyenv + "/versions/3.*/include/python3*")):
        found[read_version(path)] = path
    return [found[minor] for minor in sorted(found) if 6 <= minor <= 15]


def wrap(row):
    """The row in lines of a readable length."""
    lines, line = [], ""
    for word in row.strip().split(" "):
        if len(line) + len(word) > 118:
            lines.append(line)
            line = "    "
        line += (" " if line.strip() else "") + word
    return "    " + "\n    ".join(lines + [line]) + "\n"


def make(includes):
    rows, told = [], []
    for include in includes:
        minor = read_version(include)
        for free_threaded in [0, 1][:1 + (minor >= 13)]:
            rows.append(wrap(make_row(include, minor, free_threaded)))
        if minor >= 13:
            told.append(wrap(make_told_row(include, minor)))
    return rows, told


HEAD = """/* SPDX-License-Identifier: MIT
 * layouts.h - made by look/make_layout.py from CPython's headers: change that script, not this file.
 */
"""


def main(arguments):
    compare = arguments[:1] == ["--compare"]
    rows, told = make(arguments[compare:] or find_includes())
    if compare:
        known = open(os.path.join(HERE, "layouts.h"), encoding="utf-8").read().replace(" \\\n", "\n")
        wrong = [row for row in rows + told if row.rstrip(",\n") not in known]
        sys.stdout.write("".join(wrong))
        return 1 if wrong else 0
    fields = "".join(" \\\n    field(%s)" % name for name, _, _ in FIELDS)
    print(HEAD + "#define EACH_FIELD(field)" + fields + "\n")
    print("#define LAYOUT_ROWS \\\n" + "".join(rows).rstrip("\n").replace("\n", " \\\n") + "\n")
    print("/* Where _Py_DebugOffsets tells it; .at fields that are 0 are not told. */")
    print("#define TOLD_ROWS \\\n" + "".join(told).rstrip("\n").replace("\n", " \\\n"))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
