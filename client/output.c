/* output.c - to stdout and stderr, in order, without ever waiting for them.
 * SPDX-License-Identifier: MIT
 *
 * A terminal may be slow or stopped (^S), a pager may not read on: the session must still hear
 * Ctrl-C and the target. stdout belongs to others, too (the shell), so O_NONBLOCK must not be set
 * on it: a terminal or pipe is opened once more through /proc/self/fd, which gives a descriptor
 * with flags of its own. Where that is not allowed (a terminal of another user after su), small
 * pieces are written after poll() has said that they fit.
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "client.h"

/* How a stream is written. */
enum { WAY_PLAIN, WAY_NONBLOCK, WAY_SOCKET, WAY_SMALL, WAY_BROKEN };

struct chunk {
    struct chunk *next;
    int stream;
    size_t length, done;
    char text[];
};

static void open_stream(struct output *output, int stream) {
    struct stat status;
    output->fd[stream] = stream;
    output->tty[stream] = isatty(stream);
    output->way[stream] = WAY_PLAIN;
    if (fstat(stream, &status) < 0) {
        output->way[stream] = WAY_BROKEN;
    } else if (S_ISSOCK(status.st_mode)) {
        output->way[stream] = WAY_SOCKET;
    } else if (S_ISFIFO(status.st_mode) || output->tty[stream]) {
        char path[32];
        snprintf(path, sizeof path, "/proc/self/fd/%d", stream);
        int fd = open(path, O_WRONLY | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
        output->way[stream] = fd < 0 ? WAY_SMALL : WAY_NONBLOCK;
        if (fd >= 0)
            output->fd[stream] = fd;
    }
}

static ssize_t write_some(struct output *output, int stream, const char *text, size_t length) {
    int fd = output->fd[stream];
    struct pollfd room = {.fd = fd, .events = POLLOUT};
    switch (output->way[stream]) {
    case WAY_SOCKET:
        return send(fd, text, length, MSG_DONTWAIT | MSG_NOSIGNAL);
    case WAY_SMALL:
        /* A terminal says POLLOUT from 256 free bytes on, and a newline takes two. */
        if (poll(&room, 1, 0) != 1) {
            errno = EAGAIN;
            return -1;
        }
        return write(fd, text, length < 128 ? length : 128);
    case WAY_BROKEN:
        return (ssize_t)length;
    default:
        return write(fd, text, length);
    }
}

static void drop_first(struct output *output) {
    struct chunk *chunk = output->first;
    output->first = chunk->next;
    if (!output->first)
        output->last = NULL;
    output->bytes -= chunk->length - chunk->done;
    free(chunk);
}

void output_open(struct output *output) {
    memset(output, 0, sizeof *output);
    output->line_start = true;
    open_stream(output, STDOUT_FILENO);
    open_stream(output, STDERR_FILENO);
}

void output_add(struct output *output, int stream, const char *text, size_t length) {
    if (!length || output->way[stream] == WAY_BROKEN)
        return;
    struct chunk *chunk = malloc(sizeof *chunk + length);
    if (!chunk) {
        fputs("pydbattach: out of memory\n", stderr);
        exit(1);
    }
    *chunk = (struct chunk){.stream = stream, .length = length};
    memcpy(chunk->text, text, length);
    if (output->last)
        output->last->next = chunk;
    else
        output->first = chunk;
    output->last = chunk;
    output->bytes += length;
    if (output->tty[stream])
        output->line_start = text[length - 1] == '\n';
}

/* What follows on the terminal begins a line. */
void output_fresh_line(struct output *output) {
    if (!output->line_start)
        output_add(output, output->tty[STDOUT_FILENO] ? STDOUT_FILENO : STDERR_FILENO, "\n", 1);
}

/* Writes what goes without waiting; true if nothing is left. */
bool output_flush(struct output *output) {
    while (output->first) {
        struct chunk *chunk = output->first;
        ssize_t size = write_some(output, chunk->stream, chunk->text + chunk->done, chunk->length - chunk->done);
        if (size < 0 && errno == EINTR)
            continue;
        if (size < 0 && errno == EAGAIN)
            return false;
        if (size < 0) {
            if (chunk->stream == STDOUT_FILENO)
                output->error = errno;
            output->way[chunk->stream] = WAY_BROKEN;
            drop_first(output);
            continue;
        }
        chunk->done += (size_t)size;
        output->bytes -= (size_t)size;
        if (chunk->done == chunk->length)
            drop_first(output);
    }
    return true;
}

/* Drops what is still to be written to stdout. */
void output_cut(struct output *output) {
    struct chunk *chunk = output->first;
    output->first = output->last = NULL;
    output->bytes = 0;
    while (chunk) {
        struct chunk *next = chunk->next;
        if (chunk->stream == STDERR_FILENO)
            output_add(output, STDERR_FILENO, chunk->text + chunk->done, chunk->length - chunk->done);
        free(chunk);
        chunk = next;
    }
    output->line_start = !output->tty[STDOUT_FILENO];
}

/* The descriptor whose POLLOUT lets output_flush go on, or -1. */
int output_waits_for(const struct output *output) {
    return output->first ? output->fd[output->first->stream] : -1;
}
