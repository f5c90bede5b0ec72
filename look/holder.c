/* SPDX-License-Identifier: MIT
 * holder.c - `pydblook gil PID`: which thread holds the GIL, and where, in one line for the launcher's user:
 *
 *     1 in re.match(), /srv/shop/parse.py:17
 *
 * That is the innermost function, and the innermost line that is not the standard library's: the one that the
 * reader has written. A second line tells where this thread may be asked to lend the GIL (lend() in pyinjectcode.c), if
 * its Python has a slot for that (PEP 768), which is free, the thread computes, and no audit hook could forbid the script
 * (Python would print that it has):
 *
 *     lend 4242 24 32 304 0 4 512
 *
 * its id as the target counts; in its PyThreadState the offsets of eval_breaker, the bit of it that makes the slot be looked
 * at, and of remote_debugger_support; and within that those of debugger_pending_call and debugger_script_path, and its size.
 */
#include <inttypes.h>
#include <string.h>

#include "dump.h"

#define PLEASE_STOP 32          /* _PY_EVAL_PLEASE_STOP_BIT, 3.14 and 3.15 */

/* The part of a path that names a module of the standard library; NULL where it is none of it. */
static const char *find_module(const char *file) {
    if (!strncmp(file, "<frozen ", 8))
        return file + 8;
    const char *at = strstr(file, "/lib/python3.");
    if (!at || strstr(at, "/site-packages/") || strstr(at, "/dist-packages/"))
        return NULL;
    at = strchr(at + strlen("/lib/python"), '/');
    return at ? at + 1 : NULL;
}

/* re/__init__.py is re, concurrent/futures/thread.py is concurrent.futures.thread. */
static void print_module(FILE *to, const char *module) {
    char name[256];
    snprintf(name, sizeof name, "%s", module);
    size_t length = strlen(name);
    static const char *const ends[] = {">", ".py", "/__init__"};
    for (size_t i = 0; i < sizeof ends / sizeof *ends; i++) {
        size_t size = strlen(ends[i]);
        if (length > size && !strcmp(name + length - size, ends[i]))
            name[length -= size] = 0;
    }
    for (char *c = name; *c; c++)
        if (*c == '/')
            *c = '.';
    print_safely(to, name);
}

static void print_function(FILE *to, const struct dump_frame *frame) {
    const struct code *code = frame->code;
    const char *module = find_module(code->file);
    if (module) {
        print_module(to, module);
        putc('.', to);
    }
    print_safely(to, code->qualified_name ? code->qualified_name : code->name);
    fputs(strcmp(code->name, "<module>") ? "()" : "", to);
}

/* Where a thread is, in words; nothing is printed and -1 returned if it has no frame. */
int print_where(FILE *to, const struct dump_thread *thread) {
    const struct dump_frame *inner = NULL, *own = NULL;
    for (int i = 0; i < thread->frame_count && !own; i++) {
        const struct dump_frame *frame = &thread->frames[i];
        if (frame->hidden)
            continue;
        if (!inner)
            inner = frame;
        if (!find_module(frame->code->file))
            own = frame;
    }
    if (!inner)
        return -1;
    if (!own)
        own = inner;
    fputs("in ", to);
    print_function(to, inner);
    fputs(", ", to);
    print_safely(to, own->code->file);
    if (own->line > 0)
        fprintf(to, ":%d", own->line);
    return 0;
}

void print_slot(FILE *to, struct dump *dump, const struct dump_thread *thread) {
    const struct layout *l = &dump->layout;
    const struct interpreter *one = &dump->interpreters[thread->interpreter];
    int32_t enabled, pending;
    uint64_t hooks, own_hooks;
    if (!l->remote_path_size || l->free_threaded || !one->is_main || thread->state != HOLDS_GIL || thread->system_call != -1
        || read_memory(dump->memory, one->address + l->remote_enabled, &enabled, sizeof enabled) || enabled != 1
        || read_memory(dump->memory, dump->target->python.runtime + l->remote_audits, &hooks, sizeof hooks) || hooks
        || read_memory(dump->memory, one->address + l->remote_own_audits, &own_hooks, sizeof own_hooks) || own_hooks
        || read_memory(dump->memory, thread->state_address + l->thread_remote + l->remote_pending, &pending, sizeof pending) || pending)
        return;
    fprintf(to, "lend %d %" PRId32 " %d %" PRId32 " %" PRId32 " %" PRId32 " %" PRId32 "\n", thread->inner_tid, l->thread_breaker,
            PLEASE_STOP, l->thread_remote, l->remote_pending, l->remote_path, l->remote_path_size);
}
