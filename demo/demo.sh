#!/bin/sh
# demo.sh - starts a service that deadlocks, attaches you to it, and ends it when you are done.
# SPDX-License-Identifier: MIT
#
# With a terminal you get the prompt; without one a short scripted session is run and printed.
# PYTHON names another interpreter than python3.
#
# What it takes care of:
#   - The service runs in a session of its own (setsid, which keeps the process id): Ctrl-C and ^Z are
#     meant for pydbattach, not for it.
#   - Every way out ends the service, by its process id: q, Ctrl-C, a closed terminal, a failed attach.
#   - Under Yama (ptrace_scope 1, the default of Ubuntu) an ordinary user may only trace descendants,
#     and the service is none of gdb's: the attach goes by sudo then. The service could give leave itself,
#     by prctl(PR_SET_PTRACER), but yours has not done that either: the demo shows what you will meet.
set -u

service='' log='' seen=0

say() {
    printf 'demo: %s\n' "$*"
}

die() {
    printf 'demo: %s\n' "$*" >&2
    exit 1
}

end_service() {
    trap '' INT QUIT HUP TERM PIPE
    said=''
    [ -z "$log" ] || said=$(tail -n "+$((seen + 1))" "$log" && rm -f "$log")
    [ -z "$said" ] || printf '%s\n' "$said"     # what it said after you had come
    if [ -n "$service" ] && kill "$service" 2>/dev/null; then
        wait "$service"
        say "the service ($service) has been ended"
    fi 2>/dev/null
}

# If you have freed it, it has something to say; a second at most.
hear_service() {
    tries=0
    until grep -q 'open for business' "$log" || [ "$tries" -ge 10 ]; do
        tries=$((tries + 1))
        sleep 0.1
    done
}

# An interpreter that pydbattach serves.
find_python() {
    python=${PYTHON:-python3}
    "$python" -c 'import sys; sys.exit(sys.version_info < (3, 8))' 2>/dev/null ||
        die "$python is not there or older than 3.8; name another one: PYTHON=/path/to/python3 make demo"
}

# The service says "ready" right before it hangs.
start_service() {
    log=$(mktemp) || die "cannot make a temporary file"
    setsid "$python" "$home/demo/service.py" </dev/null >"$log" 2>&1 &
    service=$!
    tries=0
    until grep -q ready "$log"; do
        kill -0 "$service" 2>/dev/null || die "the service has not started: $(tail -n 1 "$log")"
        tries=$((tries + 1))
        [ "$tries" -lt 100 ] || die "the service is not ready after 10 s"
        sleep 0.1
    done
    cat "$log"
    seen=$(wc -l <"$log")
    say "... and no further word: process $service hangs. Why?"
}

# The words in front of pydbattach.sh: "sudo" where only root may attach.
find_right() {
    right='' scope=$(cat /proc/sys/kernel/yama/ptrace_scope 2>/dev/null)
    [ "$(id -u)" -ne 0 ] || return 0
    case ${scope:-0} in
        1 | 2)
            command -v sudo >/dev/null || die "kernel.yama.ptrace_scope is $scope: only root may attach; run this as root"
            say "kernel.yama.ptrace_scope is $scope here: only root may attach, so this goes by sudo"
            right=sudo
            ;;
    esac
}

attach() {
    if [ -t 0 ] && [ -t 1 ]; then
        say 'try:  threads   where   p order   thread 2   where   p self.stock'
        say 'and:  thread 1   enter   p threading.current_thread()   raise TimeoutError   continue'
        say 'and:  q  to leave. The service runs on after that, but this demo ends it.'
    else
        set -- -c threads -c where -c 'p order' -c 'thread 2' -c where -c 'p self.stock' \
            -c 'thread 1' -c enter -c 'raise! TimeoutError("freed by hand")'
        [ -z "$right" ] || right='sudo -n'
        say 'no terminal here, so this runs a few commands of Pdb and leaves:'
        say "./pydbattach.sh -c threads -c where -c 'p order' -c 'thread 2' -c where -c 'p self.stock' \\"
        say "    -c 'thread 1' -c enter -c 'raise! TimeoutError(\"freed by hand\")' $service"
    fi
    # Ctrl-C belongs to the session now; the shell only must not end before it.
    trap : INT
    # shellcheck disable=SC2086 # words, or none
    $right "$home/pydbattach.sh" "$@" "$service"
}

main() {
    home=$(CDPATH='' cd -P -- "$(dirname -- "$0")/.." && pwd) || die "cannot find my own directory"
    trap end_service EXIT
    trap 'exit 130' INT
    trap 'exit 143' HUP TERM PIPE QUIT
    find_python
    start_service
    find_right
    attach 2>&1
    status=$?
    hear_service
    return "$status"
}

main "$@"
