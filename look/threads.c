/* SPDX-License-Identifier: MIT
 * threads.c - which thread may be borrowed for some microseconds.
 *
 * The stub calls pthread_create, which needs locks of malloc and of the dynamic linker, in a thread
 * that must not be inside of either. Each rule below keeps one accident away:
 *
 *  1 The thread sleeps in a system call that malloc and the linker never make (cpu_x86_64.c). A hung
 *    process nearly always has one. Otherwise a naive call hung for ever in 4 of 60 attaches.
 *  2 futex: glibc's own locks wait with FUTEX_WAIT on the value 2, condition variables and semaphores
 *    with FUTEX_WAIT_BITSET. Value 2 on a word outside of the C library, its heaps and the linker is
 *    a mutex of the program: the last resort, a process that hangs in one has nothing else.
 *  3 read, write: the linker reads the files that it loads, so no regular file. open: only where it
 *    waits for the other end of a FIFO.
 *  4 No signal handler that has interrupted malloc: a signal frame on the stack whose pc is unsafe,
 *    while more signals are blocked than were there, as its own is during a handler. Not more: left over
 *    from an earlier handler (or SA_NODEFER), and the thread is taken after all others.
 *  5 gdb looks once more when it has stopped the thread: still in that very call, at the same place and depth.
 *  6 No strict seccomp (clone would kill it), no kernel worker, not on its way out, not a thread of
 *    ours that an earlier attach has left behind. One that is traced: somebody else is at work here.
 *  7 First those whose system call goes on after a stop, then those that see EINTR.
 *  8 The first thread after all others: gdb stops every thread for it, for any other only that one.
 *    Never the first one while some thread is in state D: gdb would wait for it.
 *  9 First those that have not run while we looked: gdb needs 50 ms to come, they should still be there.
 *    One that comes and goes is a candidate with each safe call in which it was seen: one that forks and waits all
 *    the time was met in the other of the two in nearly every one of 8,000 tries.
 * 10 A thread that runs is judged by its pc when gdb has stopped it: outside of these ranges no lock
 *    is held, because malloc calls nobody back.
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <linux/futex.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "../steps.h"
#include "../wire.h"
#include "look.h"

#define ENOUGH 24               /* so many sleepers are enough to choose from */
#define WATCHES 10              /* more looks, a millisecond apart, where every thread moves */
#define STACK_SEARCHED (64u << 10)
#define HEAP_AT_MOST (64ull << 20)      /* glibc: heaps of threads begin at multiples of this, with their arena */

/* Flags of /proc/PID/task/TID/stat (the kernel's sched.h). */
#define PF_IO_WORKER 0x10
#define PF_USER_WORKER 0x4000

/* ---- where the pc is not safe ---- */

static int provides_malloc(struct target *target, struct elf *elf) {
    static const char *const names[] = {"libc.so.6", "libpthread.so.0", "libdl.so.2", "libgcc_s.so.1", "libstdc++.so.6"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        if (!strcmp(elf->soname, names[i]))
            return 1;
    if (elf == target->linker)
        return 1;
    if (!find_symbol(elf, "malloc"))
        return 0;
    target->own_malloc = 1;
    return 1;
}

void find_unsafe_ranges(struct target *target) {
    for (int i = 0; i < target->image_count; i++) {
        struct elf *elf = &target->images[i];
        if (!provides_malloc(target, elf))
            continue;
        for (int k = 0; k < elf->segment_count; k++) {
            const Elf64_Phdr *p = &elf->segments[k];
            if (p->p_type != PT_LOAD || !(p->p_flags & PF_X))
                continue;
            if (target->unsafe_count == RANGES_AT_MOST) {
                target->unsafe[0] = (struct range){0, UINT64_MAX};      /* then no pc is safe */
                target->unsafe_count = 1;
                return;
            }
            target->unsafe[target->unsafe_count++] =
                (struct range){p->p_vaddr & ~(PAGE - 1), (p->p_vaddr + p->p_memsz + PAGE - 1) & ~(PAGE - 1)};
        }
    }
}

static int is_unsafe_pc(const struct target *target, uint64_t pc) {
    for (int i = 0; i < target->unsafe_count; i++)
        if (pc >= target->unsafe[i].low && pc < target->unsafe[i].high)
            return 1;
    return 0;
}

/* ---- the system call of a thread ---- */

/* A lock that malloc or the linker could hold while it waits? */
static int is_inner_lock(const struct target *target, uint64_t word) {
    for (int i = 0; i < target->image_count; i++) {
        const struct elf *elf = &target->images[i];
        if (is_in(elf, word) && (elf == target->linker || !strncmp(elf->soname, "libc.so", 7)
                                 || !strcmp(elf->soname, "libpthread.so.0") || !strcmp(elf->soname, "libdl.so.2")))
            return 1;
    }
    return target->own_malloc || word % HEAP_AT_MOST < PAGE;
}

static enum thread_class judge_futex(const struct target *target, const struct thread *thread) {
    int operation = thread->argument[1] & FUTEX_CMD_MASK;
    if (operation == FUTEX_WAIT_BITSET)
        return RESTARTS;
    if (operation != FUTEX_WAIT)
        return BUSY;
    if ((uint32_t)thread->argument[2] != 2)
        return RESTARTS;
    return is_inner_lock(target, thread->argument[0]) ? BUSY : LAST_RESORT;
}

static int is_stream(const struct target *target, uint64_t descriptor) {
    char name[32];
    struct statx info;
    snprintf(name, sizeof name, "fd/%u", (unsigned)descriptor);
    /* no question to a file server that may be the very one that hangs */
    if (statx(target->proc, name, AT_STATX_DONT_SYNC | AT_NO_AUTOMOUNT, STATX_TYPE, &info))
        return 0;
    mode_t type = info.stx_mode & S_IFMT;
    return type == S_IFIFO || type == S_IFSOCK || type == S_IFCHR || type == 0;    /* 0: eventfd, timerfd ... */
}

static int waits_for_fifo(const struct target *target, const struct thread *thread) {
    char name[32], wchan[64] = "";
    snprintf(name, sizeof name, "task/%d/wchan", thread->tid);
    return read_proc(target, name, wchan, sizeof wchan) > 0
           && (!strcmp(wchan, "wait_for_partner") || !strcmp(wchan, "fifo_open"));
}

static enum thread_class judge_call(const struct target *target, const struct thread *thread) {
    for (int i = 0; i < call_count; i++) {
        if (calls[i].nr != thread->nr)
            continue;
        int holds = 1;
        switch (calls[i].rule) {
        case ALWAYS: break;
        case IF_WAITING: return judge_futex(target, thread);
        case IF_STREAM: holds = is_stream(target, thread->argument[0]); break;
        case IF_LOCK_COMMAND: holds = thread->argument[1] == F_SETLKW || thread->argument[1] == F_OFD_SETLKW; break;
        case IF_FIFO: holds = waits_for_fifo(target, thread); break;
        }
        return holds ? calls[i].class : BUSY;
    }
    return BUSY;
}

/* System call, registers, and how much it has run; -1 if the thread is gone. */
static int read_call(const struct target *target, struct thread *thread) {
    char name[40], text[256];
    unsigned long long ran, slices;
    snprintf(name, sizeof name, "task/%d/schedstat", thread->tid);
    if (read_proc(target, name, text, sizeof text) > 0 && sscanf(text, "%llu %*u %llu", &ran, &slices) == 2) {
        thread->moved |= thread->slices && (ran != thread->ran || slices != thread->slices);
        thread->ran = ran;
        thread->slices = slices;
    }
    snprintf(name, sizeof name, "task/%d/syscall", thread->tid);
    if (read_proc(target, name, text, sizeof text) <= 0)
        return -1;
    uint64_t *a = thread->argument;
    if (sscanf(text, "%ld %lx %lx %lx %lx %lx %lx %lx %lx", &thread->nr, &a[0], &a[1], &a[2], &a[3], &a[4], &a[5],
               &thread->sp, &thread->pc) != 9) {
        thread->nr = -1;        /* "running", or "-1 sp pc": asleep outside of a call, in a page fault */
        thread->sp = thread->pc = 0;
    }
    return 0;
}

/* ---- what else must hold ---- */

/* Rule 4. Signal handlers that have interrupted safe code do not matter. The mapping may go on behind the stack: from
 * glibc 2.42 on the stacks of many threads are one, with pages between them that cannot be read (MADV_GUARD_INSTALL). */
static int is_in_unsafe_handler(struct target *target, struct thread *thread, uint64_t blocked) {
    static unsigned char stack[STACK_SEARCHED];
    const struct mapping *m = find_mapping(target, thread->sp);
    size_t size = m && m->end - thread->sp < sizeof stack ? m->end - thread->sp : sizeof stack;
    struct signal_frame frame;
    while (m && size && read_memory(&target->memory, thread->sp, stack, size)) {
        uint64_t page = (thread->sp + size - 1) / PAGE * PAGE;
        size = page > thread->sp ? page - thread->sp : 0;
    }
    if (!m || !size)
        return 1;
    for (size_t from = 0; !find_signal_frame(stack, size, thread->sp, from, &frame); from = frame.at + 8) {
        if (!is_unsafe_pc(target, frame.pc))
            continue;
        if (frame.mask != blocked && !(frame.mask & ~blocked))
            return 1;
        thread->doubtful = 1;
    }
    return 0;
}

static int is_ours(const struct status *status) {
    return status->blocked == OUR_SIGNALS_SEEN;
}

/* Everything that needs more than the name of the system call: where the thread is if it can never be borrowed, or NULL. */
static const char *find_obstacle(struct target *target, struct thread *thread, const pid_t own[2], struct status *status) {
    char name[32];
    snprintf(name, sizeof name, "task/%d/status", thread->tid);
    if (read_status(target, name, status))
        return "ending";
    if (status->seccomp == 1)
        return "in strict seccomp mode";
    if (is_ours(status) || (status->nspid && (status->nspid == own[0] || status->nspid == own[1])))
        return "one that blocks all signals, as ours do";
    if (thread->class < BUSY && is_in_unsafe_handler(target, thread, status->blocked))
        return "in a signal handler that has interrupted the C library";
    return NULL;
}

/* May lower the class; -1: refused. */
static int examine(struct target *target, struct thread *thread, const pid_t own[2]) {
    struct status status = {0};
    thread->why = find_obstacle(target, thread, own, &status);
    if (thread->why)
        thread->class = NEVER;
    return thread->class != NEVER && status.tracer ? refuse_traced(target, status.tracer) : 0;
}

/* Has an earlier attach not come through: does a thread of ours still run in the stub? Then the stub must not
 * be written over. In the child of a fork() the note says so, too, but no such thread is there. */
int check_stub_is_free(struct target *target, const struct places *places) {
    struct pydb_note note;
    if (read_memory(&target->memory, places->note, &note, sizeof note) || note.magic != NOTE_MAGIC
        || (note.left && note.phase != NOTE_LOADING && (note.phase != NOTE_ENTERED || note.error))
        || note.phase == NOTE_WRITTEN)
        return 0;
    for (int i = 0; i < target->thread_count; i++) {
        char name[32];
        struct status status;
        snprintf(name, sizeof name, "task/%d/status", target->threads[i].tid);
        if (!read_status(target, name, &status) && is_ours(&status))
            return refuse(target, "earlier attach is not through", "an earlier attach to process %d has not come through "
                          "(its thread %d waits for the dynamic linker?); try again in a moment", target->pid, target->threads[i].tid);
    }
    return 0;
}

/* ---- the choice ---- */

static pid_t leader;

/* Where a thread is that can never be borrowed, as far as its state tells; or NULL. */
static const char *tell_state(const struct target *target, const struct thread *thread) {
    if (thread->state == 'D')
        return "in uninterruptible sleep";
    if (strchr("Tt", thread->state))
        return "stopped";
    if (strchr("ZX", thread->state) || thread->flags & PF_EXITING)
        return "ending";
    if (thread->flags & (PF_IO_WORKER | PF_USER_WORKER))
        return "a worker of the kernel";
    if (thread->tid == leader && target->waiting)
        return "the first one, beside one in uninterruptible sleep";
    return NULL;
}

static int compare_threads(const void *a, const void *b) {
    const struct thread *x = a, *y = b;
    if (x->class != y->class)
        return x->class < y->class ? -1 : 1;
    if (x->doubtful != y->doubtful)
        return x->doubtful - y->doubtful;
    if ((x->tid == leader) != (y->tid == leader))
        return (x->tid == leader) - (y->tid == leader);
    if (x->moved != y->moved)
        return x->moved - y->moved;
    return x->tid - y->tid;
}

/* The best candidates, best first, into chosen[CANDIDATES_AT_MOST]; how many, or -1. */
int choose_threads(struct target *target, const struct places *places, struct thread *chosen) {
    struct pydb_state state;
    pid_t own[2] = {0, 0};
    int sleepers = 0, count = 0;
    leader = target->pid;
    if (places->state && !read_memory(&target->memory, places->state, &state, sizeof state)) {
        own[0] = state.keeper;
        own[1] = state.evaluator;
    }
    for (int i = target->thread_count - 1; i >= 0; i--) {
        struct thread *thread = &target->threads[i];
        thread->class = NEVER;
        thread->why = tell_state(target, thread);
        if (sleepers >= ENOUGH || thread->why || read_call(target, thread))
            continue;
        thread->class = judge_call(target, thread);
        sleepers += thread->class == RESTARTS && thread->tid != leader;
    }
    qsort(target->threads, target->thread_count, sizeof *target->threads, compare_threads);
    for (int i = 0; i < target->thread_count && count < CANDIDATES_AT_MOST / 2 && target->threads[i].class != NEVER; i++) {
        struct thread *thread = &target->threads[i];
        if (examine(target, thread, own))
            return -1;
        if (thread->class != NEVER)
            chosen[count++] = *thread;
    }
    qsort(chosen, count, sizeof *chosen, compare_threads);
    return count;
}

/* For a thread that has moved: judges it again, in every respect. */
static int is_in_safe_call(struct target *target, struct thread *thread) {
    char name[32];
    struct status status;
    snprintf(name, sizeof name, "task/%d/status", thread->tid);
    thread->class = thread->nr < 0 ? BUSY : judge_call(target, thread);
    if (thread->class < BUSY && (read_status(target, name, &status) || is_in_unsafe_handler(target, thread, status.blocked)))
        thread->class = BUSY;
    return thread->class < BUSY;
}

/* A thread that comes and goes: the safe calls in which it is seen, in some more looks, as candidates of their own. */
static int watch_thread(struct target *target, struct thread *chosen, int count, int which) {
    struct thread *kept = &chosen[which];
    for (int look = 0; look < WATCHES && count < CANDIDATES_AT_MOST; look++) {
        struct thread seen = *kept;
        sleep_ms(1);
        if (read_call(target, &seen) || !is_in_safe_call(target, &seen))
            continue;
        int known = 0;
        for (int i = 0; i < count; i++)
            known |= chosen[i].tid == seen.tid && chosen[i].nr == seen.nr && chosen[i].sp == seen.sp && chosen[i].pc == seen.pc;
        if (!known)
            chosen[count++] = seen;
    }
    return count;
}

/* Some time later: who has moved? How many candidates there are then. */
int look_again(struct target *target, struct thread *chosen, int count) {
    int threads = count;
    for (int i = 0; i < threads; i++) {
        struct thread before = chosen[i], *thread = &chosen[i];
        if (read_call(target, thread)) {
            thread->class = BUSY;
            thread->nr = -1;
        } else if (thread->nr != before.nr || thread->sp != before.sp || thread->pc != before.pc) {
            thread->moved = 1;
            is_in_safe_call(target, thread);
            if (before.class < BUSY && count < CANDIDATES_AT_MOST)
                chosen[count++] = before;       /* it may be there again when gdb comes */
        }
    }
    qsort(chosen, threads, sizeof *chosen, compare_threads);
    if (threads && (chosen[0].moved || chosen[0].class >= BUSY))
        for (int i = 0; i < threads && i < 2; i++)
            count = watch_thread(target, chosen, count, i);
    return count;
}

#define TOLD 3

/* There is none to borrow: who is where? */
int refuse_all_threads(struct target *target) {
    char words[512] = "";
    int told = 0, more = 0;
    for (int i = 0; i < target->thread_count; i++) {
        const struct thread *thread = &target->threads[i];
        size_t used = strlen(words);
        if (told == TOLD)
            more++;
        else if (++told)
            snprintf(words + used, sizeof words - used, "%sthread %d is %s", used ? ", " : "", thread->tid,
                     thread->why ? thread->why : "ending");
    }
    if (more)
        snprintf(words + strlen(words), sizeof words - strlen(words), " and %d more", more);
    return refuse(target, "no thread", THREAD_LINE, target->pid, words);
}
