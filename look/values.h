/* SPDX-License-Identifier: MIT
 * values.h - the values of a target's variables, as text; part of look.h for those who show locals.
 *
 *   snapshot.c  pages of the target's memory, read together, and whether they have changed since
 *   values.c    one object as text
 *   locals.c    the variables of the frames of a thread
 */
#ifndef VALUES_H
#define VALUES_H

#include "dump.h"

#define DEPTH 3                 /* if nobody says otherwise */
#define LENGTH 10
#define WIDTH 200
#define DEPTH_AT_MOST 20
#define LENGTH_AT_MOST 10000
#define WIDTH_AT_MOST 100000
#define NAME_SIZE 128
#define LOCALS_TEXT_AT_MOST (16u << 20)         /* of one process */

/* snapshot.c: what is read twice within one snapshot is read from the same copy of its page. */
#define RECENT 64
struct snapshot {
    struct memory *memory;
    struct page {
        uint64_t address;
        int unreadable;
        int now;                /* read_again: GONE, SAME, number of its copy in `changed` + 1 */
    } *pages;
    unsigned char *bytes;       /* PAGE for each */
    int count, room;
    int *table;                 /* hash of addresses: index + 1 into pages */
    unsigned table_size;
    struct used {               /* what the reader has relied on */
        uint64_t address;
        uint32_t size;
    } *used;
    int used_count, used_room;
    int page_limit;
    unsigned generation;
    unsigned char *changed;     /* pages that are not what they were */
    int changed_count, changed_room, all_same;
    unsigned char *again;       /* read_again reads them to here */
    struct recent {             /* pages that were asked for a moment ago, by their lowest bits */
        uint64_t address;
        const unsigned char *bytes;
    } recent[RECENT];
};
void begin_snapshot(struct snapshot *snapshot);
void fetch_pages(struct snapshot *snapshot, const uint64_t *addresses, int count);
int peek(struct snapshot *snapshot, uint64_t address, void *to, size_t size);
int consult(struct snapshot *snapshot, uint64_t address, void *to, size_t size);
void read_again(struct snapshot *snapshot);
int has_changed(const struct snapshot *snapshot, int first, int end);
void free_snapshot(struct snapshot *snapshot);

/* values.c */
struct value_limits {
    int depth, length, width;   /* levels of containers, items of each, columns of a value */
};

enum value_form {               /* how the text is to be understood, for JSON */
    TEXT,                       /* what Python's repr would say, more or less */
    STRING,                     /* the characters of a str themselves, for who quotes them */
    NUMBER, TRUTH, NOTHING,
};

struct value {
    const char *type;           /* its name, until close_values */
    enum value_form form;
    const char *text;           /* UTF-8; of the last value that was rendered */
    size_t size;
    int truncated, unreadable;
};

struct values;
struct values *open_values(struct memory *memory, const struct layout *layout, const struct value_limits *limits);
void close_values(struct values *values);
struct snapshot *snapshot_of(struct values *values);
void render_value(struct values *values, uint64_t object, int want_string, struct value *value);
int read_string(struct values *values, uint64_t object, char *to, size_t size);
int is_cell(struct values *values, uint64_t object, uint64_t *content);
int each_name(struct values *values, uint64_t dict, int limit, void (*visit)(void *data, const char *name, uint64_t object), void *data);
void render_tagged_int(struct values *values, int64_t number, struct value *value);

/* locals.c */
enum locals_state {
    LOCALS_TRUE,
    LOCALS_CHANGING,            /* something was written while it was read, each time */
    LOCALS_GONE,                /* the frame is not that call any more */
    LOCALS_LIMIT,               /* so much of this process was shown before that these are not */
};

struct local {
    const char *name, *type, *text;
    size_t size;                /* of text, UTF-8 */
    enum value_form form;
    int truncated;
};

struct frame_locals {
    enum locals_state state;
    int count;
    struct local *local;
};

struct locals_reader;
struct locals_reader *open_locals(struct dump *dump, const struct value_limits *limits, int strings);
void read_locals(struct locals_reader *reader);
void close_locals(struct locals_reader *reader);

#endif
