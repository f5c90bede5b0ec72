# conftest.py - what every test may ask for: interpreters, victims, terminals.
# SPDX-License-Identifier: MIT

import os
import shutil
import signal
import subprocess
import tempfile

import pytest

pytest.register_assert_rewrite("support")

import pythons  # noqa: E402
import support  # noqa: E402


# A background job of a shell ignores SIGINT and SIGQUIT, nohup SIGHUP; what is started here would inherit that.
for number in (signal.SIGINT, signal.SIGQUIT, signal.SIGHUP, signal.SIGTERM):
    if signal.getsignal(number) == signal.SIG_IGN:
        signal.signal(number, signal.default_int_handler if number == signal.SIGINT else signal.SIG_DFL)


def pytest_configure(config):
    """Build once, before the workers start."""
    # A shell without job control starts what is to run in the background with both ignored, and targets inherit it.
    for number in (signal.SIGINT, signal.SIGQUIT):
        if signal.getsignal(number) == signal.SIG_IGN:
            signal.signal(number, signal.default_int_handler if number == signal.SIGINT else signal.SIG_DFL)
    if not hasattr(config, "workerinput"):
        done = subprocess.run(["make", "-C", support.TOP, "--no-print-directory"]
                              + os.environ.get("PYDBATTACH_BUILD", "all asan").split(),
                              stdout=subprocess.PIPE, stderr=subprocess.STDOUT, encoding="utf-8")
        if done.returncode:
            pytest.exit("make all asan failed:\n" + done.stdout, 2)


def pytest_report_header(config):
    missing = [python.name for python in pythons.ALL if not python.is_there()]
    return "interpreters: %s%s" % (" ".join(p.name for p in pythons.ALL if p.is_there()),
                                   "; MISSING: " + " ".join(missing) if missing else "")


def pytest_terminal_summary(terminalreporter):
    """How much was fuzzed."""
    for report in terminalreporter.getreports("passed"):
        for line in [text for name, text in report.user_properties if name == "fuzzed"]:
            terminalreporter.write_line(line)


@pytest.fixture
def home():
    """The home directory of the person who attaches."""
    place = tempfile.mkdtemp(prefix="pydbattach-home.")
    yield place
    shutil.rmtree(place, ignore_errors=True)


@pytest.fixture
def victim():
    """victim(python, name, ...): a Victim that is ready; ended when the test is over."""
    started = []

    def start(python=pythons.ONE, *args, ready=True, blocked=False, **named):
        support.need(python.is_there(), "no interpreter %s (tests/pythons.py, make deps)" % python.name)
        one = support.Victim(python, *args, **named)
        started.append(one)
        if ready:
            one.wait_ready()
        if blocked:
            one.wait_blocked()
        if ready:
            one.remember()
        return one

    yield start
    for one in started:
        one.close()


@pytest.fixture
def attach(home):
    """attach(pid, ...): an Attach at its first prompt; closed when the test is over."""
    opened = []

    def open_one(*args, **named):
        one = support.Attach(*args, **dict({"home": home}, **named))
        opened.append(one)
        return one

    yield open_one
    for one in opened:
        one.close()


@pytest.fixture
def batch(home):
    """batch(args...): pydbattach without a terminal, to its end."""
    def run(*args, **named):
        return support.run_batch(*args, **dict({"home": home}, **named))

    return run


@pytest.fixture(scope="session")
def slow_library(tmp_path_factory):
    """The compiled tests/c/slow_library.c, as bytes."""
    path = support.compile_c(os.path.join(support.HERE, "c", "slow_library.c"),
                             str(tmp_path_factory.mktemp("c") / "slow_library.so"), "-shared", "-fPIC")
    with open(path, "rb") as file:
        return file.read()
