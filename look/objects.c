/* SPDX-License-Identifier: MIT
 * objects.c - str, dict and attributes of the target, as far as the names of its threads need them.
 *
 * A dict is a table of keys and, where instances of a class share it, an array of values beside it. Up to
 * 3.10 the table begins with its size, from 3.11 on with logarithms of its sizes; entries are hash, key and
 * value, from 3.11 on key and value only where all keys are str. Attributes lie in a dict at tp_dictoffset;
 * from 3.11 on in front of the object as well (Objects/object_layout.md):
 *   3.11   the dict at -3 words, the array of values at -4
 *   3.12   one of them at -3, the array with its lowest bit set (and 1 less)
 *   3.13+  the dict in front, the array behind the object while its `valid` byte is 1
 */
#include <stdlib.h>
#include <string.h>

#include "dump.h"

#define ENTRIES_AT_MOST 200000
#define ENTRIES_AT_ONCE 128
#define NAME_TRIES 6
#define TPFLAGS_INLINE_VALUES (1ul << 2)
#define TPFLAGS_MANAGED_DICT (1ul << 4)
#define KEYS_GENERAL 0
#define KEYS_SPLIT 2
#define VALUES_VALID 3          /* PyDictValues: capacity, size, embedded, valid */

int read_pointer(struct dump *dump, uint64_t address, uint64_t *value) {
    return read_cached(dump->memory, address, value, sizeof *value);
}

/* ---- str ---- */

/* One character as UTF-8; lone surrogates as well, the printers know them. */
static char *put_character(char *to, uint32_t c) {
    if (c < 0x80) {
        *to++ = c;
    } else if (c < 0x800) {
        *to++ = 0xc0 | c >> 6;
        *to++ = 0x80 | (c & 0x3f);
    } else if (c < 0x10000) {
        *to++ = 0xe0 | c >> 12;
        *to++ = 0x80 | (c >> 6 & 0x3f);
        *to++ = 0x80 | (c & 0x3f);
    } else {
        *to++ = 0xf0 | (c >> 18 & 7);
        *to++ = 0x80 | (c >> 12 & 0x3f);
        *to++ = 0x80 | (c >> 6 & 0x3f);
        *to++ = 0x80 | (c & 0x3f);
    }
    return to;
}

/* Characters of 1, 2 or 4 bytes as allocated UTF-8. A NUL would end our text, so it becomes a space's picture. */
static char *encode(const unsigned char *data, size_t length, int kind) {
    char *text = malloc(length * 4 + 1), *to = text;
    for (size_t i = 0; text && i < length; i++) {
        uint32_t c = 0;
        memcpy(&c, data + i * kind, kind);
        to = put_character(to, c ? c : 0x2400);
    }
    if (!text)
        return NULL;
    *to = 0;
    char *fitting = realloc(text, to - text + 1);
    return fitting ? fitting : text;
}

/* The str at `address`, whose first `got` bytes have been read already: more may lie behind the end of a page. */
char *read_str_from(struct dump *dump, uint64_t address, const unsigned char *first, size_t got) {
    const struct layout *l = &dump->layout;
    unsigned char head[128];
    uint64_t length, data = address;
    uint32_t state;
    if (got < (size_t)l->unicode_ascii_size) {
        if (l->unicode_ascii_size > (int)sizeof head || read_memory(dump->memory, address, head, l->unicode_ascii_size))
            return NULL;
        first = head;
        got = l->unicode_ascii_size;
    }
    memcpy(&length, first + l->unicode_length, sizeof length);
    memcpy(&state, first + l->unicode_state, sizeof state);
    int kind = state >> l->unicode_kind_shift & 7, compact = state >> l->unicode_compact_shift & 1,
        ascii = state >> l->unicode_ascii_shift & 1;
    if ((kind != 1 && kind != 2 && kind != 4) || length > 1ull << 40)
        return NULL;
    if (length > TEXT_AT_MOST)
        length = TEXT_AT_MOST;
    if (compact) {
        size_t at = ascii ? l->unicode_ascii_size : l->unicode_compact_size;
        data += at;
        if (at + length * kind <= got)
            return encode(first + at, length, kind);
    } else if (read_memory(dump->memory, address + l->unicode_data, &data, sizeof data)) {
        return NULL;
    }
    unsigned char *bytes = malloc(length * kind + 1);
    char *text = bytes && !read_memory(dump->memory, data, bytes, length * kind) ? encode(bytes, length, kind) : NULL;
    free(bytes);
    return text;
}

static int is_str(struct dump *dump, uint64_t object) {
    uint64_t type, name;
    char text[4];
    if (read_pointer(dump, object + dump->layout.object_type, &type))
        return 0;
    if (type == dump->str_type)
        return 1;
    if (dump->str_type || read_pointer(dump, type + dump->layout.type_name, &name)
        || read_cached(dump->memory, name, text, sizeof text) || memcmp(text, "str", 4))
        return 0;
    dump->str_type = type;
    return 1;
}

char *read_str(struct dump *dump, uint64_t address) {
    unsigned char first[512];
    size_t size = PAGE - address % PAGE;
    if (size > sizeof first)
        size = sizeof first;
    if (!address || !is_str(dump, address) || read_cached(dump->memory, address, first, size))
        return NULL;
    return read_str_from(dump, address, first, size);
}

static int is_text(struct dump *dump, uint64_t object, const char *wanted) {
    char *text = read_str(dump, object);
    int same = text && !strcmp(text, wanted);
    free(text);
    return same;
}

/* ---- dict ---- */

/* A table of keys: where its entries begin, how many there are, their form. */
struct keys {
    uint64_t entries;
    int64_t count;
    int size, key, value;       /* of an entry; offsets in it */
};

static int read_keys(struct dump *dump, uint64_t address, struct keys *keys) {
    const struct layout *l = &dump->layout;
    unsigned char head[64];
    if (l->keys_indices > (int)sizeof head || read_cached(dump->memory, address, head, l->keys_indices))
        return -1;
    memcpy(&keys->count, head + l->keys_entry_count, sizeof keys->count);
    *keys = (struct keys){.count = keys->count, .size = 24, .key = 8, .value = 16};
    uint64_t indices;
    if (l->version <= 0x030a) {
        uint64_t size;
        memcpy(&size, head + l->keys_size, sizeof size);
        if (size > UINT32_MAX)
            return -1;
        indices = size * (size <= 0xff ? 1 : size <= 0xffff ? 2 : 4);
    } else {
        if (head[l->keys_log2_index_bytes] > 34)
            return -1;
        indices = 1ull << head[l->keys_log2_index_bytes];
        if (head[l->keys_kind] != KEYS_GENERAL)
            keys->size = 16, keys->key = 0, keys->value = 8;
    }
    keys->entries = address + l->keys_indices + indices;
    return keys->count < 0 || keys->count > ENTRIES_AT_MOST ? -1 : 0;
}

/* visit(data, key, value) for each entry of a table until it says other than 0; values: an array beside it, or 0. */
static int each_entry(struct dump *dump, const struct keys *keys, uint64_t values,
                      int (*visit)(void *data, uint64_t key, uint64_t value), void *data) {
    unsigned char entries[ENTRIES_AT_ONCE * 24];
    for (int64_t i = 0; i < keys->count; i += ENTRIES_AT_ONCE) {
        int n = keys->count - i < ENTRIES_AT_ONCE ? keys->count - i : ENTRIES_AT_ONCE;
        if (read_cached(dump->memory, keys->entries + i * keys->size, entries, (size_t)n * keys->size))
            return -1;
        for (int k = 0; k < n; k++) {
            uint64_t key, value;
            memcpy(&key, entries + k * keys->size + keys->key, sizeof key);
            memcpy(&value, entries + k * keys->size + keys->value, sizeof value);
            if (values && read_pointer(dump, values + (i + k) * 8, &value))
                return -1;
            int said = key && value ? visit(data, key, value) : 0;
            if (said)
                return said;
        }
    }
    return 0;
}

int each_in_dict(struct dump *dump, uint64_t dict, int (*visit)(void *data, uint64_t key, uint64_t value), void *data) {
    uint64_t at, values;
    struct keys keys;
    if (read_pointer(dump, dict + dump->layout.dict_keys, &at) || read_pointer(dump, dict + dump->layout.dict_values, &values)
        || read_keys(dump, at, &keys))
        return -1;
    return each_entry(dump, &keys, values ? values + dump->layout.values_items : 0, visit, data);
}

struct search {
    struct dump *dump;
    const char *name;
    uint64_t found;
};

static int compare_key(void *data, uint64_t key, uint64_t value) {
    struct search *search = data;
    if (!is_text(search->dump, key, search->name))
        return 0;
    search->found = value;
    return 1;
}

/* Is the str whose beginning was read this one, in ASCII? */
static int begins_as(struct dump *dump, uint64_t key, const unsigned char *first, size_t got, const char *wanted) {
    const struct layout *l = &dump->layout;
    uint64_t type, length, size = strlen(wanted);
    if (got < l->unicode_ascii_size + size)
        return is_text(dump, key, wanted);
    memcpy(&type, first + l->object_type, sizeof type);
    memcpy(&length, first + l->unicode_length, sizeof length);
    if (type != dump->str_type)         /* the first one makes it known */
        return is_text(dump, key, wanted);
    return length == size && !memcmp(first + l->unicode_ascii_size, wanted, size);
}

#define KEY_FIRST 64            /* so much of a key: objects in the caches of the processor, mostly */

struct keys_seen {
    struct dump *dump;
    uint64_t keys[ENTRIES_AT_ONCE], values[ENTRIES_AT_ONCE];
    int count;
    const char *name;
    uint64_t found;
};

/* The keys lie anywhere: a piece of each, all in one call. */
static int compare_keys(struct keys_seen *seen) {
    unsigned char first[ENTRIES_AT_ONCE][KEY_FIRST];
    struct piece pieces[ENTRIES_AT_ONCE];
    for (int i = 0; i < seen->count; i++) {
        size_t room = PAGE - seen->keys[i] % PAGE;
        pieces[i] = (struct piece){seen->keys[i], first[i], room < KEY_FIRST ? room : KEY_FIRST, 0};
    }
    read_pieces(seen->dump->memory, pieces, seen->count);
    for (int i = 0; i < seen->count && !seen->found; i++)
        if (pieces[i].done && begins_as(seen->dump, seen->keys[i], first[i], pieces[i].size, seen->name))
            seen->found = seen->values[i];
    seen->count = 0;
    return seen->found != 0;
}

static int collect_key(void *data, uint64_t key, uint64_t value) {
    struct keys_seen *seen = data;
    seen->keys[seen->count] = key;
    seen->values[seen->count++] = value;
    return seen->count == ENTRIES_AT_ONCE && compare_keys(seen);
}

/* The value of a str key, or 0. */
uint64_t find_in_dict(struct dump *dump, uint64_t dict, const char *key) {
    struct keys_seen seen = {.dump = dump, .name = key};
    if (!each_in_dict(dump, dict, collect_key, &seen) && seen.count)
        compare_keys(&seen);
    return seen.found;
}

/* ---- attributes ---- */

/* Instances of a class have the same keys: those are kept. */
static uint64_t find_attribute_in(struct dump *dump, uint64_t dict, const char *name) {
    struct search search = {dump, name, 0};
    return each_in_dict(dump, dict, compare_key, &search) == 1 ? search.found : 0;
}

static uint64_t find_in_values(struct dump *dump, uint64_t type, uint64_t values, const char *name) {
    uint64_t at;
    struct keys keys;
    struct search search = {dump, name, 0};
    if (read_pointer(dump, type + dump->layout.type_cached_keys, &at) || !at || read_keys(dump, at, &keys))
        return 0;
    return each_entry(dump, &keys, values + dump->layout.values_items, compare_key, &search) == 1 ? search.found : 0;
}

/* From 3.11 on: the dict in front of the object, or the array of its values. */
static uint64_t find_managed(struct dump *dump, uint64_t object, uint64_t type, uint64_t flags, const char *name) {
    const struct layout *l = &dump->layout;
    uint64_t in_front, values, size;
    unsigned char head[4];
    if (read_pointer(dump, object - l->managed_dict, &in_front))
        return 0;
    if (l->version == 0x030b && !in_front)
        return read_pointer(dump, object - l->managed_dict - 8, &values) || !values ? 0
               : find_in_values(dump, type, values, name);
    if (l->version == 0x030c && in_front & 1)
        return find_in_values(dump, type, in_front + 1, name);
    if (l->version >= 0x030d && flags & TPFLAGS_INLINE_VALUES && !read_pointer(dump, type + l->type_basic_size, &size)
        && size < 65536 && !read_cached(dump->memory, object + size, head, sizeof head) && head[VALUES_VALID] == 1)
        return find_in_values(dump, type, object + size, name);
    return in_front ? find_attribute_in(dump, in_front, name) : 0;
}

/* An attribute of the instance itself, or 0. */
uint64_t find_attribute(struct dump *dump, uint64_t object, const char *name) {
    const struct layout *l = &dump->layout;
    uint64_t type, flags, offset, dict;
    if (read_pointer(dump, object + l->object_type, &type) || read_pointer(dump, type + l->type_flags, &flags)
        || read_pointer(dump, type + l->type_dict_offset, &offset))
        return 0;
    if (l->version >= 0x030b && flags & TPFLAGS_MANAGED_DICT)
        return find_managed(dump, object, type, flags, name);
    if ((int64_t)offset <= 0 || offset > 65536 || read_pointer(dump, object + offset, &dict) || !dict)
        return 0;
    return find_attribute_in(dump, dict, name);
}

/* ---- the names of threads ---- */

static int compare_states(const void *a, const void *b) {
    const struct dump_thread *one = *(struct dump_thread *const *)a, *two = *(struct dump_thread *const *)b;
    if (one->ident != two->ident)
        return one->ident < two->ident ? -1 : 1;
    return one->interpreter - two->interpreter;
}

struct naming {
    struct dump *dump;
    struct dump_thread **by_ident;
    int count, interpreter;
    uint64_t *objects, *objects_after;
    int object_count, room;
};

/* The int of a dict's key; 0 if it is none. */
static uint64_t read_ident(struct dump *dump, uint64_t object) {
    const struct layout *l = &dump->layout;
    uint64_t size, value = 0;
    uint32_t digits[3] = {0};
    if (read_pointer(dump, object + l->long_size, &size))
        return 0;
    if (l->version >= 0x030c)
        size >>= 3;
    if (size < 1 || size > 3 || read_cached(dump->memory, object + l->long_digits, digits, size * 4))
        return 0;
    for (int i = size - 1; i >= 0; i--)
        value = value << 30 | (digits[i] & 0x3fffffff);
    return value;
}

static int collect_object(void *data, uint64_t key, uint64_t value) {
    struct naming *naming = data;
    if (naming->object_count < naming->room) {
        naming->objects[2 * naming->object_count] = key;
        naming->objects[2 * naming->object_count++ + 1] = value;
    }
    return 0;
}

static void name_thread(struct naming *naming, uint64_t ident, uint64_t object) {
    struct dump_thread wanted = {.ident = ident, .interpreter = naming->interpreter}, *key = &wanted;
    struct dump_thread **found = bsearch(&key, naming->by_ident, naming->count, sizeof key, compare_states);
    if (!found || (*found)->name)
        return;
    uint64_t name = find_attribute(naming->dump, object, "_name");
    if (name)
        (*found)->name = read_str(naming->dump, name);
}

static uint64_t find_active(struct dump *dump, int interpreter) {
    uint64_t modules, module, dict;
    if (read_pointer(dump, dump->interpreters[interpreter].address + dump->layout.interpreter_modules, &modules)
        || !(module = find_in_dict(dump, modules, "threading"))
        || read_pointer(dump, module + dump->layout.module_dict, &dict) || !dict)
        return 0;
    return find_in_dict(dump, dict, "_active");
}

static void collect_objects(struct naming *naming, uint64_t active) {
    naming->object_count = 0;
    if (active && each_in_dict(naming->dump, active, collect_object, naming) < 0)
        naming->object_count = 0;
}

static void forget_names(struct naming *naming) {
    for (int i = 0; i < naming->count; i++) {
        if (naming->by_ident[i]->interpreter == naming->interpreter) {
            free(naming->by_ident[i]->name);
            naming->by_ident[i]->name = NULL;
        }
    }
}

/* The dict changes when a thread begins or ends: it must be the same before and after. -1: it was not. */
static int try_names_of(struct naming *naming) {
    struct dump *dump = naming->dump;
    forget_cached(dump->memory);
    forget_names(naming);
    uint64_t active = find_active(dump, naming->interpreter);
    collect_objects(naming, active);
    prefetch(dump->memory, naming->objects, 2 * naming->object_count);
    for (int i = 0; i < naming->object_count; i++)
        name_thread(naming, read_ident(dump, naming->objects[2 * i]), naming->objects[2 * i + 1]);
    uint64_t *before = naming->objects;
    int count = naming->object_count;
    naming->objects = naming->objects_after;
    forget_cached(dump->memory);
    collect_objects(naming, active);
    naming->objects = before;
    return count && count == naming->object_count && !memcmp(before, naming->objects_after, 16ul * count) ? 0 : -1;
}

static void name_threads_of(struct naming *naming) {
    for (int i = 0; i < NAME_TRIES && try_names_of(naming); i++)
        ;
}

/* The second state of a thread has the name of the first, where its own interpreter knows none. */
static void name_seconds(struct dump *dump) {
    for (int i = 0; i < dump->thread_count; i++)
        for (int k = 0; dump->threads[i].is_second && !dump->threads[i].name && k < dump->thread_count; k++)
            if (dump->threads[k].tid == dump->threads[i].tid && dump->threads[k].name)
                dump->threads[i].name = strdup(dump->threads[k].name);
}

/* From threading._active of each interpreter: {ident: Thread}. */
void read_thread_names(struct dump *dump) {
    struct naming naming = {.dump = dump};
    naming.by_ident = calloc(dump->thread_count + 1, sizeof *naming.by_ident);
    naming.room = 2 * dump->thread_count + 64;          /* some begin and end meanwhile */
    naming.objects = calloc(naming.room, 2 * sizeof *naming.objects);
    naming.objects_after = calloc(naming.room, 2 * sizeof *naming.objects);
    for (int i = 0; naming.by_ident && i < dump->thread_count; i++)
        if (dump->threads[i].state_address)
            naming.by_ident[naming.count++] = &dump->threads[i];
    if (naming.by_ident && naming.objects && naming.objects_after) {
        qsort(naming.by_ident, naming.count, sizeof *naming.by_ident, compare_states);
        for (naming.interpreter = 0; naming.interpreter < dump->interpreter_count; naming.interpreter++)
            name_threads_of(&naming);
    }
    name_seconds(dump);
    free(naming.by_ident);
    free(naming.objects);
    free(naming.objects_after);
}
