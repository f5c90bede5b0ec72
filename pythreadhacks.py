# SPDX-License-Identifier: MIT
"""pythreadhacks.py - find, trace, stop and name any thread of the process that we are in.

Runs inside the target, as a guest, sent by the client as text. It is the one place in Python that
knows CPython versions; it asks for the feature, not for the version. The C library
(pyinjectcode.c) has put two names into this namespace: `hands`, what it can do for us, and
`__builtins__`, a private copy, so that what the program did to its own builtins does not matter.

What must not happen here, because the target's state is unknown:
  - no import statement before private_import() is in place, and never one that reaches sys.modules,
    an import hook or an import lock of the program;
  - no primitive of `threading` or `_thread` (gevent patches both): waiting is done by hands.wait();
  - nothing that registers a fork hook, an exit hook or a signal handler.

Pieces are compiled one by one by the library: each begins after a blank line with class, def, @ or
"# ---" at column 0, so that no compilation keeps the GIL for long.
"""

modules = hands.modules
sys = modules["sys"]
marshal = modules["marshal"]
Module = type(sys)
builtins = __builtins__


# How much each thread had run when the first piece of this file was executed: what has not run since,
# while the rest was compiled and pdb was loaded, is blocked, and need not be watched for that again.
first_look = [hands.monotonic(), {ident: hands.cpu_time(hands.native_id(ident)) for ident in hands.idents()[-64:]}]


class NoDebugger(Exception):
    """The target's Python has no pdb, or one that we do not understand."""


# --- private modules: pdb and what it needs, from the target's own standard library ---

# Debuggers keep their state in classes and module globals: theirs is never shared with the program's.
# enum looks its users up in sys.modules, where our private ones are not.
PRIVATE = {"pdb", "bdb", "cmd", "code", "codeop", "rlcompleter", "enum"}

# Not needed at the prompt, or only for what we replace: made when something is first taken from them.
LAZY = {
    "asyncio", "atexit", "dis", "glob", "inspect", "json", "pprint", "selectors", "signal", "socket", "stat",
    "tempfile", "textwrap", "threading", "token", "tokenize", "traceback", "typing", "weakref", "_colorize",
    "_pyrepl", "_pyrepl.utils", "functools", "re", "runpy", "linecache", "io", "itertools", "warnings", "fnmatch",
    "contextlib", "string",
}

# Their import has effects on the whole process (fork hooks, the notion of the main thread, terminal
# modes; C code of typing imports the real typing): used where the program has them, else not at all.
SHARED_ONLY = {
    "asyncio", "concurrent", "logging", "multiprocessing", "random", "selectors", "signal", "socket", "subprocess",
    "tempfile", "threading", "typing", "ssl",
}



class Generated:
    """What contextlib.contextmanager makes, as far as pdb and bdb use it."""

    def __init__(self, generator):
        self.generator = generator

    def __enter__(self):
        return next(self.generator)

    def __exit__(self, kind, error, traceback):
        try:
            if kind is None:
                next(self.generator, None)
            else:
                self.generator.throw(error)
        except StopIteration:
            return True
        return False


def contextmanager(function):
    """contextlib.contextmanager."""
    def enter(*arguments, **options):
        return Generated(function(*arguments, **options))
    return enter


def unchanged(value):
    """typing.override and the like: for the reader only."""
    return value


class Anything:
    """typing.Union and the like."""

    def __getitem__(self, key):
        return self




def substitute(pattern, template, text, count=0, flags=0):
    """re.sub() for our private modules. The real one expands "\\1" with the help of sys.modules["re"],
    which need not be there. 3.12 calls it for every line typed: without a "$" there is nothing to do."""
    if pattern.startswith("\\$") and "$" not in text:
        return text
    compiled = find_module("re").compile(pattern, flags)
    if isinstance(template, str) and "\\" in template:
        parts = template.split("\\1")
        return compiled.sub(lambda match: match.group(1).join(parts), text, count)
    return compiled.sub(template, text, count)


# The few things that pdb, bdb and cmd take from big modules when they are imported: loading those
# privately would cost more than all the rest (string compiles regular expressions).
STAND_INS = {
    "inspect": {"CO_GENERATOR": 0x20, "CO_COROUTINE": 0x80, "CO_ASYNC_GENERATOR": 0x200, "CO_VARARGS": 4, "CO_VARKEYWORDS": 8},
    "contextlib": {"contextmanager": contextmanager, "ExitStack": None, "closing": None},
    "typing": {"override": unchanged, "Union": Anything(), "_rewrite_star_unpack": unchanged},
    "warnings": {"deprecated": lambda *arguments, **options: unchanged},
    "functools": {"cached_property": property},
    "string": {"ascii_letters": "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ", "digits": "0123456789"},
    "rlcompleter": {"Completer": None},
    "re": {"sub": substitute},
}

loaded = {}             # name -> our private module
fetched = {}            # path -> what hands.read_files() said


class AllModules:
    """sys.modules as our private modules see it: theirs first, then the program's, which is never written."""

    def __getitem__(self, name):
        return loaded[name] if name in loaded else modules[name]

    def __setitem__(self, name, module):
        loaded[name] = module

    def __contains__(self, name):
        return name in loaded or name in modules

    def get(self, name, default=None):
        return self[name] if name in self else default

    def copy(self):
        return dict(modules)            # who looks for the module of an object looks for the program's

    def __iter__(self):
        return iter(self.copy())

    def keys(self):
        return self.copy().keys()

    def values(self):
        return self.copy().values()

    def items(self):
        return self.copy().items()


class PrivateSys(Module):
    """`sys` as our private modules see it: what they set there (streams, hooks, tracing) stays here."""

    modules = AllModules()
    excepthook = sys.__excepthook__     # the program's own hook has nothing to do with errors of the user

    def __getattr__(self, name):
        return getattr(sys, name)

    def settrace(self, function):
        pass

    def audit(self, *arguments):
        pass


loaded["sys"] = PrivateSys("sys")
if "_collections_abc" in modules:
    loaded["collections.abc"] = modules["_collections_abc"]
for name in ("importlib", "importlib.machinery"):       # the real package renames the frozen modules
    loaded[name] = Module(name)
    loaded[name].__dict__.update(modules["_frozen_importlib_external"].__dict__, **modules["_frozen_importlib"].__dict__)
    loaded[name].__path__ = []
loaded["importlib"].machinery = loaded["importlib.machinery"]
loaded["importlib.machinery"].all_suffixes = lambda: [".py", ".pyc"] + modules["_imp"].extension_suffixes()


class LazyModule(Module):
    """Stands for a module until something is asked of it that is not a stand-in."""

    def __init__(self, name):
        Module.__init__(self, name)
        self.__dict__.update(STAND_INS.get(name, {}))

    def __getattr__(self, name):
        if name in ("__path__", "__spec__", "__loader__", "__file__"):
            raise AttributeError(name)
        return getattr(find_module(self.__name__), name)


class View(Module):
    """A module of the program with more in it for our private modules."""

    def __init__(self, module):
        Module.__init__(self, module.__name__)
        self.__dict__["module"] = module

    def __getattr__(self, name):
        return getattr(self.__dict__["module"], name)


def find_stdlib():
    """The directory of the target's standard library, wherever sys.path leads."""
    path = getattr(sys, "_stdlib_dir", None)
    if not path:
        path = getattr(modules.get("os"), "__file__", None) or ""
        path = path.rpartition("/")[0]
    return path


stdlib = find_stdlib()


def cached_path(name):
    """Where the interpreter caches the bytecode of a module of the standard library, unoptimised."""
    folder, _, leaf = (stdlib + "/" + name.replace(".", "/")).rpartition("/")
    prefix = getattr(sys, "pycache_prefix", None)
    folder = prefix + folder if prefix else folder + "/__pycache__"
    return "%s/%s.%s.pyc" % (folder, leaf, sys.implementation.cache_tag)


def source_path(name):
    """Where the source of a module of the standard library is."""
    return stdlib + "/" + name.replace(".", "/") + ".py"


def fetch(names):
    """Reads what find_code() will ask for, for all names, with one release of the GIL."""
    paths = [path for name in names for path in (cached_path(name), "?" + source_path(name)) if path not in fetched]
    fetched.update(zip(paths, hands.read_files(paths)))


def read_file(path):
    """(data, mtime, size) or None."""
    if path not in fetched:
        fetched.update(zip([path], hands.read_files([path])))
    return fetched[path]


def find_code(name):
    """The code object of a module of the standard library; None if there is no such module."""
    magic = modules["_frozen_importlib_external"].MAGIC_NUMBER
    for leaf in (name, name + ".__init__"):
        cached, source = read_file(cached_path(leaf)), read_file("?" + source_path(leaf))
        if cached and cached[0][:4] == magic:
            flags, mtime, size = (int.from_bytes(cached[0][at:at + 4], "little") for at in (4, 8, 12))
            if flags or not source or (mtime == source[1] & 0xFFFFFFFF and size == source[2] & 0xFFFFFFFF):
                code = marshal.loads(cached[0][16:])
                modules["_imp"]._fix_co_filename(code, source_path(leaf))   # it may have been compiled elsewhere
                return code, leaf
        text = read_file(source_path(leaf))
        if text:
            return compile(text[0], source_path(leaf), "exec", 0, True, 0), leaf
    loader = getattr(modules.get("os"), "__loader__", None)
    if "zip" in type(loader).__name__:
        try:
            return loader.get_code(name), name
        except Exception:
            pass
    return None, name


def is_usable(module):
    """The program's own copy will do: whole, and from the standard library, not a file that shadows it."""
    spec = getattr(module, "__spec__", None)
    if module is None or getattr(spec, "_initializing", False):
        return False
    if getattr(module, "__name__", None) in sys.builtin_module_names:
        return True             # 3.8 gives some of them no origin; a second copy would reset the first
    origin = getattr(spec, "origin", None) or getattr(module, "__file__", None) or ""
    return origin in ("built-in", "frozen") or (origin.startswith(stdlib + "/") and "/site-packages/" not in origin)


def load_module(name):
    """Executes a private copy of a module."""
    code, leaf = find_code(name)
    if code is None:
        return load_extension(name)
    module = Module(name)
    module.__file__ = source_path(leaf)
    module.__builtins__ = builtins
    is_package = leaf != name
    module.__package__ = name if is_package else name.rpartition(".")[0]
    if is_package:
        module.__path__ = []
    loaded[name] = module
    if len(code.co_code) > 800:
        hands.breathe()         # a big one
    try:
        exec(code, module.__dict__)
    except BaseException:
        del loaded[name]
        raise
    return loaded[name]         # a module may put another one in its place


def load_extension(name):
    """A module in C. The program's own where it has one; else a new one, which old-style modules enter
    into sys.modules: they are taken out again."""
    if name in modules:
        return modules[name]
    imp, spec = modules["_imp"], modules["_frozen_importlib"].BuiltinImporter.find_spec(name)
    create, execute = imp.create_builtin, imp.exec_builtin
    if spec is None:
        spec, create, execute = find_extension(name), imp.create_dynamic, imp.exec_dynamic
    if spec is None:
        raise ImportError("the target's standard library has no module %r" % name)
    module = loaded[name] = create(spec)
    execute(module)
    if modules.get(name) is module:
        del modules[name]
    return module


def find_extension(name):
    """The spec of an extension module in the standard library's lib-dynload, or None."""
    external = modules["_frozen_importlib_external"]
    for path in list(sys.path):
        if isinstance(path, str) and path.endswith("lib-dynload"):
            for suffix in modules["_imp"].extension_suffixes():
                file = path + "/" + name + suffix
                if hands.read_files(["?" + file])[0]:
                    loader = external.ExtensionFileLoader(name, file)
                    return modules["_frozen_importlib"].ModuleSpec(name, loader, origin=file)
    return None


# Not even the program's own: pdb changes its settings.
NEVER = {"readline", "_pyrepl", "_pyrepl.utils", "_pyrepl.readline"}


def find_module(name):
    """The module that our private modules get for a name."""
    if name in loaded:
        return loaded[name]
    if name in NEVER:
        raise ImportError("pydbattach has no use for %r in the target" % name)
    if name not in PRIVATE and is_usable(modules.get(name)):
        return modules[name]
    if name in SHARED_ONLY:
        raise ImportError("pydbattach does not load %r into the target" % name)
    return load_module(name)


def private_import(name, globals=None, locals=None, fromlist=(), level=0):
    """__import__ of our namespaces: sys.modules is read and never written."""
    if level:
        package = (globals or {}).get("__package__") or ""
        for _ in range(level - 1):
            package = package.rpartition(".")[0]
        name = package + "." + name if name else package
    if not fromlist:
        if name in LAZY and name not in loaded:
            lazy = LazyModule(name)
            if "." not in name:
                return lazy
        top = name.partition(".")[0]
        if name != top and name not in LAZY:
            inner, outer, leaf = find_module(name), find_module(top), name[len(top) + 1:]
            if "." not in leaf and not hasattr(outer, leaf):
                if top not in loaded:
                    outer = loaded[top] = View(outer)   # nothing is added to the program's own
                setattr(outer, leaf, inner)
        return LazyModule(top) if top in LAZY and top not in loaded else find_module(top)
    ready = STAND_INS.get(name, {})
    if name not in loaded and all(item in ready for item in fromlist):
        return LazyModule(name)
    module = find_module(name)
    for item in fromlist:
        if item != "*" and not hasattr(module, item):
            try:
                setattr(module, item, find_module(name + "." + item))
            except ImportError:
                pass
    return module


def print_to(*values, sep=" ", end="\n", file=None, flush=False):
    """print() of our namespaces, whatever the program did to its own."""
    if file is not None:
        file.write((" " if sep is None else sep).join([str(value) for value in values]) + ("\n" if end is None else end))


builtins["__import__"] = private_import
builtins["print"] = print_to
builtins["open"] = modules["_io"].open


# --- source lines: a linecache of our own, which leaves the program's cache alone ---

class LineCache:
    """The part of the linecache module that pdb, bdb and inspect use."""

    def __init__(self):
        self.cache = {}

    def getlines(self, filename, module_globals=None):
        if filename not in self.cache:
            self.updatecache(filename, module_globals)
        return self.cache[filename]

    def getline(self, filename, lineno, module_globals=None):
        lines = self.getlines(filename, module_globals)
        return lines[lineno - 1] if 1 <= lineno <= len(lines) else ""

    def updatecache(self, filename, module_globals=None):
        lines = self.cache[filename] = self.read(filename, module_globals)
        return lines

    def read(self, filename, module_globals):
        """The file; else what the module's loader or the program's linecache has (zip, exec, -c)."""
        found = None if filename.startswith("<") else hands.read_files([filename])[0]
        if found:
            text = decode_source(found[0])
        elif filename.startswith("<"):
            text = None
        else:
            text = self.ask_loader(filename, module_globals)
        if text is None:
            entry = getattr(modules.get("linecache"), "cache", {}).get(filename)
            return list(entry[2]) if entry and len(entry) > 2 else []
        lines = text.splitlines(True)
        if lines and not lines[-1].endswith("\n"):
            lines[-1] += "\n"
        return lines

    def ask_loader(self, filename, module_globals):
        """The source of the module's own file, as bytes: get_source() of most loaders imports tokenize."""
        get = (module_globals or {}).get
        spec = get and get("__spec__")
        if not get or filename not in (getattr(spec, "origin", None), get("__file__")):
            return None
        try:
            return decode_source((getattr(spec, "loader", None) or get("__loader__")).get_data(filename))
        except Exception:
            return None

    def checkcache(self, filename=None):
        self.cache.clear()

    clearcache = checkcache

    def lazycache(self, filename, module_globals):
        return False

    def _register_code(self, *arguments):
        pass

    def _getlines_from_code(self, code):
        return []

    def _getline_from_code(self, filename, lineno):
        return ""


def decode_source(data):
    """Text of a Python source file, by its coding cookie; never fails."""
    encoding = "utf-8"
    for line in data.split(b"\n", 2)[:2]:
        if line.startswith(b"#") and b"coding" in line:
            name = line.split(b"coding", 1)[1].lstrip(b":= ").split()
            encoding = name[0].decode("ascii", "replace") if name else encoding
    if data.startswith(b"\xef\xbb\xbf"):
        data = data[3:]
    try:
        return data.decode(encoding, "replace").replace("\r\n", "\n")
    except LookupError:
        return data.decode("utf-8", "replace").replace("\r\n", "\n")


def load_pdb():
    """Our private pdb module. Raises NoDebugger."""
    if "pdb" not in loaded:
        fetch(["pdb", "bdb", "cmd", "code", "codeop", "__future__"])
        cache = loaded["linecache"] = Module("linecache")
        lines = LineCache()
        for name in dir(lines):
            if not name.startswith("__"):
                setattr(cache, name, getattr(lines, name))
        try:
            find_module("pdb")
        except ImportError as error:
            raise NoDebugger(str(error))
        finally:
            fetched.clear()
    return loaded["pdb"]


# --- threads ---

def own_idents():
    """Idents of our own threads; the session adds to it."""
    return ours


ours = set()


def current_frames():
    """{ident: topmost frame} of the main interpreter's threads, ours left out."""
    if not hands.has_subinterpreters():
        frames = sys._current_frames()          # walks all interpreters, and takes the lock for it
    else:
        frames = {}
        for ident in hands.idents():
            frame = hands.frame(ident)
            if frame is not None:
                frames[ident] = frame
    for ident in ours:
        frames.pop(ident, None)
    return {ident: below_loan(frame) for ident, frame in frames.items()}


def current_frame(ident):
    """The topmost frame of one thread, or None."""
    return below_loan(hands.frame(ident))


def is_loan(frame):
    """Is it our script, in which a thread lends us the GIL (3.14 and later: lend() of pyinjectcode.c)?"""
    return frame is not None and frame.f_code.co_filename == "<string>" and frame.f_code.co_names[:1] == ("pyinjectcode",)


def below_loan(frame):
    """The frame of the program that a thread is in."""
    return frame.f_back if is_loan(frame) else frame


def alive_idents():
    """Idents of all threads that Python knows, ours left out, oldest first. A thread may have several thread states."""
    return [ident for ident in dict.fromkeys(reversed(hands.idents())) if ident and ident not in ours]


def thread_names():
    """{ident: name}, from the Thread objects of the program's threading module, if it has one."""
    threading = modules.get("threading")
    names = {}
    for table in ("_active", "_limbo"):
        for key, thread in list(getattr(threading, table, {}).items()):
            ident = getattr(thread, "_ident", None) or key
            if isinstance(ident, int):
                names[ident] = str(getattr(thread, "_name", None))
    names.setdefault(main_ident(), "MainThread")
    return names


def main_ident():
    """The main thread: the kernel's, if Python knows it, else the one that Python was started in."""
    idents = alive_idents()
    pid = modules["posix"].getpid()
    for ident in idents:
        if hands.native_id(ident) == pid:
            return ident
    main = getattr(getattr(modules.get("threading"), "_main_thread", None), "_ident", None)
    return main if main in idents else idents[0] if idents else 0


def switch_interval():
    """Seconds after which a thread that wants the GIL asks for it."""
    return sys.getswitchinterval()


# --- what a frame is at ---

CALLS = 0x400           # ast.PyCF_ONLY_AST


def describe_call(frame, lines):
    """The call that a frame is in, as its source says it: "time.sleep(100)"; "" if it cannot be told."""
    code = frame.f_code
    text, column, end = "", -1, -1
    positions = getattr(code, "co_positions", None)
    if positions:
        for at, (line, last, start, stop) in enumerate(positions()):
            if at * 2 == frame.f_lasti and line and line == last and start is not None:
                text = lines.getline(code.co_filename, line, frame.f_globals)
                column, end = start, stop
                break
        part = text.encode("utf-8", "replace")[column:end].decode("utf-8", "replace") if text else ""
        if part:
            return shorten(part) if part.endswith(")") else with_statement(text, part) or shorten(part)
    text = lines.getline(code.co_filename, frame.f_lineno, frame.f_globals)
    return with_statement(text) or only_call(text)


def parse_line(text):
    """The statement in a line of source; None if the line cannot be parsed alone."""
    for whole in (text.strip(), text.strip() + "\n pass"):
        try:
            tree = compile(whole, "<line>", "exec", CALLS, True)
        except (SyntaxError, ValueError):
            continue
        return tree.body[0] if tree.body else None
    return None


def source_of(text, node):
    """The source of an expression in that line."""
    return text.encode("utf-8")[node.col_offset:node.end_col_offset].decode("utf-8", "replace")


def with_statement(text, part=None):
    """For "with lock:" the words "lock.__enter__()"; of the manager that is `part` if that is known. Another
    manager, or a body in the same line, may be what hangs: then "" if it is not known."""
    statement = parse_line(text)
    if type(statement).__name__ not in ("With", "AsyncWith"):
        return ""
    names = [source_of(text.strip(), item.context_expr) for item in statement.items]
    if part and part.startswith(("with ", "async with ")):     # 3.11, 3.12: the statement
        part = None
    if part in names:
        return shorten(part) + ".__enter__()"
    plain = len(names) == 1 and type(statement.body[0]).__name__ == "Pass"
    return shorten(names[0]) + ".__enter__()" if plain and not part else ""


def only_call(text):
    """The outermost call in a line of source, if the line can be parsed alone."""
    text = text.strip()
    if text.startswith("elif "):
        text = text[2:]
    statement = parse_line(text)
    if statement is None:
        return shorten(text) if text.endswith(")") else ""
    value = getattr(statement, "value", None) or getattr(statement, "test", None) or getattr(statement, "iter", None)
    value = getattr(value, "value", value) if type(value).__name__ == "Await" else value
    if type(value).__name__ != "Call" or not hasattr(value, "end_col_offset"):
        return ""
    return shorten(source_of(text, value))


def shorten(text):
    """One line of at most 60 characters."""
    text = " ".join(text.split())
    return text if len(text) <= 60 else text[:57] + "..."


# --- tracing any thread: events call, line, return, exception of one thread to one function ---
#
# tracer.arm(ident, handler): handler(frame, event, arg) is called in the thread, and may answer with an
# exception for the program. False if the thread is gone. tracer.disarm(ident): none any more.
#
# tracer.set_breaks(names, breaks, hit): hit(frame, breaks(code)[line]) is called in any thread, existing or
# new, where the dict breaks(code) has the line, unless the thread is armed; names: the base names of the
# files. Code without such lines runs at full speed. NoDebugger if it cannot be done. With None: no more.
# tracer.set_raised(caught, leaves): caught(frame, error, traceback, leaves) is called in any thread for each
# frame that an exception passes, and, if leaves, where it leaves the thread. With None: no more.
# tracer.prepare() comes before, in a thread of ours.
# tracer.close(): all is as it was.

def is_bottom(frame):
    """An exception that leaves this frame leaves the thread: threading only reports it."""
    back = frame.f_back
    return back is None or (back.f_code.co_name == "_bootstrap_inner" and back.f_code.co_filename.endswith("threading.py"))


class TraceTracer:
    """3.8 - 3.11: our trace function in C, over the program's own: set from outside on the thread that
    steps, and by a hook around the evaluation of frames on whoever executes a function with a breakpoint."""

    EVENTS = ("call", "exception", "line", "return")

    def __init__(self):
        self.armed = set()
        self.breaking = False
        self.breaks = self.hit = self.names = None
        self.caught = None
        self.leaving = {}       # ident -> (frame, error, traceback) that may leave the thread
        self.prepare = hands.prepare

    def arm(self, ident, handler):
        events = self.EVENTS
        if not hands.trace(ident, lambda frame, what, arg: handler(frame, events[what], arg)):
            return False
        self.armed.add(ident)
        return True

    def disarm(self, ident):
        self.armed.discard(ident)
        hands.trace(ident, None)
        if self.breaking:
            hands.adopt(ident)

    def set_breaks(self, names, breaks=None, hit=None):
        self.names, self.breaks, self.hit = names, breaks, hit
        if not self.breaking and names is None and self.caught is None:
            return
        if names is None and self.caught is not None:
            names, breaks, hit = [], lambda code: {}, lambda frame, points: None
        if not hands.breaks(names, None if names is None else (lambda code: list(breaks(code).items())), hit):
            raise NoDebugger("this Python has no place for breakpoints in all threads")
        self.breaking = names is not None
        for ident in hands.idents():
            hands.adopt(ident)

    def set_raised(self, caught, leaves=False):
        if caught is None and self.caught is None:
            return
        self.caught, self.leaving = caught, {}
        hands.raised(self.passes if caught else None, leaves)
        self.set_breaks(self.names, self.breaks, self.hit)

    def passes(self, frame, what, arg):
        """An exception (1) in a frame, the return of a frame (3), also by an exception (4)."""
        if what == 1:
            if is_bottom(frame):
                self.leaving[hands.ident()] = frame, arg[1], arg[2]
            return self.caught(frame, arg[1], arg[2], False)
        last = self.leaving.pop(hands.ident(), None) if is_bottom(frame) else None
        if what == 4 and last and last[0] is frame and self.caught is not None:
            return self.caught(frame, last[1], last[2], True)
        return None

    def close(self):
        self.set_raised(None)
        self.set_breaks(None)
        for ident in list(self.armed):
            self.disarm(ident)


class MonitorTracer:
    """3.12 and later: sys.monitoring. Nothing is kept in the thread, so all is undone from anywhere.

    While a thread steps, its events go through a gate that leads the other threads elsewhere. For
    breakpoints, code is looked at once, in whatever thread enters it first, and then either has line
    events for the lines with breakpoints, or none at all (DISABLE)."""

    TOOL = "pydbattach"

    def __init__(self):
        monitoring = self.monitoring = sys.monitoring
        events = monitoring.events
        self.entries = events.PY_START | events.PY_RESUME
        self.everywhere = self.entries | events.PY_THROW | events.PY_UNWIND | events.RAISE
        self.locally = events.LINE | events.JUMP | events.PY_RETURN | events.PY_YIELD | events.STOP_ITERATION
        self.at_lines = events.LINE | events.JUMP
        self.tool = None
        self.ident = 0          # the thread that steps
        self.handler = None
        self.breaks = self.hit = None
        self.caught = None
        self.codes = {}         # id -> code with local events for the thread that steps: equal codes of two files differ
        self.lines = {}         # id -> breaks(code), of code that has some
        self.broken = {}        # id -> that code
        self.disabled = False   # something was answered with DISABLE: a step needs it again
        self.step_callbacks = {
            events.PY_START: self.call, events.PY_RESUME: self.call, events.PY_THROW: self.call,
            events.LINE: self.line, events.JUMP: self.jump,
            events.PY_RETURN: self.leave, events.PY_YIELD: self.leave, events.PY_UNWIND: self.unwind,
            events.RAISE: self.exception, events.STOP_ITERATION: self.exception,
        }
        self.break_callbacks = {
            events.PY_START: self.enter, events.PY_RESUME: self.enter,
            events.LINE: self.line_with_break, events.JUMP: self.jump_with_break,
        }
        self.catch_callbacks = {events.RAISE: self.raised, events.PY_UNWIND: self.unwound}

    def prepare(self):
        pass

    def open(self):
        """Takes a tool id that nobody uses, or one that a session before the fork has left to us."""
        for tool in (self.monitoring.DEBUGGER_ID, 3, 4, self.monitoring.OPTIMIZER_ID, self.monitoring.PROFILER_ID):
            name = self.monitoring.get_tool(tool)
            if name == self.TOOL:
                self.monitoring.free_tool_id(tool)
                name = None
            if name is None:
                self.monitoring.use_tool_id(tool, self.TOOL)
                self.tool = tool
                hands.at_fork(self.close)
                return
        raise NoDebugger("all tool ids of sys.monitoring are in use by the program")

    def arm(self, ident, handler):
        frame = current_frame(ident)
        if frame is None and ident not in hands.idents():
            return False
        if self.tool is None:
            self.open()
        self.disarm(ident)
        self.ident, self.handler = ident, handler
        self.connect()
        if self.disabled:
            self.disabled = False
            self.monitoring.restart_events()
        while frame is not None:
            self.watch(frame.f_code)
            frame = frame.f_back
        return True

    def disarm(self, ident):
        if self.tool is None or not self.ident:
            return
        self.ident = 0
        codes, self.codes = self.codes, {}
        for key, code in codes.items():
            self.monitoring.set_local_events(self.tool, code, self.at_lines if key in self.lines else 0)
        self.connect()

    def connect(self):
        """Registers what is called for events, and asks for the global ones."""
        breaking, none, number = self.breaks is not None, {}, hands.renew()
        others = dict(self.break_callbacks if breaking else none)
        others.update(self.catch_callbacks if self.caught else none)
        for event in self.step_callbacks:
            step = (self.step_callbacks if self.ident else none).get(event)
            other = others.get(event)
            gate = hands.gate(self.ident, step, other, self.monitoring.DISABLE, number) if step or other else None
            self.monitoring.register_callback(self.tool, event, gate)
        events = self.everywhere if self.ident else self.entries if breaking else 0
        for event in self.catch_callbacks if self.caught else ():
            events |= event
        self.monitoring.set_events(self.tool, events)

    def watch(self, code):
        """All events of one code object, for the thread that steps."""
        if id(code) not in self.codes:
            self.codes[id(code)] = code
            self.monitoring.set_local_events(self.tool, code, self.locally)

    def set_breaks(self, names, breaks=None, hit=None):
        if names is None and self.breaks is None:
            return
        if self.tool is None:
            self.open()
        self.breaks, self.hit = breaks, hit
        for code in list(self.broken.values()):
            if not self.consider(code):
                self.monitoring.set_local_events(self.tool, code, self.locally if id(code) in self.codes else 0)
        self.connect()
        if breaks is None:
            return
        self.disabled = False
        self.monitoring.restart_events()
        for frame in list(current_frames().values()):
            while frame is not None:
                self.consider(frame.f_code)
                frame = frame.f_back

    def set_raised(self, caught, leaves=False):
        if caught is None and self.caught is None:
            return
        if self.tool is None:
            self.open()
        self.caught = caught
        self.connect()

    def consider(self, code):
        """Line events for a code object that has breakpoints; true if it has."""
        key, lines = id(code), self.breaks and self.breaks(code)
        if not lines:
            self.lines.pop(key, None)
            self.broken.pop(key, None)
            return False
        self.broken[key], self.lines[key] = code, lines
        if key not in self.codes:
            self.monitoring.set_local_events(self.tool, code, self.at_lines)
        return True

    def close(self):
        if self.tool is None:
            return
        self.set_raised(None)
        self.set_breaks(None)
        self.disarm(None)
        tool, self.tool = self.tool, None
        self.monitoring.set_events(tool, 0)
        for event in self.step_callbacks:
            self.monitoring.register_callback(tool, event, None)
        self.monitoring.free_tool_id(tool)
        hands.at_fork(None)     # the handler stays: a thread may be on its way to it

    # Called in the thread by hands.gate(). The caller is the program's frame.

    def call(self, code, *rest):
        answer = self.handler(sys._getframe(1), "call", None)
        if answer is not None and not isinstance(answer, BaseException):
            self.watch(code)
        return answer

    def line(self, code, line):
        return self.handler(sys._getframe(1), "line", None)

    def jump(self, code, origin, target):
        # A loop on a single line has no line events but for its jumps back.
        if target < origin and line_of(code, origin) == line_of(code, target):
            return self.handler(sys._getframe(1), "line", None)

    def leave(self, code, offset, value):
        return self.handler(sys._getframe(1), "return", value)

    def unwind(self, code, offset, error):
        answer = self.unwound(code, offset, error, 2)
        if answer is not None or not self.ident:
            return answer
        return self.handler(sys._getframe(1), "return", None)

    def exception(self, code, offset, error):
        answer = self.raised(code, offset, error, 2)
        if answer is not None or not self.ident:
            return answer           # it has stopped, and the step is over
        return self.handler(sys._getframe(1), "exception", (type(error), error, error.__traceback__))

    # The same for breakpoints, in any thread that does not step.

    def enter(self, code, *rest):
        # The session may consider the same code in this moment, with newer breakpoints: its word counts.
        if id(code) not in self.lines:
            lines = self.breaks and self.breaks(code)
            if lines:
                self.broken.setdefault(id(code), code)
                self.lines.setdefault(id(code), lines)
                if id(code) not in self.codes:
                    self.monitoring.set_local_events(self.tool, code, self.at_lines)
        self.disabled = True
        return self.monitoring.DISABLE

    def line_with_break(self, code, line):
        lines = self.lines.get(id(code))
        if not lines or line not in lines:
            self.disabled = True
            return self.monitoring.DISABLE
        return self.hit(sys._getframe(1), lines[line])

    def jump_with_break(self, code, origin, target):
        line = line_of(code, origin)
        lines = self.lines.get(id(code))
        if target >= origin or not lines or line not in lines or line != line_of(code, target):
            self.disabled = True
            return self.monitoring.DISABLE
        return self.hit(sys._getframe(1), lines[line])

    # The same for exceptions, in any thread.

    def raised(self, code, offset, error, depth=1):
        if self.caught is not None:
            return self.caught(sys._getframe(depth), error, error.__traceback__, False)

    def unwound(self, code, offset, error, depth=1):
        if self.caught is not None and is_bottom(sys._getframe(depth)):
            return self.caught(sys._getframe(depth), error, error.__traceback__, True)


def line_of(code, offset):
    """The line of a bytecode offset."""
    for start, end, line in code.co_lines():
        if start <= offset < end:
            return line
    return None


def line_starts(code):
    """The lines at which a code object has line events, in the order of its instructions. Without the dis
    module: this runs in the program's threads, where nothing is loaded."""
    if hasattr(code, "co_lines"):
        return [line for _, _, line in code.co_lines() if line]
    lines, line, table = [], code.co_firstlineno, code.co_lnotab
    for at in range(0, len(table), 2):
        if table[at]:
            lines.append(line)
        line += table[at + 1] - 256 if table[at + 1] >= 128 else table[at + 1]
    return lines + [line]


def count_calls(levels):
    """Calls itself, so that the library finds where a thread counts its calls."""
    hands.note_depth(levels)
    if levels:
        count_calls(levels - 1)


def new_tracer():
    """The tracer that this Python has."""
    count_calls(3)
    return MonitorTracer() if hasattr(sys, "monitoring") else TraceTracer()


def first_line(function):
    """The line that a function executes first; 0 if it is none of Python."""
    code = function if hasattr(function, "co_consts") else getattr(getattr(function, "__func__", function), "__code__", None)
    if code is None:
        return 0
    lines = line_starts(code)
    return next((line for line in lines if line != code.co_firstlineno), code.co_firstlineno)


def pending_calls_reach_threads():
    """Any thread that waits for a semaphore runs pending calls when it is interrupted: 3.12 and on. Before,
    only the main one does; a PyMutex (3.14, and later 3.13) again asks the main one only."""
    return hasattr(sys, "monitoring")


class LineSetter:
    """While it is entered, frame.f_lineno can be set by the thread that is stopped there: up to 3.11
    the frame must have a trace function of its own for that."""

    def __init__(self, frame):
        self.frame = None if hasattr(sys, "monitoring") or frame.f_trace else frame

    def __enter__(self):
        if self.frame is not None:
            self.frame.f_trace = print_to

    def __exit__(self, *error):
        if self.frame is not None:
            del self.frame.f_trace


# --- variables of a frame ---

def snapshot_locals(frame):
    """What save_locals() compares with: a copy where f_locals is one (up to 3.12), else None."""
    values = frame.f_locals
    return dict(values) if type(values) is dict and values is not frame.f_globals else None


def save_locals(frame, values, before):
    """Makes changes to the dict `values`, which was frame.f_locals, changes of the frame's variables."""
    if before is None:
        return
    changed = {name: value for name, value in values.items() if name not in before or before[name] is not value}
    gone = [name for name in before if name not in values]
    if changed or gone:
        hands.set_locals(frame, changed, gone)


def forget_dummy(ident):
    """The Thread object that threading made for a thread of ours, when something asked for the current one."""
    active = getattr(modules.get("threading"), "_active", {})
    if type(active.get(ident)).__name__ == "_DummyThread":
        del active[ident]
