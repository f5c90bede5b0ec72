/* SPDX-License-Identifier: MIT
 * source.c - the source line of a frame, if its file is there and is what the process runs.
 *
 * The name comes from the target's memory, so it is hostile: see open_file_in_root(). A file whose content or
 * name was changed after the process had started may not be what runs: its lines are shown, marked.
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "dump.h"

#define SOURCE_AT_MOST (8u << 20)
#define ALL_SOURCES_AT_MOST (64u << 20)
#define LINE_AT_MOST 400
#define START_TICK 0.010        /* a start is told in ticks */

struct source {
    char *name;
    struct source *next;
    int changed;
    char *text;
    size_t size;
    int line_count;
    uint32_t *lines;            /* where each begins */
};

/* The seconds since 1970 at which the process has started. */
static double find_start(const struct target *target) {
    struct timespec now, up;
    clock_gettime(CLOCK_REALTIME, &now);
    clock_gettime(CLOCK_BOOTTIME, &up);
    return now.tv_sec - up.tv_sec + (now.tv_nsec - up.tv_nsec) / 1e9 + (double)target->start / sysconf(_SC_CLK_TCK);
}

/* As the target's file system wants it: surrogates U+DC80 - U+DCFF are bytes that are no UTF-8. */
static void make_path(const char *name, char *path, size_t size) {
    size_t n = 0;
    for (const unsigned char *at = (const unsigned char *)name; *at && n + 1 < size; at++) {
        if (at[0] == 0xed && (at[1] == 0xb2 || at[1] == 0xb3) && at[2]) {
            path[n++] = (at[1] & 3) << 6 | (at[2] & 0x3f);
            at += 2;
        } else {
            path[n++] = *at;
        }
    }
    path[n] = 0;
}

/* A path that is not absolute is meant below the working directory. */
static int find_absolute(const struct target *target, const char *name, char *path, size_t size) {
    char here[4096], plain[4096];
    make_path(name, plain, sizeof plain);
    if (plain[0] == '/')
        return snprintf(path, size, "%s", plain) < (int)size ? 0 : -1;
    ssize_t n = readlinkat(target->proc, "cwd", here, sizeof here - 1);
    if (n <= 0)
        return -1;
    here[n] = 0;
    return snprintf(path, size, "%s/%s", name_in_root(target, here), plain) < (int)size ? 0 : -1;
}

static int open_source(const struct target *target, const char *name, struct stat *info) {
    char path[8200];
    if (target->proc < 0 || name[0] == '<' || !name[0] || find_absolute(target, name, path, sizeof path))
        return -1;
    int fd = open_file_in_root(target, path);
    if (fd < 0 || (!fstat(fd, info) && info->st_size <= SOURCE_AT_MOST))
        return fd;
    close(fd);
    return -1;
}

static void index_lines(struct source *source) {
    int room = 256;
    source->lines = malloc(room * sizeof *source->lines);
    for (size_t at = 0; source->lines && at < source->size;) {
        if (source->line_count == room) {
            uint32_t *more = realloc(source->lines, (room *= 2) * sizeof *more);
            if (!more)
                return;
            source->lines = more;
        }
        source->lines[source->line_count++] = at;
        const char *end = memchr(source->text + at, '\n', source->size - at);
        at = end ? (size_t)(end - source->text) + 1 : source->size;
    }
}

static int is_after(struct timespec time, double start) {
    return time.tv_sec + time.tv_nsec / 1e9 > start + START_TICK;
}

static void read_source(const struct target *target, struct source *source) {
    static size_t all;
    struct stat info;
    int fd = open_source(target, source->name, &info);
    if (fd < 0)
        return;
    source->text = all + info.st_size <= ALL_SOURCES_AT_MOST ? malloc(info.st_size + 1) : NULL;
    ssize_t n = 0;
    while (source->text && source->size < (size_t)info.st_size
           && (n = read(fd, source->text + source->size, info.st_size - source->size)) > 0)
        source->size += n;
    close(fd);
    if (!source->text)
        return;
    all += source->size;
    double start = find_start(target);
    source->changed = is_after(info.st_mtim, start) || is_after(info.st_ctim, start);
    index_lines(source);
}

static struct source *find_source(struct dump *dump, const char *name) {
    for (struct source *source = dump->sources; source; source = source->next)
        if (!strcmp(source->name, name))
            return source;
    struct source *source = calloc(1, sizeof *source);
    if (!source || !(source->name = strdup(name))) {
        free(source);
        return NULL;
    }
    source->next = dump->sources;
    dump->sources = source;
    read_source(dump->target, source);
    return source;
}

/* The line, without the blanks around it, cut where it is very long; NULL: not there. To be freed. */
char *find_source_line(struct dump *dump, struct dump_frame *frame, int *changed) {
    struct code *code = (struct code *)frame->code;
    *changed = 0;
    if (!code->source)
        code->source = find_source(dump, code->file);
    struct source *source = code->source;
    if (!source || frame->line < 1 || frame->line > source->line_count)
        return NULL;
    size_t from = source->lines[frame->line - 1];
    size_t to = frame->line < source->line_count ? source->lines[frame->line] : source->size;
    while (from < to && strchr(" \t\f\r\n", source->text[from]))
        from++;
    while (to > from && strchr(" \t\f\r\n", source->text[to - 1]))
        to--;
    if (to - from > LINE_AT_MOST)
        for (to = from + LINE_AT_MOST; to > from && ((unsigned char)source->text[to] & 0xc0) == 0x80; to--)
            ;
    *changed = source->changed;
    char *line = malloc(to - from + 1);
    if (line) {
        memcpy(line, source->text + from, to - from);
        line[to - from] = 0;
    }
    return line;
}

void free_sources(struct dump *dump) {
    for (struct source *source = dump->sources, *next; source; source = next) {
        next = source->next;
        free(source->name);
        free(source->text);
        free(source->lines);
        free(source);
    }
    dump->sources = NULL;
}
