/* answer.c - what the target is told: lines, the end of input, interrupt, detach, completions.
 * SPDX-License-Identifier: MIT
 */
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "session.h"

#define UNREAD_FLOOD (16 << 10)
#define MOST_WORDS 5000
#define MOST_ENDS 8 /* end of input answers that often in a row; a target that asks on is left */

void send_size(struct session *s) {
    struct winsize size;
    char text[32];
    if (!s->person || ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) < 0 || !size.ws_col)
        return;
    int length = snprintf(text, sizeof text, "%d %d", size.ws_col, size.ws_row);
    channel_send(&s->channel, WIRE_SIZE, text, (size_t)length);
}

void leave(struct session *s) {
    if (s->stage == STAGE_LEAVING) {
        s->over = true;
        return;
    }
    channel_send(&s->channel, WIRE_DETACH, NULL, 0);
    terminal_remove();
    s->stage = STAGE_LEAVING;
    s->reading = false;
    memset(s->due, 0, sizeof s->due);
    arm(s, DUE_BYE, BYE_MS * MS);
}

/* Before the first prompt. */
void give_up(struct session *s) {
    leave(s);
    s->status = 1;
    s->gave_up = true;
    arm(s, DUE_BYE, GIVE_UP_WAIT);
}

static void send_end(struct session *s) {
    s->reading = s->prompt_due = false;
    if (++s->ends_sent > MOST_ENDS) {
        leave(s);
        return;
    }
    channel_send(&s->channel, WIRE_EOF, NULL, 0);
    arm(s, DUE_BYE, BYE_MS * MS);
}

static void send_line(struct session *s, const char *line, size_t length) {
    struct buffer text = {0};
    text_to_utf8(&text, line, length, s->manner);
    s->reading = s->prompt_due = false;
    s->interrupted = s->cut = false;
    s->interrupts = 0;
    s->ends_sent = 0;
    s->command.length = 0;
    buffer_add(&s->command, text.data, text.length);
    add_saved(s, &text);
    if (text.length > WIRE_MAX) {
        say(s, "a line is longer than 1 MiB; detached");
        s->bye_said = true;
        leave(s);
        s->status = 1;
    } else {
        channel_send(&s->channel, WIRE_LINE, text.data, text.length);
        if (s->options->timeout > 0 && !s->person)
            arm(s, DUE_COMMAND, microseconds(s->options->timeout));
    }
    buffer_free(&text);
}

void interrupt(struct session *s) {
    int64_t time = now();
    bool soon = s->last_interrupt && time - s->last_interrupt < INTERRUPT_WAIT;
    s->last_interrupt = time;
    if (s->stage == STAGE_LEAVING) {
        leave(s);
    } else if (s->stage < STAGE_SESSION) {
        say(s, "gave up; %d runs on", (int)s->options->pid);
        give_up(s);
    } else if (terminal_prompting()) {
        terminal_clear_line();
    } else if (s->person && s->reading) {
        cut_output(s); /* the prompt is there already, behind the output */
    } else if (!s->person && soon) {
        s->status = 1;
        leave(s);
    } else {
        channel_send(&s->channel, WIRE_INTERRUPT, NULL, 0);
        arm(s, DUE_GIL, GIL_MS * MS);
        if (s->person)
            s->input.length = 0;
        s->interrupted = true;
        s->after_interrupt = 0;
        if (s->output.bytes || s->channel.in.length - s->channel.in_done > UNREAD_FLOOD)
            cut_output(s);
        if (s->person && ++s->interrupts == 3)
            say(s, "no answer from %d yet; Ctrl-\\ detaches", (int)s->options->pid);
    }
}

/* The terminal is gone, or somebody ends us. */
void hang_up(struct session *s) {
    if (s->stage == STAGE_LEAVING)
        leave(s);
    else if (s->stage < STAGE_SESSION)
        interrupt(s);
    else {
        if (!s->person)
            s->status = 1;
        leave(s);
    }
}

/* The completions that can be shown and typed as they are. */
static void add_words(struct session *s, const struct buffer *matches, struct buffer *words) {
    struct buffer word = {0};
    size_t at = 0;
    for (int i = 0; i < MOST_WORDS && at < matches->length; i++) {
        const char *text = matches->data + at;
        const char *end = memchr(text, '\n', matches->length - at);
        size_t length = end ? (size_t)(end - text) : matches->length - at;
        word.length = 0;
        if (length && !text_escape(&word, NULL, text, length, s->manner)) {
            buffer_add(words, word.data, word.length);
            buffer_add(words, "", 1);
        }
        at += length + 1;
    }
    buffer_free(&word);
}

/* Waits for the completions, but not for ever, and not when a signal has come. */
static bool wait_for_matches(struct session *s, struct buffer *matches) {
    int64_t until = now() + COMPLETION_WAIT, left;
    while ((left = until - now()) > 0) {
        int found = channel_take(&s->channel, WIRE_MATCHES, matches);
        if (found > 0 && s->late_matches == 0)
            return true;
        if (found > 0) {
            s->late_matches--;
            matches->length = 0;
            continue;
        }
        if (found < 0)
            return false;
        struct pollfd waits[] = {
            {.fd = s->channel.from_target, .events = POLLIN},
            {.fd = s->signals, .events = POLLIN},
            {.fd = s->channel.out.length ? s->channel.to_target : -1, .events = POLLOUT},
        };
        if (poll(waits, 3, (int)(left / MS) + 1) < 0 && errno != EINTR)
            return false;
        if (waits[1].revents)
            return false;
        if (waits[0].revents)
            channel_read(&s->channel);
        if (waits[2].revents)
            channel_write(&s->channel);
    }
    return false;
}

/* Tab was typed. Positions are bytes of the line in the locale, on the wire of the line in UTF-8. */
void complete(void *session, const char *line, int begin, int end, struct buffer *words) {
    struct session *s = session;
    struct buffer request = {0}, text = {0}, matches = {0};
    text_to_utf8(&text, line, (size_t)begin, s->manner);
    buffer_format(&request, "%zu", text.length);
    buffer_add(&request, "", 1);
    text.length = 0;
    text_to_utf8(&text, line, (size_t)end, s->manner);
    buffer_format(&request, "%zu", text.length);
    buffer_add(&request, "", 1);
    text_to_utf8(&request, line, strlen(line), s->manner);
    if (request.length <= WIRE_MAX) {
        channel_send(&s->channel, WIRE_COMPLETE, request.data, request.length);
        if (wait_for_matches(s, &matches))
            add_words(s, &matches, words);
        else {          /* what does not answer in time shall not go on in the target */
            s->late_matches++;
            channel_send(&s->channel, WIRE_INTERRUPT, NULL, 0);
        }
    }
    buffer_free(&request);
    buffer_free(&text);
    buffer_free(&matches);
}

/* Sends the next line of what was read, if it is complete. */
static void answer_from_pipe(struct session *s) {
    char *end = s->input.length ? memchr(s->input.data, '\n', s->input.length) : NULL;
    if (!end && !s->input_ended && s->input.length <= WIRE_MAX)
        return;
    if (!s->input.length) {
        send_end(s);
        return;
    }
    size_t length = end ? (size_t)(end - s->input.data) : s->input.length;
    size_t used = length + (end != NULL);
    if (length && s->input.data[length - 1] == '\r')
        length--;
    send_line(s, s->input.data, length);
    buffer_drop_front(&s->input, used);
}

/* A line was typed. */
void take_line(void *session, const char *line) {
    struct session *s = session;
    s->output.line_start = true;
    if (!line) {
        output_add(&s->output, STDOUT_FILENO, "\n", 1);
        send_end(s);
        return;
    }
    history_keep(s->history, line);
    /* Usually one line; one with a newline in it (^V ^J) is two, and the second waits for its turn. */
    buffer_add_text(&s->input, line);
    buffer_add_text(&s->input, "\n");
    answer_from_pipe(s);
}

void answer(struct session *s) {
    if (s->options->command_count && s->next_command < s->options->command_count) {
        const char *command = s->options->commands[s->next_command++];
        send_line(s, command, strlen(command));
    } else if (s->options->command_count) {
        send_end(s);
    } else if (!s->person || s->input.length) {
        answer_from_pipe(s);
    } else if (s->prompt_due && output_flush(&s->output)) {
        output_fresh_line(&s->output);
        output_flush(&s->output);
        s->prompt_due = !terminal_prompt(s->prompt.data);
    }
}
