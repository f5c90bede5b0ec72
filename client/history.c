/* history.c - the caller's own files: the history of commands, and ~/.pdbrc.
 * SPDX-License-Identifier: MIT
 *
 * Under sudo the caller is the user of SUDO_UID, and his files are read and written with his
 * rights, not root's: a link in his home can then lead to nothing that he could not reach himself.
 * History: 1,000 lines, 0600, a line that begins with a space is not kept, the same line twice in
 * a row once. Each line is appended at once, so that two sessions and a killed one lose nothing.
 */
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <readline/history.h>

#include "client.h"

#define MOST_LINES 1000
#define MOST_HISTORY (4 << 20)
#define MOST_RC 65536
/* As the caller, until take_back. -1: not possible, touch nothing. */
int act_for(const struct caller *caller, struct rights *rights) {
    rights->changed = false;
    if (!caller->borrowed)
        return 0;
    rights->group_count = getgroups(MOST_GROUPS, rights->groups);
    if (rights->group_count < 0 || setgroups(1, &caller->gid) < 0)
        return -1;
    rights->changed = true;
    if (setegid(caller->gid) == 0 && seteuid(caller->uid) == 0)
        return 0;
    return -1;
}

void take_back(const struct rights *rights) {
    if (!rights->changed)
        return;
    if (seteuid(0) < 0 || setegid(getgid()) < 0 || setgroups((size_t)rights->group_count, rights->groups) < 0) {
        fputs("pydbattach: cannot take root's rights back\n", stderr);
        exit(1);
    }
}

void caller_find(struct caller *caller) {
    memset(caller, 0, sizeof *caller);
    caller->uid = geteuid();
    caller->gid = getegid();
    const char *sudo = getenv("SUDO_UID"), *home = getenv("HOME");
    char *end = NULL;
    unsigned long uid = sudo ? strtoul(sudo, &end, 10) : 0;
    if (caller->uid == 0 && uid && uid < (uid_t)-1 && *end == '\0') {
        /* Without an entry in passwd there is no home: nothing is read, nothing kept. */
        struct passwd *entry = getpwuid((uid_t)uid);
        home = entry ? entry->pw_dir : NULL;
        caller->uid = (uid_t)uid;
        caller->gid = entry ? entry->pw_gid : (gid_t)uid;
        caller->borrowed = true;
    } else if (!home || *home != '/') {
        struct passwd *entry = getpwuid(caller->uid);
        home = entry ? entry->pw_dir : NULL;
    }
    if (home && *home == '/' && strlen(home) < sizeof caller->home - 64)
        strcpy(caller->home, home);
}

static const char *read_rc(const struct caller *caller, int fd, struct buffer *text) {
    struct stat status;
    if (fstat(fd, &status) < 0)
        return "it cannot be read";
    if (!S_ISREG(status.st_mode))
        return "it is not a regular file";
    if (status.st_uid != caller->uid)
        return "it belongs to another user";
    if (status.st_mode & (S_IWGRP | S_IWOTH))
        return "others can write to it";
    char piece[4096];
    ssize_t size;
    while ((size = read(fd, piece, sizeof piece)) > 0 && text->length <= MOST_RC)
        buffer_add(text, piece, (size_t)size);
    if (size < 0)
        return "it cannot be read";
    return text->length > MOST_RC ? "it is longer than 64 KiB" : NULL;
}

/* The caller's ~/.pdbrc. Returns why it is ignored, NULL if it is read or not there. */
const char *pdbrc_read(const struct caller *caller, struct buffer *text) {
    struct rights rights;
    char path[sizeof caller->home + 16];
    if (!*caller->home)
        return NULL;
    snprintf(path, sizeof path, "%s/.pdbrc", caller->home);
    const char *why = NULL;
    if (act_for(caller, &rights) == 0) {
        int fd = open(path, O_RDONLY | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
        if (fd >= 0) {
            why = read_rc(caller, fd, text);
            close(fd);
        } else if (errno != ENOENT && errno != ENOTDIR) {
            why = "it cannot be read";
        }
    }
    take_back(&rights);
    if (why)
        text->length = 0;
    return why;
}

/* Makes the directories that are missing in path after its first `from` bytes. */
static void make_directories(char *path, size_t from) {
    for (char *slash = path + from; (slash = strchr(slash + 1, '/'));) {
        *slash = '\0';
        mkdir(path, 0700);
        *slash = '/';
    }
}

static int open_history(const struct caller *caller) {
    const char *state = getenv("XDG_STATE_HOME");
    char path[sizeof caller->home + 64];
    struct stat status;
    if (!caller->borrowed && state && *state == '/' && strlen(state) < sizeof caller->home) {
        snprintf(path, sizeof path, "%s/pydbattach/history", state);
        make_directories(path, 0);
    } else if (*caller->home) {
        snprintf(path, sizeof path, "%s/.local/state/pydbattach/history", caller->home);
        make_directories(path, strlen(caller->home));
    } else {
        return -1;
    }
    int fd = open(path, O_RDWR | O_APPEND | O_CREAT | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY | O_CLOEXEC, 0600);
    if (fd < 0)
        return -1;
    if (fstat(fd, &status) < 0 || !S_ISREG(status.st_mode) || status.st_uid != caller->uid ||
        (status.st_mode & 077 && fchmod(fd, 0600) < 0)) {
        close(fd);
        return -1;
    }
    return fd;
}

/* The file's text, of which only the last lines count. */
static void read_all(int fd, struct buffer *text) {
    char piece[65536];
    struct stat status;
    off_t at = fstat(fd, &status) == 0 && status.st_size > MOST_HISTORY ? status.st_size - MOST_HISTORY : 0;
    ssize_t size;
    while (text->length < MOST_HISTORY && (size = pread(fd, piece, sizeof piece, at)) > 0) {
        buffer_add(text, piece, (size_t)size);
        at += size;
    }
}

/* Where the last MOST_LINES lines of text begin. */
static size_t last_lines(const struct buffer *text) {
    size_t at = text->length;
    for (int lines = 0; at > 0; at--)
        if (text->data[at - 1] == '\n' && lines++ == MOST_LINES)
            break;
    return at;
}

/* Opens the history and gives its lines to readline. Returns -1 if there can be none: a session
 * without a history is a session all the same. */
int history_open(const struct caller *caller) {
    struct rights rights;
    using_history();
    stifle_history(MOST_LINES);
    int fd = -1;
    if (act_for(caller, &rights) == 0) {
        mode_t mask = umask(077);
        fd = open_history(caller);
        umask(mask);
    }
    take_back(&rights);
    if (fd < 0)
        return -1;

    struct buffer text = {0};
    read_all(fd, &text);
    for (size_t at = last_lines(&text); at < text.length;) {
        char *line = text.data + at;
        char *end = memchr(line, '\n', text.length - at);
        if (!end)
            break;
        *end = '\0';
        if (*line)
            add_history(line);
        at = (size_t)(end - text.data) + 1;
    }
    buffer_free(&text);
    return fd;
}

void history_keep(int fd, const char *line) {
    HIST_ENTRY *last = history_length ? history_get(history_base + history_length - 1) : NULL;
    if (!*line || *line == ' ' || strchr(line, '\n') || (last && !strcmp(last->line, line)))
        return;
    add_history(line);
    if (fd < 0)
        return;
    struct buffer text = {0};
    buffer_add_text(&text, line);
    buffer_add_text(&text, "\n");
    /* One write, so that two sessions cannot mix their lines. A full disk is no reason to stop. */
    ssize_t size = write(fd, text.data, text.length);
    (void)size;
    buffer_free(&text);
}

/* Cuts the file to its last lines, if no other session is doing that. */
void history_close(int fd) {
    if (fd < 0)
        return;
    struct buffer text = {0};
    if (flock(fd, LOCK_EX | LOCK_NB) == 0) {
        read_all(fd, &text);
        size_t from = last_lines(&text);
        if (from > 0 && ftruncate(fd, 0) == 0) {
            ssize_t size = write(fd, text.data + from, text.length - from);
            (void)size;
        }
    }
    buffer_free(&text);
    close(fd);
}
