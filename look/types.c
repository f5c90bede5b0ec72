/* SPDX-License-Identifier: MIT
 * types.c - what an object is: its type, read once, from the structure that CPython keeps of it.
 *
 * A static type is known by its name, a class by its bases. Since a type is taken for what it says, it is
 * checked: it is ready, its own type is a subclass of `type`, its sizes can be, its bases are such types, too.
 * A type that cannot be is remembered as well, for as long as the snapshot.
 */
#include <stdlib.h>
#include <string.h>

#include "value_parts.h"

#define TYPES_AT_MOST 20000
#define SLOTS_AT_MOST 256
#define TYPE_BYTES 512

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

uint64_t head_of(const struct values *v) {
    return v->layout->object_size;
}

int read_word(struct values *v, uint64_t address, uint64_t *word) {
    return consult(&v->snapshot, address, word, sizeof *word);
}

/* The n words behind the head of an object. */
int read_fields(struct values *v, uint64_t object, uint64_t *fields, int n) {
    return consult(&v->snapshot, object + head_of(v), fields, n * sizeof *fields);
}

/* A zero-terminated name of a type, cut if need be. */
int peek_name(struct values *v, uint64_t address, char *to, size_t size) {
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

static struct type_info *know_type(struct values *v, uint64_t address, int bases);

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
    struct type_info *base = NULL, *meta;
    if (at % 8 || layout->type_size > (int)sizeof bytes || peek(&v->snapshot, at, bytes, layout->type_size))
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
    if (kind != UNKNOWN && type->heap && meta != type)
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
    if (known && (known->kind != UNKNOWN || known->generation == v->snapshot.generation))
        return known;
    if (known) {                /* it may have been caught while it was made */
        known->generation = v->snapshot.generation;
        read_type(v, known, bases);
        return known;
    }
    if (v->type_count >= TYPES_AT_MOST || (2 * v->type_count >= (int)v->table_size && grow_types(v)))
        return NULL;
    struct type_info *type = calloc(1, sizeof *type);
    if (!type)
        return NULL;
    type->address = address;
    type->generation = v->snapshot.generation;
    type->name = type->full_name;
    v->types[find_type_slot(v, address)] = type;    /* before its bases: a cycle ends here */
    v->type_count++;
    read_type(v, type, bases);
    return type;
}

/* The type at an address, NULL if there is none. */
struct type_info *find_type(struct values *v, uint64_t address, int bases) {
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

struct type_info *type_of(struct values *v, uint64_t object) {
    uint64_t count, type;
    if (!object || object % 8 || peek(&v->snapshot, object, &count, sizeof count) || !is_count(v, count)
        || read_word(v, object + v->layout->object_type, &type))
        return NULL;
    return find_type(v, type, BASES_AT_MOST);
}

void free_types(struct values *v) {
    for (unsigned i = 0; i < v->table_size; i++) {
        struct type_info *type = v->types[i];
        if (!type)
            continue;
        for (int k = 0; k < type->slot_count; k++)
            free(type->slots[k].name);
        for (int k = 0; k < type->field_count; k++)
            free(type->fields[k]);
        free(type->slots);
        free(type->fields);
        free(type->module);
        free(type);
    }
    free(v->types);
}
