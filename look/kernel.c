/* SPDX-License-Identifier: MIT
 * kernel.c - what /proc says of each thread: three small files. To read them takes as long as to read the stacks, so two of
 * them are read by a helper meanwhile (read_kernel_threads ... finish_kernel_threads).
 *
 *   stat      name, state, start, time on a processor in ticks
 *   syscall   the system call that it is in and its arguments (needs the right to trace)
 *   sched     se.exec_start: when it last ran, by the clock of its processor; se.sum_exec_runtime (ms);
 *             only where the kernel has CONFIG_SCHED_DEBUG
 *   schedstat how often it has come to a processor (CONFIG_SCHED_INFO), for some
 *
 * The clock of a processor counts neither interrupts nor stolen time, so each has its own: to know what it
 * says now, the helper goes there for a moment and reads its own exec_start; to come to another processor takes up to
 * half a millisecond. Where we may not go, nothing is told.
 */
#define _GNU_SOURCE
#include <dirent.h>
#include <fcntl.h>
#include <math.h>
#include <sched.h>
#include <semaphore.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "dump.h"

#define PROCESSORS_AT_MOST 1024

struct kernel_call {            /* what is read of a thread meanwhile, at its `place` */
    atomic_int is_done;
    pid_t tid;
    long system_call;           /* as in struct dump_thread */
    uint64_t argument;
    double used, last_run;      /* ms, the latter by the clock of its processor; < 0: not told */
};

static struct {
    int begun, task;            /* task: /proc/PID/task */
    struct kernel_call *calls, *own;            /* the helper's, from the first one on; those that we had to read */
    int count;
    atomic_int end;             /* of the helper's part */
    sem_t processors_known;     /* those that the threads were on */
    int processor_count, processors[PROCESSORS_AT_MOST];
    double ahead[PROCESSORS_AT_MOST];           /* of now_ms(): their clocks; NAN: not told */
    atomic_int clocks_done;
} meanwhile;

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
        (*threads)[count] = (struct dump_thread){.tid = tid, .inner_tid = tid, .place = count, .interpreter = -1, .complete = 1,
                                                   .system_call = -2, .cpu_seconds = -1, .off_cpu_seconds = -1};
        count++;
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

static int read_stat_of(int task, struct dump_thread *thread) {
    char text[1024];
    static long ticks;
    if (!ticks)
        ticks = sysconf(_SC_CLK_TCK);
    if (read_small(task, thread->tid, "stat", text, sizeof text) <= 0)
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
            thread->processor = atoi(at + 1);
    }
    thread->cpu_seconds = (double)used / ticks;
    return field == 39 ? 0 : -1;
}

static void read_call(int task, struct kernel_call *call) {
    char text[256], *at;
    call->system_call = -2;
    if (read_small(task, call->tid, "syscall", text, sizeof text) <= 0)
        return;
    if (text[0] == 'r') {       /* running */
        call->system_call = -1;
        return;
    }
    call->system_call = strtol(text, &at, 10);
    if (call->system_call < 0)
        call->system_call = -1; /* blocked outside of any: a page fault */
    else
        call->argument = strtoull(at, NULL, 16);
}

/* The system call of one thread, now. */
void read_call_again(struct dump *dump, struct dump_thread *thread) {
    struct kernel_call call = {.tid = thread->tid};
    int task = openat(dump->target->proc, "task", O_PATH | O_DIRECTORY | O_CLOEXEC);
    if (task < 0)
        return;
    read_call(task, &call);
    thread->system_call = call.system_call;
    thread->argument = call.argument;
    close(task);
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

static void read_sched(int task, struct kernel_call *call) {
    char text[1024];            /* both stand in its first lines */
    int told = read_small(task, call->tid, "sched", text, sizeof text) > 0;
    call->last_run = told ? find_number(text, "se.exec_start") : -1;
    call->used = told ? find_number(text, "se.sum_exec_runtime") : -1;
}

/* Its number in the target's own PID namespace: the last of NSpid. */
static void read_inner_id(int task, struct dump_thread *thread) {
    char text[8192], *at;
    if (read_small(task, thread->tid, "status", text, sizeof text) <= 0 || !(at = strstr(text, "\nNSpid:")))
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

/* Of the processor that we are on. */
static double read_own_clock(void) {
    char text[1024];
    sched_yield();              /* brings our own exec_start up to date */
    double now = now_ms(), own = read_own_file("/proc/thread-self/sched", text, sizeof text) ? -1 : find_number(text, "se.exec_start");
    return own < 0 ? NAN : own - now;
}

static void read_one(int task, struct kernel_call *call) {
    read_call(task, call);
    read_sched(task, call);
}

static void read_clocks(double *ahead) {
    cpu_set_t one;
    for (int i = 0; i < meanwhile.processor_count; i++) {
        CPU_ZERO(&one);
        CPU_SET(meanwhile.processors[i], &one);
        ahead[i] = sched_setaffinity(0, sizeof one, &one) ? NAN : read_own_clock();
    }
}

/* The helper's work. */
static void read_meanwhile(void *unused) {
    (void)unused;
    for (int i = 0; i < meanwhile.end; i++) {
        read_one(meanwhile.task, &meanwhile.calls[i]);
        meanwhile.calls[i].is_done = 1;
    }
    while (sem_wait(&meanwhile.processors_known))
        ;
    read_clocks(meanwhile.ahead);
    meanwhile.clocks_done = 1;
}

static int begin_calls(const struct dump *dump, int task) {
    meanwhile.count = dump->thread_count;
    meanwhile.end = meanwhile.count;
    meanwhile.calls = calloc(meanwhile.count, sizeof *meanwhile.calls);
    meanwhile.own = calloc(meanwhile.count, sizeof *meanwhile.own);
    if (!meanwhile.calls || !meanwhile.own)
        return -1;
    for (int i = 0; i < meanwhile.count; i++)
        meanwhile.calls[i].tid = dump->threads[i].tid;
    meanwhile.task = task;
    meanwhile.begun = !sem_init(&meanwhile.processors_known, 0, 0);
    if (meanwhile.begun)
        begin_helper(read_meanwhile, NULL);
    return 0;
}

/* The processors that the threads were on. */
static void choose_processors(const struct dump *dump) {
    char chosen[PROCESSORS_AT_MOST] = {0};
    for (int i = 0; i < dump->thread_count; i++) {
        int at = dump->threads[i].processor;
        if (dump->threads[i].kernel_state == 'R' || at < 0 || at >= PROCESSORS_AT_MOST || chosen[at])
            continue;
        chosen[at] = 1;
        meanwhile.processors[meanwhile.processor_count++] = at;
    }
    sem_post(&meanwhile.processors_known);
}

static void drop_ended(struct dump *dump) {
    int left = 0;
    for (int i = 0; i < dump->thread_count; i++)
        if (dump->threads[i].tid)
            dump->threads[left++] = dump->threads[i];
    dump->thread_count = left;
}

/* All threads of the process. -1: it has ended. What they do in the kernel is known after finish_kernel_threads. */
int read_kernel_threads(struct dump *dump) {
    struct target *target = dump->target;
    dump->thread_count = list_threads(target, &dump->threads);
    int task = openat(target->proc, "task", O_PATH | O_DIRECTORY | O_CLOEXEC);
    if (!dump->thread_count || task < 0 || begin_calls(dump, task)) {
        if (task >= 0)
            close(task);
        return -1;
    }
    for (int i = 0; i < dump->thread_count; i++) {
        struct dump_thread *thread = &dump->threads[i];
        if (read_stat_of(task, thread))
            thread->tid = 0;    /* it has ended */
        else if (target->status.nspid != target->status.pid)
            read_inner_id(task, thread);
    }
    drop_ended(dump);
    choose_processors(dump);
    return dump->thread_count ? 0 : -1;
}

static void take_call(struct dump_thread *thread, const struct kernel_call *call) {
    thread->system_call = call->system_call;
    thread->argument = call->argument;
    if (call->used >= 0)
        thread->cpu_seconds = call->used / 1e3;
    thread->last_run = thread->kernel_state == 'R' ? -1 : call->last_run;
}

static void tell_off_cpu(struct dump_thread *thread, double now, const double *ahead) {
    for (int i = 0; i < meanwhile.processor_count && thread->last_run >= 0; i++)
        if (meanwhile.processors[i] == thread->processor && !isnan(ahead[i])) {
            double ms = now + ahead[i] - thread->last_run;
            thread->off_cpu_seconds = ms > 0 ? ms / 1e3 : 0;
        }
}

/* Once after read_kernel_threads; more often does not matter. */
void finish_kernel_threads(struct dump *dump) {
    double own[PROCESSORS_AT_MOST], *ahead = meanwhile.ahead, now = now_ms();
    cpu_set_t before;
    if (!meanwhile.begun)
        return;
    meanwhile.begun = 0;
    for (int i = meanwhile.count - 1; i >= 0 && !meanwhile.calls[i].is_done; i--) {
        meanwhile.end = i;
        meanwhile.own[i].tid = meanwhile.calls[i].tid;
        read_one(meanwhile.task, &meanwhile.own[i]);
    }
    for (int i = 0; i < dump->thread_count; i++) {
        int place = dump->threads[i].place;
        take_call(&dump->threads[i], meanwhile.own[place].tid ? &meanwhile.own[place] : &meanwhile.calls[place]);
    }
    if (!meanwhile.clocks_done) {
        int moves = !sched_getaffinity(0, sizeof before, &before);
        read_clocks(ahead = own);
        if (moves)
            sched_setaffinity(0, sizeof before, &before);
    }
    for (int i = 0; i < dump->thread_count; i++)
        tell_off_cpu(&dump->threads[i], now, ahead);
}
