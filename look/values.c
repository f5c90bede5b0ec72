/* SPDX-License-Identifier: MIT
 * values.c - an object of the target as text, much as its repr() would be, without asking it.
 *
 * The object is told by its type: a static type by its name, a class by its bases. What a class adds
 * (its own __repr__) is not asked: a subclass of a builtin is Name(value), any other instance is
 * Name(attribute=value, ...), from its slots and its dictionary, which the versions keep in different
 * places (layouts.h). Attributes of an instance inside another one are not shown.
 *
 * Hostile until checked: a type must have a type that says it is one, a reference count must look like
 * one, lengths are only ever used to count down to a limit, and recursion ends with the depth.
 * What cannot be read is `<unreadable>`, a container inside itself, or deeper than the limit, is [...].
 */
#include <stdlib.h>
#include <string.h>

#include "value_parts.h"

#define FIELDS_AT_MOST 64
#define DEQUE_BLOCK 64          /* _collectionsmodule.c: BLOCKLEN, the same since 3.5 */

/* --- numbers --- */

/* Sign and number of digits; digits themselves if they are not too many. */
static int read_int(struct values *v, uint64_t object, int *negative, uint64_t *count, uint32_t *digits) {
    uint64_t tag;
    if (read_fields(v, object, &tag, 1))
        return -1;
    if (v->layout->has_tagged_lengths) {
        *negative = (tag & 3) == 2;
        *count = (tag & 3) == 1 ? 0 : tag >> 3;
    } else {
        *negative = (int64_t)tag < 0;
        *count = *negative ? -tag : tag;
    }
    if (*count > 1ull << 40)
        return -1;
    if (*count > DIGITS_AT_MOST)
        return 0;
    if (*count && consult(&v->snapshot, object + head_of(v) + 8, digits, *count * sizeof *digits))
        return -1;
    for (uint64_t i = 0; i < *count; i++)
        if (digits[i] >> 30)
            return -1;
    return 0;
}

static void put_int(struct values *v, uint64_t object) {
    uint32_t digits[DIGITS_AT_MOST];
    uint64_t count;
    int negative;
    if (read_int(v, object, &negative, &count, digits)) {
        say_unreadable(v);
    } else if (count <= 1) {
        char text[16], *at = text + sizeof text - 1;
        uint32_t rest = count ? digits[0] : 0;
        *at = 0;
        do
            *--at = '0' + rest % 10;
        while (rest /= 10);
        if (negative && count)
            *--at = '-';
        say(v, at);
    } else if (count > DIGITS_AT_MOST) {
        v->truncated = 1;
        say_format(v, "<int of about %llu bits>", (unsigned long long)count * 30);
    } else {
        say_decimal(v, digits, count, negative);
    }
}

static void put_float(struct values *v, uint64_t object) {
    double number;
    if (consult(&v->snapshot, object + head_of(v), &number, sizeof number))
        say_unreadable(v);
    else
        say_float(v, number);
}

static void put_complex(struct values *v, uint64_t object) {
    double part[2];
    if (consult(&v->snapshot, object + head_of(v), part, sizeof part))
        say_unreadable(v);
    else
        say_complex(v, part[0], part[1]);
}

/* --- texts --- */

struct text {
    uint64_t data, length;
    int kind;                   /* bytes of a character */
};

/* Where the characters of a str are. Up to 3.11 there are those that were not made ready: wchar_t, 4 bytes. */
static int find_text(struct values *v, uint64_t object, struct text *text) {
    const struct layout *layout = v->layout;
    unsigned char bytes[96];
    uint32_t state;
    size_t size = layout->unicode_compact_size + 8;
    if (size > sizeof bytes)
        return -1;
    memset(bytes, 0, sizeof bytes);
    if (consult(&v->snapshot, object, bytes, layout->unicode_ascii_size))
        return -1;
    memcpy(&text->length, bytes + layout->unicode_length, 8);
    memcpy(&state, bytes + layout->unicode_state, 4);
    text->kind = state >> layout->unicode_kind_shift & 7;
    int compact = state >> layout->unicode_compact_shift & 1, ascii = state >> layout->unicode_ascii_shift & 1;
    int ready = !layout->unicode_wide || state >> (layout->unicode_ascii_shift + 1) & 1;
    if (compact) {
        text->data = object + (ascii ? layout->unicode_ascii_size : layout->unicode_compact_size);
    } else {
        if (consult(&v->snapshot, object, bytes, size))
            return -1;
        memcpy(&text->data, bytes + layout->unicode_compact_size, 8);
        if (!ready) {
            memcpy(&text->data, bytes + layout->unicode_wide, 8);
            memcpy(&text->length, bytes + layout->unicode_compact_size - 8, 8);
            text->kind = 4;
        }
    }
    return text->length > INT64_MAX / 4 || (text->kind != 1 && text->kind != 2 && text->kind != 4) ? -1 : 0;
}

static uint32_t character_at(const unsigned char *data, int kind, size_t i) {
    uint16_t two;
    uint32_t four;
    switch (kind) {
    case 1: return data[i];
    case 2: memcpy(&two, data + 2 * i, 2); return two;
    default: memcpy(&four, data + 4 * i, 4); return four;
    }
}

/* The first n characters into a buffer of the caller's, to be freed. */
static unsigned char *read_data(struct values *v, uint64_t data, size_t size) {
    unsigned char *bytes = malloc(size + 1);
    if (bytes && size && consult(&v->snapshot, data, bytes, size)) {
        free(bytes);
        return NULL;
    }
    return bytes;
}

/* The quote that repr would take: the double one only if there are single ones and no double ones. */
static char choose_quote(const unsigned char *data, int kind, size_t n) {
    int single = 0, twice = 0;
    for (size_t i = 0; i < n; i++) {
        uint32_t c = character_at(data, kind, i);
        single |= c == '\'';
        twice |= c == '"';
    }
    return single && !twice ? '"' : '\'';
}

static void put_quoted(struct values *v, const unsigned char *data, int kind, size_t n, uint64_t length, int bytes) {
    char quote[2] = {choose_quote(data, kind, n), 0};
    size_t i = 0;
    if (v->full)
        return;
    say(v, quote);
    for (; i < n && !v->full; i++) {
        uint32_t c = character_at(data, kind, i);
        if (bytes && c >= 0x7f) {
            if (v->columns < 4)
                break;
            say_format(v, "\\x%02x", c);
        } else if (!say_character(v, c, *quote)) {
            break;
        }
    }
    say_closing(v, quote);
    if (i < length)
        say_rest_cut(v);
}

/* What fits into the columns that are left. */
static size_t characters_to_read(const struct values *v, uint64_t length) {
    return length < (uint64_t)v->columns + 1 ? length : (uint64_t)v->columns + 1;
}

static void put_str(struct values *v, uint64_t object) {
    struct text text;
    unsigned char *data = NULL;
    size_t n = 0;
    if (!find_text(v, object, &text)) {
        n = characters_to_read(v, text.length);
        data = read_data(v, text.data, n * text.kind);
    }
    if (data)
        put_quoted(v, data, text.kind, n, text.length, 0);
    else
        say_unreadable(v);
    free(data);
}

/* The characters themselves; a surrogate alone as three bytes, like the rest of what output.c takes. */
static void put_string(struct values *v, uint64_t object) {
    struct text text;
    unsigned char *data = NULL;
    size_t n = 0, i = 0;
    if (!find_text(v, object, &text)) {
        n = characters_to_read(v, text.length);
        data = read_data(v, text.data, n * text.kind);
    }
    for (; data && i < n && v->columns > 0; i++, v->columns--) {
        char bytes[16];
        uint32_t c = character_at(data, text.kind, i);
        say_bytes(v, bytes, encode_utf8(c > 0x10ffff ? 0xfffd : c, bytes));
    }
    if (!data)
        say_unreadable(v);
    else if (i < text.length)
        v->truncated = 1;
    free(data);
}

static void put_bytes_object(struct values *v, uint64_t object, int array) {
    uint64_t size, start = object + v->layout->bytes_items;
    unsigned char *bytes = NULL;
    size_t n = 0;
    if (!read_fields(v, object, &size, 1) && size <= INT64_MAX && (!array || !read_word(v, object + v->layout->bytearray_start, &start))) {
        n = characters_to_read(v, size);
        bytes = read_data(v, start, n);
    }
    if (bytes) {
        say(v, array ? "bytearray(b" : "b");
        put_quoted(v, bytes, 1, n, size, 1);
        if (array)
            say_closing(v, ")");
    } else {
        say_unreadable(v);
    }
    free(bytes);
}

/* A str of the target as a C string, cut if need be: attributes and functions have names like this. */
int read_string(struct values *v, uint64_t object, char *to, size_t size) {
    struct text text;
    const struct type_info *type = type_of(v, object);
    if (!type || type->kind != STR || find_text(v, object, &text))
        return -1;
    size_t n = text.length < size / 4 ? text.length : size / 4, at = 0;
    if (text.kind == 1) {
        n = text.length < size - 1 ? text.length : size - 1;
        if (n && consult(&v->snapshot, text.data, to, n))
            return -1;
        size_t i = 0;
        while (i < n && (unsigned char)to[i] < 0x80 && to[i])
            i++;
        if (i == n) {
            to[n] = 0;
            return 0;
        }
        n = text.length < size / 4 ? text.length : size / 4;
    }
    unsigned char *data = read_data(v, text.data, n * text.kind);
    if (!data)
        return -1;
    for (size_t i = 0; i < n && at + 5 < size; i++)
        at += encode_utf8(character_at(data, text.kind, i) ?: 0xfffd, to + at);
    to[at] = 0;
    free(data);
    return 0;
}

static void put_read_name(struct values *v, uint64_t object) {
    char name[2 * NAME_SIZE];
    if (read_string(v, object, name, sizeof name))
        say_unreadable(v);
    else
        say_name(v, name);
}

/* --- containers --- */

static void put_object(struct values *v, uint64_t object);

/* Is there room for one level more, and is it not inside itself? Else `open...close` is put. */
static int enter(struct values *v, uint64_t object, const char *opening, const char *closing) {
    int inside = 0;
    for (int i = 0; i < v->depth; i++)
        inside |= v->above[i] == object;
    if (!inside && v->depth < v->limits.depth && !v->full) {
        v->above[v->depth++] = object;
        say(v, opening);
        return 0;
    }
    say(v, opening);
    if (!v->full)
        say_dots(v);
    say_closing(v, closing);
    return -1;
}

static void leave(struct values *v, const char *closing) {
    v->depth--;
    say_closing(v, closing);
}

/* After so many items: that there are others, if there are. */
static void put_rest(struct values *v, int number, uint64_t total) {
    if (v->full || (uint64_t)number >= total)
        return;
    v->truncated = 1;
    say_format(v, "%s... %llu more", number ? ", " : "", (unsigned long long)total - number);
}

/* Before the item with this number; false when there is no more to be said. */
static int begin_item(struct values *v, int number, uint64_t total) {
    if (number >= v->limits.length) {
        put_rest(v, number, total);
        return 0;
    }
    if (number)
        say(v, ", ");
    return !v->full;
}

/* An array of n pointers. */
static void put_array(struct values *v, uint64_t at, uint64_t n) {
    uint64_t block[64];
    for (uint64_t i = 0; i < n && begin_item(v, i, n); i++) {
        if (i % 64 == 0) {
            int count = n - i < 64 ? n - i : 64;
            if (count > v->limits.length)
                count = v->limits.length;
            if (consult(&v->snapshot, at + i * 8, block, count * 8)) {
                say_unreadable(v);
                return;
            }
            fetch_pages(&v->snapshot, block, count);
        }
        if (block[i % 64])
            put_object(v, block[i % 64]);
        else
            say(v, "<NULL>");
    }
}

static void put_list(struct values *v, uint64_t object) {
    uint64_t fields[2];
    if (read_fields(v, object, fields, 2) || fields[0] > INT64_MAX / 8) {
        say_unreadable(v);
        return;
    }
    if (enter(v, object, "[", "]"))
        return;
    put_array(v, fields[1], fields[0]);
    leave(v, "]");
}

static void read_namedtuple(struct values *v, struct type_info *type) {
    uint64_t fields, size;
    if (type->fields_known)
        return;
    type->fields_known = 1;
    const struct type_info *kind = find_item(v, type->dict, "_fields", &fields) ? NULL : type_of(v, fields);
    if (!kind || kind->kind != TUPLE || read_fields(v, fields, &size, 1) || !size || size > FIELDS_AT_MOST
        || !(type->fields = calloc(size, sizeof *type->fields)))
        return;
    for (uint64_t i = 0; i < size; i++) {
        char name[NAME_SIZE];
        uint64_t item;
        if (read_word(v, fields + v->layout->tuple_items + i * 8, &item) || read_string(v, item, name, sizeof name))
            return;
        type->fields[type->field_count++] = strdup(name);
    }
}

static void put_namedtuple(struct values *v, uint64_t object, const struct type_info *type, uint64_t size) {
    for (uint64_t i = 0; i < size && begin_item(v, i, size); i++) {
        uint64_t item;
        say_name(v, type->fields[i]);
        say(v, "=");
        if (read_word(v, object + v->layout->tuple_items + i * 8, &item))
            say_unreadable(v);
        else
            put_object(v, item);
    }
}

static void put_tuple(struct values *v, uint64_t object, struct type_info *type) {
    uint64_t size;
    if (read_fields(v, object, &size, 1) || size > INT64_MAX / 8) {
        say_unreadable(v);
        return;
    }
    if (!type->builtin)
        read_namedtuple(v, type);
    int named = type->field_count && (uint64_t)type->field_count == size;
    if (named)
        say_name(v, type->name);
    if (enter(v, object, "(", ")"))
        return;
    if (named)
        put_namedtuple(v, object, type, size);
    else
        put_array(v, object + v->layout->tuple_items, size);
    leave(v, size == 1 && !named && !v->full ? ",)" : ")");
}

static void put_dict(struct values *v, uint64_t object) {
    struct items items = {0};
    if (read_dict(v, object, &items, v->limits.length)) {
        say_unreadable(v);
    } else if (!enter(v, object, "{", "}")) {
        for (int i = 0; i < items.count; i++) {
            if (!begin_item(v, i, items.total))
                break;
            put_object(v, items.item[i].key);
            say(v, ": ");
            put_object(v, items.item[i].value);
        }
        put_rest(v, items.count, items.total);
        leave(v, "}");
    }
    free_items(&items);
}

static void put_set(struct values *v, uint64_t object, const char *prefix) {
    uint64_t fields[4];         /* filled, used, mask, table */
    uint64_t block[2 * 32];
    int number = 0;
    if (read_fields(v, object, fields, 4) || fields[2] > INT64_MAX / 16 || fields[1] > fields[2] + 1) {
        say_unreadable(v);
        return;
    }
    say(v, prefix);
    if (!fields[1]) {
        say_closing(v, *prefix ? ")" : "set()");
        return;
    }
    if (!enter(v, object, "{", "}")) {
        for (uint64_t i = 0; i <= fields[2] && (uint64_t)number < fields[1] && !v->full && v->scanned++ < SCAN_AT_MOST; i++) {
            if (i % 32 == 0) {
                int count = fields[2] + 1 - i < 32 ? fields[2] + 1 - i : 32;
                if (consult(&v->snapshot, fields[3] + i * 16, block, count * 16)) {
                    say_unreadable(v);
                    break;
                }
            }
            uint64_t key = block[i % 32 * 2], hash = block[i % 32 * 2 + 1];
            if (!key || hash == UINT64_MAX)         /* never used, or removed */
                continue;
            if (number == v->limits.length || !begin_item(v, number, fields[1]))
                break;
            number++;
            put_object(v, key);
        }
        put_rest(v, number, fields[1]);
        leave(v, "}");
    }
    if (*prefix)
        say_closing(v, ")");
}

static void put_deque(struct values *v, uint64_t object) {
    uint64_t fields[7];         /* length, left and right block, index in each, state, maximal length */
    if (read_fields(v, object, fields, 7) || fields[0] > INT64_MAX / 8 || fields[3] >= DEQUE_BLOCK) {
        say_unreadable(v);
        return;
    }
    say(v, "deque(");
    if (!enter(v, object, "[", "]")) {
        uint64_t block = fields[1], index = fields[3], item;
        for (uint64_t i = 0; i < fields[0] && begin_item(v, i, fields[0]); i++) {
            if (index == DEQUE_BLOCK) {
                if (read_word(v, block + (DEQUE_BLOCK + 1) * 8, &block)) {
                    say_unreadable(v);
                    break;
                }
                index = 0;
            }
            if (read_word(v, block + 8 + index++ * 8, &item)) {
                say_unreadable(v);
                break;
            }
            put_object(v, item);
        }
        leave(v, "]");
    }
    if ((int64_t)fields[6] >= 0 && !v->full)
        say_format(v, ", maxlen=%lld", (long long)fields[6]);
    say_closing(v, ")");
}

/* range and slice: three objects. */
static void put_three(struct values *v, uint64_t object, enum kind kind) {
    uint64_t part[3], step = 0, count, digit = 0;
    uint32_t digits[DIGITS_AT_MOST];
    int negative;
    if (read_fields(v, object, part, 3)) {
        say_unreadable(v);
        return;
    }
    say(v, kind == RANGE ? "range(" : "slice(");
    put_object(v, part[0]);
    say(v, ", ");
    put_object(v, part[1]);
    if (kind == RANGE && !read_int(v, part[2], &negative, &count, digits) && count == 1 && !negative)
        digit = digits[0];
    step = digit;
    if (step != 1) {
        say(v, ", ");
        put_object(v, part[2]);
    }
    say_closing(v, ")");
}

/* --- instances --- */

/* name=value, ...: slots first, base classes before. The number that were put. */
static int put_attributes(struct values *v, uint64_t object, const struct type_info *type, int number) {
    struct items items = {0};
    for (int i = 0; i < type->slot_count; i++) {
        uint64_t value;
        if (read_word(v, object + type->slots[i].offset, &value) || !value)
            continue;
        if (!begin_item(v, number, type->slot_count))
            return number;
        number++;
        say_name(v, type->slots[i].name);
        say(v, "=");
        put_object(v, value);
    }
    if (read_attributes(v, object, type, &items, v->limits.length)) {
        if (begin_item(v, number, number + 1) && ++number)
            say_unreadable(v);
    } else {
        int before = number;
        for (int i = 0; i < items.count && number < v->limits.length && begin_item(v, number, before + items.total); i++, number++) {
            put_read_name(v, items.item[i].key);
            say(v, "=");
            put_object(v, items.item[i].value);
        }
        put_rest(v, number, before + items.total);
    }
    free_items(&items);
    return number;
}

static void put_instance(struct values *v, uint64_t object, const struct type_info *type) {
    if (!type->python) {
        say(v, "<");
        say_name(v, type->full_name);
        say_format(v, " object at 0x%llx>", (unsigned long long)object);
        return;
    }
    say_name(v, type->name);
    if (v->instances) {
        say(v, "(");
        if (!v->full)
            say_dots(v);
        say_closing(v, ")");
        return;
    }
    if (enter(v, object, "(", ")"))
        return;
    v->instances++;
    put_attributes(v, object, type, 0);
    v->instances--;
    leave(v, ")");
}

static int put_enum(struct values *v, uint64_t object, const struct type_info *type) {
    struct items items = {0};
    uint64_t name = 0, value = 0;
    if (!read_attributes(v, object, type, &items, 20)) {
        for (int i = 0; i < items.count; i++) {
            char key[NAME_SIZE];
            if (read_string(v, items.item[i].key, key, sizeof key))
                continue;
            if (!strcmp(key, "_name_"))
                name = items.item[i].value;
            else if (!strcmp(key, "_value_"))
                value = items.item[i].value;
        }
    }
    free_items(&items);
    if (!value)
        return -1;
    const struct type_info *kind = type_of(v, name);
    say(v, "<");
    say_name(v, type->name);
    if (kind && kind->kind == STR) {                        /* a combination of flags has none */
        say(v, ".");
        put_read_name(v, name);
    }
    say(v, ": ");
    put_object(v, value);
    say_closing(v, ">");
    return 0;
}

/* --- what has a name --- */

static const char *module_of(struct values *v, struct type_info *type) {
    char text[2 * NAME_SIZE];
    uint64_t module;
    if (!type->module)
        type->module = strdup(!find_item(v, type->dict, "__module__", &module) && !read_string(v, module, text, sizeof text)
                              && strcmp(text, "builtins") ? text : "");
    return type->module ? type->module : "";
}

static void put_class(struct values *v, uint64_t object) {
    struct type_info *type = find_type(v, object, BASES_AT_MOST);
    uint64_t qualname;
    char text[2 * NAME_SIZE];
    if (!type) {
        say_unreadable(v);
        return;
    }
    say(v, "<class '");
    if (type->heap && *module_of(v, type)) {
        say_name(v, type->module);
        say(v, ".");
    }
    if (type->heap && !peek(&v->snapshot, object + v->layout->type_qualified_name, &qualname, 8) && !read_string(v, qualname, text, sizeof text))
        say_name(v, text);
    else
        say_name(v, type->full_name);
    say_closing(v, "'>");
}

static void put_named(struct values *v, const char *what, uint64_t name_at, const char *after) {
    uint64_t name;
    say(v, what);
    if (read_word(v, name_at, &name))
        say_unreadable(v);
    else
        put_read_name(v, name);
    say_closing(v, after);
}

static void put_builtin(struct values *v, uint64_t object) {
    uint64_t fields[2], name;   /* definition, self */
    char text[NAME_SIZE];
    if (read_fields(v, object, fields, 2) || read_word(v, fields[0], &name) || peek_name(v, name, text, sizeof text)) {
        say_unreadable(v);
        return;
    }
    const struct type_info *self = type_of(v, fields[1]);
    say(v, !self || self->kind == MODULE ? "<built-in function " : "<built-in method ");
    say_name(v, text);
    if (self && self->kind != MODULE) {
        say(v, " of ");
        say_name(v, self->name);
        say(v, " object");
    }
    say_closing(v, ">");
}

static void put_method(struct values *v, uint64_t object) {
    uint64_t fields[2];         /* function, self */
    const struct type_info *function = read_fields(v, object, fields, 2) ? NULL : type_of(v, fields[0]);
    if (!function) {
        say_unreadable(v);
    } else if (function->kind == FUNCTION) {
        put_named(v, "<bound method ", fields[0] + v->layout->function_qualified_name, ">");
    } else {
        say(v, "<bound method of ");
        say_name(v, function->name);
        say_closing(v, ">");
    }
}

static void put_exception(struct values *v, uint64_t object, const struct type_info *type) {
    uint64_t fields[2], size, item;     /* dictionary, args */
    const struct type_info *args = read_fields(v, object, fields, 2) ? NULL : type_of(v, fields[1]);
    say_name(v, type->name);
    if (!args || args->kind != TUPLE || read_fields(v, fields[1], &size, 1) || size > INT64_MAX / 8) {
        say(v, "(");
        say_unreadable(v);
        say_closing(v, ")");
        return;
    }
    if (enter(v, object, "(", ")"))
        return;
    if (size == 1 && !read_word(v, fields[1] + v->layout->tuple_items, &item))
        put_object(v, item);
    else
        put_array(v, fields[1] + v->layout->tuple_items, size);
    leave(v, ")");
}

static void put_cell(struct values *v, uint64_t object) {
    uint64_t content;
    if (read_fields(v, object, &content, 1)) {
        say_unreadable(v);
        return;
    }
    say(v, "<cell");
    if (!content) {
        say(v, " (empty)");
    } else if (!enter(v, object, ": ", "")) {
        put_object(v, content);
        leave(v, "");
    }
    say_closing(v, ">");
}

/* --- all of them --- */

static void put_plain(struct values *v, uint64_t object, struct type_info *type) {
    uint64_t first;
    switch (type->kind) {
    case NONE: say(v, "None"); break;
    case ELLIPSIS: say(v, "Ellipsis"); break;
    case NOT_IMPLEMENTED: say(v, "NotImplemented"); break;
    case BOOL:
        if (consult(&v->snapshot, object + head_of(v) + 8, &first, 4))
            say_unreadable(v);
        else
            say(v, (uint32_t)first ? "True" : "False");
        break;
    case INT: put_int(v, object); break;
    case FLOAT: put_float(v, object); break;
    case COMPLEX: put_complex(v, object); break;
    case STR: put_str(v, object); break;
    case BYTES: put_bytes_object(v, object, 0); break;
    case BYTEARRAY: put_bytes_object(v, object, 1); break;
    case LIST: put_list(v, object); break;
    case TUPLE: put_tuple(v, object, type); break;
    case DICT: put_dict(v, object); break;
    case SET: put_set(v, object, ""); break;
    case FROZENSET: put_set(v, object, "frozenset("); break;
    case DEQUE: put_deque(v, object); break;
    case RANGE: case SLICE: put_three(v, object, type->kind); break;
    case FUNCTION: put_named(v, "<function ", object + v->layout->function_qualified_name, ">"); break;
    case METHOD: put_method(v, object); break;
    case BUILTIN: put_builtin(v, object); break;
    case MODULE: put_named(v, "<module '", object + v->layout->module_name, "'>"); break;
    case CLASS: put_class(v, object); break;
    case EXCEPTION: put_exception(v, object, type); break;
    case GENERATOR:
        say(v, "<");
        say_name(v, !strcmp(type->name, "generator") || !strcmp(type->name, "coroutine") ? type->name : "async_generator");
        put_named(v, " object ", object + v->layout->generator_qualified_name, ">");
        break;
    case CELL: put_cell(v, object); break;
    case CODE: put_named(v, "<code object ", object + v->layout->code_name, ">"); break;
    default: put_instance(v, object, type); break;
    }
}

/* Kinds of which a subclass is shown as Name(value). */
static int is_wrapped(const struct type_info *type) {
    return !type->builtin && type->kind >= NONE && type->kind <= DEQUE && !type->field_count;
}

static void put_object(struct values *v, uint64_t object) {
    if (v->full)
        return;
    struct type_info *type = type_of(v, object);
    if (!type) {
        say_unreadable(v);
        return;
    }
    if (type->is_enum && type->kind != CLASS && !put_enum(v, object, type))
        return;
    if (type->kind == TUPLE && !type->builtin)
        read_namedtuple(v, type);
    if (!is_wrapped(type)) {
        put_plain(v, object, type);
        return;
    }
    say_name(v, type->name);
    say(v, "(");
    put_plain(v, object, type);
    say_closing(v, ")");
}

static int limit(int value, int most) {
    return value < 1 ? 1 : value > most ? most : value;
}

struct values *open_values(struct memory *memory, const struct layout *layout, const struct value_limits *limits) {
    struct values *v = calloc(1, sizeof *v);
    if (!v)
        return NULL;
    v->snapshot.memory = memory;
    v->snapshot.page_limit = 8192;
    v->layout = layout;
    v->limits = (struct value_limits){limit(limits->depth, DEPTH_AT_MOST), limit(limits->length, LENGTH_AT_MOST),
                                      limit(limits->width, WIDTH_AT_MOST)};
    return v;
}

void close_values(struct values *v) {
    if (!v)
        return;
    free_types(v);
    free_snapshot(&v->snapshot);
    free(v->text);
    free(v);
}

struct snapshot *snapshot_of(struct values *v) {
    return &v->snapshot;
}

/* Is the object a cell? Its content then, 0 if it is empty. */
int is_cell(struct values *v, uint64_t object, uint64_t *content) {
    const struct type_info *type = type_of(v, object);
    return type && type->kind == CELL && !read_fields(v, object, content, 1);
}

/* The names of a dictionary, as many as wanted: the variables of a class body. */
int each_name(struct values *v, uint64_t dict, int limit, void (*visit)(void *data, const char *name, uint64_t object), void *data) {
    struct items items = {0};
    const struct type_info *type = type_of(v, dict);
    if (!type || type->kind != DICT || read_dict(v, dict, &items, limit)) {
        free_items(&items);
        return -1;
    }
    for (int i = 0; i < items.count; i++) {
        char name[2 * NAME_SIZE];
        if (!read_string(v, items.item[i].key, name, sizeof name))
            visit(data, name, items.item[i].value);
    }
    free_items(&items);
    return 0;
}

static enum value_form find_form(const struct values *v, const struct type_info *type) {
    if (!type || v->unreadable || !type->builtin)
        return TEXT;
    switch (type->kind) {
    case NONE: return NOTHING;
    case BOOL: return TRUTH;
    case INT: return v->size <= 15 && !v->truncated ? NUMBER : TEXT;        /* exact in any JSON reader */
    case FLOAT: return v->text && !strpbrk(v->text, "in") && !v->truncated ? NUMBER : TEXT;
    default: return TEXT;
    }
}

static void begin_value(struct values *v) {
    v->size = 0;
    v->columns = v->limits.width;
    v->full = v->truncated = v->unreadable = v->depth = v->instances = v->scanned = 0;
    say_bytes(v, "", 0);
}

static void end_value(const struct values *v, struct value *value) {
    value->text = v->text ? v->text : "";
    value->size = v->size;
    value->truncated = v->truncated;
    value->unreadable = v->unreadable;
}

/* From 3.14 on a frame can have an int that is no object. */
void render_tagged_int(struct values *v, int64_t number, struct value *value) {
    begin_value(v);
    say_format(v, "%lld", (long long)number);
    value->type = "int";
    value->form = v->size <= 15 ? NUMBER : TEXT;
    end_value(v, value);
}

void render_value(struct values *v, uint64_t object, int want_string, struct value *value) {
    struct type_info *type = type_of(v, object);
    begin_value(v);
    value->type = type ? type->name : "";
    if (want_string && type && type->kind == STR && type->builtin) {
        put_string(v, object);
        value->form = v->unreadable ? TEXT : STRING;
    } else {
        put_object(v, object);
        value->form = find_form(v, type);
    }
    end_value(v, value);
}
