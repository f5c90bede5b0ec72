#!/bin/sh
# pydbattach.sh - puts a Pdb prompt on a thread of a running Python process.
# SPDX-License-Identifier: MIT
#
# The launcher: arguments, building what is not built, then three programs one after another:
#   pydblook    looks at the process from outside and refuses what cannot be served (pydbdump for --dump)
#   pydbload    lets gdb bring pyinjectcode.so into it
#   pydbclient  is the terminal of the session
# Descriptor 9 is /proc/PID/mem; a lock on it, held until the client ends, makes sessions exclusive.
set -u

version=0.1.0
newline='
'
system_path=/usr/sbin:/usr/bin:/sbin:/bin

usage() {
    cat <<'END'
usage: pydbattach.sh [-t THREAD] [-c COMMAND]... PID
       pydbattach.sh --dump [--locals] [--json] [--no-fold] [--all-children] [--native] PID...
       pydbattach.sh --dump --core CORE [EXECUTABLE]
END
}

die() {
    printf 'pydbattach: %s\n' "$1" >&2
    exit "${2:-1}"
}

usage_error() {
    usage >&2
    exit 2
}

# Without a process where that is possible: a dump takes less time than three of them.
is_link() {
    place=$1
    while [ -n "$place" ]; do
        [ ! -L "$place" ] || return 0
        place=${place%/*}
    done
    return 1
}

# The directory of this script, behind all symbolic links.
find_home() {
    script=$0
    case $script in
        */*) ;;
        *) script=$(command -v -- "$script") ;;
    esac
    case $script in
        /*) home=$script ;;
        ./*) home=$PWD/${script#./} ;;
        *) home=$PWD/$script ;;
    esac
    case $home in
        */./* | */../* | *//*) ;;
        *)
            if ! is_link "$home"; then
                home=${home%/*}
                return
            fi
            ;;
    esac
    while [ -L "$script" ]; do
        target=$(PATH=$system_path:$PATH readlink -- "$script")
        case $target in
            /*) script=$target ;;
            *) script=${script%/*}/$target ;;
        esac
    done
    home=$(CDPATH='' cd -P -- "${script%/*}" && pwd) || die "cannot find my own directory"
}

# Are these programs, and all above them, root's alone to write? Quicker than what follows, and not the last word.
is_only_roots() {
    for place in "$@"; do
        while [ -n "$place" ]; do
            [ -O "$place" ] || return 1
            place=${place%/*}
        done
    done
    # type, rwx of user, group and others, of each part of the paths; the sticky bit makes a directory safe
    case $(PATH=$system_path LC_ALL=C namei -m "$@" 2>/dev/null) in
        '' | *"$newline l"* | *"$newline "?????w???[!t]* | *"$newline "????????w[!t]*) return 1 ;;
    esac
}

find_programs() {
    programs=$home
    [ -e "$home/Makefile" ] && programs=$home/build
    library=$programs/pyinjectcode.so
}

# Digits, as a person writes a process id.
check_pid() {
    case $1 in
        *[!0-9]* | '' | 0* | ???????????*) die "not a process id: '$1'" 2 ;;
    esac
}

# The words of --dump are options of pydblook already. It takes less time than all of the below, so only what it runs is
# checked here, and it looks itself whether it is older than its sources: then it comes back with --stale.
dump() {
    sources=''
    [ -n "$stale" ] || [ "$programs" = "$home" ] || sources=$home
    # shellcheck disable=SC2086 # digits and blanks
    exec "$programs/pydbdump" --version "$version" ${sources:+--sources "$sources"} ${verbose:+-v} "$@" \
        dump $pids ${executable:+"$executable"}
}

verbose='' action=attach pid='' pids='' session='' dumping='' core='' executable='' stale=''
count=$#
while [ "$count" -gt 0 ]; do
    argument=$1
    shift
    count=$((count - 1))
    case $argument in
        -t | --thread | -c | --command | --timeout)
            [ "$count" -gt 0 ] || usage_error
            session=1
            case $argument in
                -t | --thread)
                    [ -n "$1" ] || die 'not a thread: '"''" 2
                    argument=-t
                    ;;
                --command) argument=-c ;;
                --timeout)
                    case $1 in
                        '' | *[!0-9.]* | *.*.* | .) die "not a number of seconds: '$1'" 2 ;;
                    esac
                    ;;
            esac
            set -- "$@" "$argument" "$1"
            shift
            count=$((count - 1))
            ;;
        -n | --no-rc) session=1; set -- "$@" -n ;;
        --dump) action=dump ;;
        --core)
            if [ "$count" -eq 0 ] || [ -z "$1" ]; then usage_error; fi
            core=$1 dumping=1
            set -- "$@" --core "$1"
            shift
            count=$((count - 1))
            ;;
        --depth | --length | --width)
            [ "$count" -gt 0 ] || usage_error
            case $1 in
                '' | *[!0-9]* | 0* | ??????*) die "not a number: '$1'" 2 ;;
            esac
            dumping=1
            set -- "$@" "$argument" "$1"
            shift
            count=$((count - 1))
            ;;
        --locals | --json | --no-fold | --all-children | --native) dumping=1; set -- "$@" "$argument" ;;
        -v | --verbose) verbose=1 ;;
        -h | --help) action=help; break ;;
        -V | --version) printf 'pydbattach %s\n' "$version"; exit 0 ;;
        --list) action=list ;;
        --stale) stale=1 ;;
        -*) usage_error ;;
        *)
            if [ -n "$core" ]; then
                [ -z "$executable" ] || usage_error
                executable=$argument
                continue
            fi
            check_pid "$argument"
            pid=$argument pids="$pids $argument"
            ;;
    esac
done
case $action in
    attach) if [ -z "$pid" ] || [ -n "$core$dumping" ] || [ "$pids" != " $pid" ]; then usage_error; fi ;;
    dump) if [ -z "$pid$core" ] || [ -n "$session" ] || { [ -n "$core" ] && [ -n "$pid" ]; }; then usage_error; fi ;;
esac
find_home
find_programs
if [ "$action" = dump ] && [ -z "$stale" ] && [ -x "$programs/pydbdump" ]; then
    # root, and nobody else, owns /
    if [ ! -O / ] || is_only_roots "$home/pydbattach.sh" "$programs/pydblook" "$programs/pydbdump"; then dump "$@"; fi
fi

help() {
    usage
    cat <<'END'
       pydbattach.sh --list

Puts a Pdb prompt on a thread of a running Python process that was not prepared in any way.

  -t, --thread THREAD    the thread: its number, ident, native id or name (default: the main one)
  -c, --command COMMAND  run this Pdb command and leave; may be given several times
      --timeout SECONDS  with -c: leave when a command has not come back by then
  -n, --no-rc            do not read ~/.pdbrc
      --list             the Python processes here that can be attached to
      --dump             every stack of these processes, read from outside: nothing runs in them, nothing stops
      --locals           with --dump: the variables of each frame, too; --depth N levels of containers are
                         shown (3), --length N items of each (10), --width N columns of a value (200)
      --json             with --dump: as JSON (doc/dump.schema.json)
      --no-fold          with --dump: threads with the same stack one by one
      --all-children     with --dump: the children of these processes, and theirs, as well
      --native           with --dump: C frames, too; for this each thread is stopped by ptrace for some milliseconds
      --core CORE        with --dump: of a core file; EXECUTABLE is the program, if it is not where it was
  -v, --verbose          show each step and its time
  -h, --help             this text
  -V, --version          the version

In the session: all of Pdb, and
  threads                all threads: number, name, ident, native id, what they do and where
  thread THREAD          go to another thread
  break WHERE [thread T] stops whichever thread comes by; WHERE may be package.module:Class.method, not imported yet
  catch, watch, logpoint stop at an exception or a change of a value, or print and never stop, in all threads
  stopall, goall         let all threads stand, let them go
  breaks save|load FILE  keep the breakpoints for next time
  enter, leave           the prompt inside a thread that is blocked, and back
  raise EXC              free it by an exception
  dump [locals] [native] the stacks of all threads, read from outside
  q, detach, Ctrl-D      leave; the process runs on
  Ctrl-C                 stop the evaluation, or bring a running thread back to the prompt

Exit status: 0 done, 1 could not (one line on stderr says why), 2 wrong usage.
END
}

is_root() {
    while read -r field _ uid _; do
        [ "$field" != Uid: ] || break
    done 2>/dev/null </proc/self/status
    [ "${uid:-$(id -u)}" -eq 0 ]
}

# Which of these others than root and the caller could have written.
find_unsafe() {
    caller=${SUDO_UID:-0}
    group=${SUDO_GID:-0}
    bad=$(find "$@" -maxdepth 0 ! -type l \( ! -uid 0 ! -uid "$caller" -o -perm -o+w ! -perm -1000 \
              -o -perm -g+w ! -gid 0 ! -gid "$group" ! -perm -1000 \) -print 2>/dev/null)
    [ $? -lt 126 ] || die 'cannot find out who can write my own directory'
}

# As root, gdb and all else is taken from those directories of PATH that nobody else could have written to.
clean_path() {
    wanted=$PATH
    PATH=$system_path:$PATH     # for find itself
    set -f
    IFS=:
    # shellcheck disable=SC2086 # to be split
    set -- $wanted
    unset IFS
    set +f
    count=$#
    for entry; do
        place=$entry
        case $entry in /*) ;; *) continue ;; esac
        while [ -n "$place" ]; do
            set -- "$@" "$place"
            place=${place%/*}
        done
    done
    find_unsafe -L "$@"
    clean=''
    while [ "$count" -gt 0 ]; do
        place=$1
        case $1 in /*) good=:$1 ;; *) good='' place='' ;; esac
        while [ -n "$place" ]; do
            case $newline$bad$newline in *"$newline$place$newline"*) good='' ;; esac
            place=${place%/*}
        done
        clean=$clean$good
        shift
        count=$((count - 1))
    done
    PATH=${clean#:}
}

# As root, nothing is run or built that others than root and the caller could have written.
check_home_is_safe() {
    place=$home
    while [ -n "$place" ]; do
        set -- "$@" "$place"
        place=${place%/*}
    done
    find_unsafe "$@" / "$home"/* "$home"/build/* "$home"/look/* "$home"/load/* "$home"/client/*
    bad=${bad%%"$newline"*}
    [ -z "$bad" ] || die "others than root and you can write $bad; as root nothing is run from there"
}

# True if something is not built, or older than its source. No program is started for it.
needs_build() {
    [ -e "$home/Makefile" ] || return 1
    for source in "$home"/Makefile "$home"/*.[ch] "$home"/*.py "$home"/*/*.[chS]; do
        # shellcheck disable=SC3013 # dash, bash, ksh and busybox have -nt
        [ "$home/build/stamp" -nt "$source" ] && continue
        case $source in "$home"/tests/* | "$home"/bench/* | "$home"/demo/*) continue ;; esac
        return 0
    done
    return 1
}

build() {
    if ! command -v make >/dev/null || ! command -v "${CC:-cc}" >/dev/null; then
        die 'a C compiler and make are needed to build; install them: apt-get install gcc make libdw-dev libreadline-dev, dnf install gcc make elfutils-devel readline-devel or apk add gcc musl-dev make elfutils-dev readline-dev'
    fi
    [ -w "$home" ] || die "not built, and $home cannot be written; run make there first"
    printf 'pydbattach: building ...\n' >&2
    log=$(make -C "$home" all 2>&1) || {
        printf '%s\n' "$log" >&2
        case $log in
            *libdwfl.h*) die 'the headers of elfutils are missing; install them: apt-get install libdw-dev, dnf install elfutils-devel or apk add elfutils-dev' ;;
            *readline.h*) die 'the headers of readline are missing; install them: apt-get install libreadline-dev, dnf install readline-devel or apk add readline-dev' ;;
        esac
        die "the build has failed; run make -C '$home' to see it"
    }
    : > "$home/build/stamp"
}

take_care() {
    if is_root; then
        clean_path
        check_home_is_safe
    fi
}

prepare() {
    take_care
    if needs_build; then build; fi
}

# Prints the address of the library's state in the target. A thread that look has chosen may have
# moved on when gdb comes: then both look again.
load_library() {
    trap : INT      # this is a subshell, and pydbload says that it gave up
    tries=0
    while :; do
        plan=$("$programs/pydblook" ${verbose:+-v} --library "$library" --self $$ plan "$pid") || return $?
        said=$(trap : INT; printf '%s\n' "$plan" 2>/dev/null | "$programs/pydbload" ${verbose:+-v} load "$library" "$home/pydbattach.gdb")
        status=$?
        if [ $status -ne 3 ]; then
            printf '%s\n' "$said"
            return $status
        fi
        # gdb itself has tried for some time before it says who was where
        tries=$((tries + ${said:+5} + 1))
        [ $tries -lt 60 ] || die "no thread of process $pid has come to a place where it is safe to attach${said:+ ($said)}; let go"
    done
}

# A program that was killed has said nothing.
give_up() {
    [ "$1" -lt 126 ] || die "the attach was killed; process $pid runs on"
    exit "$1"
}

attach() {
    # `command`: or the shell itself ends when the process does at this very moment
    if ! { command exec 9<"/proc/$pid/mem"; } 2>/dev/null; then
        "$programs/pydblook" --library "$library" --self $$ plan "$pid" >/dev/null || give_up $?
        die "cannot open the memory of process $pid"
    fi
    command -v gdb >/dev/null || die 'gdb is not installed; install it: apt-get install gdb, dnf install gdb or apk add gdb'
    "$programs/pydbload" lock "$pid" || give_up $?
    trap : INT
    state=$(load_library) || give_up $?
    trap - INT
    exec "$programs/pydbclient" ${verbose:+-v} --look "$programs/pydblook" --payload "$home" "$@" "$pid" "$state"
}

case $action in
    help) help ;;
    dump)
        if [ -n "$stale" ] || [ ! -x "$programs/pydbdump" ]; then prepare; else take_care; fi
        dump "$@"
        ;;
    list)
        prepare
        exec "$programs/pydblook" list
        ;;
    attach)
        prepare
        attach "$@"
        ;;
esac
