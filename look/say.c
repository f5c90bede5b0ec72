/* SPDX-License-Identifier: MIT
 * say.c - the text of a value: counted, cut at its width, safe on a terminal.
 *
 * Once the width is used up, `...` is said and then nothing but closing brackets. Control characters, and
 * whatever else str.isprintable() calls unprintable, are escaped as Python does.
 */
#include <math.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include "value_parts.h"

void say_bytes(struct values *v, const char *bytes, size_t size) {
    if (v->size + size + 1 > v->room) {
        size_t room = 2 * (v->size + size + 64);
        char *more = realloc(v->text, room);
        if (!more) {
            v->full = 1;
            return;
        }
        v->text = more;
        v->room = room;
    }
    memcpy(v->text + v->size, bytes, size);
    v->size += size;
    v->text[v->size] = 0;
}

/* What is said even if there is no room for it. */
static void say_always(struct values *v, const char *text) {
    int n = strlen(text);
    say_bytes(v, text, n);
    v->columns = v->columns > n ? v->columns - n : 0;
}

/* Something stays unsaid. */
void say_dots(struct values *v) {
    v->truncated = 1;
    say_always(v, "...");
}

/* The width is used up: say so once, then nothing but closing brackets. */
void say_rest_cut(struct values *v) {
    if (!v->full)
        say_dots(v);
    v->full = 1;
}

void say_closing(struct values *v, const char *bracket) {
    say_always(v, bracket);
}

/* ASCII of our own making. */
void say(struct values *v, const char *text) {
    int n = strlen(text);
    if (v->full)
        return;
    if (n > v->columns) {
        say_bytes(v, text, v->columns > 0 ? v->columns : 0);
        v->columns = 0;
        say_rest_cut(v);
        return;
    }
    say_bytes(v, text, n);
    v->columns -= n;
}

void say_format(struct values *v, const char *format, ...) {
    char text[256];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    say(v, text);
}

void say_unreadable(struct values *v) {
    v->unreadable = 1;
    say(v, "<unreadable>");
}

/* Would it harm the terminal, or mislead who reads it? As str.isprintable(), for blocks instead of characters. */
static int must_escape(uint32_t c) {
    static const struct {
        uint32_t first, last;
    } ranges[] = {
        {0x7f, 0xa0}, {0xad, 0xad}, {0x600, 0x605}, {0x61c, 0x61c}, {0x6dd, 0x6dd}, {0x70f, 0x70f}, {0x1680, 0x1680}, {0x180e, 0x180e},
        {0x2000, 0x200f}, {0x2028, 0x202f}, {0x205f, 0x206f}, {0x3000, 0x3000}, {0xd800, 0xf8ff}, {0xfdd0, 0xfdef}, {0xfeff, 0xfeff},
        {0xfff0, 0xfffb}, {0x110bd, 0x110bd}, {0x1bca0, 0x1bca3}, {0x1d173, 0x1d17a}, {0xe0000, 0xe00ff}, {0xf0000, 0x10ffff},
    };
    if (c < 0x7f)
        return c < 0x20;
    for (size_t i = 0; i < sizeof ranges / sizeof *ranges; i++)
        if (c >= ranges[i].first && c <= ranges[i].last)
            return 1;
    return (c & 0xfffe) == 0xfffe || c > 0x10ffff;
}

size_t encode_utf8(uint32_t c, char *to) {
    if (c < 0x80)
        return to[0] = c, 1;
    if (c < 0x800)
        return to[0] = 0xc0 | c >> 6, to[1] = 0x80 | (c & 0x3f), 2;
    if (c < 0x10000)
        return to[0] = 0xe0 | c >> 12, to[1] = 0x80 | (c >> 6 & 0x3f), to[2] = 0x80 | (c & 0x3f), 3;
    to[0] = 0xf0 | c >> 18;
    to[1] = 0x80 | (c >> 12 & 0x3f);
    to[2] = 0x80 | (c >> 6 & 0x3f);
    to[3] = 0x80 | (c & 0x3f);
    return 4;
}

static size_t escape(uint32_t c, char quote, char *to) {
    if (c == '\n' || c == '\r' || c == '\t')
        return sprintf(to, "\\%c", c == '\n' ? 'n' : c == '\r' ? 'r' : 't');
    if (c == '\\' || (quote && c == (uint32_t)quote))
        return sprintf(to, "\\%c", (char)c);
    if (!must_escape(c))
        return encode_utf8(c, to);
    return sprintf(to, c < 0x100 ? "\\x%02x" : c < 0x10000 ? "\\u%04x" : "\\U%08x", c);
}

/* One character of a quoted text; 0 if it does not fit any more. */
int say_character(struct values *v, uint32_t c, char quote) {
    char text[16];
    size_t n = escape(c, quote, text);
    int columns = c < 0x80 ? (int)n : (text[0] == '\\' ? (int)n : 1);
    if (columns > v->columns)
        return 0;
    say_bytes(v, text, n);
    v->columns -= columns;
    return 1;
}

/* A name from the target, UTF-8 that may be none. */
void say_name(struct values *v, const char *name) {
    for (const unsigned char *p = (const unsigned char *)name; *p && !v->full;) {
        uint32_t c = *p++;
        int more = c >= 0xf0 ? 3 : c >= 0xe0 ? 2 : c >= 0xc0 ? 1 : 0;
        if (more)
            c &= 0x3f >> more;
        for (; more && (*p & 0xc0) == 0x80; more--)
            c = c << 6 | (*p++ & 0x3f);
        if (!say_character(v, c, 0))
            say_rest_cut(v);
    }
}

/* --- numbers --- */

/* Decimal digits of sum(digits[i] << 30 * i), in groups of nine; digits are used up. */
void say_decimal(struct values *v, uint32_t *digits, int n, int negative) {
    static const size_t room = DIGITS_AT_MOST * 10 + 16;
    char text[DIGITS_AT_MOST * 10 + 16], *at = text + room;
    *--at = 0;
    while (n && !digits[n - 1])
        n--;
    if (!n)
        *--at = '0';
    while (n) {
        uint64_t rest = 0;
        for (int i = n; i; i--) {
            rest = rest << 30 | digits[i - 1];
            digits[i - 1] = rest / 1000000000;
            rest %= 1000000000;
        }
        while (n && !digits[n - 1])
            n--;
        for (int i = 0; i < 9 && (n || rest); i++, rest /= 10)
            *--at = '0' + rest % 10;
    }
    if (negative)
        *--at = '-';
    say(v, at);
}

/* As Python's repr: the fewest digits that give the number back. */
static void format_float(double number, int add_point, char *to, size_t size) {
    char text[40];
    int precision = 1;
    if (isnan(number) || isinf(number)) {
        snprintf(to, size, "%s", isnan(number) ? "nan" : number < 0 ? "-inf" : "inf");
        return;
    }
    if (fabs(number) < 1e15 && number == (double)(int64_t)number) {
        snprintf(to, size, "%s%lld%s", signbit(number) && !number ? "-" : "", (long long)number, add_point ? ".0" : "");
        return;
    }
    if (fabs(number) < 1e9) {           /* few decimals, as prices have */
        double power = 10;
        for (int decimals = 1; decimals <= 4; decimals++, power *= 10) {
            double whole = fabs(number) * power;
            if (whole != (double)(int64_t)whole || whole / power != fabs(number))
                continue;
            if (fabs(number) < 1e-4)
                break;
            long long digits = whole, scale = power;
            for (; digits % 10 == 0; digits /= 10, scale /= 10)     /* 4.35 * 100 is a little less than 435 */
                decimals--;
            snprintf(to, size, "%s%lld.%0*lld", number < 0 ? "-" : "", digits / scale, decimals, digits % scale);
            return;
        }
    }
    for (; precision <= 17; precision++) {
        snprintf(text, sizeof text, "%.*e", precision - 1, number);
        if (strtod(text, NULL) == number)
            break;
    }
    char digits[24], *e = strchr(text, 'e'), *from = text + (*text == '-');
    int n = 0, exponent = e ? atoi(e + 1) : 0;
    for (; from < e && n < 20; from++)
        if (*from != '.')
            digits[n++] = *from;
    digits[n] = 0;
    const char *sign = *text == '-' ? "-" : "";
    if (exponent >= 16 || exponent < -4)
        snprintf(to, size, "%s%c%s%se%c%02d", sign, digits[0], n > 1 ? "." : "", digits + 1, exponent < 0 ? '-' : '+', abs(exponent));
    else if (exponent < 0)
        snprintf(to, size, "%s0.%.*s%s", sign, -exponent - 1, "0000", digits);
    else if (n <= exponent + 1)
        snprintf(to, size, "%s%s%.*s%s", sign, digits, exponent + 1 - n, "0000000000000000", add_point ? ".0" : "");
    else
        snprintf(to, size, "%s%.*s.%s", sign, exponent + 1, digits, digits + exponent + 1);
}

void say_float(struct values *v, double number) {
    char text[64];
    format_float(number, 1, text, sizeof text);
    say(v, text);
}

void say_complex(struct values *v, double real, double imaginary) {
    char first[64], second[64];
    format_float(real, 0, first, sizeof first);
    format_float(imaginary, 0, second, sizeof second);
    if (real == 0 && !signbit(real))
        say_format(v, "%sj", second);
    else
        say_format(v, "(%s%s%sj)", first, *second == '-' ? "" : "+", second);
}
