/* SPDX-License-Identifier: MIT
 * frames.c - the stack of one thread, innermost frame first, and whether it is still that.
 *
 *   to 3.10     tstate->frame, PyFrameObject.f_back; each frame is an object of its own
 *   3.11, 3.12  tstate->cframe->current_frame, _PyInterpreterFrame.previous; the frames of a thread lie one
 *               behind the other in its data stack, those of generators in the generator
 *   3.13+       tstate->current_frame; from 3.14 on pointers of frames carry tags in their lowest bits
 *
 * The running instruction is an index (to 3.10), or a pointer into the code object (3.11+; free-threaded 3.14+:
 * into the thread's own copy of its bytecode).
 *
 * Not shown, as sys._current_frames() and faulthandler do not: shims between C and Python (owner C stack
 * or interpreter, code None or of no function), and frames that have not got to their first instruction.
 *
 * Threads run while we read. What was read under a seal of the GIL (runtime.c) was still, and so was a thread that
 * has not come to a processor (kernel.c). The stack of the GIL's holder, and all where there is no seal, are
 * compared: each frame is read several times, and all must be the same but for the instruction of the innermost
 * one: it is running, and every value is a true one. A mixture of two moments may come twice, but hardly a dozen
 * times. When a stack never stands still, the outer frames that did are kept and the thread is marked as incomplete.
 */
#include <stdlib.h>
#include <string.h>

#include "dump.h"

#define TRIES 150
#define SEALED_TRIES 20         /* before a stack that has a seal is compared */
#define TIMES_RUNNING 12        /* comparisons of a stack that moves */
#define PAUSE_AT_MOST 2048      /* rounds of nothing between them: a microsecond or two */
#define WINDOWS 256u            /* pages kept during one walk: a power of 2 */
#define AHEAD_AT_MOST 64
#define PAGES_OF_PIECE 4
#define PAGES_AHEAD 16
#define NEED_AT_MOST 256
#define GAP 1024                /* frames so near to each other are compared in one piece */
#define SPAN 16384

#define OF_GENERATORS (0x20 | 0x80 | 0x200)     /* CO_GENERATOR, CO_COROUTINE, CO_ASYNC_GENERATOR */

enum {OWNED_BY_THREAD, OWNED_BY_GENERATOR, OWNED_BY_FRAME_OBJECT, OWNED_BY_C};

/* Pages read in this walk: the frames of a thread lie side by side. */
static struct {
    uint64_t start[WINDOWS];
    unsigned char bytes[WINDOWS][PAGE];
    uint64_t last;
    int ahead;
} windows;

static int need_of(const struct layout *l) {
    static int32_t need;
    static const struct layout *of;
    if (of != l) {
        int32_t ends[] = {l->frame_previous + 8, l->frame_code + 8, l->frame_instruction + 8, l->frame_owner + 1,
                          l->frame_bytecode ? l->frame_bytecode + 4 : 0};
        need = 0;
        for (size_t i = 0; i < sizeof ends / sizeof *ends; i++)
            if (ends[i] > need)
                need = ends[i];
        of = l;
    }
    return need;
}

static uint64_t get_pointer(const unsigned char *bytes, int32_t at) {
    uint64_t value;
    memcpy(&value, bytes + at, sizeof value);
    return value;
}

/* From 3.14 on the lowest bits of a _PyStackRef are tags. */
static uint64_t without_tags(const struct layout *l, uint64_t value) {
    return l->version >= 0x030e ? value & ~7ull : value;
}

/* Reads pages from `start` downwards, where the caller's frames are, more with each call. From 3.11 on the pieces of
 * a deep stack have 4 pages, and lie anywhere. */
static void read_windows(struct dump *dump, uint64_t start) {
    struct piece pieces[PAGES_AHEAD];
    int has_pieces = dump->layout.version >= 0x030b, grows_down = has_pieces && start == windows.last - PAGE;
    windows.ahead = !has_pieces || !windows.last ? 1 : !grows_down ? PAGES_OF_PIECE
                    : windows.ahead * 4 > PAGES_AHEAD ? PAGES_AHEAD : windows.ahead * 4;
    int n = 0;
    for (; n < windows.ahead; n++) {
        unsigned at = start / PAGE % WINDOWS;
        pieces[n] = (struct piece){start, windows.bytes[at], PAGE, 0};
        windows.start[at] = 0;
        windows.last = start;
        start -= PAGE;
    }
    read_pieces(dump->memory, pieces, n);
    for (int i = 0; i < n; i++)
        if (pieces[i].done)
            windows.start[pieces[i].address / PAGE % WINDOWS] = pieces[i].address;
}

static int read_frame_bytes(struct dump *dump, uint64_t address, unsigned char *to, size_t size) {
    for (size_t done = 0; done < size;) {
        uint64_t page = (address + done) & ~(PAGE - 1);
        size_t at = address + done - page, piece = PAGE - at < size - done ? PAGE - at : size - done;
        unsigned window = page / PAGE % WINDOWS;
        if (!page)
            return -1;
        if (windows.start[window] != page)
            read_windows(dump, page);
        if (windows.start[window] != page)
            return read_memory(dump->memory, address, to, size);
        memcpy(to + done, windows.bytes[window] + at, piece);
        done += piece;
    }
    return 0;
}

static void parse_frame(const struct layout *l, const unsigned char *bytes, struct dump_frame *frame) {
    frame->previous = get_pointer(bytes, l->frame_previous);
    frame->code_address = without_tags(l, get_pointer(bytes, l->frame_code));
    frame->owner = l->frame_owner ? bytes[l->frame_owner] : OWNED_BY_THREAD;
    if (l->version <= 0x030a) {
        int32_t index;
        memcpy(&index, bytes + l->frame_instruction, sizeof index);
        frame->instruction_pointer = (int64_t)index;
    } else {
        frame->instruction_pointer = get_pointer(bytes, l->frame_instruction);
    }
    frame->bytecode = 0;
    if (l->frame_bytecode)
        memcpy(&frame->bytecode, bytes + l->frame_bytecode, 4);
}

/* Free-threaded 3.14+: where this thread's copy of the bytecode begins. _PyCodeArray: size, entries. */
static uint64_t find_bytecode(struct dump *dump, const struct dump_frame *frame) {
    uint64_t array, size, at;
    const struct layout *l = &dump->layout;
    if (!l->code_thread_local || frame->bytecode <= 0)
        return frame->code->adaptive;
    if (read_memory(dump->memory, frame->code_address + l->code_thread_local, &array, 8)
        || read_memory(dump->memory, array, &size, 8) || (uint64_t)frame->bytecode >= size
        || read_memory(dump->memory, array + 8 + 8ull * frame->bytecode, &at, 8))
        return 0;
    return at;
}

/* Recursion asks for the same line again and again. */
static int find_line_again(struct dump *dump, struct code *code, int instruction) {
    if (!code->last_line || code->last_instruction != instruction) {
        code->last_line = find_line(dump, code, instruction);
        code->last_instruction = instruction;
    }
    return code->last_line;
}

/* The code object, the instruction and the line. -1: this is no frame. */
static int understand_frame(struct dump *dump, struct dump_frame *frame) {
    const struct layout *l = &dump->layout;
    struct code *code = NULL;
    frame->locals = frame->address + l->frame_locals;
    frame->hidden = 0;
    frame->line = 0;
    frame->code = NULL;
    if (frame->owner >= OWNED_BY_C && l->version >= 0x030c) {
        frame->hidden = 1;
        return 0;
    }
    if (!(frame->code = code = find_code(dump, frame->code_address)))
        return -1;
    if (l->version <= 0x030a) {
        frame->instruction = (int)frame->instruction_pointer;
        if (l->version == 0x030a && frame->instruction > 0 && frame->instruction <= INT32_MAX / 2)
            frame->instruction *= 2;
    } else {
        uint64_t start = find_bytecode(dump, frame);
        int64_t at = frame->instruction_pointer - start;
        if (!start || at < -64 || at > INT32_MAX)
            return -1;
        frame->instruction = at;
        frame->hidden = frame->owner != OWNED_BY_GENERATOR && at < 2ll * code->first_traceable;
    }
    frame->line = find_line_again(dump, code, frame->instruction);
    return 0;
}

static int read_top(struct dump *dump, struct dump_thread *thread) {
    const struct layout *l = &dump->layout;
    thread->cframe = 0;
    if (!l->thread_cframe)
        return read_memory(dump->memory, thread->state_address + l->thread_frame, &thread->top, 8);
    if (read_memory(dump->memory, thread->state_address + l->thread_cframe, &thread->cframe, 8))
        return -1;
    thread->top = 0;
    return thread->cframe ? read_memory(dump->memory, thread->cframe + l->cframe_frame, &thread->top, 8) : 0;
}

/* For the first walks of many threads: where their stacks begin and the first page of each, in three calls. */
void read_ahead(struct dump *dump, struct dump_thread *threads, int count) {
    const struct layout *l = &dump->layout;
    struct piece pieces[AHEAD_AT_MOST];
    int owner[AHEAD_AT_MOST], n = 0, left = 0;
    memset(windows.start, 0, sizeof windows.start);
    for (int i = 0; i < count && n < AHEAD_AT_MOST; i++) {
        struct dump_thread *thread = &threads[i];
        if (!thread->state_address)
            continue;
        thread->cframe = thread->top = 0;
        pieces[n] = l->thread_cframe ? (struct piece){thread->state_address + l->thread_cframe, &thread->cframe, 8, 0}
                    : (struct piece){thread->state_address + l->thread_frame, &thread->top, 8, 0};
        owner[n++] = i;
    }
    read_pieces(dump->memory, pieces, n);
    for (int i = 0; i < n; i++) {
        struct dump_thread *thread = &threads[owner[i]];
        if (!pieces[i].done)
            continue;
        thread->is_ahead = 1;
        if (thread->cframe) {
            owner[left] = owner[i];
            pieces[left++] = (struct piece){thread->cframe + l->cframe_frame, &thread->top, 8, 0};
        }
    }
    read_pieces(dump->memory, pieces, left);
    for (int i = 0; i < left; i++)
        threads[owner[i]].is_ahead = pieces[i].done;
    n = 0;
    for (int i = 0; i < count && n < AHEAD_AT_MOST; i++) {
        uint64_t page = threads[i].is_ahead ? threads[i].top & ~(PAGE - 1) : 0;
        unsigned window = page / PAGE % WINDOWS;
        if (!page || windows.start[window])
            continue;
        windows.start[window] = page;
        pieces[n++] = (struct piece){page, windows.bytes[window], PAGE, 0};
    }
    read_pieces(dump->memory, pieces, n);
    for (int i = 0; i < n; i++)
        if (!pieces[i].done)
            windows.start[pieces[i].address / PAGE % WINDOWS] = 0;
}

static int add_frame(struct dump *dump, struct dump_thread *thread) {
    if (dump->all_frames + thread->frame_count >= ALL_FRAMES_AT_MOST)
        return -1;
    if (thread->frame_count == thread->room) {
        int more = thread->room ? 2 * thread->room : 16;
        struct dump_frame *frames = realloc(thread->frames, more * sizeof *frames);
        if (!frames)
            return -1;
        thread->frames = frames;
        thread->room = more;
    }
    memset(&thread->frames[thread->frame_count], 0, sizeof *thread->frames);
    return 0;
}

/* One walk. -1: it did not come to its end in an orderly way. */
static int walk(struct dump *dump, struct dump_thread *thread) {
    unsigned char bytes[NEED_AT_MOST];
    int need = need_of(&dump->layout), mark = 64;
    windows.last = windows.ahead = 0;
    thread->frame_count = thread->is_cut = 0;
    if (need > NEED_AT_MOST)
        return -1;
    if (!thread->is_ahead) {
        memset(windows.start, 0, sizeof windows.start);
        if (read_top(dump, thread))
            return -1;
    }
    thread->is_ahead = 0;
    uint64_t seen = 0;
    for (uint64_t at = thread->top; at; thread->frame_count++) {
        if (thread->frame_count == FRAMES_AT_MOST) {
            thread->is_cut = 1;
            break;
        }
        if (at % 8 || at == seen || add_frame(dump, thread) || read_frame_bytes(dump, at, bytes, need))
            return -1;
        struct dump_frame *frame = &thread->frames[thread->frame_count];
        frame->address = at;
        parse_frame(&dump->layout, bytes, frame);
        if (understand_frame(dump, frame))
            return -1;
        if (thread->frame_count == mark)        /* a cycle comes by here again */
            seen = at, mark *= 2;
        at = frame->previous;
    }
    return 0;
}

/* A first walk, for whoever has a seal; room in the target's budget is taken up until read_frames. */
void walk_frames(struct dump *dump, struct dump_thread *thread) {
    thread->walked = !walk(dump, thread);
    thread->complete = 1;
    dump->all_frames += thread->frame_count;
}

/* The pieces that hold frames first ... of a thread; neighbours go into one. */
static int gather(const struct dump_thread *thread, int first, int need, unsigned char *buffer, size_t room,
                  struct piece *pieces, int pieces_at_most, int *piece_of, int *count) {
    size_t used = 0;
    int n = 0, i = first;
    for (; i < thread->frame_count; i++) {
        uint64_t low = thread->frames[i].address, high = low + need;
        struct piece *last = n ? &pieces[n - 1] : NULL;
        if (last && low < last->address && last->address - low < GAP && last->address + last->size - low <= SPAN
            && used + (last->address - low) <= room) {
            used += last->address - low;
            last->size += last->address - low;
            last->address = low;
        } else {
            if (n == pieces_at_most || used + need > room)
                break;
            pieces[n++] = (struct piece){low, NULL, high - low, 0};
            used += need;
        }
        piece_of[i - first] = n - 1;
    }
    size_t at = 0;
    for (int k = 0; k < n; k++) {
        pieces[k].to = buffer + at;
        at += pieces[k].size;
    }
    *count = n;
    return i - first;
}

#define PIECES 128
#define FRAMES_AT_ONCE 512

/* The pieces that tell where a stack begins. */
static int gather_top(const struct dump *dump, const struct dump_thread *thread, uint64_t *now, struct piece *pieces) {
    const struct layout *l = &dump->layout;
    if (!l->thread_cframe) {
        pieces[0] = (struct piece){thread->state_address + l->thread_frame, &now[0], 8, 0};
        return 1;
    }
    pieces[0] = (struct piece){thread->state_address + l->thread_cframe, &now[1], 8, 0};
    pieces[1] = (struct piece){thread->cframe + l->cframe_frame, &now[0], 8, 0};
    return thread->cframe ? 2 : 1;
}

/* Reads the frames again, in one call for most stacks: the number of outer ones that are as they were. */
static int count_equal(struct dump *dump, const struct dump_thread *thread, int *returned) {
    static unsigned char buffer[65536];
    struct piece all[PIECES + 2], *pieces;
    uint64_t now_top[2] = {0};
    int piece_of[FRAMES_AT_ONCE], need = need_of(&dump->layout), equal = 0, tops = gather_top(dump, thread, now_top, all);
    if (!thread->frame_count)
        read_pieces(dump->memory, all, tops);
    for (int first = 0; first < thread->frame_count;) {
        pieces = all + (first ? 0 : tops);
        struct dump_thread part = *thread;
        if (part.frame_count - first > FRAMES_AT_ONCE)
            part.frame_count = first + FRAMES_AT_ONCE;
        int count, n = gather(&part, first, need, buffer, sizeof buffer, pieces, PIECES, piece_of, &count);
        read_pieces(dump->memory, all, count + (first ? 0 : tops));
        for (int i = 0; i < n; i++) {
            const struct dump_frame *old = &thread->frames[first + i];
            const struct piece *piece = &pieces[piece_of[i]];
            struct dump_frame now = {.address = old->address};
            int same = 0;
            if (piece->done) {
                parse_frame(&dump->layout, (unsigned char *)piece->to + (old->address - piece->address), &now);
                same = now.previous == old->previous && now.code_address == old->code_address && now.owner == old->owner
                       && (now.instruction_pointer == old->instruction_pointer || first + i == 0);
            }
            equal = same ? equal + 1 : 0;
        }
        if (!first)
            *returned |= now_top[0] != thread->top || now_top[1] != thread->cframe;
        first += n;
    }
    if (!thread->frame_count)
        *returned |= now_top[0] != thread->top || now_top[1] != thread->cframe;
    return equal;
}

/* A loop of the target that is as long as our reading would show us the same mixture each time. */
static void pause_a_little(void) {
    static uint32_t random = 2463534242u;
    random ^= random << 13, random ^= random >> 17, random ^= random << 5;
    for (volatile unsigned i = random % PAUSE_AT_MOST; i; i--)
        ;
}

/* Compares so many times; *equal: how many outer frames stood every time. 0: all of it stands. */
static int compare(struct dump *dump, struct dump_thread *thread, int times, int *equal) {
    int returned = 0;
    *equal = thread->frame_count;
    for (int i = 0; i < times && (i == 0 || *equal); i++) {
        if (times > 1)
            pause_a_little();
        int n = count_equal(dump, thread, &returned);
        if (n < *equal)
            *equal = n;
    }
    if (*equal == thread->frame_count && !returned)
        return 0;
    if (*equal == thread->frame_count && *equal)
        --*equal;               /* the innermost has returned, and its caller may be at another line */
    return -1;
}

/* For those who have read what the frames point to: are they still there? */
int frames_hold(struct dump *dump, struct dump_thread *thread) {
    int equal;
    return compare(dump, thread, thread->system_call >= 0 ? 1 : TIMES_RUNNING, &equal);
}

/* A generator has a caller while it runs; that it has none was seen between two moments. */
static int is_cut_off(const struct dump *dump, const struct dump_thread *thread) {
    const struct dump_frame *last = thread->frame_count ? &thread->frames[thread->frame_count - 1] : NULL;
    if (!last || !last->code)
        return 0;
    return dump->layout.frame_owner ? last->owner == OWNED_BY_GENERATOR : (last->code->flags & OF_GENERATORS) != 0;
}

/* Keeps the outer frames that stood, if they are more than those of an earlier try. */
static void remember(struct dump_thread *thread, int equal, struct dump_frame **best, int *count) {
    if (equal <= *count)
        return;
    struct dump_frame *more = realloc(*best, equal * sizeof *more);
    if (!more)
        return;
    memcpy(more, thread->frames + thread->frame_count - equal, equal * sizeof *more);
    *best = more;
    *count = equal;
}

/* 0: what was read is true; -1: it moved, and *equal outer frames of it stood. */
static int try_frames(struct dump *dump, struct dump_thread *thread, int turn, int *equal) {
    const struct seal *seal = &dump->interpreters[thread->interpreter].seal;
    *equal = 0;
    unsigned long long rest = begin_rest(dump, thread);
    seal_gils(dump);
    int failed = walk(dump, thread);
    check_seals(dump);
    if (failed || is_sealed(dump, thread) || has_rested(dump, thread, rest))
        return failed;
    if ((seal->known && !seal->holds && turn < SEALED_TRIES) || is_cut_off(dump, thread))
        return -1;
    return compare(dump, thread, TIMES_RUNNING, equal);
}

/* The stack of a thread; -1: incomplete, what is left of it is true. */
int read_frames(struct dump *dump, struct dump_thread *thread) {
    struct dump_frame *best = NULL;
    int equal, best_count = 0;
    dump->all_frames -= thread->frame_count;
    thread->complete = 1;
    thread->is_ahead = 0;       /* what was read ahead is from before */
    for (int i = 0; i < TRIES; i++) {
        if (!try_frames(dump, thread, i, &equal)) {
            free(best);
            dump->all_frames += thread->frame_count;
            return 0;
        }
        remember(thread, equal, &best, &best_count);
    }
    free(thread->frames);
    thread->frames = best;
    thread->frame_count = thread->room = best_count;
    thread->complete = 0;
    dump->all_frames += thread->frame_count;
    return -1;
}
