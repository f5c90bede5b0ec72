/* savefile.c - the file of `breaks save FILE` and `breaks load FILE`: the caller's, not the target's.
 * SPDX-License-Identifier: MIT
 *
 * The client reads and writes it, with the rights of the caller. Which file it is, only what was typed
 * says: the target gives the text and nothing else. The line goes on to the target with a zero byte
 * behind it, so that it knows that the client is in the game, and with the text of the file behind that;
 * a text that is a single zero byte says that there is none to be had.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "session.h"

#define MOST_SAVED (WIRE_MAX / 2)

/* The file that a line "breaks WORD FILE" names, into path; false if it is no such line. */
static bool find_path(struct session *s, const char *line, size_t length, const char *word, struct buffer *path) {
    const char *parts[] = {"breaks", word}, *end = line + length;
    for (int i = 0; i < 2; i++) {
        size_t size = strlen(parts[i]);
        while (line < end && *line == ' ')
            line++;
        if ((size_t)(end - line) <= size || memcmp(line, parts[i], size) || line[size] != ' ')
            return false;
        line += size;
    }
    while (line < end && *line == ' ')
        line++;
    while (end > line && end[-1] == ' ')
        end--;
    if (line == end || memchr(line, '\0', (size_t)(end - line)))
        return false;
    if (end - line > 1 && !memcmp(line, "~/", 2) && *s->caller.home) {
        buffer_add_text(path, s->caller.home);
        line++;
    }
    buffer_add(path, line, (size_t)(end - line));
    buffer_add(path, "", 1);
    return true;
}

/* Opens a regular file as the caller; -1 and errno. */
static int open_as_caller(struct session *s, const char *path, int flags) {
    struct rights rights;
    struct stat status;
    int fd = -1, error = EPERM;
    if (act_for(&s->caller, &rights) == 0) {
        fd = open(path, flags | O_NONBLOCK | O_NOCTTY | O_CLOEXEC, 0666);
        error = errno;
    }
    take_back(&rights);
    if (fd >= 0 && (fstat(fd, &status) < 0 || !S_ISREG(status.st_mode))) {
        close(fd);
        fd = -1;
        error = EINVAL;
    }
    errno = error;
    return fd;
}

static void say_trouble(struct session *s, const char *verb, const char *path) {
    say(s, "cannot %s %s: %s", verb, path, errno == EINVAL ? "it is not a regular file" : strerror(errno));
}

static void read_saved(struct session *s, const char *path, struct buffer *line) {
    char piece[65536];
    ssize_t size = -1;
    size_t before = line->length;
    int fd = open_as_caller(s, path, O_RDONLY);
    if (fd >= 0) {
        while ((size = read(fd, piece, sizeof piece)) > 0 && line->length - before <= MOST_SAVED)
            buffer_add(line, piece, (size_t)size);
        if (size > 0)
            errno = EFBIG;
        int error = errno;
        close(fd);
        errno = error;
    }
    if (size != 0) {
        say_trouble(s, "read", path);
        line->length = before;
        buffer_add(line, "", 1);
    }
}

/* A line that was typed and is about to be sent: what the target needs of us is put behind it. */
void add_saved(struct session *s, struct buffer *line) {
    struct buffer path = {0};
    s->save_path.length = 0;
    if (!line->length)          /* nor is there a pointer */
        return;
    if (find_path(s, line->data, line->length, "save", &s->save_path)) {
        buffer_add(line, "", 1);
    } else if (find_path(s, line->data, line->length, "load", &path)) {
        buffer_add(line, "", 1);
        read_saved(s, path.data, line);
    }
    buffer_free(&path);
}

/* The text to be saved: a phrase, a zero byte, the text. Once for each line that asks for it. */
void write_saved(struct session *s, const char *data, size_t length) {
    const char *text = memchr(data, '\0', length);
    if (!s->save_path.length || !text)
        return;
    const char *path = s->save_path.data, *end = data + length;
    int fd = open_as_caller(s, path, O_WRONLY | O_CREAT);
    bool failed = fd < 0 || ftruncate(fd, 0) < 0;
    for (const char *at = text + 1; !failed && at < end;) {
        ssize_t size = write(fd, at, (size_t)(end - at));
        failed = size < 0 && errno != EINTR;
        at += size > 0 ? size : 0;
    }
    if (failed)
        say_trouble(s, "write", path);
    else
        say(s, "%.*s saved in %s", (int)(text - data), data, path);
    if (fd >= 0)
        close(fd);
    s->save_path.length = 0;
}
