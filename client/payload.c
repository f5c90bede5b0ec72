/* payload.c - the Python source that the target runs, sent in pieces.
 * SPDX-License-Identifier: MIT
 *
 * Compiling a piece holds the GIL, and the program waits meanwhile: 2,000 lines take 8-14 ms. So
 * pieces are small. They are cut where our files promise that a top-level statement begins: at a
 * line that follows a blank one and begins with `class `, `def `, `@` or `# ---`.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "client.h"

#define PIECE_LINES 120

static const char *const names[PAYLOAD_MODULES] = {"pythreadhacks", "pyinjectcode", "pybreaks", "pycatch", "pyenter"};

static int read_file(const char *path, struct buffer *text) {
    FILE *file = fopen(path, "re");
    if (!file)
        return -1;
    char piece[16384];
    size_t size;
    while ((size = fread(piece, 1, sizeof piece, file)) > 0)
        buffer_add(text, piece, size);
    int result = ferror(file) ? -1 : 0;
    int error = errno;
    fclose(file);
    errno = error;
    return result;
}

static bool begins_piece(const char *line, size_t length) {
    static const char *const beginnings[] = {"class ", "def ", "@", "# ---"};
    for (size_t i = 0; i < sizeof beginnings / sizeof *beginnings; i++)
        if (length >= strlen(beginnings[i]) && !memcmp(line, beginnings[i], strlen(beginnings[i])))
            return true;
    return false;
}

static void send_piece(struct channel *channel, const char *module, const char *text, size_t length, int first_line) {
    struct buffer piece = {0};
    buffer_add(&piece, module, strlen(module) + 1);
    buffer_format(&piece, "%d", first_line);
    buffer_add(&piece, "", 1);
    buffer_add(&piece, text, length);
    channel_send(channel, WIRE_SOURCE, piece.data, piece.length);
    buffer_free(&piece);
}

static void send_module(struct channel *channel, const char *module, const struct buffer *source) {
    size_t begin = 0, cut = 0; /* of the piece; the last place in it where it may end */
    int line = 1, begin_line = 1, cut_line = 1;
    bool blank = false;
    for (size_t at = 0; at < source->length; line++) {
        const char *text = source->data + at;
        const char *end = memchr(text, '\n', source->length - at);
        size_t length = end ? (size_t)(end - text) + 1 : source->length - at;
        if (blank && begins_piece(text, length)) {
            if (line - begin_line > PIECE_LINES && cut > begin) {
                send_piece(channel, module, source->data + begin, cut - begin, begin_line);
                begin = cut;
                begin_line = cut_line;
            }
            cut = at;
            cut_line = line;
        }
        blank = *text == '\n';
        at += length;
    }
    if (line - begin_line > PIECE_LINES && cut > begin) {
        send_piece(channel, module, source->data + begin, cut - begin, begin_line);
        begin = cut;
        begin_line = cut_line;
    }
    send_piece(channel, module, source->data + begin, source->length - begin, begin_line);
}

/* Reads the files of the directory; -1 and errno, and the path of the one that cannot be read. */
int payload_read(struct payload *payload, const char *directory, struct buffer *path) {
    for (int i = 0; i < PAYLOAD_MODULES; i++) {
        path->length = 0;
        buffer_format(path, "%s/%s.py", directory, names[i]);
        if (read_file(path->data, &payload->source[i]) < 0)
            return -1;
    }
    return 0;
}

void payload_send(const struct payload *payload, struct channel *channel) {
    for (int i = 0; i < PAYLOAD_MODULES; i++)
        send_module(channel, names[i], &payload->source[i]);
}

void payload_free(struct payload *payload) {
    for (int i = 0; i < PAYLOAD_MODULES; i++)
        buffer_free(&payload->source[i]);
}
