/* SPDX-License-Identifier: MIT
 * runtime.c - from the interpreter in memory to the Python threads: interpreters, thread states, GILs.
 *
 * 3.7 and later have all in _PyRuntime. 3.6 keeps the list of interpreters in a static variable: it is found
 * by what it points to, an interpreter whose threads point back to it. Who holds the GIL there is said by
 * the exported _PyThreadState_Current, who ends the interpreter by _Py_Finalizing, and who waits for the GIL by
 * a futex in the interpreter's own data.
 *
 * A thread state names its thread by the kernel's id (3.11+) or by its pthread_t, whose struct pthread holds
 * the kernel's id: glibc at 720, musl at 48; elsewhere it is looked for.
 */
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>

#include "dump.h"

#define STATES_AT_MOST THREADS_AT_MOST
#define LIST_TRIES 5
#define HOLDER_TRIES 5
#define PTHREAD_SEARCHED 2304

const char *const state_names[] = {
    [STATE_UNKNOWN] = "unknown", [HOLDS_GIL] = "holds the GIL", [COLLECTING] = "collecting garbage",
    [WAITS_FOR_GIL] = "waits for the GIL", [FINALIZING] = "finalizing", [RUNNING] = "running", [IDLE] = "idle",
    [STOPPED] = "stopped", [ENDED] = "ended",
};

/* ---- interpreters ---- */

static int add_interpreter(struct dump *dump, uint64_t address) {
    struct interpreter *more = realloc(dump->interpreters, (dump->interpreter_count + 1) * sizeof *more);
    if (!more)
        return -1;
    dump->interpreters = more;
    more[dump->interpreter_count++] = (struct interpreter){.address = address};
    return 0;
}

static uint64_t find_first_interpreter(struct dump *dump, uint64_t *main) {
    const struct layout *l = &dump->layout;
    uint64_t runtime = dump->target->python.runtime, first;
    *main = 0;
    if (!l->runtime_interpreters)
        return search_interpreter(dump);
    if (read_memory(dump->memory, runtime + l->runtime_interpreters, &first, 8)
        || read_memory(dump->memory, runtime + l->runtime_main, main, 8))
        return 0;
    return first;
}

/* The list of interpreters, the main one first. */
int read_interpreters(struct dump *dump) {
    const struct layout *l = &dump->layout;
    uint64_t main, at = find_first_interpreter(dump, &main), next;
    for (; at && dump->interpreter_count < INTERPRETERS_AT_MOST; at = next) {
        for (int i = 0; i < dump->interpreter_count; i++)
            if (dump->interpreters[i].address == at)
                return -1;
        if (at & 7 || read_memory(dump->memory, at + l->interpreter_next, &next, 8) || add_interpreter(dump, at))
            return -1;
        struct interpreter *one = &dump->interpreters[dump->interpreter_count - 1];
        if (l->interpreter_id && read_memory(dump->memory, at + l->interpreter_id, &one->id, 8))
            return -1;
        one->is_main = l->runtime_main ? at == main : !next;
    }
    int n = dump->interpreter_count;
    for (int i = 0; i < n / 2; i++) {           /* newest first there */
        struct interpreter swap = dump->interpreters[i];
        dump->interpreters[i] = dump->interpreters[n - 1 - i];
        dump->interpreters[n - 1 - i] = swap;
    }
    for (int i = 0; i < n && !l->interpreter_id; i++)
        dump->interpreters[i].id = i;
    return n ? 0 : -1;
}

/* Who holds each GIL, and who ends the interpreter: of this moment. */
void read_gils(struct dump *dump) {
    const struct layout *l = &dump->layout;
    struct target *target = dump->target;
    uint64_t runtime = target->python.runtime;
    dump->finalizing = 0;
    uint64_t finalizing = l->runtime_finalizing ? runtime + l->runtime_finalizing
                          : find_symbol((struct elf *)target->python.image, "_Py_Finalizing");
    if (finalizing)
        read_memory(dump->memory, finalizing, &dump->finalizing, 8);
    if (l->runtime_main_thread && !dump->main_ident)
        read_memory(dump->memory, runtime + l->runtime_main_thread, &dump->main_ident, 8);
    uint64_t current = l->gil_size ? 0 : find_symbol((struct elf *)target->python.image, "_PyThreadState_Current");
    for (int i = 0; i < dump->interpreter_count; i++) {
        struct interpreter *one = &dump->interpreters[i];
        one->gil = one->gil_holder = one->gil_locked = one->collecting = 0;
        if (current) {
            if (!read_memory(dump->memory, current, &one->gil_holder, 8))
                one->gil_locked = one->gil_holder != 0;
            continue;
        }
        if (l->interpreter_gil)
            read_memory(dump->memory, one->address + l->interpreter_gil, &one->gil, 8);
        else if (l->runtime_gil)
            one->gil = runtime + l->runtime_gil;
        if (one->gil && (read_memory(dump->memory, one->gil + l->gil_holder, &one->gil_holder, 8)
                         || read_memory(dump->memory, one->gil + l->gil_locked, &one->gil_locked, 4)))
            one->gil = 0;
        uint64_t collecting = l->interpreter_gc ? one->address + l->interpreter_gc + l->gc_collecting
                              : runtime + l->runtime_collecting;
        if (l->gc_collecting)
            read_memory(dump->memory, collecting, &one->collecting, 4);
    }
}

/* ---- seals ----
 *
 * The Python frames and objects of a thread change while it holds the GIL, and each time that another one than
 * the last takes it, switch_number is one more. So what was read between two equal seals was still, but for what
 * belongs to the last holder: it may let go of the GIL and take it again without being counted. Up to 3.11 a
 * thread may change its state without a word to the GIL (PyThreadState_Swap): holders are known by their ident.
 */

static struct seal read_seal(struct dump *dump, const struct interpreter *one) {
    const struct layout *l = &dump->layout;
    struct seal seal = {0};
    if (!one->gil || !l->gil_switches || l->free_threaded)
        return seal;
    struct piece pieces[2] = {{one->gil + l->gil_holder, &seal.holder, 8, 0}, {one->gil + l->gil_switches, &seal.switches, 8, 0}};
    seal.known = !read_pieces(dump->memory, pieces, 2);
    return seal;
}

/* Before the reading ... */
void seal_gils(struct dump *dump) {
    for (int i = 0; i < dump->interpreter_count; i++) {
        struct interpreter *one = &dump->interpreters[i];
        struct seal seal = read_seal(dump, one);
        if (one->seal.known && seal.holder == one->seal.holder)
            seal.holder_ident = one->seal.holder_ident;
        else if (!seal.holder || read_memory(dump->memory, seal.holder + dump->layout.thread_ident, &seal.holder_ident, 8))
            seal.holder_ident = 0;      /* nobody, or it has ended */
        one->seal = seal;
    }
}

/* ... and behind it. */
void check_seals(struct dump *dump) {
    for (int i = 0; i < dump->interpreter_count; i++) {
        struct interpreter *one = &dump->interpreters[i];
        struct seal now = read_seal(dump, one);
        one->seal.holds = one->seal.known && now.known && now.holder == one->seal.holder && now.switches == one->seal.switches;
    }
}

/* Does the seal say anything about this thread? */
int can_be_sealed(const struct dump *dump, const struct dump_thread *thread) {
    const struct seal *seal = &dump->interpreters[thread->interpreter].seal;
    return seal->known && seal->holder != thread->state_address && seal->holder_ident != thread->ident;
}

/* Was the thread still while it was read? */
int is_sealed(const struct dump *dump, const struct dump_thread *thread) {
    return dump->interpreters[thread->interpreter].seal.holds && can_be_sealed(dump, thread);
}

/* ---- thread states ---- */

struct matching {
    struct dump *dump;
    struct dump_thread **by_id;
    int offset;                 /* of the kernel's id in struct pthread; -1: not known yet */
    struct dump_thread *more;   /* second states of threads: one that runs code of another interpreter has two */
    int more_count;
};

static int compare_ids(const void *a, const void *b) {
    const struct dump_thread *one = *(struct dump_thread *const *)a, *two = *(struct dump_thread *const *)b;
    return one->inner_tid < two->inner_tid ? -1 : one->inner_tid > two->inner_tid;
}

static struct dump_thread *find_thread(const struct matching *matching, uint64_t id) {
    struct dump_thread wanted = {.inner_tid = (pid_t)id}, *key = &wanted;
    if (!id || id > INT32_MAX)
        return NULL;
    struct dump_thread **found = bsearch(&key, matching->by_id, matching->dump->thread_count, sizeof key, compare_ids);
    return found ? *found : NULL;
}

/* The thread whose struct pthread is at `ident`. */
static struct dump_thread *find_by_pthread(struct matching *matching, uint64_t ident) {
    static const int usual[] = {720, 48};
    uint32_t words[PTHREAD_SEARCHED / 4];
    struct dump_thread *found;
    struct memory *memory = matching->dump->memory;
    if (matching->offset >= 0)
        return read_cached(memory, ident + matching->offset, words, 4) ? NULL : find_thread(matching, words[0]);
    if (ident & 7)
        return NULL;
    for (size_t i = 0; i < sizeof usual / sizeof *usual; i++) {
        if (!read_cached(memory, ident + usual[i], words, 4) && (found = find_thread(matching, words[0]))) {
            matching->offset = usual[i];
            return found;
        }
    }
    size_t size = PAGE - ident % PAGE < sizeof words ? PAGE - ident % PAGE : sizeof words;
    if (read_cached(memory, ident, words, size))
        return NULL;
    for (size_t i = 0; i < size / 4; i++) {
        if ((found = find_thread(matching, words[i]))) {
            matching->offset = 4 * i;
            return found;
        }
    }
    return NULL;
}

static int has_frame(struct dump *dump, uint64_t state) {
    const struct layout *l = &dump->layout;
    uint64_t at;
    if (!l->thread_cframe)
        return !read_cached(dump->memory, state + l->thread_frame, &at, 8) && at;
    return !read_cached(dump->memory, state + l->thread_cframe, &at, 8) && at
           && !read_cached(dump->memory, at + l->cframe_frame, &at, 8) && at;
}

/* Several states of one thread in one interpreter. Up to 3.11 a state that was made for a thread to come has the
 * ident of its creator, and no frame; it stands before the creator's own in the list. */
static int is_better(struct dump *dump, const struct dump_thread *thread, uint64_t state) {
    if (!thread->state_address)
        return 1;
    return has_frame(dump, state) || !has_frame(dump, thread->state_address);
}

/* A thread that runs code of another interpreter has a state in each. Idle ones of threads that have made an
 * interpreter have no frame. */
static int add_second(struct matching *matching, const struct dump_thread *thread, uint64_t at, uint64_t ident, int interpreter) {
    if (!has_frame(matching->dump, at))
        return 0;
    struct dump_thread *more = matching->more_count >= THREADS_AT_MOST ? NULL
                               : realloc(matching->more, (matching->more_count + 1) * sizeof *more);
    if (!more)
        return -1;
    matching->more = more;
    more += matching->more_count++;
    *more = *thread;
    more->state_address = at;
    more->ident = ident;
    more->interpreter = interpreter;
    more->is_second = 1;
    return 0;
}

/* Behind the threads: their second states. */
static int append_seconds(struct dump *dump, const struct matching *matching) {
    struct dump_thread *all = matching->more_count
                              ? realloc(dump->threads, (dump->thread_count + matching->more_count) * sizeof *all) : NULL;
    if (!matching->more_count)
        return 0;
    if (!all)
        return -1;
    dump->threads = all;
    memcpy(all + dump->thread_count, matching->more, matching->more_count * sizeof *all);
    dump->thread_count += matching->more_count;
    return 0;
}

static int take_state(struct matching *matching, uint64_t at, int interpreter, uint64_t *next) {
    struct dump *dump = matching->dump;
    const struct layout *l = &dump->layout;
    uint64_t back, ident, native = 0;
    if (at & 7 || read_cached(dump->memory, at + l->thread_interpreter, &back, 8)
        || back != dump->interpreters[interpreter].address || read_cached(dump->memory, at + l->thread_next, next, 8)
        || read_cached(dump->memory, at + l->thread_ident, &ident, 8)
        || (l->thread_native_id && read_cached(dump->memory, at + l->thread_native_id, &native, 8)))
        return -1;
    struct dump_thread *thread = find_thread(matching, native);
    if (!thread && ident)
        thread = find_by_pthread(matching, ident);
    if (!thread || thread->kernel_state == 'Z' || thread->kernel_state == 'X')
        return 0;               /* of a thread that has ended */
    if (thread->state_address && thread->interpreter != interpreter)
        return add_second(matching, thread, at, ident, interpreter);
    if (!is_better(dump, thread, at))
        return 0;
    thread->state_address = at;
    thread->ident = ident;
    thread->interpreter = interpreter;
    return 0;
}

static int match_states_of(struct matching *matching, int interpreter) {
    struct dump *dump = matching->dump;
    uint64_t at, next = 0;
    if (read_cached(dump->memory, dump->interpreters[interpreter].address + dump->layout.interpreter_threads, &at, 8))
        return -1;
    for (int i = 0; at; i++, at = next)
        if (i == STATES_AT_MOST || take_state(matching, at, interpreter, &next))
            return -1;
    return 0;
}

/* Gives each thread its Python state. A list that changes under us is read again. -1: it did so for ever. */
int match_states(struct dump *dump) {
    struct matching matching = {dump, calloc(dump->thread_count + 1, sizeof *matching.by_id), -1, NULL, 0};
    int failed = -1;
    if (!matching.by_id)
        return -1;
    for (int i = 0; i < dump->thread_count; i++)
        matching.by_id[i] = &dump->threads[i];
    qsort(matching.by_id, dump->thread_count, sizeof *matching.by_id, compare_ids);
    for (int try = 0; failed && try < LIST_TRIES; try++) {
        failed = matching.more_count = 0;
        forget_cached(dump->memory);
        for (int i = 0; i < dump->thread_count; i++)
            dump->threads[i].state_address = 0, dump->threads[i].interpreter = -1;
        for (int i = 0; i < dump->interpreter_count; i++)
            failed |= match_states_of(&matching, i);
    }
    failed |= append_seconds(dump, &matching);
    free(matching.by_id);
    free(matching.more);
    return failed;
}

/* ---- what a thread does ---- */

static int waits_for_gil(const struct dump *dump, const struct dump_thread *thread, const struct interpreter *one) {
    if (thread->system_call != SYS_futex)
        return 0;
    if (dump->layout.gil_size)
        return one->gil && thread->argument >= one->gil && thread->argument < one->gil + dump->layout.gil_size;
    return is_in(dump->target->python.image, thread->argument);
}

static struct dump_thread *find_holder(struct dump *dump, const struct interpreter *one) {
    for (int i = 0; one->gil_locked == 1 && i < dump->thread_count; i++)
        if (dump->threads[i].state_address && dump->threads[i].state_address == one->gil_holder)
            return &dump->threads[i];
    return NULL;
}

/* /proc was read some time before the GIL: the holder's system call is read again, until the GIL is with the
 * same one before and after it. */
void settle_holders(struct dump *dump) {
    for (int i = 0; i < dump->interpreter_count; i++) {
        struct interpreter *one = &dump->interpreters[i];
        for (int try = 0; try < HOLDER_TRIES; try++) {
            struct dump_thread *holder = find_holder(dump, one);
            uint64_t before = one->gil_holder;
            if (!holder)
                break;
            read_call_again(dump, holder);
            read_gils(dump);
            if (one->gil_holder != before || one->gil_locked != 1)
                continue;
            if (waits_for_gil(dump, holder, one))       /* it has got it, and is on its way out */
                holder->system_call = -1;
            break;
        }
    }
}

void tell_state(struct dump *dump, struct dump_thread *thread) {
    const struct interpreter *one = thread->state_address ? &dump->interpreters[thread->interpreter] : NULL;
    char kernel = thread->kernel_state;
    if (kernel == 'Z' || kernel == 'X')
        thread->state = ENDED;
    else if (one && dump->finalizing == thread->state_address)
        thread->state = FINALIZING;
    else if (one && one->gil_locked == 1 && one->gil_holder == thread->state_address)
        thread->state = one->collecting == 1 ? COLLECTING : HOLDS_GIL;
    else if (one && waits_for_gil(dump, thread, one))
        thread->state = WAITS_FOR_GIL;
    else if (kernel == 'T' || kernel == 't')
        thread->state = STOPPED;
    else if (thread->system_call >= 0)
        thread->state = IDLE;
    else if (thread->system_call == -1 || kernel == 'R')
        thread->state = RUNNING;
    else
        thread->state = kernel == 'S' || kernel == 'D' ? IDLE : STATE_UNKNOWN;
}
