/* SPDX-License-Identifier: MIT
 * states.c - the states of a process and of its threads in which gdb must not come: stopped, frozen,
 * in uninterruptible sleep, traced by somebody else, out of descriptors.
 *
 * All from /proc. None of these files needs the lock of the target's memory (as cmdline and maps do).
 */
#define _GNU_SOURCE
#include <dirent.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "look.h"

#define DESCRIPTORS_NEEDED 5
#define DESCRIPTORS_COUNTED 65536
#define D_LOOKS 25              /* a thread in state D at all of so many looks ... */
#define D_PAUSE_MS 4            /* ... so far apart is there for good */

double now_ms(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec * 1e3 + t.tv_nsec / 1e6;
}

void sleep_ms(int ms) {
    struct timespec t = {0, ms * 1000000l};
    nanosleep(&t, NULL);
}

/* Is it in state D to stay? A thread that reads from a disk comes and goes. */
static int waits_for_good(struct target *target, struct thread *thread) {
    for (int look = 0; look < D_LOOKS; look++) {
        if (look)
            sleep_ms(D_PAUSE_MS);
        if (read_thread_stat(target, thread) || thread->state != 'D')
            return 0;
    }
    return 1;
}

/* All threads and their states. Needs no lock of the target's memory. */
int read_threads(struct target *target) {
    int fd = openat(target->proc, "task", O_RDONLY | O_DIRECTORY | O_CLOEXEC), room = 0;
    DIR *task = fd >= 0 ? fdopendir(fd) : NULL;
    if (!task) {
        if (fd >= 0)
            close(fd);
        return refuse_missing(target, target->pid);
    }
    struct dirent *entry;
    while ((entry = readdir(task)) && target->thread_count < THREADS_AT_MOST) {
        struct thread thread = {.tid = atoi(entry->d_name), .nr = -1};
        if (!thread.tid || read_thread_stat(target, &thread))
            continue;
        if (target->thread_count == room) {
            room = room ? 2 * room : 64;
            struct thread *more = realloc(target->threads, room * sizeof *more);
            if (!more)
                break;
            target->threads = more;
        }
        target->threads[target->thread_count++] = thread;
    }
    closedir(task);
    for (int i = 0; i < target->thread_count && !target->waiting; i++) {
        if (target->threads[i].state == 'D' && waits_for_good(target, &target->threads[i])) {
            char name[32];
            target->waiting = target->threads[i].tid;
            snprintf(name, sizeof name, "task/%d/wchan", target->waiting);
            if (read_proc(target, name, target->waiting_for, sizeof target->waiting_for) <= 0
                || !strcmp(target->waiting_for, "0"))
                target->waiting_for[0] = 0;
        }
    }
    return target->thread_count ? 0 : refuse_missing(target, target->pid);
}

int check_stopped(struct target *target) {
    static const struct { unsigned number; const char *name; } signals[] = {
        {SIGSTOP, "SIGSTOP"}, {SIGTSTP, "SIGTSTP"}, {SIGTTIN, "SIGTTIN"}, {SIGTTOU, "SIGTTOU"}};
    for (int i = 0; i < target->thread_count; i++) {
        const struct thread *thread = &target->threads[i];
        if (thread->state == 't') {
            char name[32];
            struct status status;
            snprintf(name, sizeof name, "task/%d/status", thread->tid);
            if (!read_status(target, name, &status) && status.tracer)
                return refuse_traced(target, status.tracer);
        }
        if (thread->state != 'T')
            continue;
        struct thread leader = *thread;         /* the signal stands in the file of the process only */
        read_stat(target, "stat", &leader, NULL);
        const char *signal = "SIGSTOP";
        for (size_t k = 0; k < sizeof signals / sizeof *signals; k++)
            if (signals[k].number == leader.stop_signal)
                signal = signals[k].name;
        char brief[128];
        snprintf(brief, sizeof brief, "stopped (%s)", signal);
        return refuse(target, brief, "process %d is stopped (%s); continue it first: kill -CONT %d",
                      target->pid, signal, target->pid);
    }
    return 0;
}

/* Where a cgroup hierarchy is mounted: v2, or v1 with the freezer. */
static int find_cgroup_mount(const char *mounts, int version, char *path, size_t size) {
    for (const char *line = mounts; line && *line; line = strchr(line, '\n') ? strchr(line, '\n') + 1 : NULL) {
        char where[256], type[32], options[256];
        int n = 0;
        if (sscanf(line, "%*d %*d %*s %*s %255s %n", where, &n) != 1 || !n)
            continue;
        const char *end = strchrnul(line, '\n'), *dash = strstr(line + n, " - ");
        if (!dash || dash > end || sscanf(dash, " - %31s %*s %255s", type, options) != 2)
            continue;
        if (version == 2 ? !strcmp(type, "cgroup2") : !strcmp(type, "cgroup") && strstr(options, "freezer")) {
            snprintf(path, size, "%s", where);
            return 0;
        }
    }
    return -1;
}

/* Does a cgroup of the process, or one above it, stand still? The files of the group itself tell of those above, too. */
static int is_frozen(struct target *target) {
    char groups[8192], path[4096], text[1024], mount[256];
    static char mounts[1 << 18];
    if (read_proc(target, "cgroup", groups, sizeof groups) <= 0)
        return 0;
    for (char *line = groups; line && *line; line = strchr(line, '\n') ? strchr(line, '\n') + 1 : NULL) {
        char *controllers = strchr(line, ':'), *group = controllers ? strchr(controllers + 1, ':') : NULL;
        if (!group)
            break;
        int version = controllers + 1 == group ? 2 : 1;
        char *end = strchrnul(group, '\n');
        *group = 0;
        int has_freezer = version == 2 || strstr(controllers, "freezer");
        *group = ':';
        if (!has_freezer || !strncmp(group + 1, "/..", 3) || end == group + 2)
            continue;           /* not seen from here, or the root, which cannot be frozen */
        if (!mounts[0] && read_own_file("/proc/self/mountinfo", mounts, sizeof mounts))
            return 0;
        if (find_cgroup_mount(mounts, version, mount, sizeof mount))
            continue;
        snprintf(path, sizeof path, "%s%.*s/%s", mount, (int)(end - group - 1), group + 1,
                 version == 2 ? "cgroup.events" : "freezer.state");
        if (!read_own_file(path, text, sizeof text)
            && (version == 2 ? strstr(text, "frozen 1") != NULL : !strncmp(text, "FROZEN", 6) || !strncmp(text, "FREEZING", 8)))
            return 1;
    }
    return 0;
}

int check_frozen(struct target *target) {
    char wchan[64] = "";
    read_proc(target, "wchan", wchan, sizeof wchan);
    if (is_frozen(target) || !strcmp(wchan, "do_freezer_trap") || !strcmp(wchan, "__refrigerator"))
        return refuse(target, "frozen", "process %d is frozen by its cgroup; thaw it first", target->pid);
    return 0;
}

/* gdb stops all threads when it is given the first one, and waits for each; given another thread it
 * takes that one alone. So a thread in state D is an obstacle only where no other one can be taken. */
int check_waiting(struct target *target) {
    if (!target->waiting)
        return 0;
    for (int i = 0; i < target->thread_count; i++)
        if (target->threads[i].tid != target->pid && target->threads[i].state != 'D')
            return 0;
    return refuse(target, "in uninterruptible sleep",
                  "thread %d of process %d is in uninterruptible sleep (vfork parent, disk or NFS%s%s); gdb would wait for it",
                  target->waiting, target->pid, target->waiting_for[0] ? ": " : "", target->waiting_for);
}

/* A soft limit of /proc/PID/limits. */
static uint64_t read_limit(const struct target *target, const char *name, uint64_t otherwise) {
    char text[4096], *at;
    if (read_proc(target, "limits", text, sizeof text) <= 0 || !(at = strstr(text, name)))
        return otherwise;
    at += strlen(name) + strspn(at + strlen(name), " ");
    return *at == 'u' ? UINT64_MAX : strtoull(at, NULL, 10);
}

/* The library needs some for the channel, and one to be loaded. Linux 6.2 and later count them for us. */
int check_descriptors(struct target *target) {
    struct stat info;
    uint64_t limit = read_limit(target, "Max open files", UINT64_MAX), count = 0;
    if (!fstatat(target->proc, "fd", &info, 0) && info.st_size > 0) {
        count = info.st_size;
    } else if (limit < DESCRIPTORS_COUNTED) {
        int fd = openat(target->proc, "fd", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        DIR *directory = fd >= 0 ? fdopendir(fd) : NULL;
        while (directory && readdir(directory))
            count++;            /* "." and ".." too: two less that we need */
        if (directory)
            closedir(directory);
    }
    if (count > UINT64_MAX - DESCRIPTORS_NEEDED || count + DESCRIPTORS_NEEDED <= limit)
        return 0;
    return refuse(target, "no free descriptors", "process %d has too few free descriptors left: %llu of %llu are open",
                  target->pid, (unsigned long long)count, (unsigned long long)limit);
}
