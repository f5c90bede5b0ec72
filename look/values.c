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
#include <math.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include "values.h"

#define TYPES_AT_MOST 20000
#define BASES_AT_MOST 64
#define SLOTS_AT_MOST 256
#define FIELDS_AT_MOST 64
#define SCAN_AT_MOST 20000      /* places of a table that are looked at for one value */
#define DIGITS_AT_MOST 400      /* 30 bits each; what is longer is told by its size */
#define DEQUE_BLOCK 64          /* _collectionsmodule.c: BLOCKLEN, the same since 3.5 */
#define TYPE_BYTES 960

/* tp_flags */
#define INLINE_VALUES (1ul << 2)
#define MANAGED_DICT (1ul << 4)
#define HEAP_TYPE (1ul << 9)
#define READY (1ul << 12)
#define EXCEPTION_SUBCLASS (1ul << 30)
#define TYPE_SUBCLASS (1ul << 31)

enum kind {
    UNKNOWN, INSTANCE, NONE, BOOL, INT, FLOAT, COMPLEX, STR, BYTES, BYTEARRAY, LIST, TUPLE, DICT, SET, FROZENSET, DEQUE,
    RANGE, SLICE, FUNCTION, METHOD, BUILTIN, MODULE, CLASS, EXCEPTION, GENERATOR, CELL, CODE, ELLIPSIS, NOT_IMPLEMENTED, FOREIGN,
};

static const struct {
    const char *name;
    enum kind kind;
} static_types[] = {
    {"NoneType", NONE}, {"bool", BOOL}, {"int", INT}, {"float", FLOAT}, {"complex", COMPLEX}, {"str", STR}, {"bytes", BYTES},
    {"bytearray", BYTEARRAY}, {"list", LIST}, {"tuple", TUPLE}, {"dict", DICT}, {"set", SET},
    {"frozenset", FROZENSET}, {"collections.deque", DEQUE}, {"range", RANGE}, {"slice", SLICE}, {"function", FUNCTION},
    {"method", METHOD}, {"builtin_function_or_method", BUILTIN}, {"module", MODULE}, {"type", CLASS}, {"generator", GENERATOR},
    {"coroutine", GENERATOR}, {"async_generator", GENERATOR}, {"cell", CELL}, {"code", CODE}, {"ellipsis", ELLIPSIS},
    {"NotImplementedType", NOT_IMPLEMENTED}, {"object", INSTANCE}, {"BaseException", EXCEPTION},
};

struct slot {
    char *name;
    uint32_t offset;
};

struct type_info {
    uint64_t address;
    enum kind kind;
    char full_name[NAME_SIZE];
    const char *name;           /* without its module */
    unsigned long flags;
    uint64_t keys, dict;        /* of its instances' shared keys; its own dictionary */
    int64_t basicsize, itemsize, dictoffset;
    char heap, python, builtin, is_enum;    /* python: made by a class statement; builtin: the very type that kind means */
    char fields_known;
    struct slot *slots;
    int slot_count, field_count;
    char **fields;              /* of a namedtuple */
};

struct values {
    struct snapshot snapshot;
    const struct layout *layout;
    struct value_limits limits;
    struct type_info **types;   /* hash table by address; a type that cannot be is there with kind UNKNOWN */
    int type_count;
    unsigned table_size;
    /* the value that is being rendered */
    char *text;
    size_t size, room;
    int columns, full, truncated, unreadable, depth, instances, scanned;
    uint64_t above[DEPTH_AT_MOST + 1];
};

/* --- text --- */

static void put_bytes(struct values *v, const char *bytes, size_t size) {
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

/* Something stays unsaid. */
static void put_dots(struct values *v) {
    v->truncated = 1;
    put_bytes(v, "...", 3);
}

/* The width is used up: say so once, then nothing but closing brackets. */
static void fill(struct values *v) {
    if (!v->full)
        put_dots(v);
    v->full = 1;
}

static void close_with(struct values *v, const char *bracket) {
    put_bytes(v, bracket, strlen(bracket));
}

/* ASCII of our own making. */
static void put(struct values *v, const char *text) {
    int n = strlen(text);
    if (v->full)
        return;
    if (n > v->columns) {
        put_bytes(v, text, v->columns > 0 ? v->columns : 0);
        v->columns = 0;
        fill(v);
        return;
    }
    put_bytes(v, text, n);
    v->columns -= n;
}

static void put_format(struct values *v, const char *format, ...) __attribute__((format(printf, 2, 3)));
static void put_format(struct values *v, const char *format, ...) {
    char text[256];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    put(v, text);
}

static void put_unreadable(struct values *v) {
    v->unreadable = 1;
    put(v, "<unreadable>");
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

static size_t encode(uint32_t c, char *to) {
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
        return encode(c, to);
    return sprintf(to, c < 0x100 ? "\\x%02x" : c < 0x10000 ? "\\u%04x" : "\\U%08x", c);
}

/* One character of a quoted text; 0 if it does not fit any more. */
static int put_character(struct values *v, uint32_t c, char quote) {
    char text[16];
    size_t n = escape(c, quote, text);
    int columns = c < 0x80 ? (int)n : (text[0] == '\\' ? (int)n : 1);
    if (columns > v->columns)
        return 0;
    put_bytes(v, text, n);
    v->columns -= columns;
    return 1;
}

/* A name from the target, UTF-8 that may be none. */
static void put_name(struct values *v, const char *name) {
    for (const unsigned char *p = (const unsigned char *)name; *p && !v->full;) {
        uint32_t c = *p++;
        int more = c >= 0xf0 ? 3 : c >= 0xe0 ? 2 : c >= 0xc0 ? 1 : 0;
        if (more)
            c &= 0x3f >> more;
        for (; more && (*p & 0xc0) == 0x80; more--)
            c = c << 6 | (*p++ & 0x3f);
        if (!put_character(v, c, 0))
            fill(v);
    }
}

/* --- reading --- */

static uint64_t head_of(const struct values *v) {
    return v->layout->object_size;
}

static int read_word(struct values *v, uint64_t address, uint64_t *word) {
    return consult(&v->snapshot, address, word, sizeof *word);
}

/* The n words behind the head of an object. */
static int read_fields(struct values *v, uint64_t object, uint64_t *fields, int n) {
    return consult(&v->snapshot, object + head_of(v), fields, n * sizeof *fields);
}

/* A zero-terminated name of a type, cut if need be. */
static int peek_name(struct values *v, uint64_t address, char *to, size_t size) {
    size_t done = 0;
    while (done < size - 1) {
        size_t piece = PAGE - (address + done) % PAGE;
        if (piece > size - 1 - done)
            piece = size - 1 - done;
        if (piece > 32)
            piece = 32;
        if (peek(&v->snapshot, address + done, to + done, piece))
            return -1;
        if (memchr(to + done, 0, piece))
            return 0;
        done += piece;
    }
    to[done] = 0;
    return 0;
}

/* --- types --- */

static struct type_info *know_type(struct values *v, uint64_t address, int bases);
static struct type_info *find_type(struct values *v, uint64_t address, int bases);
static int find_item(struct values *v, uint64_t dict, const char *name, uint64_t *value);

static enum kind find_kind(const char *name) {
    for (size_t i = 0; i < sizeof static_types / sizeof *static_types; i++)
        if (!strcmp(static_types[i].name, name))
            return static_types[i].kind;
    return UNKNOWN;
}

/* The slots of the class itself: PyMemberDefs behind its own structure, whose size its metaclass knows. */
static void read_slots(struct values *v, struct type_info *type, const struct type_info *base, const struct type_info *meta, uint64_t count) {
    struct {
        uint64_t name;
        int32_t type, pad;
        int64_t offset;
        uint64_t flags, doc;
    } member;
    int inherited = base ? base->slot_count : 0;
    if (count > SLOTS_AT_MOST - (uint64_t)inherited || meta->basicsize < 0 || meta->basicsize > 1 << 16)
        count = 0;
    if (!count && !inherited)
        return;
    type->slots = calloc(inherited + count, sizeof *type->slots);
    if (!type->slots)
        return;
    for (int i = 0; i < inherited; i++)
        type->slots[type->slot_count++] = (struct slot){strdup(base->slots[i].name), base->slots[i].offset};
    for (uint64_t i = 0; i < count; i++) {
        char name[NAME_SIZE];
        if (peek(&v->snapshot, type->address + meta->basicsize + i * sizeof member, &member, sizeof member)
            || peek_name(v, member.name, name, sizeof name) || member.offset <= 0 || member.offset > 1 << 20)
            break;
        type->slots[type->slot_count++] = (struct slot){strdup(name), member.offset};
    }
}

static int is_named(const struct type_info *type, const char *name) {
    return type && !strcmp(type->name, name);
}

/* What a type is, from its structure. Leaves kind UNKNOWN if it is no type. */
static void read_type(struct values *v, struct type_info *type, int bases) {
    unsigned char bytes[TYPE_BYTES];
    const struct layout *layout = v->layout;
    uint64_t at = type->address, meta_address, name, base_address, count;
    size_t size = layout->type_cached_keys + 8;
    struct type_info *base = NULL, *meta;
    if (at % 8 || size > sizeof bytes)
        return;
    /* A static type may lie at the end of the mapping, and has no more than the first part. */
    memset(bytes, 0, sizeof bytes);
    if (peek(&v->snapshot, at, bytes, size) && peek(&v->snapshot, at, bytes, layout->type_size))
        return;
#define WORD(offset) (*(uint64_t *)memcpy(&(uint64_t){0}, bytes + (offset), 8))
    meta_address = WORD(layout->object_type);
    name = WORD(layout->type_name);
    base_address = WORD(layout->type_base);
    count = WORD(layout->var_size);
    type->flags = WORD(layout->type_flags);
    type->basicsize = WORD(layout->type_basic_size);
    type->itemsize = WORD(layout->type_item_size);
    type->dictoffset = WORD(layout->type_dict_offset);
    type->dict = WORD(layout->type_dict);
    if (!(type->flags & READY) || type->basicsize < layout->object_size || type->basicsize > 1 << 20 || type->itemsize < 0 || type->itemsize > 1 << 20
        || peek_name(v, name, type->full_name, sizeof type->full_name))
        return;
    const char *dot = strrchr(type->full_name, '.');
    type->heap = (type->flags & HEAP_TYPE) != 0;
    type->python = type->heap && !dot;
    type->name = dot && !type->python ? dot + 1 : type->full_name;
    type->keys = type->heap ? WORD(layout->type_cached_keys) : 0;
#undef WORD
    /* `type` is its own type, and that of its base, which is being read then: its flags suffice. */
    if (!bases || !(meta = know_type(v, meta_address, bases - 1)) || !(meta->flags & TYPE_SUBCLASS))
        return;
    if (base_address && (!bases || !(base = find_type(v, base_address, bases - 1))))
        return;
    enum kind kind = type->python ? UNKNOWN : find_kind(type->full_name);
    if (!type->python && !strcmp(type->full_name, "frozendict"))
        kind = DICT;
    else if (kind == UNKNOWN && base)
        kind = base->kind == INSTANCE && !type->python ? FOREIGN : base->kind == FOREIGN && type->python ? INSTANCE : base->kind;
    else
        type->builtin = 1;
    if (kind == EXCEPTION || kind == GENERATOR)
        type->builtin = 0;
    if (type->heap && meta != type)
        read_slots(v, type, base, meta, count);
    type->is_enum = (base && base->is_enum) || is_named(meta, "EnumMeta") || is_named(meta, "EnumType");
    type->kind = kind;
}

static unsigned find_type_slot(const struct values *v, uint64_t address) {
    unsigned slot = (address * 0x9e3779b97f4a7c15ull >> 40) & (v->table_size - 1);
    while (v->types[slot] && v->types[slot]->address != address)
        slot = (slot + 1) & (v->table_size - 1);
    return slot;
}

static int grow_types(struct values *v) {
    unsigned old_size = v->table_size;
    struct type_info **old = v->types, **new = calloc(old_size ? 2 * old_size : 256, sizeof *new);
    if (!new)
        return -1;
    v->types = new;
    v->table_size = old_size ? 2 * old_size : 256;
    for (unsigned i = 0; i < old_size; i++)
        if (old[i])
            v->types[find_type_slot(v, old[i]->address)] = old[i];
    free(old);
    return 0;
}

/* What is known of the type at an address, be it one or not. */
static struct type_info *know_type(struct values *v, uint64_t address, int bases) {
    struct type_info *known = v->table_size ? v->types[find_type_slot(v, address)] : NULL;
    if (known)
        return known;
    if (v->type_count >= TYPES_AT_MOST || (2 * v->type_count >= (int)v->table_size && grow_types(v)))
        return NULL;
    struct type_info *type = calloc(1, sizeof *type);
    if (!type)
        return NULL;
    type->address = address;
    v->types[find_type_slot(v, address)] = type;    /* before its bases: a cycle ends here */
    v->type_count++;
    read_type(v, type, bases);
    return type;
}

/* The type at an address, NULL if there is none. */
static struct type_info *find_type(struct values *v, uint64_t address, int bases) {
    struct type_info *type = know_type(v, address, bases);
    return type && type->kind != UNKNOWN ? type : NULL;
}

/* Has a living object this count? 3.12 has immortal ones; 3.14 keeps flags in the upper bits, and the
 * block of an object that was freed has a pointer, or nothing, there. Free-threaded ones have no such word. */
static int is_count(const struct values *v, uint64_t count) {
    if (v->layout->free_threaded)
        return 1;
    if (v->layout->has_count_flags)
        return (uint32_t)count && !(count >> 32 & 0xffff);
    return count && count < 1ull << 40;
}

static struct type_info *type_of(struct values *v, uint64_t object) {
    uint64_t count, type;
    if (!object || object % 8 || peek(&v->snapshot, object, &count, sizeof count) || !is_count(v, count)
        || read_word(v, object + v->layout->object_type, &type))
        return NULL;
    return find_type(v, type, BASES_AT_MOST);
}

/* --- numbers --- */

/* Decimal digits of sum(digits[i] << 30 * i), in groups of nine; digits are used up. */
static void put_decimal(struct values *v, uint32_t *digits, int n, int negative) {
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
    put(v, at);
}

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
        put_unreadable(v);
    } else if (count <= 1) {
        char text[16], *at = text + sizeof text - 1;
        uint32_t rest = count ? digits[0] : 0;
        *at = 0;
        do
            *--at = '0' + rest % 10;
        while (rest /= 10);
        if (negative && count)
            *--at = '-';
        put(v, at);
    } else if (count > DIGITS_AT_MOST) {
        v->truncated = 1;
        put_format(v, "<int of about %llu bits>", (unsigned long long)count * 30);
    } else {
        put_decimal(v, digits, count, negative);
    }
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
            if (whole != floor(whole) || whole / power != fabs(number))
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

static void put_float(struct values *v, uint64_t object) {
    double number;
    char text[64];
    if (consult(&v->snapshot, object + head_of(v), &number, sizeof number)) {
        put_unreadable(v);
        return;
    }
    format_float(number, 1, text, sizeof text);
    put(v, text);
}

static void put_complex(struct values *v, uint64_t object) {
    double part[2];
    char real[64], imaginary[64];
    if (consult(&v->snapshot, object + head_of(v), part, sizeof part)) {
        put_unreadable(v);
        return;
    }
    format_float(part[0], 0, real, sizeof real);
    format_float(part[1], 0, imaginary, sizeof imaginary);
    if (part[0] == 0 && !signbit(part[0]))
        put_format(v, "%sj", imaginary);
    else
        put_format(v, "(%s%s%sj)", real, *imaginary == '-' ? "" : "+", imaginary);
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
    put(v, quote);
    for (; i < n && !v->full; i++) {
        uint32_t c = character_at(data, kind, i);
        if (bytes && c >= 0x7f) {
            if (v->columns < 4)
                break;
            put_format(v, "\\x%02x", c);
        } else if (!put_character(v, c, *quote)) {
            break;
        }
    }
    close_with(v, quote);
    if (v->columns)
        v->columns--;
    if (i < length)
        fill(v);
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
        put_unreadable(v);
    free(data);
}

/* The characters themselves; a surrogate alone is none, and escaped. */
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
        if ((c >= 0xd800 && c < 0xe000) || c > 0x10ffff)
            put_bytes(v, bytes, sprintf(bytes, "\\u%04x", c));
        else
            put_bytes(v, bytes, encode(c, bytes));
    }
    if (!data)
        put_unreadable(v);
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
        put(v, array ? "bytearray(b" : "b");
        put_quoted(v, bytes, 1, n, size, 1);
        if (array)
            close_with(v, ")");
    } else {
        put_unreadable(v);
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
        at += encode(character_at(data, text.kind, i) ?: 0xfffd, to + at);
    to[at] = 0;
    free(data);
    return 0;
}

static void put_read_name(struct values *v, uint64_t object) {
    char name[2 * NAME_SIZE];
    if (read_string(v, object, name, sizeof name))
        put_unreadable(v);
    else
        put_name(v, name);
}

/* --- containers --- */

static void put_object(struct values *v, uint64_t object);

struct item {
    uint64_t key, value;
};

struct items {
    struct item *item;
    int count;
    uint64_t total;
};

static void free_items(struct items *items) {
    free(items->item);
}

static int add_item(struct items *items, uint64_t key, uint64_t value, int limit) {
    if (items->count >= limit)
        return -1;
    if (items->count % 16 == 0) {
        struct item *more = realloc(items->item, (items->count + 16) * sizeof *more);
        if (!more)
            return -1;
        items->item = more;
    }
    items->item[items->count++] = (struct item){key, value};
    return 0;
}

/* The keys of a dictionary: where its entries are, how many, how big. */
struct keys {
    uint64_t entries, count;
    int entry_size;             /* 24: hash, key, value; 16: key, value */
};

static int read_keys(struct values *v, uint64_t at, struct keys *keys) {
    uint64_t size, index_bytes;
    if (v->layout->keys_log2_size) {
        struct {
            uint64_t count;
            uint8_t log2_size, log2_index_bytes, kind, lock;
            uint32_t version;
            uint64_t usable, entries;
        } head;
        if (consult(&v->snapshot, at + 8, &head.log2_size, sizeof head - 8) || head.log2_size > 48 || head.log2_index_bytes > 52 || head.kind > 2)
            return -1;
        size = 1ull << head.log2_size;
        index_bytes = 1ull << head.log2_index_bytes;
        keys->count = head.entries;
        keys->entry_size = head.kind ? 16 : 24;
        keys->entries = at + sizeof head + index_bytes;
    } else {
        uint64_t head[5];       /* references, size, lookup function, usable, entries */
        if (consult(&v->snapshot, at + 8, head + 1, sizeof head - 8) || head[1] > 1ull << 48 || (head[1] & (head[1] - 1)))
            return -1;
        size = head[1];
        index_bytes = size * (size <= 0xff ? 1 : size <= 0xffff ? 2 : size <= 0xffffffff ? 4 : 8);
        keys->count = head[4];
        keys->entry_size = 24;
        keys->entries = at + sizeof head + index_bytes;
    }
    return keys->count > size ? -1 : 0;
}

/* The entries of a table that have a value. */
static int read_entries(struct values *v, const struct keys *keys, struct items *items, int limit) {
    unsigned char block[24 * 32];
    for (uint64_t i = 0; i < keys->count && items->count < limit && (uint64_t)items->count < items->total;) {
        int n = keys->count - i < 32 ? keys->count - i : 32;
        if (consult(&v->snapshot, keys->entries + i * keys->entry_size, block, n * keys->entry_size))
            return -1;
        i += n;
        v->scanned += n;
        if (v->scanned > SCAN_AT_MOST)
            return 0;
        for (int k = 0; k < n; k++) {
            struct item item;
            memcpy(&item, block + (k + 1) * keys->entry_size - sizeof item, sizeof item);
            if (item.value && add_item(items, item.key, item.value, limit))
                break;
        }
    }
    return 0;
}

/* The values of a split table: for each key one, or none. The order of insertion is kept beside them from
 * 3.11 on: up to 3.12 before them, backwards, from 3.13 on behind them; up to 3.10 it is that of the keys. */
static int read_split(struct values *v, const struct keys *keys, uint64_t values, struct items *items, int limit) {
    unsigned char order[256], prefix[4];
    uint64_t value[256], entry[3], at = values;
    int count = keys->count, capacity = count;
    if (keys->count > 255)
        return -1;
    if (v->layout->has_prefixed_values) {
        if (consult(&v->snapshot, values - 2, prefix, 2))
            return -1;
        if (prefix[0] > count || (prefix[0] && consult(&v->snapshot, values - 2 - prefix[0], order, prefix[0])))
            return -1;
        count = prefix[0];
        for (int i = 0; i < count / 2; i++) {
            unsigned char swapped = order[i];
            order[i] = order[count - 1 - i];
            order[count - 1 - i] = swapped;
        }
    } else if (v->layout->has_inline_values) {
        if (consult(&v->snapshot, values, prefix, 4) || prefix[1] > prefix[0] || prefix[0] > 254)
            return -1;
        at = values + 8;
        capacity = prefix[0];
        count = prefix[1];
        if (count && consult(&v->snapshot, at + 8 * capacity, order, count))
            return -1;
        if (capacity > (int)keys->count)
            capacity = keys->count;
    } else {
        for (int i = 0; i < count; i++)
            order[i] = i;
    }
    if (capacity && consult(&v->snapshot, at, value, capacity * sizeof *value))
        return -1;
    for (int i = 0; i < count; i++) {
        if (order[i] >= capacity)
            return -1;
        if (!value[order[i]])
            continue;
        items->total++;
        if (items->count >= limit)
            continue;
        if (consult(&v->snapshot, keys->entries + order[i] * keys->entry_size, entry, keys->entry_size))
            return -1;
        add_item(items, entry[keys->entry_size / 8 - 2], value[order[i]], limit);
    }
    return 0;
}

static int read_dict(struct values *v, uint64_t dict, struct items *items, int limit) {
    uint64_t fields[4];         /* used, version, keys, values */
    struct keys keys;
    if (read_fields(v, dict, fields, 4) || fields[0] > INT64_MAX)
        return -1;
    if (read_keys(v, fields[2], &keys))
        return -1;
    if (fields[3])
        return read_split(v, &keys, fields[3], items, limit);
    items->total += fields[0];
    return read_entries(v, &keys, items, limit);
}

static int find_item(struct values *v, uint64_t dict, const char *name, uint64_t *value) {
    struct items items = {0};
    const struct type_info *type = type_of(v, dict);
    int found = -1;
    if (type && type->kind == DICT && !read_dict(v, dict, &items, 1000)) {
        for (int i = 0; found && i < items.count; i++) {
            char key[NAME_SIZE];
            if (!read_string(v, items.item[i].key, key, sizeof key) && !strcmp(key, name)) {
                *value = items.item[i].value;
                found = 0;
            }
        }
    }
    free_items(&items);
    return found;
}

/* Is there room for one level more, and is it not inside itself? Else `open...close` is put. */
static int enter(struct values *v, uint64_t object, const char *opening, const char *closing) {
    int inside = 0;
    for (int i = 0; i < v->depth; i++)
        inside |= v->above[i] == object;
    if (!inside && v->depth < v->limits.depth && !v->full) {
        v->above[v->depth++] = object;
        put(v, opening);
        return 0;
    }
    put(v, opening);
    if (!v->full)
        put_dots(v);
    close_with(v, closing);
    return -1;
}

static void leave(struct values *v, const char *closing) {
    v->depth--;
    close_with(v, closing);
}

/* After so many items: that there are others, if there are. */
static void put_rest(struct values *v, int number, uint64_t total) {
    if (v->full || (uint64_t)number >= total)
        return;
    v->truncated = 1;
    put_format(v, "%s... %llu more", number ? ", " : "", (unsigned long long)total - number);
}

/* Before the item with this number; false when there is no more to be said. */
static int begin_item(struct values *v, int number, uint64_t total) {
    if (number >= v->limits.length) {
        put_rest(v, number, total);
        return 0;
    }
    if (number)
        put(v, ", ");
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
                put_unreadable(v);
                return;
            }
            fetch_pages(&v->snapshot, block, count);
        }
        if (block[i % 64])
            put_object(v, block[i % 64]);
        else
            put(v, "<NULL>");
    }
}

static void put_list(struct values *v, uint64_t object) {
    uint64_t fields[2];
    if (read_fields(v, object, fields, 2) || fields[0] > INT64_MAX / 8) {
        put_unreadable(v);
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
        put_name(v, type->fields[i]);
        put(v, "=");
        if (read_word(v, object + v->layout->tuple_items + i * 8, &item))
            put_unreadable(v);
        else
            put_object(v, item);
    }
}

static void put_tuple(struct values *v, uint64_t object, struct type_info *type) {
    uint64_t size;
    if (read_fields(v, object, &size, 1) || size > INT64_MAX / 8) {
        put_unreadable(v);
        return;
    }
    if (!type->builtin)
        read_namedtuple(v, type);
    int named = type->field_count && (uint64_t)type->field_count == size;
    if (named)
        put_name(v, type->name);
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
        put_unreadable(v);
    } else if (!enter(v, object, "{", "}")) {
        for (int i = 0; i < items.count; i++) {
            if (!begin_item(v, i, items.total))
                break;
            put_object(v, items.item[i].key);
            put(v, ": ");
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
        put_unreadable(v);
        return;
    }
    put(v, prefix);
    if (!fields[1]) {
        close_with(v, *prefix ? ")" : "set()");
        return;
    }
    if (!enter(v, object, "{", "}")) {
        for (uint64_t i = 0; i <= fields[2] && (uint64_t)number < fields[1] && !v->full && v->scanned++ < SCAN_AT_MOST; i++) {
            if (i % 32 == 0) {
                int count = fields[2] + 1 - i < 32 ? fields[2] + 1 - i : 32;
                if (consult(&v->snapshot, fields[3] + i * 16, block, count * 16)) {
                    put_unreadable(v);
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
        close_with(v, ")");
}

static void put_deque(struct values *v, uint64_t object) {
    uint64_t fields[7];         /* length, left and right block, index in each, state, maximal length */
    if (read_fields(v, object, fields, 7) || fields[0] > INT64_MAX / 8 || fields[3] >= DEQUE_BLOCK) {
        put_unreadable(v);
        return;
    }
    put(v, "deque(");
    if (!enter(v, object, "[", "]")) {
        uint64_t block = fields[1], index = fields[3], item;
        for (uint64_t i = 0; i < fields[0] && begin_item(v, i, fields[0]); i++) {
            if (index == DEQUE_BLOCK) {
                if (read_word(v, block + (DEQUE_BLOCK + 1) * 8, &block)) {
                    put_unreadable(v);
                    break;
                }
                index = 0;
            }
            if (read_word(v, block + 8 + index++ * 8, &item)) {
                put_unreadable(v);
                break;
            }
            put_object(v, item);
        }
        leave(v, "]");
    }
    if ((int64_t)fields[6] >= 0 && !v->full)
        put_format(v, ", maxlen=%lld", (long long)fields[6]);
    close_with(v, ")");
}

/* range and slice: three objects. */
static void put_three(struct values *v, uint64_t object, enum kind kind) {
    uint64_t part[3], step = 0, count, digit = 0;
    uint32_t digits[DIGITS_AT_MOST];
    int negative;
    if (read_fields(v, object, part, 3)) {
        put_unreadable(v);
        return;
    }
    put(v, kind == RANGE ? "range(" : "slice(");
    put_object(v, part[0]);
    put(v, ", ");
    put_object(v, part[1]);
    if (kind == RANGE && !read_int(v, part[2], &negative, &count, digits) && count == 1 && !negative)
        digit = digits[0];
    step = digit;
    if (step != 1) {
        put(v, ", ");
        put_object(v, part[2]);
    }
    close_with(v, ")");
}

/* --- instances --- */

static int64_t word_sized(int64_t size) {
    return (size + 7) & -8;
}

/* The dictionary of an instance, 0 if it has none (yet). Where it is: tp_dictoffset, from the end of an
 * object of variable size if negative; from 3.11 on before the object. */
static uint64_t find_dict(struct values *v, uint64_t object, const struct type_info *type, uint64_t *split) {
    const struct layout *layout = v->layout;
    uint64_t pointer[2] = {0}, count;
    int64_t offset = type->dictoffset;
    *split = 0;
    if (layout->managed_dict && type->flags & MANAGED_DICT) {
        if (layout->has_values_pointer) {              /* 3.11: values, dictionary */
            if (consult(&v->snapshot, object - layout->managed_dict - 8, pointer, 16))
                return 0;
            *split = pointer[1] ? 0 : pointer[0];
            return pointer[1];
        }
        if (read_word(v, object - layout->managed_dict, pointer))
            return 0;
        if (layout->has_tagged_values) {            /* 3.12: one word for both, bit 0 for values */
            *split = pointer[0] & 1 ? pointer[0] + 1 : 0;
            return pointer[0] & 1 ? 0 : pointer[0];
        }
        unsigned char head[4];                              /* capacity, size, embedded, valid */
        if (!pointer[0] && type->flags & INLINE_VALUES && !consult(&v->snapshot, object + type->basicsize, head, sizeof head) && head[3])
            *split = object + type->basicsize;
        return pointer[0];
    }
    if (!offset)
        return 0;
    if (offset < 0) {
        if (!type->itemsize || read_fields(v, object, &count, 1))
            return 0;
        if (type->kind == INT && layout->has_tagged_lengths)
            count >>= 3;
        else if ((int64_t)count < 0)
            count = -count;
        if (count > 1ull << 40)
            return 0;
        offset += word_sized(type->basicsize + count * type->itemsize);
    }
    if (offset < layout->object_size || offset % 8 || read_word(v, object + offset, pointer))
        return 0;
    return pointer[0];
}

static int read_attributes(struct values *v, uint64_t object, const struct type_info *type, struct items *items, int limit) {
    uint64_t split, dict = find_dict(v, object, type, &split);
    struct keys keys;
    if (dict) {
        const struct type_info *kind = type_of(v, dict);
        return kind && kind->kind == DICT ? read_dict(v, dict, items, limit) : -1;
    }
    return split && type->keys && !read_keys(v, type->keys, &keys) ? read_split(v, &keys, split, items, limit) : split ? -1 : 0;
}

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
        put_name(v, type->slots[i].name);
        put(v, "=");
        put_object(v, value);
    }
    if (read_attributes(v, object, type, &items, v->limits.length)) {
        if (begin_item(v, number, number + 1) && ++number)
            put_unreadable(v);
    } else {
        int before = number;
        for (int i = 0; i < items.count && number < v->limits.length && begin_item(v, number, before + items.total); i++, number++) {
            put_read_name(v, items.item[i].key);
            put(v, "=");
            put_object(v, items.item[i].value);
        }
        put_rest(v, number, before + items.total);
    }
    free_items(&items);
    return number;
}

static void put_instance(struct values *v, uint64_t object, const struct type_info *type) {
    if (!type->python) {
        put(v, "<");
        put_name(v, type->full_name);
        put_format(v, " object at 0x%llx>", (unsigned long long)object);
        return;
    }
    put_name(v, type->name);
    if (v->instances) {
        put(v, "(");
        if (!v->full)
            put_dots(v);
        close_with(v, ")");
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
    put(v, "<");
    put_name(v, type->name);
    if (kind && kind->kind == STR) {                        /* a combination of flags has none */
        put(v, ".");
        put_read_name(v, name);
    }
    put(v, ": ");
    put_object(v, value);
    close_with(v, ">");
    return 0;
}

/* --- what has a name --- */

static void put_class(struct values *v, uint64_t object) {
    struct type_info *type = find_type(v, object, BASES_AT_MOST);
    uint64_t module, qualname;
    char text[2 * NAME_SIZE];
    if (!type) {
        put_unreadable(v);
        return;
    }
    put(v, "<class '");
    if (type->heap && !find_item(v, type->dict, "__module__", &module) && !read_string(v, module, text, sizeof text)
        && strcmp(text, "builtins")) {
        put_name(v, text);
        put(v, ".");
    }
    if (type->heap && !peek(&v->snapshot, object + v->layout->type_qualified_name, &qualname, 8) && !read_string(v, qualname, text, sizeof text))
        put_name(v, text);
    else
        put_name(v, type->full_name);
    close_with(v, "'>");
}

static void put_named(struct values *v, const char *what, uint64_t name_at, const char *after) {
    uint64_t name;
    put(v, what);
    if (read_word(v, name_at, &name))
        put_unreadable(v);
    else
        put_read_name(v, name);
    close_with(v, after);
}

static void put_builtin(struct values *v, uint64_t object) {
    uint64_t fields[2], name;   /* definition, self */
    char text[NAME_SIZE];
    if (read_fields(v, object, fields, 2) || read_word(v, fields[0], &name) || peek_name(v, name, text, sizeof text)) {
        put_unreadable(v);
        return;
    }
    const struct type_info *self = type_of(v, fields[1]);
    put(v, !self || self->kind == MODULE ? "<built-in function " : "<built-in method ");
    put_name(v, text);
    if (self && self->kind != MODULE) {
        put(v, " of ");
        put_name(v, self->name);
        put(v, " object");
    }
    close_with(v, ">");
}

static void put_method(struct values *v, uint64_t object) {
    uint64_t fields[2];         /* function, self */
    const struct type_info *function = read_fields(v, object, fields, 2) ? NULL : type_of(v, fields[0]);
    if (!function) {
        put_unreadable(v);
    } else if (function->kind == FUNCTION) {
        put_named(v, "<bound method ", fields[0] + v->layout->function_qualified_name, ">");
    } else {
        put(v, "<bound method of ");
        put_name(v, function->name);
        close_with(v, ">");
    }
}

static void put_exception(struct values *v, uint64_t object, const struct type_info *type) {
    uint64_t fields[2], size, item;     /* dictionary, args */
    const struct type_info *args = read_fields(v, object, fields, 2) ? NULL : type_of(v, fields[1]);
    put_name(v, type->name);
    if (!args || args->kind != TUPLE || read_fields(v, fields[1], &size, 1) || size > INT64_MAX / 8) {
        put(v, "(");
        put_unreadable(v);
        close_with(v, ")");
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
        put_unreadable(v);
        return;
    }
    put(v, "<cell");
    if (!content) {
        put(v, " (empty)");
    } else if (!enter(v, object, ": ", "")) {
        put_object(v, content);
        leave(v, "");
    }
    close_with(v, ">");
}

/* --- all of them --- */

static void put_plain(struct values *v, uint64_t object, struct type_info *type) {
    uint64_t first;
    switch (type->kind) {
    case NONE: put(v, "None"); break;
    case ELLIPSIS: put(v, "Ellipsis"); break;
    case NOT_IMPLEMENTED: put(v, "NotImplemented"); break;
    case BOOL:
        if (consult(&v->snapshot, object + head_of(v) + 8, &first, 4))
            put_unreadable(v);
        else
            put(v, (uint32_t)first ? "True" : "False");
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
        put(v, "<");
        put_name(v, !strcmp(type->name, "generator") || !strcmp(type->name, "coroutine") ? type->name : "async_generator");
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
        put_unreadable(v);
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
    put_name(v, type->name);
    put(v, "(");
    put_plain(v, object, type);
    close_with(v, ")");
}

struct values *open_values(struct memory *memory, const struct layout *layout, const struct value_limits *limits) {
    struct values *v = calloc(1, sizeof *v);
    if (!v)
        return NULL;
    v->snapshot.memory = memory;
    v->snapshot.page_limit = 2048;
    v->layout = layout;
    v->limits = *limits;
    if (v->limits.depth > DEPTH_AT_MOST)
        v->limits.depth = DEPTH_AT_MOST;
    return v;
}

void close_values(struct values *v) {
    for (unsigned i = 0; v && i < v->table_size; i++) {
        struct type_info *type = v->types[i];
        for (int k = 0; type && k < type->slot_count; k++)
            free(type->slots[k].name);
        for (int k = 0; type && k < type->field_count; k++)
            free(type->fields[k]);
        if (type) {
            free(type->slots);
            free(type->fields);
            free(type);
        }
    }
    if (v) {
        free_snapshot(&v->snapshot);
        free(v->types);
        free(v->text);
        free(v);
    }
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
    put_bytes(v, "", 0);
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
    put_format(v, "%lld", (long long)number);
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
