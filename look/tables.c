/* SPDX-License-Identifier: MIT
 * tables.c - the items of a dictionary, and the attributes of an instance, in their order.
 *
 * A dictionary is a table of keys and values (combined), or has keys that many share and values of its own
 * (split). The entries stand in the order of insertion behind a hash table, whose size must be known and whose
 * content must not. An instance has its dictionary at tp_dictoffset, or (3.11+) before itself, or has none
 * yet and keeps the values alone: beside it (3.11, 3.12), or in itself (3.13+).
 */
#include <stdlib.h>
#include <string.h>

#include "value_parts.h"

void free_items(struct items *items) {
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

int read_dict(struct values *v, uint64_t dict, struct items *items, int limit) {
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

int find_item(struct values *v, uint64_t dict, const char *name, uint64_t *value) {
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

/* --- attributes --- */

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

int read_attributes(struct values *v, uint64_t object, const struct type_info *type, struct items *items, int limit) {
    uint64_t split, dict = find_dict(v, object, type, &split);
    struct keys keys;
    if (dict) {
        const struct type_info *kind = type_of(v, dict);
        return kind && kind->kind == DICT ? read_dict(v, dict, items, limit) : -1;
    }
    if (!split)
        return 0;
    uint64_t shared;            /* the keys of all its instances: they grow, and then move */
    if (!type->heap || read_word(v, type->address + v->layout->type_cached_keys, &shared) || read_keys(v, shared, &keys))
        return -1;
    return read_split(v, &keys, split, items, limit);
}
