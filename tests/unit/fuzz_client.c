/* SPDX-License-Identifier: MIT
 * fuzz_client.c - what a hostile target may send to pydbclient, made up by libFuzzer.
 *
 * The client's own session, with a target that is the input: how it is cut into reads, and what happens in
 * between (Tab, Ctrl-C, a deadline, a line `breaks save` or `breaks load`), stand in the first bytes. Nothing waits and
 * no file is touched: poll(), read(), open() and the clock are ours. Besides the sanitizers, two things are
 * judged: what reaches the user's terminal is harmless, and what is sent is made of whole frames of wire.h.
 *
 *     byte 0      MANNER_...
 *     byte 1 - 4  what happens after each read, in turn
 *     byte 5      the longest read
 *     then        the bytes of the channel; in MANNER_FRAMED (kind, two bytes of length, payload)..., to be made into frames
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <langinfo.h>
#include <limits.h>
#include <locale.h>
#include <poll.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/vfs.h>
#include <time.h>
#include <unistd.h>
#include <wchar.h>

/* Descriptors that are none. */
enum { FROM_TARGET = 1000, TO_TARGET, TO_USER, PROCESS_LIVES, PROCESS_HAS_EXITED };

static const char *input;
static size_t input_left, longest_read;
static int64_t fake_time;
static int saved_file;
static const char *saved_text;
static size_t saved_size;
static char *written[2];        /* to the target, to the user */
static size_t written_size[2], written_room[2];

static ssize_t fuzz_read(int fd, void *buffer, size_t size) {
    if (fd != FROM_TARGET)
        return read(fd, buffer, size);
    size = size < longest_read ? size : longest_read;
    size = size < input_left ? size : input_left;
    memcpy(buffer, input, size);
    input += size;
    input_left -= size;
    return (ssize_t)size;
}

static ssize_t fuzz_write(int fd, const void *data, size_t size) {
    int to = fd == TO_USER;
    if (fd != TO_USER && fd != TO_TARGET)
        return write(fd, data, size);
    if (written_size[to] + size > written_room[to]) {
        written_room[to] = 2 * (written_size[to] + size);
        if (!(written[to] = realloc(written[to], written_room[to])))
            abort();
    }
    if (size)
        memcpy(written[to] + written_size[to], data, size);
    written_size[to] += size;
    return (ssize_t)size;
}

static int fuzz_close(int fd) {
    return fd >= FROM_TARGET ? 0 : close(fd);
}

static int fuzz_poll(struct pollfd *waits, nfds_t count, int ms) {
    int ready = 0;
    (void)ms;
    for (nfds_t i = 0; i < count; i++) {
        waits[i].revents = waits[i].fd < 0 || waits[i].fd == PROCESS_LIVES ? 0 : waits[i].events;
        ready += waits[i].revents != 0;
    }
    return ready;
}

static int fuzz_clock(clockid_t clock, struct timespec *time) {
    (void)clock;
    fake_time += 100000000;
    *time = (struct timespec){fake_time / 1000000000, fake_time % 1000000000};
    return 0;
}

static int fuzz_open(const char *path, int flags, ...) {
    (void)path, (void)flags;
    if (ftruncate(saved_file, 0) || pwrite(saved_file, saved_text, saved_size, 0) < 0 || lseek(saved_file, 0, SEEK_SET))
        abort();
    return dup(saved_file);
}

#define read(...) fuzz_read(__VA_ARGS__)
#define write(...) fuzz_write(__VA_ARGS__)
#define close(...) fuzz_close(__VA_ARGS__)
#define poll(...) fuzz_poll(__VA_ARGS__)
#define open(...) fuzz_open(__VA_ARGS__)
#define clock_gettime(...) fuzz_clock(__VA_ARGS__)
#include "client/channel.c"
#include "client/output.c"
#include "client/session.c"
#include "client/answer.c"
#include "client/savefile.c"
#include "client/text.c"
#include "fuzz_frames.h"

enum { MANNER_UTF8 = 1, MANNER_COLOURS = 2, MANNER_TTY = 4, MANNER_FRAMED = 8, MANNER_EXITED = 16, MANNER_EMPTY_FILE = 32 };
enum { HEAD = 6, TURNS = 4 };

static const char client_kinds[] = WIRE_CLIENT_KINDS;
static const char typed[] = "p 1\nbreaks save bps\n breaks  load ~/bps \nbreaks load \n\nbreaks save a\xc3\xa4\xff\np 2\n";

/* ESC [ digits and semicolons m: a colour of ours. */
static size_t colour_length(const char *text, size_t size) {
    size_t length = 2;
    if (size < 3 || text[1] != '[')
        return 0;
    while (length < size && ((text[length] >= '0' && text[length] <= '9') || text[length] == ';'))
        length++;
    return length < size && text[length] == 'm' ? length + 1 : 0;
}

static void judge_shown(int manner) {
    const char *text = written[1];
    size_t size = written_size[1], colour;
    for (size_t i = 0; i < size; i++) {
        unsigned char c = (unsigned char)text[i];
        if (c == '\n' || c == '\t' || (c >= 0x20 && c < 0x7f))
            continue;
        if (c == 0x1b && manner & MANNER_COLOURS && (colour = colour_length(text + i, size - i))) {
            i += colour - 1;
            continue;
        }
        uint32_t character = 0;
        int length = decode((unsigned char *)text + i, size - i, &character);
        if (manner & MANNER_UTF8 && length > 1 && character >= 0xa0) {
            i += (size_t)length - 1;
            continue;
        }
        fprintf(stderr, "byte 0x%02x reaches the terminal\n", c);
        abort();
    }
}

static void judge_sent(void) {
    const char *sent = written[0];
    size_t size = written_size[0], at = 0;
    while (at < size) {
        uint32_t length = 0;
        if (size - at < WIRE_HEADER || !memchr(client_kinds, sent[at], sizeof client_kinds))
            abort();
        memcpy(&length, sent + at + 1, 4);
        if (length > WIRE_MAX || size - at - WIRE_HEADER < length)
            abort();
        at += WIRE_HEADER + length;
    }
}

static void happen(struct session *s, uint8_t what) {
    struct buffer words = {0};
    if (what < 16) {
        complete(s, "p os.pa", 2, 7, &words);
        for (size_t i = 0; i < words.length; i++)
            if (words.data[i] && (unsigned char)words.data[i] < 0x20 && words.data[i] != '\t')
                abort();
    } else if (what < 24) {
        interrupt(s);
    } else if (what < 32 && what - 24 < DUE_COUNT) {
        pass_deadline(s, (enum deadline)(what - 24));
    } else if (what == 32) {
        hang_up(s);
    }
    buffer_free(&words);
}

int LLVMFuzzerInitialize(int *count, char ***arguments);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerInitialize(int *count, char ***arguments) {
    (void)count, (void)arguments;
    setlocale(LC_CTYPE, "C");
    saved_file = memfd_create("saved", MFD_CLOEXEC);
    return saved_file < 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    static struct pydb_state state = {.magic = PYDB_MAGIC};
    if (size < HEAD)
        return 0;
    int manner = data[0];
    struct options options = {.pid = getpid(), .address = (uintptr_t)&state, .timeout = 1, .remind = 20};
    struct session s = {.options = &options, .history = -1, .signals = -1, .colours = manner & MANNER_COLOURS,
                        .process = manner & MANNER_EXITED ? PROCESS_HAS_EXITED : PROCESS_LIVES,
                        .manner = manner & MANNER_UTF8 ? TEXT_UTF8 : 0, .input_ended = true};
    char *frames = manner & MANNER_FRAMED ? make_frames(data + HEAD, size - HEAD, target_kinds, sizeof target_kinds, &input_left) : NULL;
    input = frames ? frames : (const char *)data + HEAD;
    input_left = frames ? input_left : size - HEAD;
    longest_read = data[5] ? data[5] : READ_SIZE;
    saved_text = (const char *)data;
    saved_size = manner & MANNER_EMPTY_FILE ? 0 : size;
    written_size[0] = written_size[1] = 0;
    s.channel = (struct channel){.from_target = FROM_TARGET, .to_target = TO_TARGET};
    for (int stream = 1; stream < 3; stream++) {
        s.output.fd[stream] = TO_USER;
        s.output.tty[stream] = manner & MANNER_TTY;
    }
    buffer_add_text(&s.input, typed);
    for (int turn = 0; !s.over; turn++) {
        take_frames(&s);
        check_output(&s);
        if (s.reading && !s.over)
            answer(&s);
        happen(&s, data[1 + turn % TURNS]);
        if (!s.over)
            channel_read(&s.channel);
    }
    finish_text(&s);
    output_flush(&s.output);
    judge_shown(manner);
    judge_sent();
    channel_close(&s.channel);
    buffer_free(&s.prompt);
    buffer_free(&s.command);
    buffer_free(&s.input);
    buffer_free(&s.save_path);
    free(frames);
    return 0;
}
