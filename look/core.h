/* SPDX-License-Identifier: MIT
 * core.h - a core file in the place of a process: see core.c.
 */
#ifndef CORE_H
#define CORE_H

#include "look.h"

struct core;

int open_core(struct target *target, const char *path, const char *executable);
void explain_core(struct target *target, const char *path, int failed, long long *time);
void close_core(struct core *core);
struct core *core_of(const struct memory *memory);      /* NULL: a process */
int open_core_file(struct core *core, const char *name);
int read_core_registers(struct core *core, pid_t tid, uint64_t *registers, size_t size);

/* The threads of the core, in its order: the one that got the signal is first. */
int core_thread_count(const struct core *core);
pid_t core_thread(const struct core *core, int i);
double core_thread_time(const struct core *core, int i);
size_t split_core_command(const struct core *core, char *to, size_t size);

#endif
