/* SPDX-License-Identifier: MIT
 * look.h - what the files of pydblook hand to each other.
 *
 * Everything here looks from outside: /proc and process_vm_readv, no ptrace, no file of the target
 * is opened (but for `dump`: native.c stops threads and opens what is mapped, source.c opens sources). All that
 * comes from the target's memory is hostile until checked: reads are counted (READS_AT_MOST), walks are bounded,
 * every address must lie in a mapping of the right kind.
 *
 *   target.c  a process: /proc, the right to read it, its memory map
 *   states.c  stopped, frozen, in uninterruptible sleep ...
 *   elfmem.c  an ELF image in memory: segments, dynamic symbols
 *   layout.c  where each CPython version keeps things
 *   python.c  which interpreter is it, is it ready
 *   core.c    a core file in the place of a process
 *   native.c  C frames
 *   threads.c which thread may be borrowed
 *   places.c  where stub, note and library can go
 *   plan.c    `pydblook plan`       list.c  `pydblook list`       dump.c ...  `pydblook dump`, see dump.h
 *   cpu_x86_64.c  system call numbers, signal frames: the only file that knows the processor
 *
 * Functions return 0, or -1 with the reason in target->refusal where they judge the target.
 */
#ifndef LOOK_H
#define LOOK_H

#include <elf.h>
#include <pwd.h>
#include <stdint.h>
#include <stddef.h>
#include <stdio.h>
#include <sys/types.h>

#include "layouts.h"

/* pydbdump, which is linked statically, has no getpwuid: it hands over to pydblook what needs libraries. */
#pragma weak getpwuid

#define READS_AT_MOST 200000    /* per target: some 0.2 s; a plain one needs about 1,000 */
#define IMAGES_AT_MOST 4096
#define SEGMENTS_AT_MOST 24
#define THREADS_AT_MOST 32768
#define CANDIDATES_AT_MOST 16   /* states of threads; the threads are at most half of them */
#define RANGES_AT_MOST 64
#define PLACES_AT_MOST 6
#define PLACE_SIZE 64
#define PAGE 4096ul

/* Memory to read from: that of a process, or (pid 0) an image laid out in our own. */
struct memory {
    pid_t pid;
    int fd;                     /* /proc/PID/mem; it stays with the address space even if the process calls exec */
    const unsigned char *image;
    uint64_t size;
    int reads, reads_at_most;   /* 0: READS_AT_MOST */
    int (*backend)(struct memory *memory, uint64_t address, void *to, size_t size);     /* instead of the process, if not NULL */
    void *backend_data;
    struct cache *cache;        /* cache.c */
    int no_vectors;
};

struct mapping {
    uint64_t start, end, offset, inode;
    uint32_t device;
    char r, w, x, private;
    const char *name;           /* as our own root sees it; "" for anonymous memory */
};

/* An ELF image as mapped. Addresses are absolute. */
struct elf {
    struct memory *memory;
    const struct mapping *mapping;      /* its first one, NULL for a file of ours */
    uint64_t base, start, end;          /* load bias; the span of all segments */
    Elf64_Phdr segments[SEGMENTS_AT_MOST];
    int segment_count;
    uint64_t dynamic, debug;            /* debug: value of DT_DEBUG, the linker's r_debug; 0 if none */
    uint64_t symbols, strings, strings_size, gnu_hash, old_hash;
    uint32_t gnu_head[4];               /* buckets, first symbol, bloom words, bloom shift; buckets 0: not read */
    int needs_python;                   /* DT_NEEDED names a libpython */
    char soname[64];
};

enum thread_class {             /* the order in which they are taken */
    RESTARTS,                   /* in a system call that the kernel restarts after a stop */
    SEES_EINTR,                 /* in one that fails with EINTR after any stop */
    LAST_RESORT,                /* in one that is safe by circumstances only */
    BUSY,                       /* running, or in an unsafe call: gdb judges by the pc */
    NEVER,                      /* must not be borrowed */
};

#define PF_EXITING 0x4          /* in flags: the thread is ending */

struct thread {
    pid_t tid;
    char state;                 /* of /proc/PID/task/TID/stat */
    unsigned flags;             /* PF_... of the kernel */
    unsigned stop_signal;       /* if stopped and known */
    enum thread_class class;
    const char *why;            /* NEVER: where it is */
    int moved, doubtful;        /* it has run since we first looked; an old signal frame is on its stack */
    long nr;                    /* system call, -1: none */
    uint64_t argument[6], sp, pc;
    unsigned long long ran;     /* ns on a processor, time slices: two values that tell whether it has moved */
    unsigned long long slices;
};

struct status {                 /* /proc/PID/status */
    pid_t tgid, pid, ppid, tracer, nspid;
    unsigned uid, gid, real_uid;
    unsigned groups[64];
    int group_count, threads, seccomp;
    uint64_t blocked, permitted_caps;
    char state, name[64];
};

struct python {
    const struct elf *image;    /* the file that holds the interpreter */
    int version;                /* 0x030c; 0: some Python, we cannot tell */
    uint64_t runtime;           /* _PyRuntime */
    char path[4096];            /* as the target names it: for dlopen(RTLD_NOLOAD) and for people */
};

struct range {
    uint64_t low, high;
};

struct target {
    pid_t pid;
    int proc;                   /* /proc/PID: stays with this very process when the pid is used again */
    struct status status;
    unsigned long long start;   /* clock tick of its start, field 22 of stat */
    unsigned flags;
    struct memory memory;
    char *maps;
    struct mapping *mappings;
    int mapping_count;
    struct elf *images;
    int image_count;
    struct thread *threads;
    int thread_count;
    pid_t waiting;              /* a thread in state D for good, 0: none */
    char waiting_for[64];
    const struct elf *program, *libc, *linker;
    uint64_t program_headers;
    struct range unsafe[RANGES_AT_MOST];    /* where a thread may hold a lock of malloc or of the linker */
    int unsafe_count, own_malloc;       /* own_malloc: a library other than the C library has a malloc */
    struct python python;
    char exe[4096];             /* as the target names it */
    struct {
        int status;
        char line[4608], hint[256], brief[128];
    } refusal;
};

/* Which circumstances make a system call a safe place. */
enum call_rule {
    ALWAYS,
    IF_WAITING,                 /* futex: a wait that is not for a lock of the C library */
    IF_STREAM,                  /* its first argument is a pipe, a socket, a terminal ...: no file */
    IF_LOCK_COMMAND,            /* fcntl: F_SETLKW */
    IF_FIFO,                    /* open: waits for the other end of a FIFO */
};

struct call {
    int nr;
    enum thread_class class;
    enum call_rule rule;
};

struct options {
    int verbose;
    pid_t self;                 /* the launcher */
    const char *library;        /* pyinjectcode.so of this build */
};

/* target.c */
const char *find_user(unsigned uid);
int refuse(struct target *target, const char *brief, const char *format, ...) __attribute__((format(printf, 3, 4)));
void hint(struct target *target, const char *format, ...) __attribute__((format(printf, 2, 3)));
void close_target(struct target *target);
int find_process(struct target *target, pid_t pid, pid_t self);
int ask_permission(struct target *target);
int refuse_traced(struct target *target, pid_t tracer);
int check_tracer(struct target *target);
int read_maps(struct target *target);
int check_machine(struct target *target);

const struct mapping *find_mapping(const struct target *target, uint64_t address);
int refuse_missing(struct target *target, pid_t pid);
int read_own_file(const char *path, char *text, size_t size);
ssize_t read_proc(const struct target *target, const char *name, char *text, size_t size);
int read_status(const struct target *target, const char *name, struct status *status);
int read_stat(const struct target *target, const char *name, struct thread *thread, unsigned long long *start);
int read_thread_stat(const struct target *target, struct thread *thread);
int open_in_root(const struct target *target, const char *path);
int open_file_in_root(const struct target *target, const char *path);
const char *name_in_root(const struct target *target, const char *name);
void print_safely(FILE *to, const char *text);
void tell_time(const char *step);

/* states.c */
double now_ms(void);
void sleep_ms(int ms);
int read_threads(struct target *target);
int check_stopped(struct target *target);
int check_frozen(struct target *target);
int check_waiting(struct target *target);
int check_descriptors(struct target *target);
int is_gone(struct target *target);

/* elfmem.c */
int count_read(struct memory *memory);
int read_memory(struct memory *memory, uint64_t address, void *to, size_t size);
int read_text(struct memory *memory, uint64_t address, char *to, size_t size);
int open_image(struct elf *elf, struct memory *memory, const struct mapping *mapping, uint64_t at);
uint64_t find_symbol(struct elf *elf, const char *name);
uint64_t find_function(struct elf *elf, const char *name);
int read_library_file(const char *path, struct memory *memory, struct elf *elf);
int read_images(struct target *target, int (*is_wanted)(const struct target *target, const struct mapping *mapping));
struct elf *find_image(struct target *target, const char *soname);
int is_in(const struct elf *elf, uint64_t address);

/* layout.c */
struct layout {
    int version, free_threaded; /* 0x030c */
#define LAYOUT_FIELD(field) int32_t field;
    EACH_FIELD(LAYOUT_FIELD)
#undef LAYOUT_FIELD
};
int read_layout(struct memory *memory, uint64_t runtime, int version, struct layout *layout);
uint32_t read_told_version(struct memory *memory, uint64_t runtime);
#define FIRST_VERSION 0x0308
#define LAST_VERSION 0x030f

/* python.c */
int find_python(struct target *target, int all_images);
int check_version(struct target *target);
int check_ready(struct target *target);

/* places.c */
struct places {
    uint64_t stub, stub_room, note, note_room;
    uint64_t library, state, entry;
    char directories[PLACES_AT_MOST][PLACE_SIZE];       /* for the copy of the library, as the target names them */
    int directory_count;
};
int find_stub_place(struct target *target, struct places *places);
int find_note_place(struct target *target, struct places *places);
int find_library(struct target *target, const char *file, struct places *places);
int find_directories(struct target *target, struct places *places);

/* threads.c */
void find_unsafe_ranges(struct target *target);
int check_stub_is_free(struct target *target, const struct places *places);
int choose_threads(struct target *target, const struct places *places, struct thread *chosen);
void print_prices(struct target *target, const struct thread *chosen, int count);
int look_again(struct target *target, struct thread *chosen, int count);
int refuse_all_threads(struct target *target);

/* plan.c */
int print_plan(struct target *target, const struct options *options);

/* list.c */
int print_list(void);

/* dump.c */
void tell_version(struct target *target, char *text, size_t size);

/* pydblook.c */
int look_at_process(struct target *target, pid_t pid, pid_t self);
int look_into_memory(struct target *target);
extern int watch_ms;
int complain(const struct target *target);
int run_watched(int (*work)(struct target *target), struct target *target, int once);

/* cpu_x86_64.c */
extern const int own_machine;
extern const unsigned char stub_head[8];
extern const struct call calls[];
extern const int call_count;
const char *call_name(long nr);
struct signal_frame {
    size_t at;                  /* offset of its word in the stack that was searched */
    uint64_t pc, mask;          /* where it was interrupted, and the signals blocked there */
};
#define REGISTERS_AT_MOST 64
#define DWARF_REGISTERS 17
#define DWARF_SP 7
void order_registers(const uint64_t *registers, uint64_t *dwarf, uint64_t *pc);
uint64_t stack_pointer(const uint64_t *registers);
uint64_t thread_pointer(const uint64_t *registers);
long call_of_registers(const uint64_t *registers, uint64_t *argument);
int find_signal_frame(const unsigned char *stack, size_t size, uint64_t base, size_t from, struct signal_frame *frame);

#endif
