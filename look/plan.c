/* SPDX-License-Identifier: MIT
 * plan.c - `pydblook plan`: everything that the attach needs to know, as lines that gdb can source.
 *
 * No text of the target reaches a line unless it is free of control characters and backslashes:
 * gdb would take what follows for a command.
 */
#define _GNU_SOURCE
#include <string.h>
#include <unistd.h>

#include "../steps.h"
#include "look.h"

#define DLOPEN_INSIDE "__libc_dlopen_mode"      /* glibc before 2.34, program without libdl */

#define ROUND_MS 2              /* we look again so often where no thread can be borrowed */

struct addresses {
    uint64_t pthread_create, pthread_detach, dlopen, errno_location;
};

/* In libc.so.6 from glibc 2.34 on, before in libraries of their own. */
static int find_addresses(struct target *target, struct addresses *found) {
    struct elf *libc = find_image(target, "libc.so.6");
    struct elf *libpthread = find_image(target, "libpthread.so.0"), *libdl = find_image(target, "libdl.so.2");
    *found = (struct addresses){find_function(libc, "pthread_create"), find_function(libc, "pthread_detach"),
                                find_function(libc, "dlopen"), find_function(libc, "__errno_location")};
    if (libpthread && !found->pthread_create)
        found->pthread_create = find_function(libpthread, "pthread_create");
    if (libpthread && !found->pthread_detach)
        found->pthread_detach = find_function(libpthread, "pthread_detach");
    if (libdl && !found->dlopen)
        found->dlopen = find_function(libdl, "dlopen");
    if (!found->dlopen)
        found->dlopen = find_function(libc, DLOPEN_INSIDE);
    if (found->pthread_create && found->pthread_detach && found->dlopen && found->errno_location)
        return 0;
    return refuse(target, "no pthread_create", "process %d has no %s to call in its C library", target->pid,
                  !found->pthread_create ? "pthread_create" : !found->pthread_detach ? "pthread_detach"
                  : !found->dlopen ? "dlopen" : "__errno_location");
}

static int can_be_said(const char *text) {
    for (const char *c = text; *c; c++)
        if ((unsigned char)*c < 0x20 || *c == 0x7f || *c == '\\')
            return 0;
    return text[0] != 0;
}

static void print_number(const char *name, uint64_t value) {
    printf("set $%s = %#llx\n", name, (unsigned long long)value);
}

static void print_target(const struct target *target, const struct places *places) {
    printf("# version %d.%d\n", target->python.version >> 8, target->python.version & 0xff);
    if (can_be_said(target->python.path))
        printf("# python %s\n", target->python.path);
    for (int i = 0; i < places->directory_count; i++)
        printf("# place %s\n", places->directories[i]);
    printf("set $pid = %d\nset $start = %llu\nset $nspid = %d\nset $uid = %u\nset $gid = %u\n", target->pid, target->start,
           target->status.nspid, target->status.uid, target->status.gid);
    print_number("version", target->python.version);
    printf("set $threads = %d\n", target->thread_count);
}

static void print_addresses(const struct addresses *found, const struct places *places) {
    print_number("pthread_create", found->pthread_create);
    print_number("pthread_detach", found->pthread_detach);
    print_number("dlopen", places->library ? 0 : found->dlopen);
    print_number("errno_location", found->errno_location);
    print_number("stub", places->stub);
    print_number("stub_room", places->stub_room);
    print_number("note", places->note);
    print_number("note_room", places->note_room);
    print_number("library", places->library);
    print_number("state", places->state);
    print_number("entry", places->entry);
}

static void print_ranges(const struct target *target, const struct places *places) {
    int count = target->unsafe_count;
    for (int i = 0; i < count; i++)
        printf("set $lo%d = %#llx\nset $hi%d = %#llx\n", i, (unsigned long long)target->unsafe[i].low,
               i, (unsigned long long)target->unsafe[i].high);
    printf("set $lo%d = %#llx\nset $hi%d = %#llx\n", count, (unsigned long long)places->stub,
           count, (unsigned long long)(places->stub + places->stub_room));
    printf("set $ranges = %d\n", count + 1);
}

static void print_candidates(const struct thread *chosen, int count) {
    for (int i = 0; i < count; i++) {
        const struct thread *t = &chosen[i];
        int judged = t->class < BUSY;
        printf("set $tid%d = %d\nset $nr%d = %ld\nset $sp%d = %#llx\nset $pc%d = %#llx\n", i, t->tid, i, judged ? t->nr : -1,
               i, judged ? (unsigned long long)t->sp : 0, i, judged ? (unsigned long long)t->pc : 0);
    }
    printf("set $candidates = %d\n", count);
}

int print_plan(struct target *target, const struct options *options) {
    struct addresses found;
    struct places places = {0};
    struct thread chosen[CANDIDATES_AT_MOST];
    char byte;
    if (find_addresses(target, &found) || find_library(target, options->library, &places)
        || find_stub_place(target, &places) || find_note_place(target, &places) || check_stub_is_free(target, &places)
        || (!places.library && find_directories(target, &places)))
        return -1;
    tell_time("places");
    find_unsafe_ranges(target);
    int count = choose_threads(target, &places, chosen);
    /* The only thread may be the parent in a vfork(), or in a signal handler, for some milliseconds. */
    for (double end = now_ms() + THREAD_MS; count == 0 && now_ms() < end; ) {
        sleep_ms(ROUND_MS);
        target->thread_count = target->waiting = 0;
        count = read_threads(target) ? -1 : choose_threads(target, &places, chosen);
    }
    if (count < 0 || (count == 0 && check_waiting(target)))
        return -1;
    tell_time("threads");
    count = look_again(target, chosen, count);
    if (!count)
        return refuse_all_threads(target);
    /* Still the same address space? After exec all of this would be wrong, and this descriptor empty. */
    if (pread(target->memory.fd, &byte, 1, target->libc->mapping->start) != 1)
        return refuse(target, "gone", "process %d has ended or become another program", target->pid);
    print_target(target, &places);
    print_addresses(&found, &places);
    print_ranges(target, &places);
    print_candidates(chosen, count);
    print_prices(target, chosen, count);
    return 0;
}
