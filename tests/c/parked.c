/* SPDX-License-Identifier: MIT
 * parked.c - functions that keep their thread at a place of the test's choice: inside malloc, in front of a lock of the
 * C library, in a read of a file, in a signal handler ... The kernel keeps a thread in any system call when a
 * seccomp filter asks a listener about it that never answers.
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/io_uring.h>
#include <linux/seccomp.h>
#include <malloc.h>
#include <poll.h>
#include <pthread.h>
#include <search.h>
#include <signal.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/select.h>
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

/* As rule 2 for the malloc of a thread: the first three that come here share the two arenas of MALLOC_ARENA_MAX=2.
 * Of two that have the same heap the one is parked with its lock, the other one waits for that. */
void share_a_heap(void) {
    static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
    static uintptr_t heaps[8];
    static volatile int count, pairs;
    char *block = malloc(70000);
    uintptr_t heap = (uintptr_t)block & ~((64ul << 20) - 1);
    int is_second = 0;
    pthread_mutex_lock(&mutex);
    for (int i = 0; i < count; i++)
        is_second |= heaps[i] == heap;
    heaps[count++] = is_second ? 0 : heap;
    pairs += is_second;
    pthread_mutex_unlock(&mutex);
    while (!pairs)
        usleep(1000);
    if (is_second) {
        park_in(SYS_mprotect, -1);
        for (;;)
            memset(malloc(70000), 1, 70000);
    }
    usleep(500000);
    for (int i = 0; i < 100; i++)
        memset(malloc(70000), 1, 70000);
    poll(NULL, 0, -1);          /* the other arena */
}

static void poll_until_go(void) {
    while (access("go", F_OK))
        poll(NULL, 0, 20);
}

/* In a safe call, and then in none. */
void poll_then_malloc(void) {
    poll_until_go();
    park_in_malloc();
}

static void poll_for_ever(int number) {
    (void)number;
    for (;;)
        poll(NULL, 0, -1);
}

/* The same, and then in the same call once more, but in a handler that has interrupted malloc. */
void poll_then_poll_over_malloc(void) {
    struct sigaction action = {.sa_handler = poll_for_ever};
    poll_until_go();
    sigaction(SIGALRM, &action, NULL);
    ualarm(200000, 0);
    park_in_malloc();
}

/* In three safe calls, one after another. */
void come_and_go(void) {
    for (struct timespec nap = {0, 2000000};;) {
        struct timeval time = {0, 2000};
        poll(NULL, 0, 2);
        select(0, NULL, NULL, NULL, &time);
        syscall(SYS_clock_nanosleep, CLOCK_MONOTONIC, 0, &nap, NULL);
    }
}

/* In a handler that has interrupted the C library; it blocks no signal. */
void sleep_in_open_handler(void) {
    struct sigaction action = {.sa_handler = poll_for_ever, .sa_flags = SA_NODEFER};
    struct sigevent event = {.sigev_notify = SIGEV_THREAD_ID, .sigev_signo = SIGUSR2};
    struct itimerspec soon = {.it_value = {0, 100000000}};
    char *block = malloc(100000000);
    timer_t timer;
    event._sigev_un._tid = syscall(SYS_gettid);
    sigaction(SIGUSR2, &action, NULL);
    timer_create(CLOCK_MONOTONIC, &event, &timer);
    timer_settime(timer, 0, &soon, NULL);
    for (;;)
        memset(block, 1, 100000000);
}

/* In a command of fcntl that does not wait. */
void park_in_fcntl(void) {
    park_in(SYS_fcntl, -1);
    syscall(SYS_fcntl, 0, F_GETFD);
}

/* Parent in a vfork(), in state D until the child ends. */
void wait_in_vfork(void) {
    if (vfork() == 0)
        for (;;)
            pause();
}

/* Beside a thread of the kernel. */
void sleep_beside_worker(void) {
    struct io_uring_params parameters = {.flags = IORING_SETUP_SQPOLL, .sq_thread_idle = 1};
    if (syscall(SYS_io_uring_setup, 4, &parameters) < 0)
        _exit(9);
    poll(NULL, 0, -1);
}

/* Ends when it is told to. */
void end_later(void) {
    poll_until_go();
}

/* Where a division by zero is a SIGFPE. */
void sleep_with_traps(void) {
    uint32_t vectors = 0x1f80 & ~0x680u, x87 = 0x37f & ~0xdu;
    __asm__ volatile("ldmxcsr %0\nfldcw %1" : : "m"(vectors), "m"(x87));
    poll(NULL, 0, -1);
}

/* On a stack that ends behind the red zone: what lies below belongs to somebody else. In a system call, or busy. */
void stand_on_little_stack(int busy) {
    static char block[1 << 16];
    char *stack = block + sizeof block / 2;
    while (access("stop", F_OK)) {
        memset(block, 0xaa, sizeof block / 2);
        register long count __asm__("r12") = busy ? 20000000 : 0;
        long result = SYS_poll;
        __asm__ volatile("xchg %%rsp, %%rbx\n"
                         "test %%r12, %%r12\njz 2f\n1: dec %%r12\njnz 1b\njmp 3f\n2: syscall\n3:\n"
                         "xchg %%rsp, %%rbx\n"
                         : "+b"(stack), "+a"(result), "+r"(count) : "D"(0), "S"(0), "d"(20) : "rcx", "r11", "memory");
        for (size_t i = 0; i < sizeof block / 2; i++)
            if ((unsigned char)block[i] != 0xaa)
                _exit(8);
    }
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

/* As our own threads do (OUR_SIGNALS in wire.h). */
void sleep_deaf(void) {
    unsigned long ours = ~(1ul << 32);
    syscall(SYS_rt_sigprocmask, SIG_SETMASK, &ours, NULL, 8);
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
