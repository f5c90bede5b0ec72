/* SPDX-License-Identifier: MIT
 * look_waits.c - a library whose functions wait where the choice of a thread is not easy.
 * Each says `ready` on standard output when it does. gcc must not be clever: -O0 -fno-builtin.
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define LARGE 100000000

static void say_ready(void) {
    if (write(1, "ready\n", 6) != 6)
        _exit(1);
}

/* On a mutex of the program, which nobody unlocks. */
void wait_for_mutex(void) {
    pthread_mutex_t *mutex = calloc(1, sizeof *mutex);
    pthread_mutex_lock(mutex);
    say_ready();
    pthread_mutex_lock(mutex);
}

static void stay(int number) {
    (void)number;
    say_ready();
    for (;;)
        pause();
}

/* In a signal handler that has interrupted the C library (or only this library). */
void wait_in_handler(int in_libc, int alternate) {
    struct sigaction action = {.sa_handler = stay, .sa_flags = alternate ? SA_ONSTACK : 0};
    stack_t stack = {.ss_sp = malloc(1 << 17), .ss_size = 1 << 17};
    char *block = malloc(LARGE);
    if (alternate)
        sigaltstack(&stack, NULL);
    sigaction(SIGALRM, &action, NULL);
    ualarm(200000, 0);
    for (;;)
        if (in_libc)
            memset(block, 1, LARGE);
}

/* For the other end of a FIFO. */
void wait_for_fifo(void) {
    mkfifo("fifo", 0600);
    say_ready();
    open("fifo", O_RDONLY);
}

