/* SPDX-License-Identifier: MIT
 * output.c - where both forms of a dump are written to: one buffer, handed to standard output at the end.
 *
 * Texts of the target are UTF-8 in which lone surrogates may stand (how Python keeps bytes that are none).
 * For people, control characters, lone surrogates and bytes that are no UTF-8 become \xNN and \uNNNN; JSON
 * has its own escapes, and a byte that is no UTF-8 becomes the surrogate that Python has for it.
 */
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "dump.h"

static struct {
    char *text;
    size_t size, room;
    int failed;
} out;

static char *make_room(size_t size) {
    if (out.size + size > out.room) {
        size_t room = out.room ? out.room : 1 << 16;
        while (room < out.size + size)
            room *= 2;
        char *more = realloc(out.text, room);
        if (!more) {
            out.failed = 1;
            return NULL;
        }
        out.text = more;
        out.room = room;
    }
    return out.text + out.size;
}

void put_bytes(const char *bytes, size_t size) {
    char *to = make_room(size);
    if (!to)
        return;
    memcpy(to, bytes, size);
    out.size += size;
}

void put(const char *text) {
    put_bytes(text, strlen(text));
}

void put_char(char c) {
    put_bytes(&c, 1);
}

void putf(const char *format, ...) {
    char text[512];
    va_list arguments;
    va_start(arguments, format);
    int n = vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    put_bytes(text, n < (int)sizeof text ? n : (int)sizeof text - 1);
}

/* The character at `text`, its length in *length. -1: no UTF-8 (length 1). */
static int32_t decode(const unsigned char *text, int *length) {
    int more = *text >= 0xc2 && *text <= 0xdf ? 1 : *text >= 0xe0 && *text <= 0xef ? 2 : *text >= 0xf0 && *text <= 0xf4 ? 3 : 0;
    int32_t c = !more ? *text : *text & (0x3f >> more);
    *length = 1;
    if (*text < 0x80)
        return *text;
    if (!more)
        return -1;
    for (int i = 1; i <= more; i++) {
        if ((text[i] & 0xc0) != 0x80)
            return -1;
        c = c << 6 | (text[i] & 0x3f);
    }
    if ((more == 2 && c < 0x800) || (more == 3 && (c < 0x10000 || c > 0x10ffff)))
        return -1;
    *length = more + 1;
    return c;
}

/* What moves the cursor or turns text around: controls, line separators, bidirectional marks. */
static int is_harmful(int32_t c) {
    return c < 0x20 || (c >= 0x7f && c < 0xa0) || c == 0x2028 || c == 0x2029 || (c >= 0x202a && c <= 0x202e)
           || (c >= 0x2066 && c <= 0x2069) || c == 0x200e || c == 0x200f || c == 0x061c || c == 0xfeff;
}

/* For people. */
void put_safely(const char *text) {
    int length;
    for (const unsigned char *at = (const unsigned char *)text; *at; at += length) {
        const unsigned char *plain = at;
        while (*plain >= 0x20 && *plain < 0x7f)
            plain++;
        if (plain > at) {
            put_bytes((const char *)at, plain - at);
            length = plain - at;
            continue;
        }
        int32_t c = decode(at, &length);
        if (c < 0)
            putf("\\x%02x", *at);
        else if (c == '\t')
            put_char(' ');
        else if (c < 0xa0 && is_harmful(c))
            putf("\\x%02x", (unsigned)c);
        else if (is_harmful(c) || (c >= 0xd800 && c <= 0xdfff))
            putf("\\u%04x", (unsigned)c);
        else
            put_bytes((const char *)at, length);
    }
}

/* A JSON string of so many bytes, and a zero behind them; NULL: null. */
void put_json_bytes(const char *text, size_t size) {
    int length;
    if (!text) {
        put("null");
        return;
    }
    put_char('"');
    const unsigned char *end = (const unsigned char *)text + size;
    for (const unsigned char *at = (const unsigned char *)text; at < end; at += length) {
        const unsigned char *plain = at;
        while (*plain >= 0x20 && *plain < 0x7f && *plain != '"' && *plain != '\\')
            plain++;
        if (plain > at) {
            put_bytes((const char *)at, plain - at);
            length = plain - at;
            continue;
        }
        int32_t c = decode(at, &length);
        if (c == '"' || c == '\\')
            putf("\\%c", (char)c);
        else if (c < 0)
            putf("\\udc%02x", *at);
        else if (c < 0x20 || c == 0x7f || (c >= 0xd800 && c <= 0xdfff) || is_harmful(c))
            putf("\\u%04x", (unsigned)c);
        else
            put_bytes((const char *)at, length);
    }
    put_char('"');
}

void put_json(const char *text) {
    put_json_bytes(text, text ? strlen(text) : 0);
}

size_t output_size(void) {
    return out.size;
}

void drop_output(void) {
    out.size = 0;
}

/* All that was put since output_size() said `from`, as an own text. */
char *take_output(size_t from) {
    char *text = malloc(out.size - from + 1);
    if (text) {
        if (out.size > from)
            memcpy(text, out.text + from, out.size - from);
        text[out.size - from] = 0;
    }
    out.size = from;
    return text;
}

static int write_whole(int fd, const char *text, size_t size) {
    for (size_t done = 0; done < size;) {
        ssize_t n = write(fd, text + done, size - done);
        if (n <= 0)
            return -1;
        done += n;
    }
    return 0;
}

/* -1: it could not be written. */
int flush_output(int fd) {
    if (write_whole(fd, out.text, out.size))
        return -1;
    out.size = 0;
    return out.failed ? -1 : 0;
}

/* To standard output, behind what was put. */
void pass_output(const char *text, size_t size) {
    if (flush_output(1) || write_whole(1, text, size))
        out.failed = 1;
}
