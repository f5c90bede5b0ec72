# test_client_files.py - the caller's files: history and ~/.pdbrc, whose they are, and what is refused.
# SPDX-License-Identifier: MIT

import contextlib
import os
import pwd
import shutil
import stat
import subprocess
import tempfile

import pytest

from fake_target import Target

PROMPT = r"\(Pdb\) (?:\x1b\[[0-9;]*[A-Za-z])*$"
UP = "\x1b[A"


def session(target, client, lines=(), **named):
    """A session on a terminal in which these lines are typed; returns the options that the target got."""
    program = client(target, tty=True, **named)
    options = target.begin()
    for line in lines:
        program.see(PROMPT)
        program.type(line + "\r")
        target.expect("L")
        target.send("R", "(Pdb) ")
    program.see(PROMPT)
    program.type("\x04")
    target.end()
    assert program.wait() == 0
    return options


@pytest.fixture
def again():
    """More targets, for more than one session in a test."""
    with contextlib.ExitStack() as stack:
        def start():
            one = Target()
            stack.callback(one.close)
            return one

        yield start


def history_of(home):
    return home / ".local" / "state" / "pydbattach" / "history"


def mode(path):
    return stat.S_IMODE(os.lstat(path).st_mode)


# --- history


def test_history_is_kept(target, client, again):
    session(target, client, ["where", "p 1", "p 1", " p secret", "", "p 'ü'"])
    history = history_of(client.home)
    assert history.read_text() == "where\np 1\np 'ü'\n"
    assert mode(history) == 0o600
    assert [mode(path) for path in list(history.parents)[:3]] == [0o700] * 3
    second = again()
    program = client(second, tty=True)
    second.begin()
    program.see(PROMPT)
    program.type(UP + "\r")
    second.expect("L", "p 'ü'")
    second.send("R", "(Pdb) ")
    program.see(PROMPT)
    program.type("\x12whe\r")  # search
    second.expect("L", "where")
    assert history.read_text() == "where\np 1\np 'ü'\nwhere\n"  # at once, not at the end
    program.close()


def test_history_in_xdg_state_home(target, client, tmp_path):
    session(target, client, ["where"], env={"XDG_STATE_HOME": str(tmp_path / "a" / "b")})
    assert (tmp_path / "a" / "b" / "pydbattach" / "history").read_text() == "where\n"
    assert not (client.home / ".local").exists()


def test_relative_xdg_state_home_does_not_count(target, client):
    session(target, client, ["where"], env={"XDG_STATE_HOME": "state"})
    assert history_of(client.home).read_text() == "where\n"


def test_history_has_1000_lines(target, client):
    history = history_of(client.home)
    history.parent.mkdir(parents=True)
    history.write_text("".join("p %d\n" % number for number in range(1500)))
    history.chmod(0o644)
    session(target, client, ["where"])
    lines = history.read_text().splitlines()
    assert (len(lines), lines[0], lines[-2:]) == (1000, "p 501", ["p 1499", "where"])
    assert mode(history) == 0o600


def test_history_of_two_sessions_at_once(target, client, again):
    second = again()
    program = client(second, tty=True)
    second.begin()
    program.see(PROMPT)
    program.type("p 1\r")
    second.expect("L")
    session(target, client, ["p 2"])
    second.send("R", "(Pdb) ")
    program.see(PROMPT)
    program.type("p 3\r")
    second.expect("L")
    assert history_of(client.home).read_text() == "p 1\np 2\np 3\n"


@pytest.mark.parametrize("kind", ["link", "directory", "pipe", "no home"])
def test_history_that_cannot_be_kept(target, client, tmp_path, kind):
    """Is no reason not to have a session; a link is not followed."""
    precious = tmp_path / "precious"
    precious.write_text("precious\n")
    history = history_of(client.home)
    history.parent.mkdir(parents=True)
    if kind == "link":
        history.symlink_to(precious)
    elif kind == "directory":
        history.mkdir()
    elif kind == "pipe":
        os.mkfifo(history)
    session(target, client, ["where"], **({"home": tmp_path / "nowhere"} if kind == "no home" else {}))
    assert precious.read_text() == "precious\n"
    assert not (tmp_path / "nowhere").exists()


def test_damaged_history(target, client):
    history = history_of(client.home)
    history.parent.mkdir(parents=True)
    history.write_bytes(b"\x00\xff\x1b[2J\n" * 50 + b"x" * 100000 + b"\nwhere\nno newline")
    program = client(target, tty=True)
    target.begin()
    program.see(PROMPT)
    program.type(UP + "\r")
    target.expect("L", "where")


def test_pipe_keeps_no_history(target, client):
    program = client(target)
    target.begin()
    program.process.stdin.write(b"where\n")
    program.process.stdin.close()
    program.process.stdin = None
    target.expect("L")
    target.send("R")
    target.end()
    assert program.finish()[0] == 0
    assert not list(client.home.iterdir())


# --- ~/.pdbrc


def rc_of(options):
    return [option[3:] for option in options if option.startswith("rc ")]


def test_pdbrc_is_sent(target, client):
    (client.home / ".pdbrc").write_bytes("alias ll longlist\r\n\n# why\np 'ü'\np \udcff".encode("utf-8", "surrogateescape"))
    assert rc_of(session(target, client)) == ["alias ll longlist", "# why", "p 'ü'", "p \ufffd"]


def test_pdbrc_is_not_sent_with_n(target, client):
    (client.home / ".pdbrc").write_text("p 1\n")
    program = client(target, "-n", "-c", "where")
    assert not rc_of(target.begin())
    program.close()


def test_pdbrc_of_the_working_directory_is_not_read(target, client, tmp_path, monkeypatch):
    (tmp_path / ".pdbrc").write_text("p 1\n")
    monkeypatch.chdir(tmp_path)
    program = client(target, "-c", "where")
    assert not rc_of(target.begin())
    program.close()


@pytest.mark.parametrize("kind, why", [
    ("group", "others can write to it"), ("world", "others can write to it"),
    ("directory", "it is not a regular file"), ("pipe", "it is not a regular file"),
    ("long", "it is longer than 64 KiB"), ("owner", "it belongs to another user"),
])
def test_pdbrc_that_is_ignored(target, client, kind, why):
    rc = client.home / ".pdbrc"
    if kind == "directory":
        rc.mkdir()
    elif kind == "pipe":
        os.mkfifo(rc)
    else:
        rc.write_text("p 1\n" * (20000 if kind == "long" else 1))
    if kind in ("group", "world"):
        rc.chmod(0o664 if kind == "group" else 0o646)
    if kind == "owner":
        if os.geteuid():
            pytest.skip("only root can give a file away")
        os.chown(rc, 65534, 65534)
    program = client(target, "-c", "where")
    assert not rc_of(target.begin())
    target.expect("L")
    target.send("R")
    target.end()
    status, out, err = program.finish()
    assert (status, err.splitlines()[0]) == (0, "pydbattach: ~/.pdbrc is ignored: " + why)


# --- under sudo


@pytest.fixture
def alice():
    """Another user, with a home directory; found in passwd or made for the test."""
    if os.geteuid():
        pytest.skip("needs root: sudo makes the client root")
    home = tempfile.mkdtemp(prefix="pydbattach-alice.")
    name = "pydb%d" % os.getpid()
    done = subprocess.run(["useradd", "--no-create-home", "--home-dir", home, "--shell", "/bin/false", name],
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    if done.returncode:
        shutil.rmtree(home)
        pytest.skip("useradd: %s" % done.stdout.decode())
    entry = pwd.getpwnam(name)
    os.chmod(home, 0o700)
    os.chown(home, entry.pw_uid, entry.pw_gid)
    yield entry
    subprocess.run(["userdel", name], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    shutil.rmtree(home)


def sudo(entry):
    return {"SUDO_UID": str(entry.pw_uid), "SUDO_GID": str(entry.pw_gid), "SUDO_USER": entry.pw_name}


def write_as(entry, name, text):
    path = os.path.join(entry.pw_dir, name)
    with open(path, "w") as file:
        file.write(text)
    os.lchown(path, entry.pw_uid, entry.pw_gid)
    return path


def test_sudo_history_is_the_callers(target, client, alice):
    session(target, client, ["where"], env=sudo(alice))
    path = os.path.join(alice.pw_dir, ".local", "state", "pydbattach", "history")
    with open(path) as file:
        assert file.read() == "where\n"
    while path != alice.pw_dir:
        status = os.stat(path)
        assert (status.st_uid, status.st_gid) == (alice.pw_uid, alice.pw_gid)
        path = os.path.dirname(path)
    assert not list(client.home.iterdir())


def test_sudo_follows_no_link_of_the_caller_with_roots_rights(target, client, alice):
    """Neither directly nor by a directory: what alice cannot write, her history does not reach."""
    with tempfile.TemporaryDirectory() as place:
        os.chmod(place, 0o755)
        os.symlink(place, os.path.join(alice.pw_dir, ".local"))
        session(target, client, ["where"], env=sudo(alice))
        assert os.listdir(place) == []


def test_sudo_pdbrc_is_the_callers(target, client, alice):
    (client.home / ".pdbrc").write_text("p 'root'\n")
    write_as(alice, ".pdbrc", "p 'alice'\n")
    assert rc_of(session(target, client, env=sudo(alice))) == ["p 'alice'"]


def test_sudo_pdbrc_that_leads_to_roots_file(target, client, alice, tmp_path):
    secret = tmp_path / "secret"
    secret.write_text("secret\n")
    secret.chmod(0o600)
    os.symlink(secret, os.path.join(alice.pw_dir, ".pdbrc"))
    program = client(target, "-c", "where", env=sudo(alice))
    assert not rc_of(target.begin())
    assert program.process.stderr.readline() == b"pydbattach: ~/.pdbrc is ignored: it cannot be read\n"
    program.process.kill()


def test_sudo_of_a_user_without_an_entry(target, client, alice):
    subprocess.run(["userdel", alice.pw_name], check=True)
    (client.home / ".pdbrc").write_text("p 'root'\n")
    assert not rc_of(session(target, client, ["where"], env=sudo(alice)))
    assert [path.name for path in client.home.iterdir()] == [".pdbrc"]


@pytest.mark.parametrize("value", ["abc", "", "-1", "99999999999999999999", "0", "12x"])
def test_strange_sudo_uid_means_nothing(target, client, value):
    (client.home / ".pdbrc").write_text("p 'mine'\n")
    client(target, "-c", "where", env={"SUDO_UID": value})
    assert rc_of(target.begin()) == ["p 'mine'"]
