/* SPDX-License-Identifier: MIT
 * slow_channel.c - preloaded into a target: each descriptor of our channel takes a quarter of a second to be moved up.
 * Says so by a file named `moving`.
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <stdarg.h>
#include <sys/syscall.h>
#include <unistd.h>

int fcntl(int fd, int command, ...) {
    va_list rest;
    va_start(rest, command);
    long argument = va_arg(rest, long);
    va_end(rest);
    if (command == F_DUPFD_CLOEXEC && (int)argument == 64) {    /* move_up() of pyinjectcode.c */
        close(open("moving", O_CREAT | O_WRONLY | O_CLOEXEC, 0644));
        usleep(250000);
    }
    return syscall(SYS_fcntl, fd, command, argument);
}
