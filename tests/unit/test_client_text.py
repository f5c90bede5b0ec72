# test_client_text.py - client/text.c and colour.c alone: what is escaped, what is not, in which locale.
# SPDX-License-Identifier: MIT

import ctypes
import os
import random
import re
import subprocess
import sys
import unicodedata

import pytest

from fake_target import TOP

UTF8, ONE_LINE = 1, 2


class Buffer(ctypes.Structure):
    _fields_ = [("data", ctypes.c_void_p), ("length", ctypes.c_size_t), ("room", ctypes.c_size_t)]

    def take(self):
        data = ctypes.string_at(self.data, self.length) if self.length else b""
        self.length = 0
        return data


class Rest(ctypes.Structure):
    _fields_ = [("bytes", ctypes.c_ubyte * 4), ("length", ctypes.c_int)]


@pytest.fixture(scope="module")
def library(tmp_path_factory):
    path = str(tmp_path_factory.mktemp("client") / "text.so")
    sources = [os.path.join(TOP, "client", name) for name in ("text.c", "colour.c")]
    subprocess.run([os.environ.get("CC", "cc"), "-std=gnu11", "-shared", "-fPIC", "-O1", "-I", TOP, "-o", path, *sources],
                   check=True)
    loaded = ctypes.CDLL(path)
    loaded.text_escape.restype = ctypes.c_size_t
    loaded.path = path
    return loaded


@pytest.fixture
def escape(library):
    """escape(bytes..., manner): several frames one after the other; the text and the number of escapes."""
    def run(*frames, manner=UTF8, finish=True):
        out, rest, count = Buffer(), Rest(), 0
        for frame in frames:
            count += library.text_escape(ctypes.byref(out), ctypes.byref(rest), frame, ctypes.c_size_t(len(frame)),
                                         manner)
        if finish:
            library.text_finish(ctypes.byref(out), ctypes.byref(rest))
        return out.take(), count

    return run


@pytest.mark.parametrize("text", ["", "plain", "tab\tand\nline", "Grüße, 世界, 😀", "e\u0301 combining",
                                  "family 👨\u200d👩\u200d👧"])
def test_what_can_be_shown_stays(escape, text):
    assert escape(text.encode()) == (text.encode(), 0)


@pytest.mark.parametrize("text, shown", [
    (b"\x1b[2J\x1b]0;title\x07", rb"\x1b[2J\x1b]0;title\x07"),
    (b"a\rb\x08c\x7f\x00", rb"a\x0db\x08c\x7f\x00"),
    ("\x9b31m\x85".encode(), rb"\x9b31m\x85"),
    ("\u202egnp.exe\u2066".encode(), rb"\u202egnp.exe\u2066"),
    ("\u2028\ufeff\U000e0041".encode(), rb"\u2028\ufeff\U000e0041"),
    (b"\xed\xb2\x80", rb"\xed\xb2\x80"),  # a lone surrogate
    (b"\xc0\xaf\xe0\x80\xaf\xf0\x80\x80\xaf", rb"\xc0\xaf\xe0\x80\xaf\xf0\x80\x80\xaf"),  # overlong
    (b"\xf4\x90\x80\x80\xff\xfe", rb"\xf4\x90\x80\x80\xff\xfe"),  # beyond Unicode
    (b"caf\xe9 \xe2\x82", rb"caf\xe9 \xe2\x82"),  # latin-1; cut off
])
def test_what_cannot_be_shown_is_escaped(escape, text, shown):
    assert escape(text)[0] == shown


def test_one_line_escapes_newlines(escape):
    assert escape(b"a\nb", manner=UTF8 | ONE_LINE) == (rb"a\x0ab", 1)


def test_characters_cut_between_frames_are_joined(escape):
    text = "a€😀é".encode()
    for first in range(len(text) + 1):
        for second in range(first, len(text) + 1):
            assert escape(text[:first], text[first:second], text[second:]) == (text, 0)


def test_a_character_whose_end_never_comes(escape):
    assert escape(b"\xe2\x82", b"x")[0] == rb"\xe2\x82x"
    assert escape(b"\xf0\x9f", b"\xf0\x9f\x98\x80")[0] == rb"\xf0\x9f" + "😀".encode()


def test_no_bytes_whatsoever_come_through_raw(escape):
    dice = random.Random(3)
    for _ in range(3000):
        frames = [bytes(dice.choice((dice.randrange(256), dice.choice(b"\xc3\xa9\xe2\x80\xae\xf0\x9f\x1b\n")))
                        for _ in range(dice.randrange(12))) for _ in range(dice.randrange(1, 4))]
        shown = escape(*frames)[0].decode("utf-8")  # and is UTF-8
        assert not [c for c in shown if unicodedata.category(c) in ("Cc", "Cs") and c not in "\n\t"]


def in_locale(library, locale, code):
    """Code that runs with text.c in another locale; what it prints, as bytes."""
    prologue = ("import ctypes, locale, sys; locale.setlocale(locale.LC_CTYPE, '');"
                "library = ctypes.CDLL(sys.argv[1]); sys.path.insert(0, sys.argv[2]);"
                "from test_client_text import Buffer; out = Buffer()\n")
    done = subprocess.run([sys.executable, "-c", prologue + code, library.path, os.path.dirname(__file__)],
                          env={**os.environ, "LC_ALL": locale, "PYTHONCOERCECLOCALE": "0", "PYTHONUTF8": "1"},
                          stdout=subprocess.PIPE, check=True)
    return done.stdout


@pytest.fixture(scope="module")
def latin_locale(tmp_path_factory):
    """A latin-1 locale of our own: machines have none."""
    place = tmp_path_factory.mktemp("locale")
    done = subprocess.run(["localedef", "-i", "POSIX", "-f", "ISO-8859-1", str(place / "xx_XX.ISO-8859-1")],
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    if not (place / "xx_XX.ISO-8859-1" / "LC_CTYPE").exists():
        pytest.skip("localedef cannot make a latin-1 locale: %s" % done.stdout[-200:])
    os.environ["LOCPATH"] = str(place)
    yield "xx_XX.ISO-8859-1"
    del os.environ["LOCPATH"]


ESCAPE = ("text = 'é€😀\\x1b'.encode(); library.text_escape(ctypes.byref(out), None, text, ctypes.c_size_t(len(text)), 0);"
          "sys.stdout.buffer.write(out.take())")
TYPED = ("text = %r; library.text_to_utf8(ctypes.byref(out), text, ctypes.c_size_t(len(text)), 0);"
         "sys.stdout.buffer.write(out.take())")


def test_c_locale_shows_ascii_only(library):
    assert in_locale(library, "C", ESCAPE) == rb"\xe9\u20ac\U0001f600\x1b"


def test_latin_locale_shows_its_characters(library, latin_locale):
    assert in_locale(library, latin_locale, ESCAPE) == b"\xe9" + rb"\u20ac\U0001f600\x1b"


def test_typed_in_latin_locale_becomes_utf8(library, latin_locale):
    assert in_locale(library, latin_locale, TYPED % b"p 'caf\xe9'") == "p 'café'".encode()


def test_typed_utf8_in_c_locale_stays(library):
    assert in_locale(library, "C", TYPED % "p 'é😀'".encode()) == "p 'é😀'".encode()


@pytest.mark.parametrize("locale", ["C", "C.UTF-8"])
def test_typed_bytes_that_mean_nothing_are_replaced(library, locale):
    assert in_locale(library, locale, TYPED % b"p '\xff'") == "p '\ufffd'".encode()


@pytest.mark.parametrize("source, coloured", [
    ("x = 1", "x = <33>1<0>"),
    ("def f(a): return None", "<1;34>def<0> <1>f<0>(a): <1;34>return<0> <1;34>None<0>"),
    ("class C: pass  # why", "<1;34>class<0> <1>C<0>: <1;34>pass<0>  <31># why<0>"),
    ("s = rb'a\\'b' + \"#\"", "s = <32>rb'a\\'b'<0> + <32>\"#\"<0>"),
    ("'open\nx", "<32>'open<0>\nx"),
    ('"""a\nb""" if', '<32>"""a\nb"""<0> <1;34>if<0>'),
    ("defer = iffy", "defer = iffy"),
    ("'", "<32>'<0>"), ("r", "r"), ("'\\", "<32>'\\<0>"), ("", ""),
    ("p = '\x1b[0m'", "p = <32>'\\x1b[0m'<0>"),
])
def test_python_in_colours(library, source, coloured):
    out = Buffer()
    library.colour_python(ctypes.byref(out), source.encode(), ctypes.c_size_t(len(source.encode())), UTF8)
    assert re.sub("\x1b\\[([0-9;]+)m", r"<\1>", out.take().decode()) == coloured
