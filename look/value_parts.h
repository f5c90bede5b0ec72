/* SPDX-License-Identifier: MIT
 * value_parts.h - what the files that make up `values` share; those who want a value include values.h.
 *
 *   say.c      text that is counted, cut and escaped; numbers
 *   types.c    what an object is
 *   tables.c   dictionaries and attributes
 *   values.c   the rest: any object as text
 */
#ifndef VALUE_PARTS_H
#define VALUE_PARTS_H

#include "values.h"

#define BASES_AT_MOST 64
#define SCAN_AT_MOST 20000      /* places of a table that are looked at for one value */
#define DIGITS_AT_MOST 400      /* of an int, 30 bits each; what is longer is told by its size */

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
    uint64_t dict;              /* its own dictionary */
    unsigned generation;        /* the snapshot in which it was read */
    int64_t basicsize, itemsize, dictoffset;
    char heap, python, builtin, is_enum;    /* python: made by a class statement; builtin: the very type that kind means */
    char fields_known;
    struct slot *slots;
    int slot_count, field_count;
    char **fields;              /* of a namedtuple */
    char *module;               /* NULL: not looked for yet */
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

struct item {
    uint64_t key, value;
};

struct items {
    struct item *item;
    int count;
    uint64_t total;
};

/* say.c */
void say_bytes(struct values *v, const char *bytes, size_t size);
void say_dots(struct values *v);
void say_closing(struct values *v, const char *bracket);
void say(struct values *v, const char *text);
void say_format(struct values *v, const char *format, ...) __attribute__((format(printf, 2, 3)));
void say_unreadable(struct values *v);
int say_character(struct values *v, uint32_t c, char quote);
void say_name(struct values *v, const char *name);
void say_rest_cut(struct values *v);
size_t encode_utf8(uint32_t c, char *to);
void say_decimal(struct values *v, uint32_t *digits, int n, int negative);
void say_float(struct values *v, double number);
void say_complex(struct values *v, double real, double imaginary);

/* types.c: through the snapshot */
uint64_t head_of(const struct values *v);
int read_word(struct values *v, uint64_t address, uint64_t *word);
int read_fields(struct values *v, uint64_t object, uint64_t *fields, int n);
int peek_name(struct values *v, uint64_t address, char *to, size_t size);
struct type_info *find_type(struct values *v, uint64_t address, int bases);
struct type_info *type_of(struct values *v, uint64_t object);
void free_types(struct values *v);

/* tables.c */
void free_items(struct items *items);
int read_dict(struct values *v, uint64_t dict, struct items *items, int limit);
int find_item(struct values *v, uint64_t dict, const char *name, uint64_t *value);
int read_attributes(struct values *v, uint64_t object, const struct type_info *type, struct items *items, int limit);

#endif
