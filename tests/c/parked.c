/* SPDX-License-Identifier: MIT
 * parked.c - functions that keep their thread at a place of the test's choice: inside malloc, in front of a lock of the
 * C library, in a read of a file, in a signal handler ... The kernel keeps a thread in any system call when a
 * seccomp filter asks a listener about it that never answers.
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <malloc.h>
#include <poll.h>
#include <pthread.h>
#include <search.h>
#include <signal.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

/* From now on this thread stays in its next system call of that number (with that first argument, if not -1). */
static void park_in(int number, int argument) {
    struct sock_filter filter[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, (unsigned)number, 0, 3),
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, args[0])),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, (unsigned)argument, 0, argument == -1 ? 0 : 1),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_USER_NOTIF),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
    };
    struct sock_fprog program = {sizeof filter / sizeof *filter, filter};
    prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
    if (syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, SECCOMP_FILTER_FLAG_NEW_LISTENER, &program) < 0)
        _exit(9);
}

/* In brk, with the lock of malloc's main arena. MALLOC_ARENA_MAX=1: the only one. */
void park_in_malloc(void) {
    malloc(1000);
    park_in(SYS_brk, -1);
    for (;;)
        memset(malloc(4000), 1, 4000);
}

static volatile int polling, parked;

/* The same, when the last thread is in sleep_in_poll() and needs no memory any more. */
void park_in_malloc_later(void) {
    while (!polling)
        usleep(1000);
    parked = 1;
    park_in_malloc();
}

/* Before the lock that the former has. */
void wait_for_malloc(void) {
    while (!parked)
        usleep(1000);
    usleep(300000);
    for (;;)
        memset(malloc(4000), 1, 4000);
}

/* In a read of a regular file. */
void park_in_read(void) {
    char byte;
    int fd = open("/proc/self/exe", O_RDONLY);
    park_in(SYS_read, fd);
    while (read(fd, &byte, 1) >= 0)
        ;
}

/* In an open of a regular file. */
void park_in_open(void) {
    park_in(SYS_openat, -1);
    syscall(SYS_openat, AT_FDCWD, "/proc/self/exe", O_RDONLY, 0);
}

void sleep_in_poll(void) {
    polling = 1;
    poll(NULL, 0, -1);
}

void sleep_in_epoll(void) {
    struct epoll_event event;
    epoll_wait(epoll_create1(0), &event, 1, -1);
}

/* Awake every now and then. */
void nap(void) {
    for (;;)
        usleep(20);
}

/* Where the kernel would kill it for any system call but read, write and exit. */
void sleep_in_strict_mode(void) {
    int ends[2];
    char byte;
    if (pipe(ends) == 0) {
        prctl(PR_SET_SECCOMP, SECCOMP_MODE_STRICT);
        while (syscall(SYS_read, ends[0], &byte, 1) >= 0)
            ;
    }
}

/* As our own threads do. */
void sleep_deaf(void) {
    unsigned long all = ~0ul;
    syscall(SYS_rt_sigprocmask, SIG_SETMASK, &all, NULL, 8);
    for (;;)
        poll(NULL, 0, -1);
}

#define LARGE 100000000

static void spin(int number) {
    (void)number;
    for (volatile int turn = 1; turn; )
        ;
}

/* Busy in a handler that has interrupted the C library, or (0) only this library. */
void spin_in_handler(int in_libc) {
    char *block = malloc(LARGE);
    signal(SIGALRM, spin);
    ualarm(100000, 0);
    for (;;)
        if (in_libc)
            memset(block, 1, LARGE);
}

/* Busy inside of the C library, in one call for minutes: a search through 64 GiB of nothing. */
void stay_in_libc(void) {
    size_t size = 1ul << 36;
    char *block = mmap(NULL, size, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    lfind("x", block, &size, 1, (int (*)(const void *, const void *))strcmp);
}
