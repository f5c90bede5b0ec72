/* SPDX-License-Identifier: MIT
 * dump.c - `pydblook dump PID...`: every stack of a process, from outside, whatever state it is in.
 *
 * /proc and process_vm_readv only: no stop, no code in the target. So unlike an attach it serves what is
 * stopped, traced, frozen, starting or ending, and 3.6 and 3.7.
 *
 * Each process is read in a child (run_watched): memory may never answer. The child leaves its text in a
 * memfd, and only what is whole is printed; so the document is valid, and a slow reader of it costs no deadline.
 *
 * Exit status: 0 all was read, 1 one of them could not be, or not to its end (a line on stderr says why).
 */
#define _GNU_SOURCE
#include <dirent.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "core.h"
#include "mixed.h"
#include "values.h"

#define COMMAND_AT_MOST 65536
#define RUNS_OF_CODES 3         /* stacks are read again if code objects have changed */
#define DUMP_WATCH_MS 30000
#define STRANGER 4              /* a child's status: it runs no Python, and nobody has asked for it */

static const struct dump_options *options;
static int result;              /* memfd: the child's text */
static const char *separator = "";
static int skip_strangers;      /* it is one of the children of a process that was asked for */

const char *say_call(long nr) {
    static char text[24];
    const char *name = call_name(nr);
    if (name)
        return name;
    snprintf(text, sizeof text, "system call %ld", nr);
    return text;
}

/* ---- the facts ---- */

static void read_command(struct dump *dump) {
    unsigned uid = dump->target->status.uid;
    const char *who = uid ? find_user(uid) : "root";
    if (who)
        snprintf(dump->user, sizeof dump->user, "%s", who);
    else
        snprintf(dump->user, sizeof dump->user, "%u", uid);
    dump->command = calloc(1, COMMAND_AT_MOST);
    struct core *core = core_of(dump->memory);
    if (core && dump->command)
        dump->command_size = split_core_command(core, dump->command, COMMAND_AT_MOST);
    ssize_t n = core ? (ssize_t)dump->command_size : dump->command ? read_proc(dump->target, "cmdline", dump->command, COMMAND_AT_MOST) : 0;
    dump->command_size = n > 0 ? n : 0;
}

static uint64_t read_int(struct dump *dump, uint64_t object) {
    const struct layout *l = &dump->layout;
    uint32_t digits[2] = {0};
    uint64_t size;
    if (!object || read_pointer(dump, object + l->long_size, &size))
        return 0;
    if (l->version >= 0x030c)
        size >>= 3;
    return size < 1 || size > 2 || read_cached(dump->memory, object + l->long_digits, digits, size * 4) ? 0
           : (uint64_t)digits[1] << 30 | digits[0];
}

/* sys.hexversion of an interpreter. */
uint32_t read_sys_version(struct dump *dump, uint64_t interpreter) {
    uint64_t modules, sys, dict;
    if (read_pointer(dump, interpreter + dump->layout.interpreter_modules, &modules)
        || !(sys = find_in_dict(dump, modules, "sys")) || read_pointer(dump, sys + dump->layout.module_dict, &dict))
        return 0;
    return read_int(dump, find_in_dict(dump, dict, "hexversion"));
}

/* PY_VERSION_HEX: from Py_Version, _Py_DebugOffsets or sys.hexversion. */
static uint32_t read_hex_version(struct dump *dump) {
    struct target *target = dump->target;
    uint64_t at = find_symbol((struct elf *)target->python.image, "Py_Version"), number;
    if (at && !read_memory(dump->memory, at, &number, sizeof number))
        return number;
    uint32_t told = target->python.version >= 0x030d ? read_told_version(dump->memory, target->python.runtime) : 0;
    return told || !dump->interpreter_count ? told : read_sys_version(dump, dump->interpreters[0].address);
}

static void say_version(struct dump *dump) {
    static const char *const levels[16] = {[0xa] = "a", [0xb] = "b", [0xc] = "rc"};
    int version = dump->target->python.version;
    uint32_t hex = read_hex_version(dump);
    snprintf(dump->version, sizeof dump->version, "%d.%d", version >> 8, version & 0xff);
    if ((int)(hex >> 16) != version)
        return;
    snprintf(dump->version, sizeof dump->version, "%d.%d.%d", version >> 8, version & 0xff, hex >> 8 & 0xff);
    const char *level = levels[hex >> 4 & 15];
    size_t n = strlen(dump->version);
    if (level)
        snprintf(dump->version + n, sizeof dump->version - n, "%s%d", level, hex & 15);
}

static int refuse_version(struct target *target, const char *why) {
    char brief[32] = "unknown Python";
    if (target->python.version)
        snprintf(brief, sizeof brief, "Python %d.%d", target->python.version >> 8, target->python.version & 0xff);
    return refuse(target, brief, "process %d runs %s%s%s", target->pid,
                  target->python.version ? "" : "a Python of unknown version", target->python.version ? brief : "", why);
}

static int find_layout(struct dump *dump) {
    struct target *target = dump->target;
    int version = target->python.version;
    if (version < FIRST_DUMPED || version > LAST_DUMPED)
        return refuse_version(target, ", supported are 3.6 to 3.15");
    if ((version > 0x0306 && !target->python.runtime)
        || read_layout(dump->memory, target->python.runtime, version, &dump->layout))
        return refuse_version(target, " whose data cannot be read");
    return 0;
}

static int compare_numbers(const void *a, const void *b) {
    const struct dump_thread *one = a, *two = b;
    if (!one->state_address != !two->state_address)
        return !one->state_address - !two->state_address;
    if (one->is_second != two->is_second)
        return one->is_second - two->is_second;
    if (one->is_main != two->is_main)
        return two->is_main - one->is_main;
    if (one->start != two->start)
        return one->start < two->start ? -1 : 1;
    return one->tid < two->tid ? -1 : one->tid > two->tid;
}

/* As the session numbers them: the main thread, then by start and id; behind them those without Python. */
static void number_threads(struct dump *dump) {
    for (int i = 0; i < dump->thread_count; i++) {
        struct dump_thread *thread = &dump->threads[i];
        thread->is_main = thread->state_address && !thread->is_second
                          && (dump->main_ident ? thread->ident == dump->main_ident : thread->tid == dump->target->pid);
    }
    qsort(dump->threads, dump->thread_count, sizeof *dump->threads, compare_numbers);
    for (int i = 0; i < dump->thread_count; i++)
        dump->threads[i].number = i + 1;
}

static void drop_frames(struct dump *dump) {
    for (int i = 0; i < dump->thread_count; i++) {
        free_mixed(&dump->threads[i]);
        free(dump->threads[i].frames);
        dump->threads[i].frames = NULL;
        dump->threads[i].frame_count = dump->threads[i].room = 0;
    }
    dump->all_frames = 0;
}

/* Some threads under one seal; what that does not cover one by one. */
static void read_stacks_of(struct dump *dump, struct dump_thread *threads, int count) {
    seal_gils(dump);
    read_ahead(dump, threads, count);
    for (int i = 0; i < count; i++)
        if (threads[i].state_address && can_be_sealed(dump, &threads[i]))
            walk_frames(dump, &threads[i]);
    check_seals(dump);
    for (int i = 0; i < count; i++)
        threads[i].walked = threads[i].state_address && threads[i].walked && is_sealed(dump, &threads[i]);
    for (int i = 0; i < count; i++) {
        if (!threads[i].state_address || threads[i].walked)
            continue;
        finish_kernel_threads(dump);    /* is it idle? */
        if (read_frames(dump, &threads[i]))
            dump->complete = 0;
    }
}

static void mark_cut(struct dump *dump) {
    for (int i = 0; i < dump->thread_count; i++)
        if (dump->threads[i].is_cut)
            dump->threads[i].complete = dump->complete = 0;
}

static void read_stack(struct dump *dump, struct dump_thread *thread) {
    if (thread->state_address && read_frames(dump, thread))
        dump->complete = 0;
}

/* For --native. That there are no C frames is said once, and with each thread where it is that thread's. */
static void begin_native(struct dump *dump) {
    char trouble[256];
    struct target *target = dump->target;
    dump->native = open_native(target, trouble, sizeof trouble);
    if (!dump->native)
        refuse(target, "no C frames", "process %d is shown without C frames: %s", target->pid, trouble);
}

/* The stacks; all again where a code object was freed and used anew meanwhile. */
static void read_stacks(struct dump *dump) {
    for (int run = 0; run < RUNS_OF_CODES; run++) {
        if (run) {
            drop_frames(dump);
            free_codes(dump);
        }
        if (dump->native)       /* each one while it stands still: nothing is read ahead */
            for (int i = 0; i < dump->thread_count; i++)
                read_mixed(dump->native, dump->threads[i].tid, dump, &dump->threads[i], read_stack);
        for (int i = 0; i < dump->thread_count && !dump->native; i += AHEAD)
            read_stacks_of(dump, &dump->threads[i], dump->thread_count - i < AHEAD ? dump->thread_count - i : AHEAD);
        if (!codes_hold(dump))
            return;
    }
    for (int i = 0; i < dump->thread_count; i++) {      /* keep what is above the last stale one */
        struct dump_thread *thread = &dump->threads[i];
        int from = 0;
        for (int k = 0; k < thread->frame_count; k++)
            if (thread->frames[k].code && thread->frames[k].code->stale)
                from = k + 1;
        if (!from)
            continue;
        drop_mixed(thread, from);
        thread->frame_count -= from;
        memmove(thread->frames, thread->frames + from, thread->frame_count * sizeof *thread->frames);
        thread->complete = dump->complete = 0;
    }
}

/* From a target whose /proc can be read and whose Python is known, to all stacks. */
static int read_python(struct dump *dump) {
    struct target *target = dump->target;
    if (read_interpreters(dump))
        return refuse(target, "cannot be read", "the interpreter of process %d cannot be read "
                      "(is it starting or ending?)", target->pid);
    say_version(dump);
    if (match_states(dump))
        dump->complete = 0;
    read_gils(dump);
    number_threads(dump);
    if (options && options->native) {
        finish_kernel_threads(dump);    /* before any thread is stopped */
        begin_native(dump);
    }
    read_stacks(dump);
    mark_cut(dump);
    finish_kernel_threads(dump);
    settle_holders(dump);
    for (int i = 0; i < dump->thread_count; i++)
        tell_state(dump, &dump->threads[i]);
    if (options && options->locals) {
        struct value_limits limits = {options->depth, options->length, options->width};
        if ((dump->locals = open_locals(dump, &limits, options->json)))
            read_locals(dump->locals);
        tell_time("locals");
    }
    forget_cached(dump->memory);
    read_thread_names(dump);
    return 0;
}

static int find_interpreter_of(struct dump *dump) {
    struct target *target = dump->target;
    if (!find_python(target, options && options->native))
        return 0;
    if (!strcmp(target->refusal.brief, "PyPy"))
        return refuse(target, "PyPy", "process %d runs PyPy, supported is CPython 3.6 to 3.15", target->pid);
    return strcmp(target->refusal.brief, "not Python") ? -1 : search_python(dump);
}

static int read_all(struct dump *dump) {
    struct target *target = dump->target;
    read_command(dump);
    int is_core = core_of(dump->memory) != NULL;
    if ((!is_core && (read_maps(target) || check_machine(target))) || find_interpreter_of(dump) || find_layout(dump))
        return -1;
    tell_time("python");
    if (is_core ? read_core_threads(dump) : read_kernel_threads(dump))
        return refuse_missing(target, target->pid);
    tell_time("threads");
    int failed = read_python(dump);
    finish_kernel_threads(dump);
    tell_time("stacks");
    return failed;
}

static void free_dump(struct dump *dump) {
    if (helpers_are_at_work())
        return;                 /* then our process is about to end */
    drop_frames(dump);
    for (int i = 0; i < dump->thread_count; i++)
        free(dump->threads[i].name);
    close_native(dump->native);
    free(dump->threads);
    free(dump->interpreters);
    free(dump->command);
    free_codes(dump);
    close_locals(dump->locals);
    free_sources(dump);
    free_cache(dump->memory);
}

/* ---- one process ---- */

static void show(struct dump *dump) {
    const char *error = dump->target->refusal.line[0] ? dump->target->refusal.line : NULL;
    if (options->json)
        show_json(dump, error);
    else
        show_text(dump, error);
}

/* A process that is ending is many things for a moment: has no memory, no interpreter, or a first thread less. */
static void await_end(struct target *target) {
    struct thread thread;
    for (int looks = 0; looks < 50 && !is_gone(target); looks++) {
        if (read_stat(target, "stat", &thread, NULL) || !(thread.flags & PF_EXITING))
            return;
        sleep_ms(2);
    }
}

/* What happened while we looked explains more than what we found. */
static void check_gone(struct target *target, int read_some) {
    if (core_of(&target->memory) || !is_gone(target))
        return;
    if (read_some)
        refuse(target, "gone", "process %d has ended while it was read", target->pid);
    else
        refuse_missing(target, target->pid);
}

/* Among the children of a process, those that run no Python are none of ours. */
static int is_stranger(const struct target *target) {
    static const char *const briefs[] = {"not Python", "gone", "zombie", "kernel thread"};
    for (size_t i = 0; i < sizeof briefs / sizeof *briefs; i++)
        if (!strcmp(target->refusal.brief, briefs[i]))
            return 1;
    return 0;
}

/* Runs in a child, see run_watched. */
static int dump_in_child(struct target *target) {
    struct dump dump = {.target = target, .memory = &target->memory, .options = options, .complete = 1};
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    dump.time = now.tv_sec;
    target->memory.reads_at_most = DUMP_READS_AT_MOST;
    int failed = read_all(&dump);
    if (core_of(&target->memory))
        explain_core(target, options->core, failed, &dump.time);
    else if (failed)
        await_end(target);
    check_gone(target, dump.thread_count > 0);
    int stranger = skip_strangers && is_stranger(target) && !dump.thread_count;
    if (!stranger)
        show(&dump);
    free_dump(&dump);
    if (stranger)
        return STRANGER;
    tell_time("text");
    if (flush_output(result))
        return 3;
    if (target->refusal.line[0])
        complain(target);
    return target->refusal.line[0] ? 1 : 0;
}


/* What the child has left in the memfd, to standard output; -1: nothing. */
static int pass_result(void) {
    struct stat info;
    if (fstat(result, &info) || !info.st_size)
        return -1;
    char *text = mmap(NULL, info.st_size, PROT_READ, MAP_SHARED, result, 0);
    if (text == MAP_FAILED)
        return -1;
    pass_output(text, info.st_size);
    munmap(text, info.st_size);
    return 0;
}

static void show_refused(struct target *target) {
    struct dump dump = {.target = target, .memory = &target->memory, .options = options};
    if (target->status.tgid && strcmp(target->refusal.brief, "does not answer"))
        read_command(&dump);    /* of its memory, too */
    show(&dump);
    free_dump(&dump);
}

/* The first thread of a process has ended, and with it its view of the memory; any other one has it still. */
static int take_other_thread(struct target *target) {
    struct dirent *entry;
    int fd = openat(target->proc, "task", O_RDONLY | O_DIRECTORY | O_CLOEXEC), found = -1;
    DIR *task = fd >= 0 ? fdopendir(fd) : NULL;
    while (task && found < 0 && (entry = readdir(task))) {
        char path[300];
        struct target other = {.pid = atoi(entry->d_name)};
        struct thread thread = {0};
        snprintf(path, sizeof path, "/proc/%d", other.pid);
        if (other.pid <= 0 || (other.proc = open(path, O_PATH | O_DIRECTORY | O_CLOEXEC)) < 0)
            continue;
        if (read_status(&other, "status", &other.status) || other.status.tgid != target->pid
            || read_stat(&other, "stat", &thread, NULL) || thread.state == 'Z' || thread.state == 'X') {
            close(other.proc);
            continue;
        }
        close(target->proc);
        target->proc = other.proc;
        target->status = other.status;
        memset(&target->refusal, 0, sizeof target->refusal);
        found = other.pid;
    }
    if (task)
        closedir(task);
    return found;
}

/* May it be read? As for an attach, but for what does not matter here. */
static int find_target(struct target *target, pid_t pid) {
    int reader = pid;
    if (find_process(target, pid, 0)) {
        if (strcmp(target->refusal.brief, "first thread has ended"))
            return -1;
        if ((reader = take_other_thread(target)) < 0) {
            await_end(target);
            check_gone(target, 0);
            return -1;
        }
    }
    int failed = ask_permission(target);
    target->memory.pid = reader;
    return failed;
}

/* A process, or (0) the core file of the options. `alone`: it is the only one, and needs no library. */
static int dump_process(pid_t pid, int among_children, int alone) {
    struct target target;
    result = memfd_create("dump", MFD_CLOEXEC);
    if (result < 0)
        result = dup(1);
    skip_strangers = among_children;
    flush_output(1);            /* a child would have it, too */
    int refused = pid ? find_target(&target, pid) : open_core(&target, options->core, options->core_executable);
    int status = refused ? -1 : run_watched(dump_in_child, &target, alone);
    int lost = alone && status < 0 && !refused;     /* in the middle of anything: of our memory, too */
    drop_output();
    int skipped = among_children && (status == STRANGER || (status < 0 && is_stranger(&target)));
    size_t before = output_size();
    put(separator);
    if (skipped || (status >= 0 && pass_result()))
        free(take_output(before));
    else
        separator = options->json ? ",\n" : "\n";
    if (status < 0 && !skipped) {
        status = complain(&target);
        show_refused(&target);
    }
    flush_output(1);
    close(result);
    if (!lost)
        close_target(&target);
    return skipped ? 0 : status;
}

/* ---- several processes ---- */

struct family {
    pid_t pid, parent;
    int taken;
};

static int read_family(struct family **all) {
    struct target own = {.proc = open("/proc", O_RDONLY | O_DIRECTORY | O_CLOEXEC)};
    DIR *proc = own.proc >= 0 ? fdopendir(dup(own.proc)) : NULL;
    struct dirent *entry;
    int count = 0, room = 0;
    *all = NULL;
    while (proc && (entry = readdir(proc))) {
        char name[300], text[1024], *at;
        struct family one = {.pid = atoi(entry->d_name)};
        snprintf(name, sizeof name, "%s/stat", entry->d_name);
        if (one.pid <= 0 || read_proc(&own, name, text, sizeof text) <= 0 || !(at = strrchr(text, ')'))
            || sscanf(at, ") %*c %d", &one.parent) != 1)
            continue;
        if (count == room) {
            struct family *more = realloc(*all, (room = room ? 2 * room : 256) * sizeof *more);
            if (!more)
                break;
            *all = more;
        }
        (*all)[count++] = one;
    }
    if (proc)
        closedir(proc);
    if (own.proc >= 0)
        close(own.proc);
    return count;
}

/* Behind each of the pids its children and theirs, that are not there yet: wanted[from] is the first new one. */
static int add_children(pid_t **wanted, int count) {
    struct family *all;
    int n = read_family(&all);
    pid_t *more = realloc(*wanted, (count + n + 1) * sizeof *more);
    if (more)
        *wanted = more;
    for (int i = 0; more && i < count; i++) {
        for (int k = 0; k < n; k++) {
            int known = all[k].parent != more[i];
            for (int j = 0; !known && j < count; j++)
                known = more[j] == all[k].pid;
            if (!known)
                more[count++] = all[k].pid;
        }
    }
    free(all);
    return count;
}

static int read_pid(const char *text, pid_t *pid) {
    char *end;
    long number = strtol(text, &end, 10);
    if (text[0] < '0' || text[0] > '9' || *end || number < 1 || number > INT32_MAX)
        return -1;
    *pid = number;
    return 0;
}

int print_dump(char **pids, int count, const struct dump_options *given) {
    int status = 0;
    struct timespec now;
    pid_t *wanted = calloc(count, sizeof *wanted);
    for (int i = 0; i < count; i++) {
        if (!wanted || (!given->core && read_pid(pids[i], &wanted[i]))) {
            fputs("pydbattach: not a process id: '", stderr);
            print_safely(stderr, pids[i]);
            fputs("'\n", stderr);
            free(wanted);
            return 2;
        }
    }
    int all = given->children ? add_children(&wanted, count) : count;
    options = given;
    watch_ms = DUMP_WATCH_MS;
    clock_gettime(CLOCK_REALTIME, &now);
    if (options->json)
        putf("{\"pydbattach\": \"%s\", \"time\": %lld.%03ld, \"processes\": [\n", options->version,
             (long long)now.tv_sec, now.tv_nsec / 1000000);
    for (int i = 0; i < all; i++)
        if (dump_process(wanted[i], i >= count, all == 1 && !options->native && !options->core))
            status = 1;
    free(wanted);
    if (options->json)
        put("\n]}\n");
    return flush_output(1) ? 1 : status;
}

/* ---- who holds the GIL ---- */

static int find_holder(struct target *target) {
    struct dump dump = {.target = target, .memory = &target->memory, .options = options, .complete = 1};
    target->memory.reads_at_most = DUMP_READS_AT_MOST;
    int found = 0;
    if (!read_all(&dump))
        for (int i = 0; i < dump.thread_count && !found; i++) {
            const struct dump_thread *thread = &dump.threads[i];
            if (thread->state != HOLDS_GIL && thread->state != COLLECTING)
                continue;
            printf("%d ", thread->number);
            found = !print_where(stdout, thread);
            putchar('\n');
            if (found)
                print_slot(stdout, &dump, thread);
        }
    free_dump(&dump);
    return !found;
}

/* `pydblook gil PID`, see holder.c. Exit status 1: nobody, at this moment. */
int print_holder(const char *text) {
    static const struct dump_options none;
    struct target target;
    pid_t pid;
    options = &none;
    if (read_pid(text, &pid))
        return 2;
    int status = find_target(&target, pid) ? -1 : run_watched(find_holder, &target, 0);
    if (status < 0)
        status = complain(&target);
    close_target(&target);
    return status;
}

/* For the list: 3.12.1, or as much of it as the target tells. */
void tell_version(struct target *target, char *text, size_t size) {
    struct dump dump = {.target = target, .memory = &target->memory};
    char line[sizeof target->refusal];
    memcpy(line, &target->refusal, sizeof line);
    snprintf(dump.version, sizeof dump.version, "%d.%d", target->python.version >> 8, target->python.version & 0xff);
    if (!find_layout(&dump)) {
        read_interpreters(&dump);
        say_version(&dump);
    }
    memcpy(&target->refusal, line, sizeof line);        /* it is about the attach */
    snprintf(text, size, "%s", dump.version);
    free_dump(&dump);
}
