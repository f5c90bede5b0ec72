/* SPDX-License-Identifier: MIT
 * mixed.h - C and Python frames of a thread as one stack: see mixed.c.
 */
#ifndef MIXED_H
#define MIXED_H

#include "dump.h"
#include "native.h"

struct mixed_item {
    int frame;                  /* index in thread->frames; -1: it is a C frame */
    const struct native_frame *native;
};

struct mixed {                  /* innermost first */
    struct mixed_item *items;
    int count;
    const char *trouble;        /* why the C frames are missing or end early; NULL: they are whole */
    struct native_stack stack;
};

void read_mixed(struct native *native, pid_t tid, struct dump *dump, struct dump_thread *thread,
                void (*read)(struct dump *dump, struct dump_thread *thread));
void drop_mixed(struct dump_thread *thread, int frames);
uint64_t hash_mixed(const struct dump_thread *thread);
int is_mixed_alike(const struct dump_thread *one, const struct dump_thread *other);
void free_mixed(struct dump_thread *thread);

#endif
