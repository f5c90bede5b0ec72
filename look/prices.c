/* SPDX-License-Identifier: MIT
 * prices.c - what an attach costs this process, where it costs something: lines that pydbload shows.
 *
 * The kernel's price: a stop makes some system calls fail with EINTR (cpu_x86_64.c). Python tries again
 * (PEP 475), C code may not. Who has called is told by the return addresses at the top of the stack
 * outside of the C library: some may be old ones of Python, so one of anybody else is enough.
 *
 * CPython's price: from 3.12 on os.fork() warns in a process with more than one thread, and while somebody is
 * attached there are two of ours. A process forks if it has a child with its own program and arguments.
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "look.h"

#define WARNS_SINCE 0x030c
#define CALLER_WITHIN 256

/* Does a call instruction stand before it? Other pointers to code are on the stack, too. */
static int is_return_address(struct target *target, uint64_t address) {
    unsigned char code[7], *end = code + sizeof code;
    const struct mapping *m = find_mapping(target, address);
    if (!m || !m->x || address - m->start < sizeof code
        || read_memory(&target->memory, address - sizeof code, code, sizeof code))
        return 0;
    for (int length = 2; length <= 7; length++)         /* call *%reg ... call *x(%reg,%reg) */
        if (end[-length] == 0xff && (end[-length + 1] & 0x38) == 0x10)
            return 1;
    return end[-5] == 0xe8;
}

static int is_called_by_python(struct target *target, const struct thread *thread) {
    uint64_t words[CALLER_WITHIN / 8];
    const struct mapping *stack = find_mapping(target, thread->sp);
    size_t size = sizeof words;
    int found = 0;
    if (!stack)
        return 0;
    if (stack->end - thread->sp < size)
        size = stack->end - thread->sp;
    if (read_memory(&target->memory, thread->sp, words, size))
        return 0;
    for (size_t i = 0; i < size / 8; i++) {
        if (is_in(target->libc, words[i]) || !is_return_address(target, words[i]))
            continue;
        const struct mapping *m = find_mapping(target, words[i]);
        if (!strstr(m->name, ".cpython-") && !(target->python.image && is_in(target->python.image, words[i])))
            return 0;
        found = 1;
    }
    return found;
}

static int read_identity(pid_t pid, struct stat *program, char *arguments, size_t size) {
    char path[64];
    snprintf(path, sizeof path, "/proc/%d/exe", pid);
    if (stat(path, program))
        return -1;
    snprintf(path, sizeof path, "/proc/%d/cmdline", pid);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    ssize_t n = fd < 0 ? -1 : read(fd, arguments, size);
    if (fd >= 0)
        close(fd);
    return n;
}

/* Has it a child that is it once more: forked, and no other program since? */
static int has_forked(const struct target *target) {
    char name[40], children[4096], *at = children, *end, mine[1024], theirs[1024];
    struct stat my_program, their_program;
    snprintf(name, sizeof name, "task/%d/children", target->pid);
    int size = read_identity(target->pid, &my_program, mine, sizeof mine);
    if (size <= 0 || read_proc(target, name, children, sizeof children) <= 0)
        return 0;
    for (long child; (child = strtol(at, &end, 10)) > 0 && end != at; at = end)
        if (read_identity(child, &their_program, theirs, sizeof theirs) == size && !memcmp(mine, theirs, size)
            && my_program.st_ino == their_program.st_ino && my_program.st_dev == their_program.st_dev)
            return 1;
    return 0;
}

void print_prices(struct target *target, const struct thread *chosen, int count) {
    if (count && chosen[0].class == SEES_EINTR && !is_called_by_python(target, &chosen[0]))
        printf("# notice thread %d of process %d waits in a system call that the attach makes fail with EINTR\n",
               chosen[0].tid, target->pid);
    if (target->python.version >= WARNS_SINCE && target->thread_count == 1 && has_forked(target))
        printf("# notice process %d forks: while you are attached its os.fork() gives a DeprecationWarning\n", target->pid);
}
