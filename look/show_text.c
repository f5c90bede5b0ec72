/* SPDX-License-Identifier: MIT
 * show_text.c - a dump for people.
 *
 *   process 4242: python3 orders.py
 *   user shop, Python 3.12.1 (/usr/lib/libpython3.12.so.1.0), 9 threads, 2026-11-27 03:10:00
 *
 *   thread 1 "MainThread" (4242): idle in futex, CPU 1.25 s, off the CPU for 73.5 s
 *       Order.checkout(), /srv/shop/orders.py:88
 *           with self.stock_lock:
 *
 * Threads with the same stack and state are one: "37 threads: ThreadPool-1_0 … _36".
 */
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "mixed.h"

#define BOLD "\033[1m"
#define DIM "\033[2m"
#define RED "\033[31m"
#define GREEN "\033[32m"
#define YELLOW "\033[33m"
#define CYAN "\033[36m"
#define PLAIN "\033[0m"
#define RANGES_SHOWN 12

static int coloured;

static void colour(const char *code) {
    if (coloured)
        put(code);
}

/* ---- folding ---- */

struct group {
    struct dump_thread **members;
    int count;
    uint64_t hash;
};

static uint64_t mix(uint64_t hash, uint64_t value) {
    return (hash ^ value) * 0x9e3779b97f4a7c15ull ^ hash >> 29;
}

static uint64_t hash_thread(const struct dump_thread *thread) {
    uint64_t hash = mix(thread->state, thread->system_call);
    hash = mix(mix(hash, thread->interpreter), thread->complete);
    if (!thread->state_address)
        for (const char *c = thread->native_name; *c; c++)
            hash = mix(hash, (unsigned char)*c);
    if (thread->native)
        hash = mix(hash, hash_mixed(thread));
    for (int i = 0; i < thread->frame_count; i++)
        if (!thread->frames[i].hidden)
            hash = mix(mix(hash, thread->frames[i].code_address), thread->frames[i].line);
    return hash;
}

static const struct dump_frame *next_shown(const struct dump_thread *thread, int *i) {
    while (*i < thread->frame_count && thread->frames[*i].hidden)
        ++*i;
    return *i < thread->frame_count ? &thread->frames[(*i)++] : NULL;
}

static int is_alike(const struct dump_thread *a, const struct dump_thread *b) {
    int i = 0, k = 0;
    if (a->state != b->state || a->system_call != b->system_call || a->interpreter != b->interpreter
        || a->complete != b->complete || !a->state_address != !b->state_address
        || (!a->state_address && strcmp(a->native_name, b->native_name)) || !is_mixed_alike(a, b))
        return 0;
    for (;;) {
        const struct dump_frame *one = next_shown(a, &i), *two = next_shown(b, &k);
        if (!one || !two)
            return one == two;
        if (one->code_address != two->code_address || one->line != two->line)
            return 0;
    }
}

/* Groups in the order of their first threads. */
static struct group *make_groups(struct dump *dump, int fold, int *count) {
    int n = dump->thread_count, slots = 1;
    while (slots < 2 * n + 2)
        slots *= 2;
    struct group *groups = calloc(n + 1, sizeof *groups);
    int *table = calloc(slots, sizeof *table), *group_of = calloc(n + 1, sizeof *group_of);
    struct dump_thread **members = calloc(n + 1, sizeof *members);
    *count = 0;
    if (!groups || !table || !group_of || !members) {
        free(groups), free(table), free(group_of), free(members);
        return NULL;
    }
    for (int i = 0; i < n; i++) {
        struct dump_thread *thread = &dump->threads[i];
        uint64_t hash = fold ? hash_thread(thread) : (uint64_t)i;
        int slot = hash & (slots - 1);
        while (table[slot] && !(fold && groups[table[slot] - 1].hash == hash
                                && is_alike(thread, &dump->threads[(intptr_t)groups[table[slot] - 1].members])))
            slot = (slot + 1) & (slots - 1);
        if (!table[slot]) {
            groups[*count] = (struct group){(struct dump_thread **)(intptr_t)i, 0, hash};  /* its first one, for now */
            table[slot] = ++*count;
        }
        group_of[i] = table[slot] - 1;
        groups[group_of[i]].count++;
    }
    struct dump_thread **at = members;
    for (int g = 0; g < *count; g++) {
        groups[g].members = at;
        at += groups[g].count;
        groups[g].count = 0;
    }
    for (int i = 0; i < n; i++) {
        struct group *group = &groups[group_of[i]];
        group->members[group->count++] = &dump->threads[i];
    }
    free(table);
    free(group_of);
    return groups;
}

static void free_groups(struct group *groups, int count) {
    if (groups && count)
        free(groups[0].members);
    free(groups);
}

/* ---- the words ---- */

static void put_seconds(double seconds) {
    if (seconds < 10)
        putf("%.2f s", seconds);
    else if (seconds < 120)
        putf("%.1f s", seconds);
    else if (seconds < 7200)
        putf("%d min", (int)(seconds / 60));
    else if (seconds < 172800)
        putf("%.1f h", seconds / 3600);
    else
        putf("%.1f days", seconds / 86400);
}

static const char *name_of(const struct dump_thread *thread) {
    return thread->name ? thread->name : thread->native_name;
}

/* "ThreadPool-1_0 … _36": the second name from its last separator on that both share. */
static void put_names(const struct group *group) {
    const char *first = name_of(group->members[0]), *last = name_of(group->members[group->count - 1]);
    int named = 1;
    for (int i = 0; i < group->count; i++)
        named &= group->members[i]->name != NULL;
    if (!named && group->members[0]->state_address) {
        put("without a name");
        return;
    }
    put_safely(first);
    if (!strcmp(first, last))
        return;
    size_t same = 0, from = 0;
    for (; first[same] && first[same] == last[same]; same++)
        if (strchr("_-. :", first[same]))
            from = same;
    put(" … ");
    put_safely(last + from);
}

/* "3-39" or "2, 4-6 ...": the numbers of a group. */
static void put_numbers(const struct group *group) {
    int shown = 0;
    for (int i = 0; i < group->count; shown++) {
        int first = i;
        if (shown == RANGES_SHOWN) {
            put(", …");
            return;
        }
        while (i + 1 < group->count && group->members[i + 1]->number == group->members[i]->number + 1)
            i++;
        putf("%s%d", shown ? ", " : "", group->members[first]->number);
        if (i > first)
            putf("-%d", group->members[i]->number);
        i++;
    }
}

static void put_state(const struct dump_thread *thread) {
    static const char *const colours[] = {[HOLDS_GIL] = GREEN, [COLLECTING] = GREEN, [RUNNING] = GREEN,
                                          [WAITS_FOR_GIL] = YELLOW, [STOPPED] = RED, [FINALIZING] = RED, [ENDED] = RED};
    const char *code = thread->state < sizeof colours / sizeof *colours ? colours[thread->state] : NULL;
    const char *call = thread->system_call >= 0 && thread->state != WAITS_FOR_GIL ? say_call(thread->system_call) : NULL;
    if (code)
        colour(code);
    put(state_names[thread->state]);
    if (call)
        putf(thread->state == IDLE ? " in %s" : ", in %s", call);
    if (thread->kernel_state == 'D')
        put(" (uninterruptible)");
    if (code)
        colour(PLAIN);
}

static void put_times(const struct group *group) {
    double cpu = 0, least = -1, most = -1;
    for (int i = 0; i < group->count; i++) {
        const struct dump_thread *thread = group->members[i];
        if (thread->cpu_seconds > 0)
            cpu += thread->cpu_seconds;
        if (thread->off_cpu_seconds < 0)
            continue;
        if (least < 0 || thread->off_cpu_seconds < least)
            least = thread->off_cpu_seconds;
        if (thread->off_cpu_seconds > most)
            most = thread->off_cpu_seconds;
    }
    put(", CPU ");
    put_seconds(cpu);
    if (group->count > 1)
        put(" together");
    if (most < 0)
        return;
    put(", off the CPU for ");
    if (group->count > 1 && most - least > 0.1) {
        put_seconds(least);
        put(" to ");
    }
    put_seconds(most);
}

static void put_head(const struct dump *dump, const struct group *group) {
    const struct dump_thread *thread = group->members[0];
    colour(BOLD);
    if (group->count > 1) {
        putf("%d threads: ", group->count);
        put_names(group);
        colour(PLAIN);
        put(" (");
        put_numbers(group);
        put(")");
    } else {
        putf("thread %d", thread->number);
        if (name_of(thread)[0]) {
            put(" \"");
            put_safely(name_of(thread));
            put("\"");
        }
        colour(PLAIN);
        putf(" (%d)", thread->tid);
    }
    if (thread->interpreter > 0)
        putf(", interpreter %lld", (long long)dump->interpreters[thread->interpreter].id);
    if (!thread->state_address)
        put(", no Python");
    put(": ");
    put_state(thread);
    put_times(group);
    put_char('\n');
}

static void put_frame(struct dump *dump, struct dump_frame *frame) {
    int changed;
    const struct code *code = frame->code;
    char *source = find_source_line(dump, frame, &changed);
    put("    ");
    colour(CYAN);
    put_safely(code->qualified_name ? code->qualified_name : code->name);
    colour(PLAIN);
    put(code->name[0] == '<' ? ", " : "(), ");
    put_safely(code->file);
    if (frame->line)
        putf(":%d", frame->line);
    put_char('\n');
    if (source) {
        put("        ");
        put_safely(source);
        if (changed) {
            colour(YELLOW);
            put("    [file changed since the process started]");
            colour(PLAIN);
        }
        put_char('\n');
    }
    free(source);
    show_locals_text(frame, coloured ? DIM : "", coloured ? PLAIN : "");
}

static void put_native_frame(const struct native_frame *frame) {
    put("    ");
    colour(DIM);
    if (frame->function) {
        put_safely(frame->function);
        putf("+%#llx, ", (unsigned long long)frame->offset);
        put_safely(frame->module);
    } else {
        put("?, ");
        put_safely(frame->module ? frame->module : "no file");
        putf("+%#llx", (unsigned long long)frame->offset);
    }
    colour(PLAIN);
    put_char('\n');
}

/* The frames of a thread that was asked for its C frames, too. */
static int put_mixed(struct dump *dump, const struct dump_thread *thread) {
    const struct mixed *mixed = thread->native;
    for (int i = 0; i < mixed->count; i++) {
        if (mixed->items[i].native)
            put_native_frame(mixed->items[i].native);
        else
            put_frame(dump, &thread->frames[mixed->items[i].frame]);
    }
    if (mixed->trouble) {
        colour(YELLOW);
        put(mixed->stack.count ? "    (C frames end here: " : "    (no C frames: ");
        put_safely(mixed->trouble);
        put(")\n");
        colour(PLAIN);
    }
    return mixed->count;
}

static void put_group(struct dump *dump, const struct group *group) {
    struct dump_thread *thread = group->members[0];
    int shown = 0;
    put_char('\n');
    put_head(dump, group);
    if (!thread->complete) {
        colour(YELLOW);
        if (thread->is_cut)
            putf("    (incomplete: only the innermost %d frames are read)\n", FRAMES_AT_MOST);
        else
            put("    (incomplete: the stack has changed while it was read; inner frames are missing)\n");
        colour(PLAIN);
    }
    if (thread->native)
        shown = put_mixed(dump, thread);
    for (int i = 0; i < thread->frame_count && !thread->native; i++) {
        if (thread->frames[i].hidden)
            continue;
        put_frame(dump, &thread->frames[i]);
        shown++;
    }
    if (!shown && thread->state_address && thread->complete)
        put("    (no Python frame)\n");
}

static void put_process(const struct dump *dump) {
    char text[64];
    time_t now = dump->time;
    struct tm local;
    colour(BOLD);
    putf("%sprocess %d:", dump->options->core ? "core of " : "", dump->target->pid);
    for (const char *at = dump->command; at < dump->command + dump->command_size; at += strlen(at) + 1) {
        put_char(' ');
        put_safely(at);
    }
    if (!dump->command_size)
        putf(" [%s]", dump->target->status.name);
    colour(PLAIN);
    put("\nuser ");
    put_safely(dump->user);
    putf(", Python %s%s (", dump->version, dump->layout.free_threaded ? " free-threaded" : "");
    put_safely(dump->target->python.path);
    putf("), %d thread%s", dump->thread_count, dump->thread_count == 1 ? "" : "s");
    if (dump->interpreter_count > 1)
        putf(", %d interpreters", dump->interpreter_count);
    strftime(text, sizeof text, ", %Y-%m-%d %H:%M:%S", localtime_r(&now, &local));
    put(text);
    put_char('\n');
}

/* What could not be read at all has no text: the line on standard error says why. */
void show_text(struct dump *dump, const char *error) {
    int count;
    if (error && !dump->thread_count)
        return;
    coloured = dump->options->colour;
    put_process(dump);
    struct group *groups = make_groups(dump, dump->options->fold && !dump->options->locals, &count);
    for (int i = 0; groups && i < count; i++)
        put_group(dump, &groups[i]);
    free_groups(groups, count);
    if (error) {
        colour(YELLOW);
        put("\n(not all: ");
        put_safely(error);
        put(")\n");
        colour(PLAIN);
    }
}
