/* SPDX-License-Identifier: MIT
 * own_malloc.c - a malloc that is not the C library's: preloaded, it does its work under a lock of its own, which waits as
 * glibc's do (futex, value 2), but for a word that lies in no library of glibc's.
 */
#define _GNU_SOURCE
#include <linux/futex.h>
#include <stddef.h>
#include <sys/syscall.h>
#include <unistd.h>

extern void *__libc_malloc(size_t);
static volatile int word;

void *malloc(size_t size) {
    int free_word = 0;
    if (!__atomic_compare_exchange_n(&word, &free_word, 1, 0, __ATOMIC_ACQUIRE, __ATOMIC_RELAXED))
        while (__atomic_exchange_n(&word, 2, __ATOMIC_ACQUIRE))
            syscall(SYS_futex, &word, FUTEX_WAIT, 2, NULL);
    void *block = __libc_malloc(size);
    if (__atomic_exchange_n(&word, 0, __ATOMIC_RELEASE) == 2)
        syscall(SYS_futex, &word, FUTEX_WAKE, 1);
    return block;
}
