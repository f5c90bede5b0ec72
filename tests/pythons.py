# pythons.py - the interpreters that the tests attach to: the one list of them.
# SPDX-License-Identifier: MIT
#
# A new CPython version is one line here. PYDBATTACH_PYTHONS chooses or adds: names of this list, or
# NAME=PATH, or NAME=PATH@ROOT, separated by blanks.

import collections
import glob
import os

CACHE = os.environ.get("PYDBATTACH_CACHE") or os.path.join(
    os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache"), "pydbattach")
SID = os.environ.get("PYDBATTACH_SID") or os.path.join(CACHE, "sid")
PYENV = os.environ.get("PYENV_ROOT") or os.path.expanduser("~/.pyenv")


class Python(collections.namedtuple("Python", "name path root")):
    """An interpreter: its name in test ids, its path (inside root, if it lives in another root)."""

    def __str__(self):
        return self.name

    @property
    def minor(self):
        """The 12 of 3.12."""
        return int(self.name.split(".")[-1])

    @property
    def version(self):
        return "3.%d" % self.minor

    def outside(self, path):
        """A path of the interpreter's root as we see it."""
        return (self.root or "") + path

    def is_there(self):
        return bool(self.path) and os.access(self.outside(self.path), os.X_OK)

    def site(self):
        """A directory with coverage and, where there are wheels, gevent; as the interpreter names it."""
        inside = "/opt/site-" + self.version if self.root else os.path.join(CACHE, "site-" + self.version)
        return inside if os.path.isdir(self.outside(inside)) else None


def find_pyenv(minor):
    """The path of pyenv's interpreter of that version, or ''."""
    found = glob.glob("%s/versions/%s.*/bin/python%s" % (glob.escape(PYENV), minor, minor))
    return found[0] if found else ""


KNOWN = [
    Python("3.8", find_pyenv("3.8"), None),
    Python("3.9", find_pyenv("3.9"), None),
    Python("3.10", find_pyenv("3.10"), None),
    Python("3.11", find_pyenv("3.11"), None),
    Python("3.12", find_pyenv("3.12"), None),
    Python("3.13", find_pyenv("3.13"), None),
    Python("debian3.11", "/usr/bin/python3.11", None),     # libpython linked in statically
    Python("sid3.13", "/usr/bin/python3.13", SID),         # another root, another C library
    Python("sid3.14", "/usr/bin/python3.14", SID),
    Python("sid3.15", "/usr/bin/python3.15", SID),
]

# Too old for an attach: these are looked at from outside only.
OLD = [Python("3.6", find_pyenv("3.6"), None), Python("3.7", find_pyenv("3.7"), None)]


def choose(wanted, known):
    """The interpreters that the environment variable asks for; all that are known if it is empty."""
    chosen = []
    for word in wanted.split():
        name, _, where = word.partition("=")
        path, _, root = where.partition("@")
        chosen += [Python(name, path, root or None)] if path else [p for p in known if p.name == name]
    return chosen or known


ALL = choose(os.environ.get("PYDBATTACH_PYTHONS", ""), KNOWN)
# What --dump is tried on.
DUMP = choose(os.environ.get("PYDBATTACH_PYTHONS", ""), OLD + KNOWN)
OLDEST, NEWEST = [min(ALL, key=lambda p: p.minor), max(ALL, key=lambda p: p.minor)]
# The oldest and the newest, and the newest that shares our root and C library.
ENDS = sorted({OLDEST, NEWEST, max([p for p in ALL if not p.root] or ALL, key=lambda p: p.minor)},
              key=ALL.index)
# Where one version is enough.
ONE = next((p for p in ALL if p.name == "3.12"), NEWEST)
