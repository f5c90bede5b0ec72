/* SPDX-License-Identifier: MIT
 * unlucky.h - the ledger of the soak's targets as C sees it: tests/soak/victims/ledger.py has the words.
 */
#ifndef UNLUCKY_H
#define UNLUCKY_H

#include <pthread.h>
#include <stdint.h>
#include <time.h>

struct lane {
    int64_t used, items, lost, repeated, errors, pause, cpu, eintr, warned, last;
    int64_t unused[6];
};

static inline int64_t read_clock(clockid_t clock) {
    struct timespec t;
    clock_gettime(clock, &t);
    return t.tv_sec * 1000000000LL + t.tv_nsec;
}

/* One more piece of work; number: what it must be, -1 where it has none. */
static inline void count_item(struct lane *lane, int64_t number) {
    int64_t now = read_clock(CLOCK_MONOTONIC);
    if (number >= 0 && number != lane->items) {
        if (number > lane->items)
            lane->lost++;
        else
            lane->repeated++;
    }
    if (now - lane->last > lane->pause)
        lane->pause = now - lane->last;
    lane->last = now;
    lane->cpu = read_clock(CLOCK_THREAD_CPUTIME_ID);
    lane->items = number >= 0 ? number + 1 : lane->items + 1;
}

/* A thread for each lane. */
static inline int start_lanes(struct lane *lanes, int count, void *(*run)(void *)) {
    for (int i = 0; i < count; i++) {
        pthread_t thread;
        if (pthread_create(&thread, NULL, run, &lanes[i]))
            return -1;
        pthread_detach(thread);
    }
    return 0;
}

#endif
