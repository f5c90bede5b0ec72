/* client.h - what the files of pydbclient know of each other.
 * SPDX-License-Identifier: MIT
 *
 *   pydbclient.c   arguments and the story
 *   session.c      one session: what each frame, key, signal and deadline does; with begin.c,
 *                  speak.c (what the user sees) and answer.c (what the target is told)
 *   channel.c      frames to and from the target
 *   payload.c      the Python source for the target
 *   look.c         the target as seen from outside, by pydblook
 *   savefile.c     the file of `breaks save` and `breaks load`
 *   terminal.c     readline: prompt, completion, suspended, resized
 *   output.c       to stdout and stderr without ever waiting for them
 *   history.c      the caller's files: history and ~/.pdbrc
 *   text.c         what the target sends, made safe for a terminal; pure functions
 *   colour.c       Python source in colours
 *
 * The target is not trusted: it may be another user's process, or broken. Whatever it sends, the
 * client neither crashes nor waits for it for ever, and nothing of it reaches the terminal raw.
 */
#ifndef PYDB_CLIENT_H
#define PYDB_CLIENT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "wire.h"

/* --- text.c --- */

struct buffer {
    char *data;
    size_t length, room;
};

void buffer_add(struct buffer *buffer, const void *data, size_t length);
void buffer_add_text(struct buffer *buffer, const char *text);
void buffer_format(struct buffer *buffer, const char *format, ...) __attribute__((format(printf, 2, 3)));
void buffer_drop_front(struct buffer *buffer, size_t length);
void buffer_free(struct buffer *buffer);

/* The beginning of a character whose end comes with the next frame. */
struct text_rest {
    unsigned char bytes[4];
    int length;
};

/* text_escape's manner */
enum {
    TEXT_UTF8 = 1,     /* the locale shows all of Unicode */
    TEXT_ONE_LINE = 2, /* a newline is escaped, too */
};

size_t text_escape(struct buffer *out, struct text_rest *rest, const char *text, size_t length, int manner);
void text_finish(struct buffer *out, struct text_rest *rest);
void text_to_utf8(struct buffer *out, const char *text, size_t length, int manner);

/* --- colour.c --- */

bool colour_wanted(void);
void colour_python(struct buffer *out, const char *text, size_t length, int manner);

/* --- channel.c --- */

struct frame {
    int kind;
    const char *data;
    size_t length;
};

struct channel {
    int to_target, from_target;
    struct buffer in, out;
    size_t in_done;
    bool ended; /* the target has closed its end */
};

/* Why there is no channel. */
enum channel_trouble {
    CHANNEL_OK,
    CHANNEL_NOT_YET,  /* the library is still at work on it */
    CHANNEL_GONE,     /* so is the process */
    CHANNEL_DENIED,
    CHANNEL_NOT_OURS, /* what is there is no state, or no pipes */
    CHANNEL_FAILED,   /* the library could not make it */
    CHANNEL_TAKEN,    /* another client has it */
};

int target_read_state(pid_t pid, uint64_t address, struct pydb_state *state);
enum channel_trouble channel_open(struct channel *channel, pid_t pid, uint64_t address, int *error);
void channel_send(struct channel *channel, int kind, const void *data, size_t length);
void channel_write(struct channel *channel);
void channel_read(struct channel *channel);
int channel_next(struct channel *channel, struct frame *frame);
int channel_take(struct channel *channel, int kind, struct buffer *payload);
bool channel_room(const struct channel *channel);
void channel_close(struct channel *channel);

/* --- payload.c --- */

#define PAYLOAD_MODULES 5

struct payload {
    struct buffer source[PAYLOAD_MODULES];
};

int payload_read(struct payload *payload, const char *directory, struct buffer *path);
void payload_send(const struct payload *payload, struct channel *channel);
void payload_free(struct payload *payload);

/* --- output.c --- */

struct chunk;

/* Index 1 is stdout, 2 is stderr. */
struct output {
    struct chunk *first, *last;
    size_t bytes;
    int fd[3];
    int way[3];
    bool tty[3];
    bool line_start; /* the terminal's cursor is in the first column */
    int error;       /* errno of the write to stdout that failed */
};

void output_open(struct output *output);
void output_add(struct output *output, int stream, const char *text, size_t length);
void output_fresh_line(struct output *output);
bool output_flush(struct output *output);
void output_cut(struct output *output);
int output_waits_for(const struct output *output);

/* --- history.c --- */

/* Whose files: under sudo not root's but those of the user who called it. */
struct caller {
    uid_t uid;
    gid_t gid;
    bool borrowed; /* we are root for another user */
    char home[4096];
};

#define MOST_GROUPS 64

/* What is given up while we act for the caller. */
struct rights {
    bool changed;
    int group_count;
    gid_t groups[MOST_GROUPS];
};

void caller_find(struct caller *caller);
int act_for(const struct caller *caller, struct rights *rights);
void take_back(const struct rights *rights);
const char *pdbrc_read(const struct caller *caller, struct buffer *text);
int history_open(const struct caller *caller);
void history_keep(int fd, const char *line);
void history_close(int fd);

/* --- terminal.c --- */

/* What the terminal tells the session. */
struct terminal_user {
    void *session;
    void (*line)(void *session, const char *line); /* NULL: end of input */
    void (*complete)(void *session, const char *line, int begin, int end, struct buffer *words);
};

void terminal_open(const struct terminal_user *user);
bool terminal_prompt(const char *prompt);
bool terminal_prompting(void);
bool terminal_away(void);
bool terminal_hidden(void);
void terminal_hide(void);
void terminal_show(void);
void terminal_key(void);
void terminal_clear_line(void);
void terminal_suspend(void);
void terminal_resume(void);
void terminal_resized(void);
void terminal_remove(void);

/* --- session.c --- */

struct options {
    pid_t pid;
    uint64_t address;
    const char *thread;
    const char **commands;
    int command_count;
    double timeout; /* seconds, 0: none */
    double remind;  /* seconds a thread may stand before we say so */
    const char *payload;
    const char *look; /* pydblook, NULL: not there */
    bool no_rc, verbose;
};

int session_run(const struct options *options);

#endif
