/* SPDX-License-Identifier: MIT
 * layout.c - where each CPython version keeps things: the one table.
 *
 * layouts.h is made by make_layout.py from each version's own headers; nothing in it has changed between
 * bug fix releases. From 3.13 on _PyRuntime begins with _Py_DebugOffsets, where the target itself tells
 * most of it: "xdebugpy", version (PY_VERSION_HEX), free-threaded, then offsets. What it tells goes before
 * what the headers say. Its own form differs from version to version, so an unknown one cannot be read.
 *
 * A new version is a row of make_layout.py's output, and the words "3.6 to 3.15".
 */
#include <string.h>

#include "look.h"

static const struct layout layouts[] = {LAYOUT_ROWS};

static const struct {
    int version;
    size_t size;                /* of _Py_DebugOffsets */
    struct layout at;           /* where in it a field is told; 0: it is not */
} told_rows[] = {TOLD_ROWS};

#define OFFSET_AT_MOST (1 << 20)
#define TOLD_AT_MOST 2048

struct told_head {
    char cookie[8];
    uint64_t version, free_threaded;
};

static const struct layout *find_row(int version, int free_threaded) {
    for (size_t i = 0; i < sizeof layouts / sizeof *layouts; i++)
        if (layouts[i].version == version && layouts[i].free_threaded == free_threaded)
            return &layouts[i];
    return NULL;
}

/* A told offset goes before the table's; one that cannot be is refused. */
static int take_told(const unsigned char *told, int32_t at, int32_t *field) {
    uint64_t value;
    if (!at)
        return 0;
    memcpy(&value, told + at, sizeof value);
    if (value > OFFSET_AT_MOST)
        return -1;
    *field = value;
    return 0;
}

/* Does _Py_DebugOffsets stand at `runtime`? Its version as PY_VERSION_HEX, or 0. */
uint32_t read_told_version(struct memory *memory, uint64_t runtime) {
    struct told_head head;
    if (read_memory(memory, runtime, &head, sizeof head) || memcmp(head.cookie, "xdebugpy", 8))
        return 0;
    return head.version;
}

int read_layout(struct memory *memory, uint64_t runtime, int version, struct layout *layout) {
    const struct layout *row = find_row(version, 0);
    if (!row)
        return -1;
    *layout = *row;
    for (size_t i = 0; i < sizeof told_rows / sizeof *told_rows; i++) {
        if (told_rows[i].version != version)
            continue;
        unsigned char told[TOLD_AT_MOST];
        const struct told_head *head = (const struct told_head *)told;
        if (told_rows[i].size > sizeof told || read_memory(memory, runtime, told, told_rows[i].size)
            || memcmp(head->cookie, "xdebugpy", 8) || (int)(head->version >> 16) != version)
            return -1;
        if (head->free_threaded && (row = find_row(version, 1)) != NULL)
            *layout = *row;
        const struct layout *at = &told_rows[i].at;
#define TAKE(field) \
        if (take_told(told, at->field, &layout->field)) \
            return -1;
        EACH_FIELD(TAKE)
#undef TAKE
    }
    return 0;
}
