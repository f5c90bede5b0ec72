/* SPDX-License-Identifier: MIT
 * layout.c - where each CPython version keeps things: the one table.
 *
 * Up to 3.12 from each version's internal headers (pycore_pystate.h, pycore_runtime.h); they have not
 * changed between the bug fix releases. From 3.13 on _PyRuntime begins with _Py_DebugOffsets:
 *   0 "xdebugpy"   8 version (PY_VERSION_HEX)   16 free-threaded
 *   24 runtime_state.size   32 .finalizing   40 .interpreters_head
 * and `initialized` is the last of the ints before `_finalizing`, as in 3.11 and 3.12.
 *
 * A new version before 3.13 is one row; after it, none.
 */
#include <string.h>

#include "look.h"

static const struct layout layouts[] = {
    /* version, initialized, finalizing */
    {0x0308, 12, 16},
    {0x0309, 12, 16},
    {0x030a, 12, 16},
    {0x030b, 16, 24},
    {0x030c, 16, 24},
};

#define INITIALIZED_BEFORE_FINALIZING 8
#define OFFSET_AT_MOST (1u << 20)

struct debug_offsets {
    char cookie[8];
    uint64_t version, free_threaded, size, finalizing, interpreters_head;
};

int read_layout(struct memory *memory, uint64_t runtime, int version, struct layout *layout, int *free_threaded) {
    *free_threaded = 0;
    for (size_t i = 0; i < sizeof layouts / sizeof *layouts; i++) {
        if (layouts[i].version == version) {
            *layout = layouts[i];
            return 0;
        }
    }
    struct debug_offsets told;
    if (read_memory(memory, runtime, &told, sizeof told) || memcmp(told.cookie, "xdebugpy", 8)
        || (int)(told.version >> 16) != version || told.finalizing > OFFSET_AT_MOST || told.finalizing < sizeof told)
        return -1;
    *free_threaded = told.free_threaded != 0;
    *layout = (struct layout){version, told.finalizing - INITIALIZED_BEFORE_FINALIZING, told.finalizing};
    return 0;
}
