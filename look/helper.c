/* SPDX-License-Identifier: MIT
 * helper.c - a second thread of ours, which does what it can of the work of the first one.
 *
 * It shall not take a processor from the target: beside an ordinary thread of ours a thread of the target that sleeps
 * and wakes waited a millisecond longer, on two processors. So it has the lowest priority, and where all processors
 * are busy it hardly runs. Nobody waits for it: the first thread does itself what is not done when it is wanted. The
 * helper may still be at it when our process ends; until then nothing is freed that it reads or writes.
 */
#define _GNU_SOURCE
#include <pthread.h>
#include <stdatomic.h>
#include <sys/resource.h>

#include "dump.h"

#define LOWEST 19

static struct task {
    void (*work)(void *data);
    void *data;
} tasks[HELPERS_AT_MOST];
static int task_count;
static atomic_int at_work;

static void *run_helper(void *data) {
    const struct task *task = data;
    setpriority(PRIO_PROCESS, 0, LOWEST);       /* of this thread */
    task->work(task->data);
    at_work--;
    return NULL;
}

/* Where there is no thread to be had, nothing is done. */
void begin_helper(void (*work)(void *data), void *data) {
    pthread_t thread;
    if (task_count == HELPERS_AT_MOST)
        return;
    tasks[task_count] = (struct task){work, data};
    at_work++;
    if (pthread_create(&thread, NULL, run_helper, &tasks[task_count++]))
        at_work--;
    else
        pthread_detach(thread);
}

/* If not, everything may be freed. A sanitizer wants to see that, so with one we wait. */
int helpers_are_at_work(void) {
#ifdef SANITIZED
    while (at_work)
        sleep_ms(1);
#endif
    if (!at_work)
        task_count = 0;
    return at_work;
}
