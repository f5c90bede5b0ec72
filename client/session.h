/* session.h - what the parts of a session share: session.c (frames, deadlines, the loop), begin.c,
 * speak.c (to the user) and answer.c (to the target). The rest of the client does not see it.
 * SPDX-License-Identifier: MIT
 */
#ifndef PYDB_SESSION_H
#define PYDB_SESSION_H

#include "../steps.h"
#include "client.h"

/* Time is CLOCK_MONOTONIC in microseconds. */
#define MS 1000
#define SECOND 1000000

#define COMPLETION_WAIT (2 * SECOND)
#define INTERRUPT_WAIT (2 * SECOND)
#define GIVE_UP_WAIT (1 * SECOND)

enum stage { STAGE_START, STAGE_PROMPT, STAGE_SESSION, STAGE_LEAVING };

enum deadline { DUE_PAYLOAD, DUE_GIL, DUE_PROMPT, DUE_COMMAND, DUE_DETACH, DUE_BYE, DUE_REMIND, DUE_COUNT };

struct session {
    const struct options *options;
    struct channel channel;
    struct output output;
    struct caller caller;
    int signals;           /* signalfd */
    int process;           /* pidfd, or -1 */
    int history;
    int64_t began;
    bool person;           /* somebody types at a terminal */
    bool colours;
    int manner;

    enum stage stage;
    bool reading;          /* the target waits for a line */
    bool prompt_due;       /* and the prompt is not shown yet */
    struct buffer prompt;
    int next_command;
    struct buffer command; /* the command that runs, for the message of --timeout */
    struct buffer input;   /* read from the pipe, not yet sent */
    bool input_ended;
    int ends_sent;
    struct text_rest rest;
    struct buffer save_path; /* the file of the `breaks save` that runs, with its zero; empty: none */
    int late_matches;      /* completions that were asked for and not waited for */

    bool interrupted, cut; /* since the last prompt */
    bool may_dump;         /* the GIL does not come: d and Enter */
    bool asked_to_lend;    /* the thread that has it */
    size_t after_interrupt;
    int64_t last_interrupt;
    int interrupts;

    bool stands;           /* the chosen thread is parked, since: */
    int64_t stands_since;
    int thread;

    int64_t due[DUE_COUNT]; /* 0: not waiting */
    bool payload_sent, exited, timed_out, failed, bye_said, gave_up, over;
    int status;
};

/* --- session.c --- */

int64_t now(void);
int64_t microseconds(double seconds);
void arm(struct session *s, enum deadline deadline, int64_t wait);
void disarm(struct session *s, enum deadline deadline);

/* --- begin.c --- */

int open_signals(bool person);
bool take_end_signal(int signals);
int reach_target(struct session *s);
void begin(struct session *s, const struct payload *payload);

/* --- speak.c --- */

void say(struct session *s, const char *format, ...) __attribute__((format(printf, 2, 3)));
void say_step(struct session *s, const char *step);
void show(struct session *s, const struct frame *frame);
void finish_text(struct session *s);
void cut_output(struct session *s);

/* --- look.c --- */

void say_who_holds_the_gil(struct session *s);
void show_dump(struct session *s, const char *words, size_t length);
void take_early_line(struct session *s);

/* --- savefile.c --- */

void add_saved(struct session *s, struct buffer *line);
void write_saved(struct session *s, const char *data, size_t length);

/* --- answer.c --- */

void send_size(struct session *s);
void leave(struct session *s);
void give_up(struct session *s);
void interrupt(struct session *s);
void hang_up(struct session *s);
void answer(struct session *s);
void take_line(void *session, const char *line);
void complete(void *session, const char *line, int begin, int end, struct buffer *words);

#endif
