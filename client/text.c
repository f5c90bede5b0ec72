/* text.c - what the target sends, made safe for a terminal, and what the user types, made UTF-8.
 * SPDX-License-Identifier: MIT
 *
 * A terminal takes orders from the text that it shows: set the title, answer a query as if typed,
 * turn the writing direction. So nothing but printable characters, newline and tab goes through:
 *
 *   control characters, DEL, C1 controls (xterm obeys them in UTF-8, too)     \xNN
 *   bytes that are not UTF-8, with them encoded surrogates                    \xNN each
 *   marks that turn the direction of text or are invisible ("Trojan source")  \uNNNN, \UNNNNNNNN
 *   what the caller's locale cannot show                                      \xNN, \uNNNN, \UNNNNNNNN
 *
 * Pure functions: they depend on their arguments and LC_CTYPE, nothing else.
 */
#include <langinfo.h>
#include <limits.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <wchar.h>

#include "client.h"

static void make_room(struct buffer *buffer, size_t length) {
    if (buffer->room - buffer->length >= length)
        return;
    size_t room = buffer->room ? buffer->room : 256;
    while (room - buffer->length < length)
        room *= 2;
    char *data = realloc(buffer->data, room);
    if (!data) {
        fputs("pydbattach: out of memory\n", stderr);
        exit(1);
    }
    buffer->data = data;
    buffer->room = room;
}

void buffer_add(struct buffer *buffer, const void *data, size_t length) {
    if (!length)
        return;
    make_room(buffer, length);
    memcpy(buffer->data + buffer->length, data, length);
    buffer->length += length;
}

void buffer_add_text(struct buffer *buffer, const char *text) {
    buffer_add(buffer, text, strlen(text));
}

void buffer_format(struct buffer *buffer, const char *format, ...) {
    va_list arguments;
    va_start(arguments, format);
    int length = vsnprintf(NULL, 0, format, arguments);
    va_end(arguments);
    if (length < 0)
        return;
    make_room(buffer, (size_t)length + 1);
    va_start(arguments, format);
    vsnprintf(buffer->data + buffer->length, (size_t)length + 1, format, arguments);
    va_end(arguments);
    buffer->length += (size_t)length;
}

void buffer_drop_front(struct buffer *buffer, size_t length) {
    if (!length)
        return;
    buffer->length -= length;
    memmove(buffer->data, buffer->data + length, buffer->length);
}

void buffer_free(struct buffer *buffer) {
    free(buffer->data);
    memset(buffer, 0, sizeof *buffer);
}

/* Length of the UTF-8 character at text: 0 if its end is missing, -1 if it is none (overlong forms,
 * surrogates and numbers beyond Unicode are none). */
static int decode(const unsigned char *text, size_t length, uint32_t *character) {
    static const uint32_t least[] = {0, 0, 0x80, 0x800, 0x10000};
    unsigned char first = text[0];
    int size = first < 0x80 ? 1 : first < 0xc2 ? -1 : first < 0xe0 ? 2 : first < 0xf0 ? 3 : first < 0xf5 ? 4 : -1;
    if (size < 0)
        return -1;
    uint32_t value = size == 1 ? first : first & (0x7fu >> size);
    for (int i = 1; i < size; i++) {
        if ((size_t)i >= length)
            return 0;
        if ((text[i] & 0xc0) != 0x80)
            return -1;
        /* Known with the second byte already, so an incomplete one is never taken for a beginning. */
        if (i == 1 && ((first == 0xe0 && text[1] < 0xa0) || (first == 0xed && text[1] > 0x9f) ||
                       (first == 0xf0 && text[1] < 0x90) || (first == 0xf4 && text[1] > 0x8f)))
            return -1;
        value = value << 6 | (text[i] & 0x3f);
    }
    if (value < least[size])
        return -1;
    *character = value;
    return size;
}

static bool is_shown(uint32_t c, int manner) {
    if (c == '\n')
        return !(manner & TEXT_ONE_LINE);
    if (c == '\t')
        return true;
    if (c < 0x20 || (c >= 0x7f && c < 0xa0))
        return false;
    if (c == 0x61c || (c >= 0x200e && c <= 0x200f) || (c >= 0x2028 && c <= 0x202e) || (c >= 0x2060 && c <= 0x206f))
        return false;
    if (c == 0xfeff || (c >= 0xfff9 && c <= 0xfffb) || (c & 0xfffe) == 0xfffe || (c >= 0xe0000 && c <= 0xe007f))
        return false;
    return true;
}

static void add_escape(struct buffer *out, uint32_t c) {
    char text[16];              /* not by buffer_format, which prints twice: there may be a million of them */
    int length = snprintf(text, sizeof text, c < 0x100 ? "\\x%02x" : c < 0x10000 ? "\\u%04x" : "\\U%08x", c);
    buffer_add(out, text, (size_t)length);
}

/* The character as the locale writes it, or false. */
static bool add_in_locale(struct buffer *out, uint32_t c) {
    char bytes[MB_LEN_MAX];
    mbstate_t state = {0};
    size_t size = wcrtomb(bytes, (wchar_t)c, &state);
    if (size == (size_t)-1)
        return false;
    buffer_add(out, bytes, size);
    return true;
}

/* Adds text as it may be shown; a character that is cut off at the end waits in rest (NULL: is
 * escaped). Returns how many escapes it took. */
size_t text_escape(struct buffer *out, struct text_rest *rest, const char *text, size_t length, int manner) {
    struct buffer joined = {0};
    if (rest && rest->length) {
        buffer_add(&joined, rest->bytes, (size_t)rest->length);
        buffer_add(&joined, text, length);
        rest->length = 0;
        text = joined.data;
        length = joined.length;
    }

    size_t escapes = 0;
    const unsigned char *at = (const unsigned char *)text;
    while (length) {
        uint32_t c;
        int size = decode(at, length, &c);
        if (size == 0 && rest) {
            memcpy(rest->bytes, at, length);
            rest->length = (int)length;
            break;
        }
        if (size <= 0) {
            add_escape(out, *at);
            escapes++;
            size = 1;
        } else if (!is_shown(c, manner)) {
            add_escape(out, c);
            escapes++;
        } else if (c < 0x80 || manner & TEXT_UTF8) {
            buffer_add(out, at, (size_t)size);
        } else if (!add_in_locale(out, c)) {
            add_escape(out, c);
            escapes++;
        }
        at += size;
        length -= (size_t)size;
    }
    buffer_free(&joined);
    return escapes;
}

/* The other half will not come: escapes what waits in rest. */
void text_finish(struct buffer *out, struct text_rest *rest) {
    for (int i = 0; i < rest->length; i++)
        add_escape(out, rest->bytes[i]);
    rest->length = 0;
}

static bool is_utf8(const char *text, size_t length) {
    uint32_t c;
    while (length) {
        int size = decode((const unsigned char *)text, length, &c);
        if (size <= 0)
            return false;
        text += size;
        length -= (size_t)size;
    }
    return true;
}

static void add_utf8(struct buffer *out, uint32_t c) {
    char bytes[4];
    int size = c < 0x80 ? 1 : c < 0x800 ? 2 : c < 0x10000 ? 3 : 4;
    for (int i = size - 1; i > 0; i--, c >>= 6)
        bytes[i] = (char)(0x80 | (c & 0x3f));
    bytes[0] = (char)(size == 1 ? c : (0xf00u >> size & 0xff) | c);
    buffer_add(out, bytes, (size_t)size);
}

/* What was typed in the locale's encoding. In the C locale (ssh without LANG, cron) the terminal is
 * UTF-8 all the same, nearly always. A byte that means nothing becomes U+FFFD. */
void text_to_utf8(struct buffer *out, const char *text, size_t length, int manner) {
    bool ascii_locale = !strcmp(nl_langinfo(CODESET), "ANSI_X3.4-1968");
    if ((manner & TEXT_UTF8 || ascii_locale) && is_utf8(text, length)) {
        buffer_add(out, text, length);
        return;
    }
    mbstate_t state = {0};
    while (length) {
        wchar_t c = 0;
        size_t size = 1;
        if ((unsigned char)*text < 0x80)
            c = *text;
        else
            size = mbrtowc(&c, text, length, &state);
        if (size == 0 || size > length || (uint32_t)c > 0x10ffff || (c >= 0xd800 && c < 0xe000)) {
            memset(&state, 0, sizeof state);
            size = 1;
            c = 0xfffd;
        }
        add_utf8(out, (uint32_t)c);
        text += size;
        length -= size;
    }
}
