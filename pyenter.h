/* SPDX-License-Identifier: MIT
 * pyenter.h - run a function in a thread of this process that is blocked in a system call: see pyenter.c.
 */
#ifndef PYDB_ENTER_H
#define PYDB_ENTER_H

#define VISITS 64

enum { VISIT_FREE, VISIT_SENT, VISIT_INSIDE, VISIT_LEFT, VISIT_MISSED };

/* What a visiting function answers: it could not do its work; the thread goes on waiting; its call shall
 * return to the program, interrupted. */
enum { VISIT_REFUSED = -1, VISIT_RESUME = 0, VISIT_INTERRUPT = 1 };

/* Called in the blocked thread. is_lock: it waits for a semaphore of its own kind, as far as one can see. */
typedef int (*visit_function)(void *argument, int is_lock);

#pragma GCC visibility push(hidden)
int find_free_signal(int tid);
void hear_visits(int on);
int find_visit(void);
/* anywhere: also in a thread that is not blocked; then the function may do only what a signal handler may. */
const char *send_visit(int slot, int tid, visit_function function, void *argument, int anywhere);
int visit_state(int slot, const char **reason);
void end_visits(void);
/* From here on there are so many bytes of the interpreter: who waits for a word in them waits for the GIL. */
extern const void *visit_runtime;
extern unsigned long visit_runtime_size;
#pragma GCC visibility pop

#endif
