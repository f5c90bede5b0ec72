/* session.c - one session: what each frame, key, signal and deadline does.
 * SPDX-License-Identifier: MIT
 *
 *   start     the payload is sent; waiting for the GIL
 *   prompt    the payload runs; waiting for the first prompt
 *   session   frames come, and each WIRE_READ is answered: by a person at a terminal, by the next
 *             line of a pipe, or by the next -c
 *   leaving   WIRE_DETACH is sent; waiting for WIRE_BYE, for 5 s
 *
 * One loop, which waits in one place (poll), and one table of deadlines. A frame is taken only when
 * what came before it is written: then a flood waits in the target, a prompt never overtakes its
 * output, and Ctrl-C finds little to throw away.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <langinfo.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/signalfd.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "session.h"

#define FRAMES_A_TURN 64
#define AWAY_LOOK 200                  /* milliseconds between looks whether we are in the foreground again */
#define MOST_QUEUED (16 << 20)        /* a pipe's reader may be that far behind before the target waits */
#define MOST_PROMPT 200

int64_t now(void) {
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return (int64_t)time.tv_sec * SECOND + time.tv_nsec / 1000;
}

void arm(struct session *s, enum deadline deadline, int64_t wait) {
    s->due[deadline] = now() + wait;
}

void disarm(struct session *s, enum deadline deadline) {
    s->due[deadline] = 0;
}

int64_t microseconds(double seconds) {
    return (int64_t)(seconds * SECOND);
}

/* --- frames --- */

static void take_prompt(struct session *s, const struct frame *frame) {
    if (s->stage == STAGE_LEAVING || s->failed)
        return;
    disarm(s, DUE_GIL);
    disarm(s, DUE_PROMPT);
    disarm(s, DUE_COMMAND);
    disarm(s, DUE_DETACH);
    disarm(s, DUE_BYE);
    if (s->stage != STAGE_SESSION)
        say_step(s, "prompt");
    s->stage = STAGE_SESSION;
    s->reading = s->prompt_due = true;
    s->interrupted = s->cut = s->asked_to_lend = false;
    s->interrupts = 0;
    s->late_matches = 0;
    s->prompt.length = 0;
    size_t length = frame->length < MOST_PROMPT ? frame->length : MOST_PROMPT;
    text_escape(&s->prompt, NULL, frame->data, length, s->manner | TEXT_ONE_LINE);
    buffer_add(&s->prompt, "", 1);
}

static void take_state(struct session *s, const struct frame *frame) {
    char text[64] = "", word[16] = "";
    int thread = 0;
    memcpy(text, frame->data, frame->length < sizeof text - 1 ? frame->length : sizeof text - 1);
    sscanf(text, "%15s %d", word, &thread);
    bool stands = !strcmp(word, "stopped");
    if (stands == s->stands && thread == s->thread)
        return;
    s->stands = stands;
    s->thread = thread;
    s->stands_since = now();
    disarm(s, DUE_REMIND);
    if (stands)
        arm(s, DUE_REMIND, microseconds(s->options->remind));
}

/* As /proc/PID/stat tells: gone, or only waiting for its parent. */
static bool is_gone(pid_t pid) {
    char path[32], text[512];
    snprintf(path, sizeof path, "/proc/%d/stat", (int)pid);
    FILE *file = fopen(path, "re");
    if (!file)
        return errno == ENOENT;
    size_t size = fread(text, 1, sizeof text - 1, file);
    bool error = ferror(file); /* ESRCH: it went between */
    fclose(file);
    text[size] = '\0';
    char *state = strrchr(text, ')'); /* the name before may contain anything */
    return error || (state && strlen(state) > 2 && strchr("ZX", state[2]));
}

static bool has_exited(struct session *s, int wait_ms) {
    struct pollfd process = {.fd = s->process, .events = POLLIN};
    if (s->exited || (s->process >= 0 && poll(&process, 1, wait_ms) == 1))
        s->exited = true;
    for (; !s->exited && s->process < 0 && wait_ms >= 0; wait_ms -= 10) { /* before Linux 5.3 */
        s->exited = is_gone(s->options->pid);
        if (!s->exited)
            poll(NULL, 0, 10);
    }
    return s->exited;
}

static void take_bye(struct session *s) {
    s->over = true;
    if (has_exited(s, 0))
        say(s, "process %d has exited", (int)s->options->pid);
    else if (!s->bye_said && !s->gave_up && !s->failed)
        say(s, "detached, %d runs on", (int)s->options->pid);
    if (s->failed || s->stage < STAGE_SESSION)
        s->status = 1;
    say_step(s, "detached");
}

static void take_frame(struct session *s, const struct frame *frame) {
    if (frame->kind != WIRE_OUTPUT)
        finish_text(s);
    if (s->stage == STAGE_SESSION)
        disarm(s, DUE_GIL);     /* that an interrupt has armed: who speaks has the GIL */
    switch (frame->kind) {
    case WIRE_ALIVE:
        if (s->stage != STAGE_START)
            break;
        s->stage = STAGE_PROMPT;
        disarm(s, DUE_GIL);
        s->may_dump = s->asked_to_lend = false;
        arm(s, DUE_PROMPT, PROMPT_MS * MS);
        say_step(s, "GIL");
        break;
    case WIRE_OUTPUT:
    case WIRE_CODE:
        show(s, frame);
        break;
    case WIRE_ERROR:
        if (!s->failed) {
            memset(s->due, 0, sizeof s->due);
            arm(s, DUE_BYE, BYE_MS * MS);
        }
        s->failed = true;
        s->status = 1;
        /* fall through */
    case WIRE_NOTICE:
        say(s, "%.*s", (int)frame->length, frame->data);
        break;
    case WIRE_READ:
        take_prompt(s, frame);
        break;
    case WIRE_MATCHES: /* too late: nobody waits for it */
        if (s->late_matches)
            s->late_matches--;
        break;
    case WIRE_DUMP:
        show_dump(s, frame->data, frame->length);
        break;
    case WIRE_SAVE:
        write_saved(s, frame->data, frame->length);
        break;
    case WIRE_STATE:
        take_state(s, frame);
        break;
    case WIRE_BYE:
        take_bye(s);
        break;
    }
}

/* The channel has ended without WIRE_BYE. */
static void lose_target(struct session *s) {
    int pid = (int)s->options->pid;
    struct pydb_state state;
    finish_text(s);
    s->over = true;
    bool in_session = s->stage >= STAGE_SESSION && !s->gave_up;
    bool unasked = s->next_command < s->options->command_count;
    /* The files of a process that ends are closed a moment before it can be seen to have ended. */
    if (has_exited(s, 1000)) {
        say(s, "process %d has exited", pid);
        if (!in_session || unasked)
            s->status = 1;
    } else if (target_read_state(s->options->pid, s->options->address, &state) < 0 ||
               memcmp(state.magic, PYDB_MAGIC, sizeof state.magic)) {
        say(s, "process %d runs another program now (exec)", pid);
        if (!in_session || unasked)
            s->status = 1;
    } else if (!s->gave_up && !s->failed) {
        say(s, "%d closed the channel", pid);
        s->status = 1;
    }
}

/* So much is to be written that the target has to wait. */
static bool is_behind(const struct session *s) {
    return s->output.bytes > (s->person ? 0 : MOST_QUEUED);
}

/* Takes what has come; true if there is more, and keys and signals should have their turn first. */
static bool take_frames(struct session *s) {
    struct frame frame;
    int found = 1;
    for (int i = 0; i < FRAMES_A_TURN && !s->over; i++) {
        output_flush(&s->output);
        if (is_behind(s))
            return false;
        if ((found = channel_next(&s->channel, &frame)) <= 0)
            break;
        take_frame(s, &frame);
    }
    if (s->over)
        return false;
    if (found < 0) {
        say(s, "%d sent what is not understood (kind 0x%02x, %zu bytes); detached", (int)s->options->pid, frame.kind,
            frame.length);
        s->over = true;
        s->status = 1;
    } else if (found == 0 && s->channel.ended) {
        lose_target(s);
    }
    return found > 0;
}

/* --- deadlines --- */

static void remind(struct session *s) {
    say(s, "thread %d has stood still for %lld s; others may be waiting for it", s->thread,
        (long long)(now() - s->stands_since) / SECOND);
    arm(s, DUE_REMIND, 3 * microseconds(s->options->remind));
}

static void detach_late_command(struct session *s) {
    if (s->stage < STAGE_SESSION)
        say(s, "no prompt from %d within %g s; detached", (int)s->options->pid, s->options->timeout);
    else
        say(s, "'%.*s' did not come back within %g s; detached", (int)s->command.length,
            s->command.data ? s->command.data : "", s->options->timeout);
    s->bye_said = true;
    leave(s);
    s->status = 1;
}

static void pass_deadline(struct session *s, enum deadline deadline) {
    int pid = (int)s->options->pid;
    switch (deadline) {
    case DUE_PAYLOAD:
        say(s, PAYLOAD_LINE, pid, PAYLOAD_MS / 1000);
        give_up(s);
        break;
    case DUE_GIL:
        say_who_holds_the_gil(s);
        break;
    case DUE_PROMPT:
        say(s, PROMPT_LINE, pid, PROMPT_MS / 1000);
        s->bye_said = true;
        leave(s);
        s->status = 1;
        break;
    case DUE_COMMAND:
        if (s->stage < STAGE_SESSION) {
            detach_late_command(s);
            break;
        }
        s->timed_out = true;
        channel_send(&s->channel, WIRE_INTERRUPT, NULL, 0);
        s->interrupted = true;
        s->after_interrupt = 0;
        arm(s, DUE_DETACH, INTERRUPT_WAIT);
        break;
    case DUE_DETACH:
        detach_late_command(s);
        break;
    case DUE_BYE:
        if (!s->gave_up && !s->failed)
            say(s, BYE_LINE, pid);
        s->over = true;
        break;
    case DUE_REMIND:
        remind(s);
        break;
    case DUE_COUNT:
        break;
    }
}

/* Passes the deadlines that are over; milliseconds to the next one, -1 if there is none. */
static int check_deadlines(struct session *s) {
    int64_t time = now(), next = -1;
    for (int i = 0; i < DUE_COUNT && !s->over; i++) {
        if (s->due[i] && s->due[i] <= time) {
            disarm(s, i);
            pass_deadline(s, i);
        }
    }
    for (int i = 0; i < DUE_COUNT; i++)
        if (s->due[i] && (next < 0 || s->due[i] - time < next))
            next = s->due[i] > time ? s->due[i] - time : 0;
    return next < 0 ? -1 : (int)(next / MS) + 1;
}

/* --- the loop --- */

static void take_signal(struct session *s) {
    struct signalfd_siginfo info;
    if (read(s->signals, &info, sizeof info) != (ssize_t)sizeof info)
        return;
    switch (info.ssi_signo) {
    case SIGINT:
        interrupt(s);
        break;
    case SIGTSTP:
        if (s->stands)
            say(s, "thread %d stands still until you come back", s->thread);
        else
            terminal_hide();
        output_flush(&s->output);
        terminal_suspend();
        send_size(s);
        break;
    case SIGCONT:
        terminal_resume();
        send_size(s);
        break;
    case SIGWINCH:
        terminal_resized();
        send_size(s);
        break;
    default:
        hang_up(s);
    }
}

static void read_input(struct session *s) {
    char piece[65536];
    ssize_t size = read(STDIN_FILENO, piece, sizeof piece);
    if (size > 0)
        buffer_add(&s->input, piece, (size_t)size);
    else if (size == 0 || (errno != EAGAIN && errno != EINTR))
        s->input_ended = true;
}

/* Which descriptor the loop waits for, and what then. */
enum { ON_SIGNAL, ON_TARGET, ON_ROOM, ON_OUTPUT, ON_INPUT, ON_EXIT, ON_COUNT };

static void wait_for_news(struct session *s, int timeout) {
    bool keys = terminal_prompting() && !terminal_hidden();
    bool lines = !s->person && s->reading && !s->options->command_count && !s->input_ended;
    bool behind = is_behind(s);
    struct pollfd waits[ON_COUNT] = {
        [ON_SIGNAL] = {.fd = s->signals, .events = POLLIN},
        [ON_TARGET] = {.fd = behind || !channel_room(&s->channel) ? -1 : s->channel.from_target, .events = POLLIN},
        [ON_ROOM] = {.fd = s->channel.out.length ? s->channel.to_target : -1, .events = POLLOUT},
        [ON_OUTPUT] = {.fd = output_waits_for(&s->output), .events = POLLOUT},
        /* A terminal is watched even when no key is wanted: it may go away. */
        [ON_INPUT] = {.fd = (s->person && s->stage != STAGE_LEAVING) || lines ? STDIN_FILENO : -1,
                      .events = keys || lines || s->may_dump ? POLLIN : 0},
        [ON_EXIT] = {.fd = s->exited ? -1 : s->process, .events = POLLIN},
    };
    if (poll(waits, ON_COUNT, s->exited && !behind ? 0 : timeout) < 0)
        return;
    if (waits[ON_SIGNAL].revents)
        take_signal(s);
    if (waits[ON_ROOM].revents)
        channel_write(&s->channel);
    if (waits[ON_TARGET].revents)
        channel_read(&s->channel);
    else if (s->exited && !behind)
        s->channel.ended = true; /* a child of the target may still hold the pipe */
    if (waits[ON_EXIT].revents)
        s->exited = true;
    if (s->over || !waits[ON_INPUT].revents)
        return;
    if (s->stage == STAGE_LEAVING)
        return;
    if (s->person && waits[ON_INPUT].revents & (POLLHUP | POLLERR | POLLNVAL))
        hang_up(s);
    else if (keys && terminal_prompting() && !terminal_hidden())
        terminal_key();
    else if (s->may_dump)
        take_early_line(s);
    else if (lines)
        read_input(s);
}

/* stdout is gone (head has what it wanted) or full. */
static void check_output(struct session *s) {
    if (!s->output.error || s->stage == STAGE_LEAVING || s->over)
        return;
    s->bye_said = s->output.error == EPIPE;
    if (s->output.error != EPIPE)
        say(s, "cannot write to stdout: %s", strerror(s->output.error));
    leave(s);
    s->status = 1;
}

static void check_payload_sent(struct session *s) {
    if (s->payload_sent || s->channel.out.length)
        return;
    s->payload_sent = true;
    disarm(s, DUE_PAYLOAD);
    say_step(s, "payload sent");
}

/* After news that came while a line was edited. */
static void show_prompt_again(struct session *s) {
    if (output_flush(&s->output))
        output_fresh_line(&s->output);
    if (output_flush(&s->output))
        terminal_show();
}

static void converse(struct session *s) {
    while (!s->over) {
        check_payload_sent(s);
        bool more = take_frames(s);
        check_output(s);
        if (s->reading && s->timed_out)
            detach_late_command(s);
        if (s->reading && !s->over)
            answer(s);
        if (terminal_hidden() && !s->prompt_due && !s->over)
            show_prompt_again(s);
        int timeout = check_deadlines(s);
        if (terminal_away()) {
            terminal_resume();
            timeout = timeout >= 0 && timeout < AWAY_LOOK ? timeout : AWAY_LOOK;
        }
        if (!s->over)
            wait_for_news(s, more ? 0 : timeout);
    }
}

/* What is still to be written may take its time (a pager), the user may not want to wait. */
static void drain_output(struct session *s) {
    while (!output_flush(&s->output)) {
        struct pollfd waits[] = {
            {.fd = output_waits_for(&s->output), .events = POLLOUT},
            {.fd = s->signals, .events = POLLIN},
        };
        if (poll(waits, 2, -1) < 0 && errno != EINTR)
            return;
        if (waits[1].revents && take_end_signal(s->signals))
            return;
    }
}

int session_run(const struct options *options) {
    struct session s = {.options = options, .process = -1, .history = -1};
    struct payload payload = {0};
    struct buffer path = {0};
    s.began = now();
    s.channel.to_target = s.channel.from_target = -1;
    s.person = isatty(STDIN_FILENO) && isatty(STDOUT_FILENO) && !options->command_count;
    s.manner = !strcmp(nl_langinfo(CODESET), "UTF-8") ? TEXT_UTF8 : 0;
    s.colours = colour_wanted();
    s.signals = open_signals(s.person);
    output_open(&s.output);
    caller_find(&s.caller);
    s.process = (int)syscall(SYS_pidfd_open, options->pid, 0);

    if (payload_read(&payload, options->payload, &path) < 0) {
        say(&s, "cannot read %.*s: %s", (int)path.length, path.data, strerror(errno));
        s.status = 1;
    } else if (reach_target(&s) < 0) {
        s.status = 1;
    } else {
        say_step(&s, "channel open");
        begin(&s, &payload);
        converse(&s);
        terminal_remove();
        history_close(s.history);
    }
    channel_close(&s.channel);
    drain_output(&s);
    payload_free(&payload);
    buffer_free(&path);
    buffer_free(&s.prompt);
    buffer_free(&s.command);
    buffer_free(&s.input);
    buffer_free(&s.save_path);
    return s.status;
}
