/* look.c - what pydblook sees of the target from outside, for the person who waits or asks.
 * SPDX-License-Identifier: MIT
 *
 * pydblook runs as a program of its own and only reads; what it prints is safe for a terminal already.
 * It has a deadline, and a signal that would end us, Ctrl-C above all, ends it instead.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/signalfd.h>
#include <sys/wait.h>
#include <unistd.h>

#include "session.h"

#define GIL_LOOK (2 * SECOND)
#define DUMP_LOOK (20 * SECOND)
#define MOST_SEEN (64 << 20)

static void run_as_child(struct session *s, char **arguments, int output, bool errors) {
    sigset_t none;
    int nothing = open("/dev/null", O_RDWR | O_CLOEXEC);
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, NULL);
    signal(SIGPIPE, SIG_DFL);
    dup2(nothing, STDIN_FILENO);
    dup2(output, STDOUT_FILENO);
    dup2(errors ? output : nothing, STDERR_FILENO);
    execv(s->options->look, arguments);
    _exit(127);
}

/* A signal while we look: Ctrl-C ends the look, what would end us does that, too. */
static bool is_ended(struct session *s) {
    struct signalfd_siginfo info;
    if (read(s->signals, &info, sizeof info) != (ssize_t)sizeof info)
        return false;
    if (info.ssi_signo == SIGTERM || info.ssi_signo == SIGHUP || info.ssi_signo == SIGQUIT)
        hang_up(s);
    else if (info.ssi_signo != SIGINT)
        return false;
    return true;
}

/* Reads to the end: 0, or -1 when the time is over or somebody does not want to wait. */
static int read_all(struct session *s, int fd, int64_t until, struct buffer *seen) {
    char piece[65536];
    int64_t left;
    while ((left = until - now()) > 0 && seen->length < MOST_SEEN) {
        struct pollfd waits[] = {{.fd = fd, .events = POLLIN}, {.fd = s->signals, .events = POLLIN}};
        if (poll(waits, 2, (int)(left / MS) + 1) < 0 && errno != EINTR)
            return -1;
        if (waits[1].revents && is_ended(s))
            return -1;
        if (!waits[0].revents)
            continue;
        ssize_t size = read(fd, piece, sizeof piece);
        if (size > 0)
            buffer_add(seen, piece, (size_t)size);
        else if (size == 0 || errno != EINTR)
            return 0;
    }
    return -1;
}

/* The output of pydblook; false if there is none to be had. */
static bool look(struct session *s, char **arguments, bool errors, int64_t wait, struct buffer *seen) {
    int ends[2], status = 0;
    if (!s->options->look || pipe2(ends, O_CLOEXEC) < 0)
        return false;
    pid_t child = fork();
    if (!child)
        run_as_child(s, arguments, ends[1], errors);
    close(ends[1]);
    int failed = child < 0 || read_all(s, ends[0], now() + wait, seen);
    close(ends[0]);
    if (child > 0 && failed)
        kill(child, SIGKILL);
    if (child > 0)
        while (waitpid(child, &status, 0) < 0 && errno == EINTR)
            continue;
    return !failed && WIFEXITED(status) && WEXITSTATUS(status) != 127;
}

static void say_waiting(struct session *s) {
    say(s, s->person && s->stage < STAGE_SESSION ? "waiting; d and Enter shows all stacks, Ctrl-C gives up"
           : s->person ? "waiting; Ctrl-\\ detaches" : "waiting; Ctrl-C gives up");
    s->may_dump = s->person && s->stage < STAGE_SESSION && s->options->look;
}

/* The GIL does not come: who has it, and where. From 3.14 on that thread can be asked to lend it; that we wait is said
 * when it has not, either. */
void say_who_holds_the_gil(struct session *s) {
    char pid[16];
    struct buffer seen = {0};
    if (s->asked_to_lend) {
        s->asked_to_lend = false;
        say_waiting(s);
        return;
    }
    snprintf(pid, sizeof pid, "%d", (int)s->options->pid);
    char *arguments[] = {"pydblook", "gil", pid, NULL};
    bool told = look(s, arguments, false, GIL_LOOK, &seen);
    buffer_add(&seen, "", 1);
    char *where = strchr(seen.data, ' '), *end = strchr(seen.data, '\n');
    if (told && where && end && where < end) {
        *where = *end = '\0';
        say(s, "thread %s holds the GIL and has not let go for 1 s: %s", seen.data, where + 1);
        if (!strncmp(end + 1, "lend ", 5) && strchr(end + 1, '\n')) {
            channel_send(&s->channel, WIRE_LEND, end + 6, strcspn(end + 6, "\n"));
            s->asked_to_lend = true;
            arm(s, DUE_GIL, GIL_MS * MS);
        } else {
            say_waiting(s);
        }
    } else if (s->stage < STAGE_SESSION) {
        if (!s->may_dump)
            say(s, GIL_LINE, pid);
        s->may_dump = s->person && s->options->look;
        arm(s, DUE_GIL, GIL_MS * MS);   /* a machine that was too slow for it */
    }
    buffer_free(&seen);
}

/* All stacks. The words come from the target: only those that are known here become options. */
void show_dump(struct session *s, const char *words, size_t length) {
    static const struct {
        const char *word;
        char *option;
    } known[] = {{"locals", "--locals"}, {"native", "--native"}};
    char pid[16], *arguments[8] = {"pydblook"};
    int count = 1;
    struct buffer seen = {0};
    for (size_t i = 0; i < sizeof known / sizeof *known; i++)
        if (length && memmem(words, length, known[i].word, strlen(known[i].word)))
            arguments[count++] = known[i].option;
    if (s->colours)
        arguments[count++] = "--colour";
    snprintf(pid, sizeof pid, "%d", (int)s->options->pid);
    arguments[count++] = "dump";
    arguments[count++] = pid;
    if (!look(s, arguments, true, DUMP_LOOK, &seen))
        say(s, s->options->look ? "the stacks of %s cannot be shown" : "there is no pydblook to show the stacks of %s", pid);
    if (s->output.tty[STDOUT_FILENO])
        terminal_hide();
    output_add(&s->output, STDOUT_FILENO, seen.data, seen.length);
    buffer_free(&seen);
}

/* A line was typed while we wait for the GIL: `d`, or something for the prompt that is to come. */
void take_early_line(struct session *s) {
    char line[4096];
    ssize_t size = read(STDIN_FILENO, line, sizeof line);
    if (size == 0) {
        s->may_dump = false;
        hang_up(s);
        return;
    }
    if (size == 2 && !memcmp(line, "d\n", 2)) {
        s->output.line_start = true;
        show_dump(s, NULL, 0);
    } else if (size > 0) {
        buffer_add(&s->input, line, (size_t)size);
    }
}
