/* speak.c - what the user sees of a session.
 * SPDX-License-Identifier: MIT
 *
 * Results go to stdout, news about the session to stderr. When both come while a line is being
 * edited, the line leaves the screen and is drawn again after them (converse, in session.c).
 */
#define _GNU_SOURCE
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "session.h"

#define MOST_AFTER_INTERRUPT (16 << 10) /* room for a traceback; what comes after is a flood */

static void make_way(struct session *s) {
    if (s->output.tty[STDERR_FILENO]) {
        terminal_hide();
        output_fresh_line(&s->output);
    }
}

/* One line about the session. */
void say(struct session *s, const char *format, ...) {
    struct buffer line = {0};
    va_list arguments;
    char *text;
    va_start(arguments, format);
    int length = vasprintf(&text, format, arguments);
    va_end(arguments);
    if (length < 0)
        return;
    buffer_add_text(&line, "pydbattach: ");
    text_escape(&line, NULL, text, (size_t)length, s->manner | TEXT_ONE_LINE);
    buffer_add_text(&line, "\n");
    make_way(s);
    output_add(&s->output, STDERR_FILENO, line.data, line.length);
    free(text);
    buffer_free(&line);
}

void say_step(struct session *s, const char *step) {
    if (s->options->verbose)
        say(s, "client: %s %.1f ms", step, (double)(now() - s->began) / MS);
}

void finish_text(struct session *s) {
    struct buffer text = {0};
    text_finish(&text, &s->rest);
    output_add(&s->output, STDOUT_FILENO, text.data, text.length);
    buffer_free(&text);
}

void cut_output(struct session *s) {
    if (s->cut)
        return;
    s->cut = true;
    s->rest.length = 0;
    output_cut(&s->output);
    if (s->colours)
        output_add(&s->output, STDOUT_FILENO, "\033[0m", 4);
    say(s, "output cut");
}

void show(struct session *s, const struct frame *frame) {
    if (s->interrupted && !s->cut) {
        s->after_interrupt += frame->length;
        if (s->after_interrupt > MOST_AFTER_INTERRUPT)
            cut_output(s);
    }
    if (s->cut || !frame->length)
        return;
    struct buffer text = {0};
    if (frame->kind == WIRE_CODE && s->colours)
        colour_python(&text, frame->data, frame->length, s->manner);
    else
        text_escape(&text, &s->rest, frame->data, frame->length, s->manner);
    if (s->output.tty[STDOUT_FILENO])
        terminal_hide();
    output_add(&s->output, STDOUT_FILENO, text.data, text.length);
    buffer_free(&text);
}
