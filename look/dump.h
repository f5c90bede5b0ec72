/* SPDX-License-Identifier: MIT
 * dump.h - what the files of `pydblook dump` hand to each other: the stacks of a process.
 *
 *   cache.c       reading much memory with few calls
 *   search.c      finds an interpreter without symbols
 *   runtime.c     its interpreters and thread states, the GIL
 *   objects.c     str, dict and attributes, as far as the names of threads need them
 *   frames.c      the stack of one thread, and whether it is still that
 *   codes.c       code objects; lines.c which line an instruction belongs to
 *   kernel.c      what /proc says of each thread
 *   helper.c      a second thread of ours
 *   source.c      source lines, through the target's root
 *   dump.c        one process after another: `pydblook dump`
 *   show_text.c, show_json.c   the two forms of the answer
 *   show_locals.c the variables of a frame, in both
 *   output.c      a buffer for both: escapes, colours
 *
 * The order that makes a stack true: read the frames (frames.c), read what they point to (code objects,
 * values), read the frames again and compare (frames_hold). A frame that stood through both readings has
 * kept its code object and its variables alive, so what was read between is what they were.
 */
#ifndef DUMP_H
#define DUMP_H

#include <stdio.h>

#include "look.h"

#define INTERPRETERS_AT_MOST 1024
#define FRAMES_AT_MOST 65536            /* of one thread; those that are outside of so many are not shown */
#define ALL_FRAMES_AT_MOST 400000       /* of one process */
#define CODES_AT_MOST 65536
#define TEXT_AT_MOST 4096               /* characters of a name that are read */
#define DUMP_READS_AT_MOST 4000000
#define FIRST_DUMPED 0x0306
#define LAST_DUMPED 0x030f

struct piece {
    uint64_t address;
    void *to;
    size_t size;
    int done;
};

/* A code object. Texts are UTF-8, never NULL but for qualified_name; they are freed by free_dump. */
struct code {
    uint64_t address, adaptive;         /* adaptive: where its instructions begin (3.11+) */
    uint64_t file_object, name_object, lines_object;
    char *file, *name, *qualified_name;
    unsigned char *lines;               /* lnotab (to 3.9), linetable */
    uint32_t lines_size;
    int first_line, first_traceable;
    int flags, arguments, keyword_only, local_count, locals_plus;
    int last_instruction, last_line;    /* frames.c: what was asked last */
    int stale;                          /* codes_hold: it is not what was read any more */
    struct source *source;              /* source.c; NULL: not looked for yet */
    struct variables *variables[2];     /* locals.c: the names of its variables, for each of its readers; the same */
    struct code *next;                  /* in its bucket */
};

struct dump_frame {
    uint64_t address;                   /* PyFrameObject (to 3.10), _PyInterpreterFrame */
    uint64_t locals;                    /* address of its variables: locals, cells, free variables, stack */
    uint64_t code_address, instruction_pointer, previous;       /* as read */
    const struct code *code;
    struct frame_locals *variables;     /* locals.c: with --locals, in the reader's memory */
    int32_t bytecode;                   /* free-threaded 3.14+: index of the thread's copy */
    int instruction;                    /* offset in bytes of the running instruction; -1: not started */
    int line;                           /* 0: it has none */
    unsigned char owner, hidden;        /* hidden: a shim, or not yet begun; not to be shown */
};

enum dump_state {
    STATE_UNKNOWN, HOLDS_GIL, COLLECTING, WAITS_FOR_GIL, FINALIZING, RUNNING, IDLE, STOPPED, ENDED,
};
extern const char *const state_names[];

struct dump_thread {
    /* the kernel's side: kernel.c */
    pid_t tid, inner_tid;               /* inner_tid: in the target's own PID namespace */
    char native_name[20], kernel_state;
    unsigned long long start;           /* clock ticks, for the order */
    double cpu_seconds, off_cpu_seconds;        /* < 0: not told */
    int processor, place;               /* that it was on last; among the threads as the kernel has them */
    double last_run;                    /* ms by that processor's clock; < 0: not told, or it runs */
    long system_call;                   /* -1: none, -2: not told */
    uint64_t argument;                  /* its first one */
    /* Python's side */
    uint64_t state_address;             /* PyThreadState, 0: none */
    uint64_t ident;
    int interpreter;                    /* index in dump->interpreters, -1: none */
    char *name;                         /* of threading.Thread, NULL: none */
    enum dump_state state;
    int is_second;                      /* of one thread that has more than one: see match_states */
    int number, complete, is_main, is_cut;      /* is_cut: it has more than FRAMES_AT_MOST */
    struct dump_frame *frames;          /* innermost first, hidden ones among them */
    int frame_count;
    /* what was read of the way to the innermost frame, to compare */
    uint64_t top, cframe;
    int is_ahead;                       /* read_ahead has read them */
    int room, walked;                   /* of frames; walk_frames came to the end */
    void *native;                       /* for --native */
};

/* Who has had a GIL last, and how many have had it: see seals_hold in runtime.c. */
struct seal {
    uint64_t holder, holder_ident, switches;
    int known, holds;
};

struct interpreter {
    uint64_t address, gil;              /* gil: struct _gil_runtime_state, 0: unknown */
    int64_t id;
    int is_main, gil_locked, collecting;
    uint64_t gil_holder;
    struct seal seal;
};

struct dump_options {
    int json, locals, native, fold, colour, children;
    int depth, length, width;           /* of values, with locals */
    const char *version;                /* of pydbattach */
    const char *core, *core_executable;
};

struct dump {
    struct target *target;
    struct memory *memory;              /* &target->memory */
    const struct dump_options *options;
    struct layout layout;
    char version[32];                   /* 3.12.1 */
    char user[64], *command;            /* command: arguments, each with its zero */
    size_t command_size;
    long long time;
    uint64_t finalizing, main_ident;
    struct interpreter *interpreters;
    int interpreter_count;
    struct dump_thread *threads;        /* by number */
    int thread_count, all_frames;
    struct code **codes;                /* buckets */
    int code_count;
    uint64_t code_type;                 /* PyCode_Type, 0: not known yet */
    uint64_t str_type;
    struct source *sources;
    struct locals_reader *locals;       /* locals.c; keeps the memory of all frames' variables */
    int complete;
    struct native *native;              /* for C frames; NULL: they are not wanted */
};

/* cache.c */
int read_pieces(struct memory *memory, struct piece *pieces, int count);
int read_cached(struct memory *memory, uint64_t address, void *to, size_t size);
void prefetch(struct memory *memory, const uint64_t *addresses, int count);
void forget_cached(struct memory *memory);
void free_cache(struct memory *memory);

/* helper.c */
#define HELPERS_AT_MOST 2
void begin_helper(void (*work)(void *data), void *data);
int helpers_are_at_work(void);

/* kernel.c */
int read_kernel_threads(struct dump *dump);
void finish_kernel_threads(struct dump *dump);
void read_call_again(struct dump *dump, struct dump_thread *thread);
unsigned long long begin_rest(const struct dump *dump, const struct dump_thread *thread);
int has_rested(const struct dump *dump, const struct dump_thread *thread, unsigned long long begun);

/* search.c */
int is_interpreter(struct dump *dump, uint64_t address);
int search_python(struct dump *dump);
uint64_t search_interpreter(struct dump *dump);

/* runtime.c */
int read_interpreters(struct dump *dump);
void read_gils(struct dump *dump);
void settle_holders(struct dump *dump);
void seal_gils(struct dump *dump);
void check_seals(struct dump *dump);
int can_be_sealed(const struct dump *dump, const struct dump_thread *thread);
int is_sealed(const struct dump *dump, const struct dump_thread *thread);
int match_states(struct dump *dump);
void tell_state(struct dump *dump, struct dump_thread *thread);

/* objects.c: all bounded, through read_cached. Texts are allocated, UTF-8, NULL if it is no str. */
char *read_str(struct dump *dump, uint64_t address);
char *read_str_from(struct dump *dump, uint64_t address, const unsigned char *first, size_t got);
int read_pointer(struct dump *dump, uint64_t address, uint64_t *value);
uint64_t find_in_dict(struct dump *dump, uint64_t dict, const char *key);
int each_in_dict(struct dump *dump, uint64_t dict, int (*visit)(void *data, uint64_t key, uint64_t value), void *data);
uint64_t find_attribute(struct dump *dump, uint64_t object, const char *name);
void read_thread_names(struct dump *dump);

/* frames.c */
#define AHEAD 48                        /* threads at a time for read_ahead */
void read_ahead(struct dump *dump, struct dump_thread *threads, int count);
void walk_frames(struct dump *dump, struct dump_thread *thread);
int read_frames(struct dump *dump, struct dump_thread *thread);
int frames_hold(struct dump *dump, struct dump_thread *thread);

/* codes.c */
struct code *find_code(struct dump *dump, uint64_t address);
int codes_hold(struct dump *dump);
void free_codes(struct dump *dump);

/* lines.c */
int find_line(const struct dump *dump, const struct code *code, int instruction);

/* source.c */
char *find_source_line(struct dump *dump, struct dump_frame *frame, int *changed);
void free_sources(struct dump *dump);

/* output.c */
void put(const char *text);
void put_bytes(const char *bytes, size_t size);
void put_char(char c);
void putf(const char *format, ...) __attribute__((format(printf, 1, 2)));
void put_safely(const char *text);
void put_json(const char *text);
void put_json_bytes(const char *text, size_t size);
size_t output_size(void);
void drop_output(void);
char *take_output(size_t from);
int flush_output(int fd);
void pass_output(const char *text, size_t size);

/* show_text.c, show_json.c */
void show_text(struct dump *dump, const char *error);
void show_json(struct dump *dump, const char *error);

/* core_threads.c */
int read_core_threads(struct dump *dump);

/* holder.c */
int print_where(FILE *to, const struct dump_thread *thread);
void print_slot(FILE *to, struct dump *dump, const struct dump_thread *thread);

/* show_locals.c */
void show_locals_text(const struct dump_frame *frame, const char *dim, const char *plain);
void show_locals_json(const struct dump_frame *frame);

/* dump.c */
int print_holder(const char *pid);
int print_dump(char **pids, int count, const struct dump_options *given);
const char *say_call(long nr);
uint32_t read_sys_version(struct dump *dump, uint64_t interpreter);

#endif
