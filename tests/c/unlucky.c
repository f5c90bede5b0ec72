/* SPDX-License-Identifier: MIT
 * unlucky.c - C threads for the targets of the soak: what an attach may disturb, done in a loop and counted exactly.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/sem.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <unistd.h>

#include "unlucky.h"

static void sleep_us(long us) {
    struct timespec t = {0, us * 1000};
    while (nanosleep(&t, &t) && errno == EINTR)
        ;
}

/* ---- memory ---- */

#define BLOCKS 200

static int is_filled(const unsigned char *block, size_t size, unsigned char with) {
    return block[0] == with && block[size / 2] == with && block[size - 1] == with;
}

static void *allocate(void *argument) {
    struct lane *lane = argument;
    unsigned seed = (uintptr_t)lane >> 7;
    unsigned char *blocks[BLOCKS] = {0};
    size_t sizes[BLOCKS] = {0};
    for (;;) {
        for (int round = 0; round < 300; round++) {
            int at = rand_r(&seed) % BLOCKS, deed = rand_r(&seed) % 3;
            size_t size = 1 + rand_r(&seed) % (rand_r(&seed) % 50 ? 2000 : 300000);
            if (blocks[at] && !is_filled(blocks[at], sizes[at], at + 1))
                lane->errors++;
            if (blocks[at] && deed == 0) {
                free(blocks[at]);
                blocks[at] = NULL;
                continue;
            }
            unsigned char *block = deed == 1 ? realloc(blocks[at], size) : malloc(size);
            if (!block)
                continue;
            if (deed != 1)
                free(blocks[at]);
            memset(block, at + 1, size);
            blocks[at] = block;
            sizes[at] = size;
        }
        count_item(lane, -1);
    }
    return NULL;
}

int start_allocators(struct lane *lanes, int count) {
    return start_lanes(lanes, count, allocate);
}

/* ---- the dynamic linker ---- */

static char library_path[4096];

static void *load(void *argument) {
    struct lane *lane = argument;
    for (;;) {
        void *library = dlopen(library_path, RTLD_NOW);
        int (*answer)(void) = library ? (int (*)(void))dlsym(library, "answer") : NULL;
        if (!library || (answer && answer() != 42) || dlclose(library))
            lane->errors++;
        count_item(lane, -1);
    }
    return NULL;
}

int start_loaders(struct lane *lanes, int count, const char *path) {
    strncpy(library_path, path, sizeof library_path - 1);
    return start_lanes(lanes, count, load);
}

/* ---- threads ---- */

static void *add_one(void *number) {
    return (char *)number + 1;
}

/* On a loaded machine Linux keeps threads that have ended for a while (a thousand and more, without an attach, too), until
 * it has no number left for another one. */
static void *start_and_join(void *argument) {
    struct lane *lane = argument;
    for (int64_t number = 0;; number++) {
        pthread_t thread;
        void *result = NULL;
        int error;
        while ((error = pthread_create(&thread, NULL, add_one, (void *)number)) == EAGAIN)
            sleep_us(1000);
        if (error || pthread_join(thread, &result) || result != (void *)(number + 1))
            lane->errors++;
        count_item(lane, number);
        sleep_us(100);          /* a joined thread still has to end in the kernel: thousands of them would pile up there */
    }
    return NULL;
}

int start_starters(struct lane *lanes, int count) {
    return start_lanes(lanes, count, start_and_join);
}

/* The parent of a vfork() is in uninterruptible sleep until the child ends: now and then for some milliseconds. */
void vfork_often(int ms) {
    for (;;) {
        pid_t child = vfork();
        if (child == 0) {
            poll(NULL, 0, ms);
            _exit(0);
        }
        waitpid(child, NULL, 0);
        sleep_us(ms * 1000);
    }
}

/* ---- signals, 1,000 in a second ---- */

volatile int64_t handled;       /* by the handler in Python */

/* One at a time: the next is sent when the one before was handled. */
static void *send_handshakes(void *argument) {
    struct lane *lane = argument;
    for (int64_t number = 0;; number++) {
        kill(getpid(), SIGUSR1);
        for (int wait = 0; handled == number && wait < 60000; wait++)
            sleep_us(1000);
        count_item(lane, handled - 1);
        sleep_us(500);
    }
    return NULL;
}

static void block_all(void) {
    sigset_t all;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, NULL);
}

/* A thread that inherits a full mask, so that the signals go to the threads of Python. */
static int start_blocked(struct lane *lanes, int count, void *(*run)(void *)) {
    sigset_t before;
    pthread_sigmask(SIG_SETMASK, NULL, &before);
    block_all();
    int failed = start_lanes(lanes, count, run);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    return failed;
}

int start_handshakes(struct lane *lanes, int count) {
    return start_blocked(lanes, count, send_handshakes);
}

/* Queued ones carry their number: none may be missing, come twice or in another order. The handler allocates
 * nothing, but it interrupts malloc all the time. */
static struct lane *queue_lane;

static void take_queued(int number, siginfo_t *info, void *context) {
    (void)number, (void)context;
    int saved = errno;
    count_item(queue_lane, info->si_value.sival_int);
    errno = saved;
}

static void *send_queued(void *unused) {
    (void)unused;
    for (int number = 0;; number++) {
        union sigval value = {.sival_int = number};
        while (sigqueue(getpid(), SIGRTMIN + 3, value))
            sleep_us(1000);
        /* Two handlers at the same time, in two threads, would count wrongly. */
        for (int wait = 0; queue_lane->items <= number && wait < 60000; wait++)
            sleep_us(1000);
    }
    return NULL;
}

int start_queued_signals(struct lane *lanes, int count) {
    struct sigaction action = {.sa_sigaction = take_queued, .sa_flags = SA_SIGINFO | SA_RESTART};
    queue_lane = lanes;
    lanes->last = read_clock(CLOCK_MONOTONIC);
    if (count != 1 || sigaction(SIGRTMIN + 3, &action, NULL))
        return -1;
    return start_blocked(lanes, 1, send_queued);
}

/* ---- system calls that a stop interrupts ---- */

static int pipes[2], sockets[2], answers[2], semaphores, poller;

int prepare_waits(void) {
    struct timeval timeout = {0, 30000};
    struct epoll_event event = {.events = EPOLLIN};
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGRTMIN + 4);
    pthread_sigmask(SIG_BLOCK, &set, NULL);
    semaphores = semget(IPC_PRIVATE, 1, 0600);
    poller = epoll_create1(EPOLL_CLOEXEC);
    if (semaphores < 0 || poller < 0 || pipe(pipes) || pipe(answers) || socketpair(AF_UNIX, SOCK_STREAM, 0, sockets))
        return -1;
    setsockopt(sockets[0], SOL_SOCKET, SO_RCVTIMEO, &timeout, sizeof timeout);
    return epoll_ctl(poller, EPOLL_CTL_ADD, pipes[0], &event);
}

/* 0, or -1 when the target is gone. */
static int await_answer(void) {
    char byte;
    ssize_t n;
    while ((n = read(answers[0], &byte, 1)) < 0 && errno == EINTR)
        ;
    return n == 1 ? 0 : -1;
}

/* In a process of its own, nobody's child, until the target is gone: it removes the semaphores. */
static void feed(int target) {
    close(answers[1]);
    struct sembuf up = {0, 1, 0};
    for (int64_t number = 0;; number++) {
        sleep_us(number % 50 ? 1500 : 60000);
        if (write(pipes[1], &number, sizeof number) != sizeof number)
            break;
        if (await_answer())
            break;
        sleep_us(1500);
        if (send(sockets[1], &number, sizeof number, MSG_NOSIGNAL) != sizeof number)
            break;
        if (await_answer())
            break;
        sleep_us(1500);
        sigqueue(target, SIGRTMIN + 4, (union sigval){.sival_int = (int)number});
        if (await_answer())
            break;
        sleep_us(1500);
        semop(semaphores, &up, 1);
        if (await_answer())
            break;
    }
    semctl(semaphores, 0, IPC_RMID);
}

void start_feeder(void) {
    int target = getpid();
    pid_t child = fork();
    if (child == 0) {
        signal(SIGPIPE, SIG_IGN);
        if (fork() == 0)
            feed(target);
        _exit(0);
    }
    waitpid(child, NULL, 0);
}

static void answer_feeder(struct lane *lane) {
    if (write(answers[1], "", 1) != 1)
        lane->errors++;
}

/* A wait that failed: with EINTR it is counted as the kernel's price, with a time-out it is nothing. */
static void note_failure(struct lane *lane) {
    if (errno == EINTR)
        lane->eintr++;
    else if (errno != EAGAIN && errno != ETIMEDOUT)
        lane->errors++;
}

void wait_for_ever(struct lane *lane) {
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGRTMIN + 4);
    lane->last = read_clock(CLOCK_MONOTONIC);
    lane->used = 1;
    for (int64_t number, got;; count_item(lane, number)) {
        struct epoll_event event;
        int n;
        while ((n = epoll_wait(poller, &event, 1, 30)) <= 0)
            if (n < 0)
                note_failure(lane);
        if (read(pipes[0], &number, sizeof number) != sizeof number)
            lane->errors++;
        answer_feeder(lane);
        while (recv(sockets[0], &got, sizeof got, 0) < 0)
            note_failure(lane);
        lane->errors += got != number;
        answer_feeder(lane);
        siginfo_t info = {0};
        struct timespec patience = {0, 30000000};
        while (sigtimedwait(&set, &info, &patience) < 0)
            note_failure(lane);
        lane->errors += info.si_value.sival_int != (int)number;
        answer_feeder(lane);
        struct sembuf down = {0, -1, 0};
        while (semtimedop(semaphores, &down, 1, &patience))
            note_failure(lane);
        answer_feeder(lane);
    }
}
