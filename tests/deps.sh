#!/bin/sh
# tests/deps.sh - installs what is missing, says each thing that it does, and is quick if all is there.
# SPDX-License-Identifier: MIT
#
#   deps.sh build   what the build and an attach need
#   deps.sh all     the same, and what tests and lint need: Debian packages, a venv with pytest, coverage and
#                   gevent for the programs that the tests attach to, and a second root with newer Pythons
#   deps.sh bench   the other tools that bench/dump and bench/witnesses compare with
#
# The Pythons of pyenv are not built here (an hour): the last lines say which of them are missing.
# What is not a Debian package goes to $PYDBATTACH_CACHE, and is renamed into place when it is complete.
set -u

cache=${PYDBATTACH_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/pydbattach}
sid=${PYDBATTACH_SID:-$cache/sid}

build_packages="gcc make gdb libc6-dev libdw-dev libreadline-dev python3 util-linux"
test_packages="clang shellcheck debootstrap gcc-multilib pypy3 python3.11 libpython3.11-dev python3-venv tmux strace sudo locales zip g++ libjemalloc2 libtcmalloc-minimal4"

venv_wants="pytest==8.3.5 pytest-xdist==3.6.1 pytest-timeout==2.3.1 pexpect==4.9.0 ruff==0.11.13"
venv_probe="import pytest, xdist, pytest_timeout, pexpect"
bench_wants="py-spy==0.4.3 pystack==1.7.2"
pyenv_wants="3.8 3.9 3.10 3.11 3.12 3.13"
sid_wants="3.13 3.14 3.15"

say() {
    echo "deps: $*" >&2
}

die() {
    say "$*"
    exit 1
}

# Runs a command as root, or says what to run.
as_root() {
    if [ "$(id -u)" -eq 0 ]; then
        "$@"
    elif command -v sudo >/dev/null; then
        sudo "$@"
    else
        die "this needs root: $*"
    fi
}

# as_owner DIRECTORY COMMAND...: as root only if DIRECTORY is not the caller's to change.
as_owner() {
    if [ -w "$1" ]; then
        shift
        "$@"
    else
        shift
        as_root "$@"
    fi
}

# Installs the Debian packages among "$@" that are not installed.
need_packages() {
    if ! command -v apt-get >/dev/null; then
        say "no apt-get here: please see to it that these are installed: $*"
        return
    fi
    missing=
    for package in "$@"; do
        case " $installed " in
        *" $package "*) ;;
        *) missing="$missing $package" ;;
        esac
    done
    [ -n "$missing" ] || return 0
    say "installing$missing"
    as_root apt-get update -q >/dev/null || say "apt-get update failed; trying with the lists that are there"
    # shellcheck disable=SC2086 # the list is words
    as_root env DEBIAN_FRONTEND=noninteractive apt-get install -q -y --no-install-recommends $missing >/dev/null ||
        die "apt-get could not install$missing"
}

list_installed() {
    # shellcheck disable=SC2016 # dpkg's variables, not ours
    dpkg-query -W -f '${db:Status-Abbrev} ${Package}\n' 2>/dev/null | sed -n 's/^ii  *//p' | tr '\n' ' '
}

# libFuzzer and clang's sanitizers: a package of their own from Debian 12 and Ubuntu 22.10 on, before they came with clang.
need_clang_runtime() {
    case " $installed " in
    *" libclang-rt-dev "*) return ;;
    esac
    apt-cache show libclang-rt-dev >/dev/null 2>&1 && need_packages libclang-rt-dev
}

# The interpreter of pyenv for a minor version, nothing if there is none.
find_pyenv() {
    for python in "${PYENV_ROOT:-$HOME/.pyenv}"/versions/"$1".*/bin/python"$1"; do
        if [ -x "$python" ]; then
            echo "$python"
            return
        fi
    done
}

# The Python that runs the tests.
need_venv() {
    if [ "$(cat "$cache/venv/wants" 2>/dev/null)" = "$venv_wants" ] &&
        "$cache/venv/bin/python" -c "$venv_probe" 2>/dev/null; then
        return
    fi
    python=$(find_pyenv 3.11)
    say "making $cache/venv with $venv_wants"
    rm -rf "$cache/venv"
    "${python:-/usr/bin/python3}" -m venv "$cache/venv" || die "cannot make $cache/venv"
    # shellcheck disable=SC2086 # the list is words
    "$cache/venv/bin/python" -m pip install -q $venv_wants || die "pip could not install $venv_wants"
    echo "$venv_wants" >"$cache/venv/wants"
}

# Other readers of stacks, for the benchmarks, and to find them at work in a target.
need_bench() {
    [ "$(cat "$cache/bench/wants" 2>/dev/null)" = "$bench_wants" ] && return
    say "making $cache/bench with $bench_wants"
    python=$(find_pyenv 3.12)
    rm -rf "$cache/bench"
    "${python:-/usr/bin/python3}" -m venv "$cache/bench" || die "cannot make $cache/bench"
    # shellcheck disable=SC2086 # the list is words
    "$cache/bench/bin/python" -m pip install -q $bench_wants || die "pip could not install $bench_wants"
    echo "$bench_wants" >"$cache/bench/wants"
}

# need_site DIRECTORY MINOR PACKAGE...: wheels for Python MINOR, unpacked where a target can import them.
need_site() {
    directory=$1
    minor=$2
    shift 2
    [ "$(cat "$directory/wants" 2>/dev/null)" = "$*" ] && return
    say "putting $* for Python $minor into $directory"
    new=$cache/site.new.$$
    rm -rf "$new"
    "$cache/venv/bin/python" -m pip install -q --target "$new" --python-version "$minor" \
        --only-binary :all: "$@" || die "pip could not install $* for Python $minor"
    echo "$*" >"$new/wants"
    as_owner "$(dirname "$directory")" rm -rf "$directory"
    as_owner "$(dirname "$directory")" mv "$new" "$directory"
}

sid_is_whole() {
    for minor in $sid_wants; do
        as_root chroot "$sid" "python$minor" -c 'import pdb, ctypes' 2>/dev/null || return 1
    done
}

# Another root with another C library and newer Pythons, as a container would have them.
need_sid() {
    sid_is_whole && return
    say "making a second root with Debian sid in $sid (a minute or two)"
    new=$sid.new.$$
    as_root rm -rf --one-file-system "$sid" "$new"
    mkdir -p "$(dirname "$sid")"
    include=gdb
    for minor in $sid_wants; do
        include=$include,python$minor
    done
    as_root debootstrap --variant=minbase --include="$include" sid "$new" >"$cache/debootstrap.log" 2>&1 ||
        die "debootstrap failed: $(tail -n 1 "$cache/debootstrap.log")"
    as_root mv "$new" "$sid"
    sid_is_whole || die "the Pythons in $sid do not run"
}

# The headers of these Pythons, which look's layouts are compared with, without what else is in their packages.
need_sid_headers() {
    missing=
    for minor in $sid_wants; do
        [ -e "$sid/usr/include/python$minor/internal/pycore_pystate.h" ] || missing="$missing libpython$minor-dev"
    done
    [ -n "$missing" ] || return 0
    say "putting the headers of$missing into $sid"
    # shellcheck disable=SC2016,SC2086 # the inner shell's variables; the list is words
    as_root chroot "$sid" sh -c '
        new=$(mktemp -d) && cd "$new" || exit
        apt-get -qq download "$@" || { apt-get -qq update && apt-get -qq download "$@"; } || exit
        for package in *.deb; do dpkg -x "$package" . || exit; done
        cp -r usr/include/. /usr/include && rm -rf "$new"' sh $missing >>"$cache/debootstrap.log" 2>&1 ||
        die "no headers: $(tail -n 1 "$cache/debootstrap.log")"
}

# Pythons that only refusals and dumps need, and those that are attached to.
name_missing_pythons() {
    missing=
    for minor in 2.7 3.6 3.7 $pyenv_wants; do
        [ -n "$(find_pyenv "$minor")" ] || missing="$missing $minor"
    done
    [ -z "$missing" ] || say "pyenv has no Python$missing: these tests cannot run (pyenv install VERSION)"
}

main() {
    installed=$(list_installed)
    # shellcheck disable=SC2086 # lists are words
    case ${1:-} in
    build) need_packages $build_packages ;;
    bench) need_bench ;;
    all)
        need_packages $build_packages $test_packages
        need_clang_runtime
        mkdir -p "$cache"
        need_venv
        need_sid
        need_bench
        need_sid_headers
        need_site "$cache/site-3.8" 3.8 coverage gevent
        need_site "$cache/site-3.13" 3.13 coverage gevent
        need_site "$sid/opt/site-3.15" 3.15 coverage
        name_missing_pythons
        ;;
    *)
        echo "usage: tests/deps.sh build|all|bench" >&2
        exit 2
        ;;
    esac
}

main "$@"
