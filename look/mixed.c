/* SPDX-License-Identifier: MIT
 * mixed.c - C and Python frames of a thread as one stack.
 *
 * Python code runs in the interpreter's loop, _PyEval_EvalFrameDefault. One C call of it runs
 *   to 3.10  one Python frame
 *   3.11     several, the outermost of which is marked (is_entry)
 *   3.12+    several, and below them a shim frame, which is a variable of that very C call
 * In the stack, the Python frames of each call stand in the place of its C frame. Since 3.12 the address of
 * the shim tells which one that is, whatever the compiler has made of the function (Debian's Pythons are
 * stripped and have most of it in a nameless part). Before, the calls are counted by their name; where the
 * numbers differ, the outermost ones belong together: it is at its beginning and its end that a call has no
 * frame, and only the innermost one can be there. A C stack that could not be read to its end is counted from
 * the innermost one.
 */
#include <stdlib.h>
#include <string.h>

#include "core.h"
#include "mixed.h"

struct group {
    int first, end;             /* of thread->frames */
    uint64_t shim;              /* address of the frame that ends it, 0: no shim */
    int native;                 /* the C frame that it stands for, -1: not known */
};

/* ---- which Python frames belong to one call ---- */

/* 3.11: the byte before `owner`. */
static int is_entry(struct dump *dump, const struct dump_frame *frame) {
    char entry = 0;
    return read_memory(dump->memory, frame->address + dump->layout.frame_owner - 1, &entry, 1) || entry;
}

static int ends_group(struct dump *dump, const struct dump_thread *thread, int i) {
    const struct dump_frame *frame = &thread->frames[i];
    if (i == thread->frame_count - 1 || dump->layout.version <= 0x030a)
        return 1;
    if (dump->layout.version == 0x030b)
        return is_entry(dump, frame);
    return !frame->code;
}

static int find_groups(struct dump *dump, const struct dump_thread *thread, struct group *groups) {
    int count = 0, first = 0;
    for (int i = 0; i < thread->frame_count; i++) {
        if (!ends_group(dump, thread, i))
            continue;
        groups[count++] = (struct group){first, i + 1, thread->frames[i].code ? 0 : thread->frames[i].address, -1};
        first = i + 1;
    }
    return count;
}

/* ---- which C frame a call is ---- */

static int match_by_address(struct group *groups, int count, const struct native_stack *stack) {
    int matched = 0, at = 0;
    for (int i = 0; i < count; i++) {
        for (int k = at; groups[i].shim && k < stack->count - 1; k++) {
            const struct native_frame *frame = &stack->frames[k];
            if (!frame->sp || groups[i].shim < frame->sp || groups[i].shim >= frame[1].sp)
                continue;
            groups[i].native = k;
            at = k + 1;
            matched++;
            break;
        }
    }
    return matched;
}

static int count_calls(const struct native_stack *stack) {
    int calls = 0;
    for (int k = 0; k < stack->count; k++)
        calls += stack->frames[k].evaluates;
    return calls;
}

static void match_by_name(struct group *groups, int count, const struct native_stack *stack) {
    int skip = stack->trouble[0] ? 0 : count_calls(stack) - count;      /* calls without frames, or (< 0) frames without calls */
    int i = skip < 0 ? -skip : 0;
    for (int k = 0; k < stack->count && i < count; k++)
        if (stack->frames[k].evaluates && skip-- <= 0)
            groups[i++].native = k;
}

/* ---- the stack ---- */

static void put_python(struct mixed *mixed, const struct dump_thread *thread, const struct group *group) {
    for (int i = group->first; i < group->end; i++)
        if (!thread->frames[i].hidden)
            mixed->items[mixed->count++] = (struct mixed_item){i, NULL};
}

static int has_python(const struct dump_thread *thread, const struct group *group) {
    for (int i = group->first; i < group->end; i++)
        if (!thread->frames[i].hidden)
            return 1;
    return 0;
}

/* Groups that have no C frame come before the next one that has. */
static void merge(struct mixed *mixed, const struct dump_thread *thread, const struct group *groups, int count) {
    int next = 0;
    for (int k = 0; k < mixed->stack.count; k++) {
        int i = next;
        while (i < count && groups[i].native != k)
            i++;
        int mine = i < count;
        for (; mine && next < i; next++)
            put_python(mixed, thread, &groups[next]);
        if (mine)
            put_python(mixed, thread, &groups[next++]);
        if (!mine || !has_python(thread, &groups[next - 1]))
            mixed->items[mixed->count++] = (struct mixed_item){-1, &mixed->stack.frames[k]};
    }
    for (; next < count; next++)
        put_python(mixed, thread, &groups[next]);
}

struct reading {
    struct dump *dump;
    struct dump_thread *thread;
    void (*read)(struct dump *dump, struct dump_thread *thread);
    struct group *groups;
    int count;
};

/* While the thread stands still. */
static void read_python(void *argument) {
    struct reading *reading = argument;
    reading->read(reading->dump, reading->thread);
    reading->groups = calloc(reading->thread->frame_count + 1, sizeof *reading->groups);
    if (reading->groups)
        reading->count = find_groups(reading->dump, reading->thread, reading->groups);
}

/* The code objects of a stack, before it stands still: most of the reading is then done. */
static void warm_up(struct dump *dump, struct dump_thread *thread) {
    int frames = dump->all_frames;
    if (core_of(dump->memory) || !thread->state_address)
        return;
    read_frames(dump, thread);
    dump->all_frames = frames;
}

/* Both stacks of a thread; `read` fills in the Python one. */
void read_mixed(struct native *native, pid_t tid, struct dump *dump, struct dump_thread *thread,
                void (*read)(struct dump *dump, struct dump_thread *thread)) {
    struct reading reading = {dump, thread, read, NULL, 0};
    struct mixed *mixed = calloc(1, sizeof *mixed);
    if (!mixed) {
        read(dump, thread);
        return;
    }
    warm_up(dump, thread);
    read_native(native, tid, read_python, &reading, &mixed->stack);
    mixed->trouble = mixed->stack.trouble[0] ? mixed->stack.trouble : NULL;
    mixed->items = calloc(mixed->stack.count + thread->frame_count + 1, sizeof *mixed->items);
    if (mixed->items) {
        if (!match_by_address(reading.groups, reading.count, &mixed->stack))
            match_by_name(reading.groups, reading.count, &mixed->stack);
        merge(mixed, thread, reading.groups, reading.count);
    }
    free(reading.groups);
    thread->native = mixed;
}

/* The innermost Python frames of a thread are not to be shown: its list loses them. */
void drop_mixed(struct dump_thread *thread, int frames) {
    struct mixed *mixed = thread->native;
    int kept = 0;
    for (int i = 0; mixed && i < mixed->count; i++) {
        struct mixed_item item = mixed->items[i];
        if (!item.native && (item.frame -= frames) < 0)
            continue;
        mixed->items[kept++] = item;
    }
    if (mixed)
        mixed->count = kept;
}

/* For folding: the C frames of two threads, and their places between the Python ones. */
uint64_t hash_mixed(const struct dump_thread *thread) {
    const struct mixed *mixed = thread->native;
    uint64_t hash = mixed->count;
    for (int i = 0; i < mixed->count; i++)
        hash = (hash ^ (mixed->items[i].native ? mixed->items[i].native->pc : 1)) * 0x9e3779b97f4a7c15ull ^ hash >> 29;
    return hash;
}

int is_mixed_alike(const struct dump_thread *one, const struct dump_thread *other) {
    const struct mixed *a = one->native, *b = other->native;
    if (!a || !b)
        return a == b;
    if (a->count != b->count || !a->trouble != !b->trouble || (a->trouble && strcmp(a->trouble, b->trouble)))
        return 0;
    for (int i = 0; i < a->count; i++)
        if (!a->items[i].native != !b->items[i].native || (a->items[i].native && a->items[i].native->pc != b->items[i].native->pc))
            return 0;
    return 1;
}

void free_mixed(struct dump_thread *thread) {
    struct mixed *mixed = thread->native;
    if (!mixed)
        return;
    free(mixed->stack.frames);
    free(mixed->items);
    free(mixed);
    thread->native = NULL;
}
