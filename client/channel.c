/* channel.c - the two pipes to the target, and the frames in them.
 * SPDX-License-Identifier: MIT
 *
 * The library in the target has made two pipes; struct pydb_state in the target's memory has the
 * numbers of their ends. We open these through /proc/PID/fd (pipe_end.h). Both are non-blocking: a frame
 * may come and go in pieces.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

#include "../pipe_end.h"
#include "client.h"

#define READ_SIZE 65536
#define MOST_UNREAD (2 * (WIRE_MAX + WIRE_HEADER))

static const char target_kinds[] = WIRE_TARGET_KINDS;

/* The frame at position at of the input: 1 if it is there, 0 not yet, -1 if it is none of ours. */
static int frame_at(const struct channel *channel, size_t at, struct frame *frame) {
    if (channel->in.length - at < WIRE_HEADER)
        return 0;
    const unsigned char *head = (const unsigned char *)channel->in.data + at;
    uint32_t length = head[1] | head[2] << 8 | head[3] << 16 | (uint32_t)head[4] << 24;
    *frame = (struct frame){.kind = head[0], .data = (const char *)head + WIRE_HEADER, .length = length};
    if (length > WIRE_MAX || !memchr(target_kinds, head[0], sizeof target_kinds))
        return -1;
    return channel->in.length - at - WIRE_HEADER >= length;
}

/* Where process_vm_readv is forbidden (seccomp of some containers), /proc/PID/mem may not be. */
int target_read_state(pid_t pid, uint64_t address, struct pydb_state *state) {
    struct iovec here = {.iov_base = state, .iov_len = sizeof *state};
    struct iovec there = {.iov_base = (void *)(uintptr_t)address, .iov_len = sizeof *state};
    if (process_vm_readv(pid, &here, 1, &there, 1, 0) == (ssize_t)sizeof *state)
        return 0;
    int error = errno;
    if (error == ESRCH)
        return -1;
    char path[32];
    snprintf(path, sizeof path, "/proc/%d/mem", (int)pid);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    ssize_t size = fd < 0 ? -1 : pread(fd, state, sizeof *state, (off_t)address);
    if (fd >= 0)
        close(fd);
    errno = error;
    return size == (ssize_t)sizeof *state ? 0 : -1;
}

/* One try; CHANNEL_NOT_YET means that the library is still at work on it. */
enum channel_trouble channel_open(struct channel *channel, pid_t pid, uint64_t address, int *error) {
    struct pydb_state state;
    *error = 0;
    if (target_read_state(pid, address, &state) < 0) {
        *error = errno;
        return errno == ESRCH ? CHANNEL_GONE : errno == EPERM ? CHANNEL_DENIED : CHANNEL_NOT_OURS;
    }
    if (memcmp(state.magic, PYDB_MAGIC, sizeof state.magic))
        return CHANNEL_NOT_OURS;
    if (state.phase == PYDB_FAILED) {
        *error = state.error;
        return CHANNEL_FAILED;
    }
    if (state.phase == PYDB_OPEN)
        return CHANNEL_TAKEN;
    if (state.phase != PYDB_READY)
        return CHANNEL_NOT_YET;

    memset(channel, 0, sizeof *channel);
    channel->to_target = open_pipe_end(pid, state.in_write, state.in_node, O_WRONLY);
    *error = errno;
    channel->from_target = open_pipe_end(pid, state.out_read, state.out_node, O_RDONLY);
    if (channel->from_target < 0)
        *error = errno;
    if (channel->to_target >= 0 && channel->from_target >= 0)
        return CHANNEL_OK;
    channel_close(channel);
    return *error == EACCES || *error == EPERM ? CHANNEL_DENIED : CHANNEL_NOT_OURS;
}

/* Queues a frame; channel_write sends it. */
void channel_send(struct channel *channel, int kind, const void *data, size_t length) {
    unsigned char head[WIRE_HEADER] = {(unsigned char)kind, length & 0xff, length >> 8 & 0xff, length >> 16 & 0xff,
                                       length >> 24 & 0xff};
    buffer_add(&channel->out, head, sizeof head);
    buffer_add(&channel->out, data, length);
    channel_write(channel);
}

/* Writes what the pipe takes. A target that has closed its end is noticed by reading. */
void channel_write(struct channel *channel) {
    size_t done = 0;
    while (done < channel->out.length) {
        ssize_t size = write(channel->to_target, channel->out.data + done, channel->out.length - done);
        if (size < 0 && errno == EINTR)
            continue;
        if (size < 0 && errno != EAGAIN)
            done = channel->out.length;
        if (size < 0)
            break;
        done += (size_t)size;
    }
    buffer_drop_front(&channel->out, done);
}

bool channel_room(const struct channel *channel) {
    return !channel->ended && channel->in.length - channel->in_done < MOST_UNREAD;
}

/* Reads what is there, in one piece. Frames got from channel_next before are no longer valid. */
void channel_read(struct channel *channel) {
    char piece[READ_SIZE];
    buffer_drop_front(&channel->in, channel->in_done);
    channel->in_done = 0;
    ssize_t size = read(channel->from_target, piece, sizeof piece);
    if (size > 0)
        buffer_add(&channel->in, piece, (size_t)size);
    else if (size == 0 || (errno != EAGAIN && errno != EINTR))
        channel->ended = true;
}

/* The next frame: 1, or 0 if it is not complete, or -1 if the target cannot be trusted (frame has
 * what it claimed to be). */
int channel_next(struct channel *channel, struct frame *frame) {
    int found = frame_at(channel, channel->in_done, frame);
    if (found > 0)
        channel->in_done += WIRE_HEADER + frame->length;
    return found;
}

/* Takes the first frame of a kind out of turn: 1, 0 if it is not there yet, -1 if it will not come. */
int channel_take(struct channel *channel, int kind, struct buffer *payload) {
    struct frame frame;
    int found;
    for (size_t at = channel->in_done; (found = frame_at(channel, at, &frame)) > 0; at += WIRE_HEADER + frame.length) {
        if (frame.kind == WIRE_BYE)
            return -1;
        if (frame.kind != kind)
            continue;
        size_t end = at + WIRE_HEADER + frame.length;
        buffer_add(payload, frame.data, frame.length);
        memmove(channel->in.data + at, channel->in.data + end, channel->in.length - end);
        channel->in.length -= end - at;
        return 1;
    }
    return found < 0 || !channel_room(channel) ? -1 : 0;
}

void channel_close(struct channel *channel) {
    if (channel->to_target >= 0)
        close(channel->to_target);
    if (channel->from_target >= 0)
        close(channel->from_target);
    channel->to_target = channel->from_target = -1;
    buffer_free(&channel->in);
    buffer_free(&channel->out);
}
