/* begin.c - from nothing to a channel with the payload on its way.
 * SPDX-License-Identifier: MIT
 */
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include "session.h"

/* Signals become something to poll. One that was ignored when we began (nohup) stays ignored. */
int open_signals(bool person) {
    static const int ours[] = {SIGINT, SIGTERM, SIGHUP, SIGQUIT, SIGTSTP, SIGCONT, SIGWINCH};
    struct sigaction action;
    sigset_t set;
    sigemptyset(&set);
    for (size_t i = 0; i < sizeof ours / sizeof *ours; i++) {
        if (!person && ours[i] != SIGINT && ours[i] != SIGTERM && ours[i] != SIGHUP && ours[i] != SIGQUIT)
            continue;
        if (sigaction(ours[i], NULL, &action) == 0 && action.sa_handler != SIG_IGN)
            sigaddset(&set, ours[i]);
    }
    sigprocmask(SIG_BLOCK, &set, NULL);
    signal(SIGPIPE, SIG_IGN);
    return signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
}

/* Takes a signal that waits; true if it is one that ends us. */
bool take_end_signal(int signals) {
    struct signalfd_siginfo info;
    return read(signals, &info, sizeof info) == (ssize_t)sizeof info && info.ssi_signo != SIGWINCH &&
           info.ssi_signo != SIGCONT && info.ssi_signo != SIGTSTP;
}

/* Waits for the library to have its end ready. -1: said why not. */
int reach_target(struct session *s) {
    int pid = (int)s->options->pid, error;
    int64_t until = now() + CHANNEL_MS * MS;
    for (int wait = 1; now() < until; wait = wait < 16 ? wait * 2 : wait) {
        switch (channel_open(&s->channel, s->options->pid, s->options->address, &error)) {
        case CHANNEL_OK:
            return 0;
        case CHANNEL_NOT_YET:
            break;
        case CHANNEL_GONE:
            say(s, "process %d has exited", pid);
            return -1;
        case CHANNEL_DENIED:
            say(s, "cannot open the channel of process %d: %s", pid, strerror(error));
            return -1;
        case CHANNEL_NOT_OURS:
            say(s, "the library in process %d has no channel that can be opened%s%s", pid, error ? ": " : "",
                error ? strerror(error) : "");
            return -1;
        case CHANNEL_FAILED:
            say(s, "the library in process %d could not make its channel: %s", pid, strerror(error));
            return -1;
        case CHANNEL_TAKEN:
            say(s, "process %d has another session attached", pid);
            return -1;
        }
        struct pollfd signals = {.fd = s->signals, .events = POLLIN};
        if (poll(&signals, 1, wait) == 1 && take_end_signal(s->signals)) {
            say(s, "gave up; %d runs on", pid);
            return -1;
        }
    }
    say(s, CHANNEL_LINE, pid, CHANNEL_MS / 1000);
    return -1;
}

static void add_rc(struct session *s, struct buffer *options) {
    struct buffer rc = {0}, text = {0};
    const char *why = pdbrc_read(&s->caller, &rc);
    if (why)
        say(s, "~/.pdbrc is ignored: %s", why);
    text_to_utf8(&text, rc.data, rc.length, s->manner);
    for (size_t at = 0; at < text.length;) {
        const char *line = text.data + at;
        const char *end = memchr(line, '\n', text.length - at);
        size_t length = end ? (size_t)(end - line) : text.length - at;
        at += length + 1;
        if (length && line[length - 1] == '\r')
            length--;
        if (length) {
            buffer_add_text(options, "rc ");
            buffer_add(options, line, length);
            buffer_add_text(options, "\n");
        }
    }
    buffer_free(&rc);
    buffer_free(&text);
}

static void send_start(struct session *s) {
    struct buffer options = {0};
    if (s->options->thread) {
        buffer_add_text(&options, "thread ");
        text_to_utf8(&options, s->options->thread, strlen(s->options->thread), s->manner);
        buffer_add_text(&options, "\n");
    }
    char pid[32];
    snprintf(pid, sizeof pid, "pid %d\n", s->options->pid);
    buffer_add_text(&options, pid);
    if (!s->options->no_rc)
        add_rc(s, &options);
    if (s->options->command_count || !isatty(STDIN_FILENO))
        buffer_add_text(&options, "batch 1\n");
    channel_send(&s->channel, WIRE_START, options.data, options.length);
    buffer_free(&options);
}

void begin(struct session *s, const struct payload *payload) {
    arm(s, DUE_PAYLOAD, PAYLOAD_MS * MS);
    arm(s, DUE_GIL, GIL_MS * MS);
    if (s->options->timeout > 0 && !s->person)
        arm(s, DUE_COMMAND, microseconds(s->options->timeout));
    payload_send(payload, &s->channel);
    send_start(s);
    send_size(s);
    if (s->person) {
        struct terminal_user user = {.session = s, .line = take_line, .complete = complete};
        terminal_open(&user);
        s->history = history_open(&s->caller);
    }
}
