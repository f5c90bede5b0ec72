/* SPDX-License-Identifier: MIT
 * pipe_end.h - opens an end of our pipe in a target, by the number that the target's memory names.
 *
 * The target is not trusted: the number may be that of any of its files, which as root we would open for writing where
 * the target can only read, and the program may have reused it. So it is first taken with O_PATH, which opens
 * nothing, and must be an anonymous pipe, the very one that the library has made (struct pydb_state, wire.h).
 */
#ifndef PYDB_PIPE_END_H
#define PYDB_PIPE_END_H

#include <errno.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>

/* A descriptor with O_NONBLOCK, the caller's; -1 and errno if the number is that of something else. */
static inline int open_pipe_end(int pid, int number, uint64_t node, int flags) {
    char path[64];
    struct stat status;
    struct statfs system;
    snprintf(path, sizeof path, "/proc/%d/fd/%d", pid, number);
    int name = open(path, O_PATH | O_CLOEXEC), fd = -1;
    if (name < 0)
        return -1;
    if (fstat(name, &status) < 0 || !S_ISFIFO(status.st_mode) || status.st_ino != node || fstatfs(name, &system) < 0
        || system.f_type != PIPEFS_MAGIC) {
        errno = EBADF;
    } else {
        snprintf(path, sizeof path, "/proc/self/fd/%d", name);
        fd = open(path, flags | O_NONBLOCK | O_CLOEXEC);
    }
    int error = errno;
    close(name);
    errno = error;
    return fd;
}

#endif
