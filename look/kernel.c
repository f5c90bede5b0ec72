/* SPDX-License-Identifier: MIT
 * kernel.c - what /proc says of each thread: three small files, read by two of ours where there are many.
 *
 *   stat      name, state, start, time on a processor in ticks
 *   syscall   the system call that it is in and its arguments (needs the right to trace)
 *   sched     se.exec_start: when it last ran, by the clock of its processor; se.sum_exec_runtime (ms);
 *             only where the kernel has CONFIG_SCHED_DEBUG
 *   schedstat how often it has come to a processor (CONFIG_SCHED_INFO), for some
 *
 * The clock of a processor counts neither interrupts nor stolen time, so each has its own: to know what it
 * says now, we go there for a moment and read our own exec_start. Where we may not go, nothing is told.
 */
#define _GNU_SOURCE
#include <dirent.h>
#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "dump.h"

#define ENOUGH_FOR_TWO 48       /* threads for which a second reader pays */
#define PROCESSORS_AT_MOST 1024

struct share {                  /* of the work */
    struct dump *dump;
    int task, first, count, inner_ids;
    int *processors;
    double *last_run;           /* ms; < 0: not told */
};

static int list_threads(struct target *target, struct dump_thread **threads) {
    int fd = openat(target->proc, "task", O_RDONLY | O_DIRECTORY | O_CLOEXEC), room = 0, count = 0;
    DIR *task = fd >= 0 ? fdopendir(fd) : NULL;
    struct dirent *entry;
    *threads = NULL;
    if (!task && fd >= 0)
        close(fd);
    while (task && (entry = readdir(task)) && count < THREADS_AT_MOST) {
        pid_t tid = atoi(entry->d_name);
        if (tid <= 0)
            continue;
        if (count == room) {
            struct dump_thread *more = realloc(*threads, (room = room ? 4 * room : 64) * sizeof *more);
            if (!more)
                break;
            *threads = more;
        }
        (*threads)[count++] = (struct dump_thread){.tid = tid, .inner_tid = tid, .interpreter = -1, .complete = 1,
                                                   .system_call = -2, .cpu_seconds = -1, .off_cpu_seconds = -1};
    }
    if (task)
        closedir(task);
    return count;
}

/* A file of one read: the kernel makes these anew for each. */
static ssize_t read_small(int task, pid_t tid, const char *file, char *text, size_t size) {
    char name[32], *at = name + 16;
    memcpy(at, file, strlen(file) + 1);
    *--at = '/';
    for (; tid; tid /= 10)
        *--at = '0' + tid % 10;
    int fd = openat(task, at, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return -1;
    ssize_t n = read(fd, text, size - 1);
    close(fd);
    text[n > 0 ? n : 0] = 0;
    return n;
}

static int read_stat_of(struct share *share, struct dump_thread *thread, int *processor) {
    char text[1024];
    static long ticks;
    if (!ticks)
        ticks = sysconf(_SC_CLK_TCK);
    if (read_small(share->task, thread->tid, "stat", text, sizeof text) <= 0)
        return -1;
    char *name = strchr(text, '('), *at = strrchr(text, ')');
    if (!name || !at || at < name)
        return -1;
    *at = 0;
    snprintf(thread->native_name, sizeof thread->native_name, "%s", name + 1);
    unsigned long long used = 0;
    int field = 2;
    for (at++; *at && field < 39; at++) {
        if (*at != ' ')
            continue;
        field++;
        if (field == 3)
            thread->kernel_state = at[1];
        else if (field == 14 || field == 15)
            used += strtoull(at + 1, NULL, 10);
        else if (field == 22)
            thread->start = strtoull(at + 1, NULL, 10);
        else if (field == 39)
            *processor = atoi(at + 1);
    }
    thread->cpu_seconds = (double)used / ticks;
    return field == 39 ? 0 : -1;
}

static void read_call_of(struct share *share, struct dump_thread *thread) {
    char text[256], *at;
    if (read_small(share->task, thread->tid, "syscall", text, sizeof text) <= 0)
        return;
    if (text[0] == 'r') {       /* running */
        thread->system_call = -1;
        return;
    }
    thread->system_call = strtol(text, &at, 10);
    if (thread->system_call < 0)
        thread->system_call = -1;       /* blocked outside of any: a page fault */
    else
        thread->argument = strtoull(at, NULL, 16);
}

/* The system call of one thread, now. */
void read_call_again(struct dump *dump, struct dump_thread *thread) {
    struct share share = {.dump = dump, .task = openat(dump->target->proc, "task", O_PATH | O_DIRECTORY | O_CLOEXEC)};
    if (share.task < 0)
        return;
    thread->system_call = -2;
    read_call_of(&share, thread);
    close(share.task);
}

/* How often a thread has come to a processor; 0: not told. */
static unsigned long long count_runs(const struct dump *dump, const struct dump_thread *thread) {
    char name[40], text[128];
    unsigned long long runs = 0;
    snprintf(name, sizeof name, "task/%d/schedstat", thread->tid);
    if (read_proc(dump->target, name, text, sizeof text) > 0)
        sscanf(text, "%*s %*s %llu", &runs);
    return runs;
}

/* A thread that is off the processor now has not run until it comes to one again: what has_rested compares.
 * 0: it runs, or nothing is told. */
unsigned long long begin_rest(const struct dump *dump, const struct dump_thread *thread) {
    char name[40], text[256];
    unsigned long long runs = count_runs(dump, thread);
    snprintf(name, sizeof name, "task/%d/syscall", thread->tid);
    return runs && read_proc(dump->target, name, text, sizeof text) > 0 && text[0] != 'r' ? runs : 0;
}

int has_rested(const struct dump *dump, const struct dump_thread *thread, unsigned long long begun) {
    return begun && count_runs(dump, thread) == begun;
}

static double find_number(const char *text, const char *name) {
    const char *at = strstr(text, name);
    at = at ? strchr(at, ':') : NULL;
    return at ? strtod(at + 1, NULL) : -1;
}

static void read_sched_of(struct share *share, struct dump_thread *thread, double *last_run) {
    char text[1024];            /* both stand in its first lines */
    *last_run = -1;
    if (read_small(share->task, thread->tid, "sched", text, sizeof text) <= 0)
        return;
    *last_run = find_number(text, "se.exec_start");
    double used = find_number(text, "se.sum_exec_runtime");
    if (used >= 0)
        thread->cpu_seconds = used / 1e3;
}

/* Its number in the target's own PID namespace: the last of NSpid. */
static void read_inner_id(struct share *share, struct dump_thread *thread) {
    char text[8192], *at;
    if (read_small(share->task, thread->tid, "status", text, sizeof text) <= 0 || !(at = strstr(text, "\nNSpid:")))
        return;
    for (at += 7; *at && *at != '\n';) {
        char *end;
        long id = strtol(at, &end, 10);
        if (end == at)
            break;
        thread->inner_tid = id;
        at = end + strspn(end, " \t");
    }
}

static void *read_share(void *data) {
    struct share *share = data;
    for (int i = share->first; i < share->first + share->count; i++) {
        struct dump_thread *thread = &share->dump->threads[i];
        share->processors[i] = -1;
        share->last_run[i] = -1;
        if (read_stat_of(share, thread, &share->processors[i])) {
            thread->tid = 0;    /* it has ended */
            continue;
        }
        read_call_of(share, thread);
        read_sched_of(share, thread, &share->last_run[i]);
        if (share->inner_ids)
            read_inner_id(share, thread);
    }
    return NULL;
}

/* ms by the clock of a processor, where we run now. */
static double read_own_clock(void) {
    char text[1024];
    sched_yield();              /* brings our own exec_start up to date */
    return read_own_file("/proc/thread-self/sched", text, sizeof text) ? -1 : find_number(text, "se.exec_start");
}

static void tell_off_cpu(struct dump *dump, const struct share *share) {
    double clocks[PROCESSORS_AT_MOST];
    cpu_set_t before, one;
    int moved = 0;
    if (sched_getaffinity(0, sizeof before, &before))
        return;
    for (int i = 0; i < PROCESSORS_AT_MOST; i++)
        clocks[i] = -2;
    for (int i = 0; i < dump->thread_count; i++) {
        int at = share->processors[i];
        struct dump_thread *thread = &dump->threads[i];
        if (!thread->tid || at < 0 || at >= PROCESSORS_AT_MOST || share->last_run[i] < 0 || thread->kernel_state == 'R')
            continue;
        if (clocks[at] == -2) {
            CPU_ZERO(&one);
            CPU_SET(at, &one);
            moved = 1;
            clocks[at] = sched_setaffinity(0, sizeof one, &one) ? -1 : read_own_clock();
        }
        double ms = clocks[at] - share->last_run[i];
        if (clocks[at] >= 0)
            thread->off_cpu_seconds = ms > 0 ? ms / 1e3 : 0;
    }
    if (moved)
        sched_setaffinity(0, sizeof before, &before);
}

static void drop_ended(struct dump *dump) {
    int left = 0;
    for (int i = 0; i < dump->thread_count; i++)
        if (dump->threads[i].tid)
            dump->threads[left++] = dump->threads[i];
    dump->thread_count = left;
}

/* All threads of the process. -1: it has ended. */
int read_kernel_threads(struct dump *dump) {
    struct target *target = dump->target;
    pthread_t second;
    dump->thread_count = list_threads(target, &dump->threads);
    int n = dump->thread_count, task = openat(target->proc, "task", O_PATH | O_DIRECTORY | O_CLOEXEC);
    struct share all = {dump, task, 0, n, target->status.nspid != target->status.pid,
                        calloc(n + 1, sizeof(int)), calloc(n + 1, sizeof(double))};
    if (n && task >= 0 && all.processors && all.last_run) {
        struct share halves[2] = {all, all};
        halves[0].count = n >= ENOUGH_FOR_TWO ? n / 2 : n;
        halves[1].first = halves[0].count;
        halves[1].count = n - halves[0].count;
        int two = halves[1].count && !pthread_create(&second, NULL, read_share, &halves[1]);
        read_share(&halves[0]);
        if (two)
            pthread_join(second, NULL);
        else
            read_share(&halves[1]);
        tell_off_cpu(dump, &all);
        drop_ended(dump);
    }
    free(all.processors);
    free(all.last_run);
    if (task >= 0)
        close(task);
    return dump->thread_count ? 0 : -1;
}
