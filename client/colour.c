/* colour.c - Python source in colours, with those of Python 3.14's own prompt.
 * SPDX-License-Identifier: MIT
 *
 * The target sends lines of a file, which may begin inside a string: the colours are a help for
 * the eye and now and then wrong. The text between them is escaped as all the target's text is.
 */
#include <ctype.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "client.h"

#define KEYWORD "\033[1;34m"
#define NAME "\033[1m"
#define STRING "\033[32m"
#define COMMENT "\033[31m"
#define NUMBER "\033[33m"
#define PLAIN "\033[0m"

static const char *const keywords[] = {
    "False", "None",   "True",  "and",    "as",       "assert", "async",  "await", "break",
    "class", "continue", "def", "del",    "elif",     "else",   "except", "finally", "for",
    "from",  "global", "if",    "import", "in",       "is",     "lambda", "nonlocal", "not",
    "or",    "pass",   "raise", "return", "try",      "while",  "with",   "yield",
};

static bool is_name(char c) {
    return isalnum((unsigned char)c) || c == '_' || (unsigned char)c >= 0x80;
}

static bool is_keyword(const char *word, size_t length) {
    for (size_t i = 0; i < sizeof keywords / sizeof *keywords; i++)
        if (strlen(keywords[i]) == length && !memcmp(keywords[i], word, length))
            return true;
    return false;
}

static void add_run(struct buffer *out, const char *colour, const char *text, size_t length, int manner) {
    if (colour)
        buffer_add_text(out, colour);
    text_escape(out, NULL, text, length, manner);
    if (colour)
        buffer_add_text(out, PLAIN);
}

/* Length of the string literal at text, 0 if there is none. */
static size_t string_length(const char *text, size_t length) {
    size_t i = 0;
    while (i < 2 && i < length && strchr("rRbBuUfFtT", text[i]) && text[i])
        i++;
    if (i >= length || (text[i] != '"' && text[i] != '\''))
        return 0;
    char quote = text[i];
    bool triple = i + 2 < length && text[i + 1] == quote && text[i + 2] == quote;
    for (i += triple ? 3 : 1; i < length; i++) {
        if (text[i] == '\\')
            i++;
        else if (!triple && text[i] == '\n')
            return i;
        else if (text[i] == quote && !triple)
            return i + 1;
        else if (text[i] == quote && i + 2 < length && text[i + 1] == quote && text[i + 2] == quote)
            return i + 3;
    }
    return length;
}

static size_t span_names(const char *text, size_t length) {
    size_t i = 0;
    while (i < length && is_name(text[i]))
        i++;
    return i;
}

static size_t span_until(const char *text, size_t length, char end) {
    const char *found = memchr(text, end, length);
    return found ? (size_t)(found - text) : length;
}

/* A terminal with colours whose user has not said no (no-color.org). The names are those of the
 * terminals in use without colours: asking terminfo would take a library for one bit. */
bool colour_wanted(void) {
    const char *no = getenv("NO_COLOR"), *term = getenv("TERM");
    if ((no && *no) || !isatty(STDOUT_FILENO) || !term || !*term)
        return false;
    size_t length = strlen(term);
    return strcmp(term, "dumb") && strcmp(term, "unknown") && strncmp(term, "vt", 2) &&
           !(length > 2 && !strcmp(term + length - 2, "-m")) && !(length > 5 && !strcmp(term + length - 5, "-mono"));
}

void colour_python(struct buffer *out, const char *text, size_t length, int manner) {
    bool defines = false; /* the word before was def or class */
    while (length) {
        const char *colour = NULL;
        size_t size;
        if (*text == '#') {
            colour = COMMENT;
            size = span_until(text, length, '\n');
        } else if ((size = string_length(text, length))) {
            colour = STRING;
        } else if (isdigit((unsigned char)*text)) {
            colour = NUMBER;
            size = span_names(text, length);
        } else if ((size = span_names(text, length))) {
            bool keyword = is_keyword(text, size);
            colour = keyword ? KEYWORD : defines ? NAME : NULL;
            defines = keyword && (!strncmp(text, "def", size) || !strncmp(text, "class", size));
        } else {
            for (size = 1; size < length && !is_name(text[size]) && !strchr("#'\"", text[size]); size++)
                continue;
        }
        add_run(out, colour, text, size, manner);
        text += size;
        length -= size;
    }
}
