/* SPDX-License-Identifier: MIT
 * locals.c - the variables of each frame of a thread: names from the code object, values from the frame.
 *
 *   to 3.10   localsplus: locals (co_varnames), cells (co_cellvars), free variables (co_freevars)
 *   3.11+     one tuple of names, one byte for each of what kind it is
 *   3.14+     _PyStackRef: the lowest bits of a pointer are tags; 3 is a small int in the word itself
 *
 * Variables that are not set are left out, of a cell the content is shown. The code of a class body or
 * of exec() has its variables in a dictionary; that of a module has the module's, which is not shown.
 *
 * A frame is only an address: its memory may hold another call by now. So the frame's own words (code,
 * caller, instruction) are read in one piece with its variables and compared with those of the stack that
 * is shown, and when all values are read, everything that they were made of is read once more. What has
 * changed meanwhile is read again, and marked if it never stands still.
 */
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "values.h"

#define TRIES 3
#define CHUNKS 8                /* so many parts for us and the helper, if they are ... */
#define CHUNK_AT_LEAST 48       /* ... of so many frames */
#define HELPER_PAUSE_NS 20000
#define FRAMES_AT_ONCE 256      /* that share a snapshot */
#define PAGES_WANTED 1536       /* in a snapshot; it can have more for a single frame */
#define USED_WANTED 100000
#define POINTERS_AT_ONCE 4096
#define VARIABLES_AT_MOST 2000  /* of one frame */
#define CHUNK 65536
#define NOT_OPTIMIZED(flags) (!((flags) & 1))   /* CO_OPTIMIZED: its variables are in the frame */

enum {KIND_CELL = 0x40, KIND_FREE = 0x80};      /* co_localspluskinds; 0x20: a local */

struct variables {              /* of a code object */
    struct variables *next;
    int count;
    unsigned char *kinds;
    char **names;
};

struct chunk {
    struct chunk *next;
    size_t used, size;
    char bytes[];
};

struct locals_reader {
    struct dump *dump;
    int number;                 /* 0: ours, 1: the helper's */
    struct memory memory;       /* the helper's view */
    struct layout layout;
    struct values *values;
    int strings;                /* a str as its characters, for JSON */
    struct variables *all;
    struct chunk *chunks;       /* texts and records, until the end */
    /* the frame that is being read */
    struct local found[VARIABLES_AT_MOST];
    int found_count;
    uint64_t pointers[POINTERS_AT_ONCE];
};

static atomic_size_t text_size; /* of all texts of this process */

/* What the helper reads: copies of the frames, of the first chunk first. We begin with the last one. */
static struct {
    struct locals_reader *reader;
    struct dump_frame *frames;
    int count, chunk;           /* frames; in a chunk */
    atomic_int end, done;       /* chunks: those before `end` are the helper's, those before `done` are read */
} helper;

static struct locals_reader *open_reader(struct dump *dump, int number, const struct value_limits *limits, int strings) {
    struct locals_reader *reader = calloc(1, sizeof *reader);
    if (!reader)
        return NULL;
    reader->memory = *dump->memory;
    reader->memory.cache = NULL;
    reader->layout = dump->layout;
    if (!(reader->values = open_values(number ? &reader->memory : dump->memory, &reader->layout, limits))) {
        free(reader);
        return NULL;
    }
    reader->dump = dump;
    reader->number = number;
    reader->strings = strings;
    return reader;
}

struct locals_reader *open_locals(struct dump *dump, const struct value_limits *limits, int strings) {
    text_size = 0;
    helper.reader = dump->memory->backend ? NULL : open_reader(dump, 1, limits, strings);
    return open_reader(dump, 0, limits, strings);
}

static void close_reader(struct locals_reader *reader) {
    if (!reader)
        return;
    for (struct variables *variables = reader->all, *next; variables; variables = next) {
        next = variables->next;
        for (int i = 0; i < variables->count; i++)
            free(variables->names[i]);
        free(variables->names);
        free(variables->kinds);
        free(variables);
    }
    for (struct chunk *chunk = reader->chunks, *next; chunk; chunk = next) {
        next = chunk->next;
        free(chunk);
    }
    close_values(reader->values);
    free(reader);
}

/* While no helper is at work. */
void close_locals(struct locals_reader *reader) {
    close_reader(reader);
    close_reader(helper.reader);
    free(helper.frames);
    helper.reader = NULL;
    helper.frames = NULL;
}

/* Memory until close_locals. */
static void *keep(struct locals_reader *reader, const void *bytes, size_t size) {
    size_t room = (size + 7) & ~7ul;
    struct chunk *chunk = reader->chunks;
    if (!chunk || chunk->size - chunk->used < room) {
        size_t new_size = room > CHUNK ? room : CHUNK;
        chunk = malloc(sizeof *chunk + new_size);
        if (!chunk)
            return NULL;
        *chunk = (struct chunk){reader->chunks, 0, new_size};
        reader->chunks = chunk;
    }
    void *place = chunk->bytes + chunk->used;
    chunk->used += room;
    return size ? memcpy(place, bytes, size) : place;
}

/* --- names --- */

static int add_names(struct locals_reader *reader, struct variables *variables, uint64_t tuple, unsigned char kind) {
    struct snapshot *snapshot = snapshot_of(reader->values);
    const struct layout *l = &reader->layout;
    uint64_t size, name;
    if (peek(snapshot, tuple + l->var_size, &size, sizeof size) || size > (uint64_t)VARIABLES_AT_MOST - variables->count)
        return -1;
    char **names = realloc(variables->names, (variables->count + size + 1) * sizeof *names);
    if (names)
        variables->names = names;
    unsigned char *kinds = realloc(variables->kinds, variables->count + size + 1);
    if (kinds)
        variables->kinds = kinds;
    if (!names || !kinds)
        return -1;
    for (uint64_t i = 0; i < size; i++) {
        char text[4 * NAME_SIZE];
        if (peek(snapshot, tuple + l->tuple_items + 8 * i, &name, sizeof name) || read_string(reader->values, name, text, sizeof text))
            snprintf(text, sizeof text, "<unreadable %d>", variables->count);
        variables->kinds[variables->count] = kind;
        if (!(variables->names[variables->count] = strdup(text)))
            return -1;
        variables->count++;
    }
    return 0;
}

static int read_names(struct locals_reader *reader, uint64_t code, struct variables *variables) {
    const struct layout *l = &reader->layout;
    struct snapshot *snapshot = snapshot_of(reader->values);
    uint64_t names[3], kinds, size;
    if (!l->code_local_names) {
        return peek(snapshot, code + l->code_variables, &names[0], 8) || peek(snapshot, code + l->code_cells, &names[1], 8)
               || peek(snapshot, code + l->code_free, &names[2], 8) || add_names(reader, variables, names[0], 0)
               || add_names(reader, variables, names[1], KIND_CELL) || add_names(reader, variables, names[2], KIND_FREE) ? -1 : 0;
    }
    if (peek(snapshot, code + l->code_local_names, &names[0], 8) || peek(snapshot, code + l->code_local_kinds, &kinds, 8)
        || add_names(reader, variables, names[0], 0) || peek(snapshot, kinds + l->var_size, &size, 8) || size != (uint64_t)variables->count)
        return -1;
    return size && peek(snapshot, kinds + l->bytes_items, variables->kinds, size) ? -1 : 0;
}

/* The names of a code object's variables. None, if they cannot be read. */
static const struct variables *find_variables(struct locals_reader *reader, const struct code *code) {
    if (code->variables[reader->number])
        return code->variables[reader->number];
    struct variables *variables = calloc(1, sizeof *variables);
    if (!variables)
        return NULL;
    variables->next = reader->all;
    reader->all = variables;
    if (read_names(reader, code->address, variables)) {
        for (int i = 0; i < variables->count; i++)
            free(variables->names[i]);
        variables->count = 0;
    }
    return ((struct code *)code)->variables[reader->number] = variables;
}

/* --- values --- */

static void add_local(struct locals_reader *reader, const char *name, const struct value *value) {
    if (reader->found_count == VARIABLES_AT_MOST || text_size > LOCALS_TEXT_AT_MOST)
        return;
    char *text = keep(reader, value->text, value->size + 1);
    text_size += value->size + 32;
    if (text)
        reader->found[reader->found_count++] = (struct local){name, value->type, text, value->size, value->form, value->truncated};
}

/* `name` is kept: those of code objects live as long as the reader. */
static void add_object(struct locals_reader *reader, const char *name, uint64_t object) {
    struct value value;
    if (text_size > LOCALS_TEXT_AT_MOST)
        return;
    render_value(reader->values, object, reader->strings, &value);
    add_local(reader, name, &value);
}

static void add_named(void *data, const char *name, uint64_t object) {
    const char *kept = keep(data, name, strlen(name) + 1);
    if (kept)
        add_object(data, kept, object);
}

/* A word of the frame; a cell's content if it is one by its kind. */
static void add_variable(struct locals_reader *reader, const char *name, unsigned char kind, uint64_t word) {
    if (reader->layout.has_tagged_references) {
        if ((word & 3) == 3) {
            struct value value;
            render_tagged_int(reader->values, (int64_t)word >> 2, &value);
            add_local(reader, name, &value);
            return;
        }
        word &= ~3ull;
    }
    uint64_t content;
    if (word && kind & (KIND_CELL | KIND_FREE) && is_cell(reader->values, word, &content))
        word = content;
    if (word)
        add_object(reader, name, word);
}

/* The frame's own words are those that the stack was made of? In one piece with what follows them. */
static enum locals_state check_frame(struct locals_reader *reader, const struct dump_frame *frame) {
    const struct layout *l = &reader->layout;
    struct snapshot *snapshot = snapshot_of(reader->values);
    uint64_t previous, code, instruction = 0;
    int32_t index;
    if (consult(snapshot, frame->address + l->frame_previous, &previous, 8) || consult(snapshot, frame->address + l->frame_code, &code, 8))
        return LOCALS_GONE;
    if (l->code_bytes ? consult(snapshot, frame->address + l->frame_instruction, &index, 4)
                      : consult(snapshot, frame->address + l->frame_instruction, &instruction, 8))
        return LOCALS_GONE;
    if (l->code_bytes)
        instruction = (int64_t)index;
    if (l->has_tagged_references)
        code &= ~7ull;
    if (previous != frame->previous || code != frame->code_address)
        return LOCALS_GONE;
    return instruction == frame->instruction_pointer ? LOCALS_TRUE : LOCALS_CHANGING;
}

static enum locals_state find_locals(struct locals_reader *reader, const struct dump_frame *frame) {
    const struct layout *l = &reader->layout;
    const struct variables *variables = find_variables(reader, frame->code);
    struct snapshot *snapshot = snapshot_of(reader->values);
    uint64_t words[VARIABLES_AT_MOST], mapping, globals;
    reader->found_count = 0;
    enum locals_state state = check_frame(reader, frame);
    if (state == LOCALS_GONE || !variables)
        return LOCALS_GONE;
    if (variables->count && consult(snapshot, frame->locals, words, 8 * variables->count))
        return LOCALS_GONE;
    for (int i = 0; i < variables->count; i++)
        add_variable(reader, variables->names[i], variables->kinds[i], words[i]);
    if (NOT_OPTIMIZED(frame->code->flags) && !consult(snapshot, frame->address + l->frame_mapping, &mapping, 8)
        && !peek(snapshot, frame->address + l->frame_globals, &globals, 8) && mapping && mapping != globals)
        each_name(reader->values, mapping, VARIABLES_AT_MOST - reader->found_count, add_named, reader);
    return state;
}

/* The variables of one frame into the reader's memory. */
static void read_frame_locals(struct locals_reader *reader, struct dump_frame *frame) {
    struct frame_locals locals = {LOCALS_LIMIT, 0, NULL};
    if (text_size <= LOCALS_TEXT_AT_MOST) {
        locals.state = find_locals(reader, frame);
        locals.count = locals.state == LOCALS_GONE ? 0 : reader->found_count;
        if (text_size > LOCALS_TEXT_AT_MOST)
            locals.state = LOCALS_LIMIT;
        locals.local = locals.count ? keep(reader, reader->found, locals.count * sizeof *locals.local) : NULL;
        if (!locals.local)
            locals.count = 0;
    }
    frame->variables = keep(reader, &locals, sizeof locals);
}

/* --- all frames --- */

/* What is wanted first, in few calls: the frames, then all that their variables point to. */
static void fetch_ahead(struct locals_reader *reader, struct dump_frame **frames, int count) {
    struct snapshot *snapshot = snapshot_of(reader->values);
    uint64_t words[64];
    int n = 0;
    for (int i = 0; i < count; i++) {
        reader->pointers[n++] = frames[i]->address;
        reader->pointers[n++] = frames[i]->locals;
        if (frames[i]->code->locals_plus > 0 && frames[i]->code->locals_plus < VARIABLES_AT_MOST)
            reader->pointers[n++] = frames[i]->locals + 8 * frames[i]->code->locals_plus;
    }
    fetch_pages(snapshot, reader->pointers, n);
    n = 0;
    for (int i = 0; i < count; i++) {
        const struct variables *variables = find_variables(reader, frames[i]->code);
        int wanted = variables && variables->count < 64 ? variables->count : variables ? 64 : 0;
        if (!wanted || peek(snapshot, frames[i]->locals, words, 8 * wanted))
            continue;
        for (int k = 0; k < wanted && n < POINTERS_AT_ONCE; k++)
            if (words[k] > PAGE)
                reader->pointers[n++] = words[k];
    }
    fetch_pages(snapshot, reader->pointers, n);
}

/* Reads the variables of these frames, as many as one snapshot has room for, and compares. Appends to `again`,
 * which may be behind in the same array, those that have changed meanwhile. The number that were read. */
static int read_together(struct locals_reader *reader, struct dump_frame **frames, int count, struct dump_frame **again, int *changed) {
    struct snapshot *snapshot = snapshot_of(reader->values);
    int first[FRAMES_AT_ONCE + 1], n = 0;
    begin_snapshot(snapshot);
    fetch_ahead(reader, frames, count);
    for (; n < count && (!n || (snapshot->count < PAGES_WANTED && snapshot->used_count < USED_WANTED)); n++) {
        first[n] = snapshot->used_count;
        read_frame_locals(reader, frames[n]);
    }
    first[n] = snapshot->used_count;
    read_again(snapshot);
    for (int i = 0; i < n; i++)
        if (has_changed(snapshot, first[i], first[i + 1]))
            again[(*changed)++] = frames[i];
    return n;
}

/* After the last try. Was it the frame itself that changed, or only what its variables hold? */
static void mark_changing(struct locals_reader *reader, struct dump_frame *frame) {
    if (!frame->variables || frame->variables->state != LOCALS_TRUE)
        return;
    frame->variables->state = LOCALS_CHANGING;
    begin_snapshot(snapshot_of(reader->values));
    if (check_frame(reader, frame) == LOCALS_GONE) {
        frame->variables->state = LOCALS_GONE;
        frame->variables->count = 0;
    }
}

static void read_chunk(struct locals_reader *reader, struct dump_frame **frames, int count) {
    for (int i = 0; i < TRIES && count; i++) {
        int changed = 0;
        for (int at = 0; at < count;)
            at += read_together(reader, frames + at, count - at, frames, &changed);
        count = changed;
    }
    for (int i = 0; i < count; i++)
        mark_changing(reader, frames[i]);
}

static void read_frames_of(struct locals_reader *reader, struct dump_frame **frames, int count) {
    struct dump_frame *chunk[FRAMES_AT_ONCE];
    for (int at = 0, n; at < count; at += n) {
        n = count - at < FRAMES_AT_ONCE ? count - at : FRAMES_AT_ONCE;
        memcpy(chunk, frames + at, n * sizeof *chunk);      /* read_chunk sorts them */
        read_chunk(reader, chunk, n);
    }
}

static int chunk_size(int number) {
    int left = helper.count - number * helper.chunk;
    return left < helper.chunk ? left : helper.chunk;
}

static void help(void *unused) {
    struct dump_frame *chunk[FRAMES_AT_ONCE];
    (void)unused;
    for (int i = 0; i < helper.end; helper.done = ++i) {
        for (int k = 0; k < chunk_size(i); k++)
            chunk[k] = &helper.frames[i * helper.chunk + k];
        read_frames_of(helper.reader, chunk, chunk_size(i));
    }
}

/* Is the helper through with its chunk, in the time that we would need? */
static int await_helper(int chunk, double ms) {
    static const struct timespec pause = {0, HELPER_PAUSE_NS};
    for (double end = now_ms() + ms; helper.done <= chunk && now_ms() < end;)
        nanosleep(&pause, NULL);
    return helper.done > chunk;
}

/* Half of them by the helper, if it comes to it. */
static void read_with_helper(struct locals_reader *reader, struct dump_frame **frames, int count) {
    helper.chunk = (count + CHUNKS - 1) / CHUNKS;
    if (helper.chunk < CHUNK_AT_LEAST)
        helper.chunk = CHUNK_AT_LEAST;
    if (helper.chunk > FRAMES_AT_ONCE)
        helper.chunk = FRAMES_AT_ONCE;
    int chunks = (count + helper.chunk - 1) / helper.chunk;
    if (chunks < 2 || !helper.reader || !(helper.frames = malloc(count * sizeof *helper.frames))) {
        read_frames_of(reader, frames, count);
        return;
    }
    helper.count = count;
    for (int i = 0; i < count; i++)
        helper.frames[i] = *frames[i];
    helper.done = 0;
    helper.end = chunks;
    begin_helper(help, NULL);
    double taken = 0;
    int ours = chunks;
    while (ours > helper.done) {
        if (ours - 1 == helper.done && await_helper(ours - 1, taken))
            break;
        double start = now_ms();
        helper.end = --ours;
        read_frames_of(reader, frames + ours * helper.chunk, chunk_size(ours));
        taken = now_ms() - start;
    }
    for (int i = 0; i < ours * helper.chunk && i < count; i++)
        frames[i]->variables = helper.frames[i].variables;
}

/* The variables of all frames that are to be shown. Frames of several threads share a snapshot: their
 * objects lie beside each other. */
void read_locals(struct locals_reader *reader) {
    int room = 0, count = 0;
    for (int i = 0; i < reader->dump->thread_count; i++)
        room += reader->dump->threads[i].frame_count;
    struct dump_frame **frames = malloc((room + 1) * sizeof *frames);
    for (int i = 0; frames && i < reader->dump->thread_count; i++) {
        struct dump_thread *thread = &reader->dump->threads[i];
        for (int k = 0; k < thread->frame_count; k++)
            if (!thread->frames[k].hidden && thread->frames[k].code)
                frames[count++] = &thread->frames[k];
    }
    read_with_helper(reader, frames, count);
    free(frames);
}
