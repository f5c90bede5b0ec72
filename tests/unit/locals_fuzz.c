/* SPDX-License-Identifier: MIT
 * locals_fuzz.c - the values of a living target, read through a memory that lies.
 *
 *   locals_fuzz PID SEED ROUNDS
 *
 * Finds the frames of the process as they are. Then reads their variables again and again, while words of what
 * is read are replaced (nothing, all bits, huge, near, another address of the target: cycles and wrong types)
 * and pages are missing; each round with other limits. Built with the sanitizers, it must neither crash nor
 * hang, and print nothing that is longer than the limits, no UTF-8, or harmful to a terminal.
 * Says `rounds N, values N` at the end.
 *
 *   locals_fuzz PID changing|gone FUNCTION
 *
 * Shows the variables of the frames of a function whose first variable is another one at every reading, or
 * whose caller is not the one that it was.
 */
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "look/values.h"

#define SEEN 4096
#define SPARED 256
#define ROUND_SECONDS 60        /* of CPU; a tenth of one is usual */

static struct memory real;
static uint64_t seen[SEEN], random_state;
static uint64_t spared[SPARED];
static int spared_count, seen_count, wrong_words, missing_pages;

int watch_ms;
void tell_time(const char *step) { (void)step; }
int complain(const struct target *target) { return target->refusal.status; }
int run_watched(int (*work)(struct target *target), struct target *target, int once) { (void)once; return work(target); }
int look_at_process(struct target *target, pid_t pid, pid_t self) { return find_process(target, pid, self); }
int look_into_memory(struct target *target) { (void)target; return -1; }

static uint64_t any(void) {
    random_state ^= random_state << 13;
    random_state ^= random_state >> 7;
    return random_state ^= random_state << 17;
}

static uint64_t forge(uint64_t old) {
    switch (any() % 12) {
    case 0: return 0;
    case 1: return UINT64_MAX;
    case 2: return 1ull << 63;
    case 3: return any();
    case 4: return old ^ 1ull << any() % 64;
    case 5: return (1ull << 47) - 8;
    case 6: return any() % 64;
    case 7: return old + (any() % 64 - 32) * 8;
    case 8: return 1ull << any() % 48;
    default: return seen_count ? seen[any() % (seen_count < SEEN ? seen_count : SEEN)] : 8;
    }
}

/* Frames and the tables of names are spared mostly: without them there is nothing to be read at all. */
static int is_spared(uint64_t address) {
    for (int i = 0; i < spared_count; i++)
        if (spared[i] / PAGE == address / PAGE)
            return any() % 32 != 0;
    return 0;
}

static void spare(struct dump *dump) {
    const struct layout *l = &dump->layout;
    for (int i = 0; i < dump->thread_count; i++) {
        for (int k = 0; k < dump->threads[i].frame_count && spared_count + 3 < SPARED; k++) {
            const struct dump_frame *frame = &dump->threads[i].frames[k];
            spared[spared_count++] = frame->address;
            spared[spared_count++] = frame->code_address;
            if (!read_memory(&real, frame->code_address + (l->code_local_names ? l->code_local_names : l->code_variables),
                             &spared[spared_count], 8))
                spared_count++;
        }
    }
}

static int lie(struct memory *memory, uint64_t address, void *to, size_t size) {
    (void)memory;
    real.reads = 0;
    if (is_spared(address))
        return read_memory(&real, address, to, size);
    if (missing_pages && any() % missing_pages == 0)
        return -1;
    if (read_memory(&real, address, to, size))
        return -1;
    for (size_t at = 0; at + 8 <= size; at += 8) {
        uint64_t word;
        memcpy(&word, (char *)to + at, 8);
        if (word > PAGE && word < 1ull << 47)
            seen[seen_count++ % SEEN] = any() % 2 ? word : address + at;
        if (wrong_words && any() % wrong_words == 0) {
            word = forge(word);
            memcpy((char *)to + at, &word, 8);
        }
    }
    return 0;
}

/* One word of the frame `moving` is not what it was. */
static const struct dump_frame *moving;
static uint64_t moving_word;
static int always_moved, readings;

static int move(struct memory *memory, uint64_t address, void *to, size_t size) {
    (void)memory;
    if (read_memory(&real, address, to, size))
        return -1;
    if (moving_word >= address && moving_word + 8 <= address + size && (always_moved || readings++ % 2)) {
        uint64_t other = moving->locals + 8 > address + size - 8 ? 0 : moving->locals + 8 - address;
        memcpy((char *)to + (moving_word - address), (char *)to + other, 8);
    }
    return 0;
}

static int show_moving(struct dump *dump, const char *how, const char *function) {
    struct value_limits limits = {DEPTH, LENGTH, WIDTH};
    for (int i = 0; i < dump->threads[0].frame_count; i++)
        if (dump->threads[0].frames[i].code && !strcmp(dump->threads[0].frames[i].code->name, function))
            moving = &dump->threads[0].frames[i];
    if (!moving)
        return 2;
    always_moved = !strcmp(how, "gone");
    moving_word = always_moved ? moving->address + dump->layout.frame_previous : moving->locals;
    dump->memory->backend = move;
    struct locals_reader *reader = open_locals(dump, &limits, 0);
    if (!reader)
        return 2;
    read_locals(reader);
    show_locals_text(moving, "", "");
    flush_output(1);
    close_locals(reader);
    return 0;
}

static void fail(const char *what, const struct local *local) {
    printf("%s: %s = %s\n", what, local->name, local->text);
    exit(1);
}

/* Length in characters; fails on what must not be printed. */
static size_t check_text(const struct local *local) {
    size_t characters = 0;
    for (size_t i = 0; i < local->size; characters++) {
        unsigned char c = local->text[i++];
        if (c < 0x20 || c == 0x7f)
            fail("control character", local);
        int more = c >= 0xf0 ? 3 : c >= 0xe0 ? 2 : c >= 0xc2 ? 1 : 0;
        if (c >= 0x80 && (!more || c > 0xf4))
            fail("no UTF-8", local);
        if (more == 1 && c == 0xc2 && (unsigned char)local->text[i] < 0xa0)
            fail("control character", local);
        for (; more; more--, i++)
            if (i >= local->size || (local->text[i] & 0xc0) != 0x80)
                fail("no UTF-8", local);
    }
    return characters;
}

static int check_frames(const struct dump *dump, const struct value_limits *limits) {
    int values = 0;
    for (int i = 0; i < dump->thread_count; i++) {
        for (int k = 0; k < dump->threads[i].frame_count; k++) {
            const struct frame_locals *locals = dump->threads[i].frames[k].variables;
            for (int j = 0; locals && j < locals->count; j++, values++) {
                /* Closing brackets, dots and quotes may come behind the width: a dozen for each level. */
                if (check_text(&locals->local[j]) > (size_t)limits->width + 16 * (limits->depth + 2))
                    fail("too long", &locals->local[j]);
            }
        }
    }
    return values;
}

static void forget(struct dump *dump) {
    for (int i = 0; i < dump->thread_count; i++) {
        for (int k = 0; k < dump->threads[i].frame_count; k++) {
            struct dump_frame *frame = &dump->threads[i].frames[k];
            frame->variables = NULL;
            if (frame->code)
                ((struct code *)frame->code)->variables[0] = NULL;
        }
    }
}

static int read_round(struct dump *dump) {
    static const int word_rates[] = {0, 20, 100, 500, 2000, 10000}, page_rates[] = {0, 0, 3, 20, 100};
    struct value_limits limits = {1 + any() % 20, 1 + any() % 200, 1 + any() % 2000};
    clock_t begin = clock();
    wrong_words = word_rates[any() % 6];
    missing_pages = page_rates[any() % 5];
    struct locals_reader *reader = open_locals(dump, &limits, 0);
    if (!reader)
        exit(2);
    dump->memory->reads = 0;
    read_locals(reader);
    int values = check_frames(dump, &limits);
    forget(dump);
    close_locals(reader);
    if (clock() - begin > ROUND_SECONDS * CLOCKS_PER_SEC) {
        printf("a round took more than %d s of CPU\n", ROUND_SECONDS);
        exit(1);
    }
    return values;
}

int main(int argc, char **argv) {
    struct target target = {.proc = -1};
    struct dump dump = {.target = &target, .memory = &target.memory};
    long values = 0;
    if (argc != 4 || find_process(&target, atoi(argv[1]), 0) || ask_permission(&target) || read_maps(&target)
        || check_machine(&target) || find_python(&target, 0))
        return 2;
    target.memory.reads_at_most = DUMP_READS_AT_MOST;
    if (read_layout(&target.memory, target.python.runtime, target.python.version, &dump.layout) || read_kernel_threads(&dump)
        || read_interpreters(&dump) || match_states(&dump))
        return 2;
    for (int i = 0; i < dump.thread_count; i++)
        if (dump.threads[i].state_address && read_frames(&dump, &dump.threads[i]))
            return 2;
    real = target.memory;
    real.cache = NULL;
    if (argv[2][0] == 'c' || argv[2][0] == 'g')
        return show_moving(&dump, argv[2], argv[3]);
    spare(&dump);
    target.memory.backend = lie;
    random_state = strtoull(argv[2], NULL, 0) * 0x9e3779b97f4a7c15ull + 1;
    for (int i = 0; i < atoi(argv[3]); i++)
        values += read_round(&dump);
    printf("rounds %s, values %ld\n", argv[3], values);
    for (int i = 0; i < dump.thread_count; i++) {
        free(dump.threads[i].frames);
        free(dump.threads[i].name);
    }
    free(dump.threads);
    free(dump.interpreters);
    free_codes(&dump);
    free_cache(&target.memory);
    close_target(&target);
    return 0;
}
