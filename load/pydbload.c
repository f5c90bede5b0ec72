/* SPDX-License-Identifier: MIT
 * pydbload.c - the launcher's C half: brings pyinjectcode.so into the target.
 *
 *   pydbload lock PID                           takes the lock of the target: flock on descriptor 9, /proc/PID/mem
 *   pydbload [-v] load LIBRARY SCRIPT < PLAN    prints the address of struct pydb_state, or (status 3) who was where
 *
 * The plan is what `pydblook plan` prints. The private copy of the library is placed where the
 * target can open it and unlinked by the library itself once it is loaded, or by us.
 *
 * gdb runs in a session of its own, under a guard that outlives us and gdb: whoever is killed,
 * the target does not stay stopped and no file stays behind. Nothing here calls into the target;
 * see pydbattach.gdb and stub_x86_64.S.
 *
 * Every step of an attach, its deadline and what is undone when that passes: ../steps.h.
 *
 * Exit status: 0 loaded, 1 could not (one line says why), 2 usage, 3 the thread has moved: look again.
 */
#define _GNU_SOURCE
#include <cpuid.h>
#include <dirent.h>
#include <elf.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <poll.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "../pipe_end.h"
#include "../steps.h"
#include "../wire.h"

#define TICK_MS 100             /* a tick of the clock longer than this: we were not there */
#define EXIT_MOVED 3
#define COPY_PREFIX ".pydbattach."
#define LOCK_FD 9               /* pydbattach.sh opens /proc/PID/mem here; gdb and guard hold it, too */

extern const char stub_start[], stub_end[], stub_rax1[], stub_rax2[];
extern const char stub_pthread_create[], stub_pthread_detach[], stub_dlopen[], stub_errno[], stub_entry[];
extern const char stub_note[], stub_back[], stub_restart[], stub_path[], stub_python[];

static int verbose;
static volatile sig_atomic_t interrupted;

struct plan {
    char *text;                 /* the whole plan, as gdb will read it */
    size_t size;
    int pid;
    unsigned uid, gid;
    uint64_t pthread_create, pthread_detach, dlopen, errno_location, stub, stub_room, note, state, entry;
    char python[160];
};

struct copy {                   /* the private copy of the library */
    int directory;              /* descriptor, -1: none was needed */
    char name[40];
    char path[96];              /* as the target names it */
};

/* One line to stderr, with errno as it was when it was called. */
/* One write, so that no other line comes between. */
static int complain(const char *format, ...) {
    char line[8192];
    va_list arguments;
    va_start(arguments, format);
    int size = vsnprintf(line, sizeof line, format, arguments);
    va_end(arguments);
    dprintf(STDERR_FILENO, "pydbattach: %.*s\n", size, line);
    return 1;
}

static double now_ms(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec * 1e3 + t.tv_nsec / 1e6;
}

static void sleep_us(long us) {
    struct timespec t = {0, us * 1000};
    nanosleep(&t, NULL);
}

/* A clock for deadlines. */
struct lived {
    double last, ms;
};

static double count_lived(struct lived *lived) {
    double now = now_ms(), step = lived->last ? now - lived->last : 0;
    lived->last = now;
    lived->ms += step < TICK_MS ? step : TICK_MS;
    return lived->ms;
}

static void report_step(const char *step, double since) {
    if (verbose)
        fprintf(stderr, "pydbattach: load: %s %.1f ms\n", step, now_ms() - since);
}

static int read_target(int pid, uint64_t address, void *buffer, size_t size) {
    struct iovec local = {buffer, size}, remote = {(void *)address, size};
    return process_vm_readv(pid, &local, 1, &remote, 1, 0) == (ssize_t)size ? 0 : -1;
}

/* A small file of /proc/PID as text; "" if it cannot be read. */
static void read_proc(int pid, const char *name, char *text, size_t size) {
    char path[64];
    snprintf(path, sizeof path, "/proc/%d/%s", pid, name);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    ssize_t n = fd >= 0 ? read(fd, text, size - 1) : -1;
    if (fd >= 0)
        close(fd);
    text[n > 0 ? n : 0] = 0;
}

/* The state letter of /proc/PID/stat, 0 if the process is gone. */
static char process_state(int pid) {
    char text[512];
    read_proc(pid, "stat", text, sizeof text);
    char *end = strrchr(text, ')');
    return end && end[1] ? end[2] : 0;
}

/* Does somebody trace it, now and then? A sampler does so for a moment only, a hundred times in a second. */
static int has_tracer(int pid) {
    char text[4096];
    for (int look = 0; look < 100; look++) {
        read_proc(pid, "status", text, sizeof text);
        char *tracer = strstr(text, "TracerPid:\t");
        if (tracer && atoi(tracer + strlen("TracerPid:\t")))
            return 1;
        sleep_us(1000);
    }
    return 0;
}

/* ---- the plan ---- */

static uint64_t plan_number(const struct plan *plan, const char *name) {
    char key[64];
    int n = snprintf(key, sizeof key, "set $%s = ", name);
    for (char *line = plan->text; line; line = strchr(line, '\n')) {
        if (*line == '\n')
            line++;
        if (!strncmp(line, key, n))
            return strtoull(line + n, NULL, 0);
    }
    return 0;
}

/* The next `# name text` line at or after *cursor; 0 and the text, or -1. */
static int plan_text(char **cursor, const char *name, char *text, size_t size) {
    char key[64];
    int n = snprintf(key, sizeof key, "# %s ", name);
    for (char *line = *cursor; line && *line; ) {
        char *end = strchrnul(line, '\n');
        if (!strncmp(line, key, n) && (size_t)(end - line - n) < size) {
            memcpy(text, line + n, end - line - n);
            text[end - line - n] = 0;
            *cursor = *end ? end + 1 : end;
            return 0;
        }
        line = *end ? end + 1 : end;
    }
    return -1;
}

static int read_plan(struct plan *plan) {
    size_t room = 1 << 16;
    plan->text = calloc(1, room + 1);
    ssize_t n;
    while (plan->text && plan->size < room && (n = read(0, plan->text + plan->size, room - plan->size)) > 0)
        plan->size += n;
    if (!plan->text || !plan->size)
        return -1;
    plan->pid = plan_number(plan, "pid");
    plan->uid = plan_number(plan, "uid");
    plan->gid = plan_number(plan, "gid");
    plan->pthread_create = plan_number(plan, "pthread_create");
    plan->pthread_detach = plan_number(plan, "pthread_detach");
    plan->dlopen = plan_number(plan, "dlopen");
    plan->errno_location = plan_number(plan, "errno_location");
    plan->stub = plan_number(plan, "stub");
    plan->stub_room = plan_number(plan, "stub_room");
    plan->note = plan_number(plan, "note");
    plan->state = plan_number(plan, "state");
    plan->entry = plan_number(plan, "entry");
    char *cursor = plan->text;
    if (plan_text(&cursor, "python", plan->python, sizeof plan->python))
        plan->python[0] = 0;
    return plan->pid && plan->stub && plan->note && plan->pthread_create && plan->errno_location ? 0 : -1;
}

/* ---- the copy of the library ---- */

static int open_beneath_root(int pid, const char *directory) {
    char path[64];
    snprintf(path, sizeof path, "/proc/%d/root", pid);
    int root = open(path, O_PATH | O_DIRECTORY | O_CLOEXEC);
    if (root < 0)
        return -1;
    struct open_how how = {.flags = O_PATH | O_DIRECTORY | O_CLOEXEC,
                           .resolve = RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS};
    int fd = syscall(SYS_openat2, root, directory, &how, sizeof how);
    close(root);
    return fd;
}

static int write_all(int fd, const void *data, size_t size) {
    for (size_t done = 0; done < size; ) {
        ssize_t n = write(fd, (const char *)data + done, size - done);
        if (n <= 0)
            return -1;
        done += n;
    }
    return 0;
}

static int may_be_stale(const struct plan *plan, const struct stat *info) {
    return S_ISREG(info->st_mode) && (info->st_uid == geteuid() || info->st_uid == plan->uid) && time(NULL) - info->st_mtime > 60;
}

/* Copies of attaches that were killed altogether, before the library could unlink its own: ours or the target's
 * user's, a minute old, and not locked as a copy is while its attach lives. What others have put there is not opened. */
static void remove_stale_copies(const struct plan *plan, int directory) {
    int listed = openat(directory, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR *all = listed >= 0 ? fdopendir(listed) : NULL;
    for (struct dirent *entry; all && (entry = readdir(all)); ) {
        struct stat info;
        if (strncmp(entry->d_name, COPY_PREFIX, strlen(COPY_PREFIX))
            || fstatat(directory, entry->d_name, &info, AT_SYMLINK_NOFOLLOW) || !may_be_stale(plan, &info))
            continue;
        int fd = openat(directory, entry->d_name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
        if (fd >= 0 && fstat(fd, &info) == 0 && may_be_stale(plan, &info) && flock(fd, LOCK_EX | LOCK_NB) == 0)
            unlinkat(directory, entry->d_name, 0);
        if (fd >= 0)
            close(fd);
    }
    if (all)
        closedir(all);
    else if (listed >= 0)
        close(listed);
}

/* A new file that nobody could have prepared, readable by the target's user alone. 0, or what was wrong with the first place. */
static int place_copy(const struct plan *plan, const char *image, size_t size, struct copy *copy) {
    char directory[64], *cursor = plan->text;
    uint64_t random = 0;
    int problem = 0;
    while (!plan_text(&cursor, "place", directory, sizeof directory)) {
        int at = open_beneath_root(plan->pid, directory);
        if (at < 0) {
            problem = problem ? problem : errno;
            continue;
        }
        if (getrandom(&random, sizeof random, 0) != sizeof random)
            random = now_ms() * 1e6;
        remove_stale_copies(plan, at);
        snprintf(copy->name, sizeof copy->name, COPY_PREFIX "%016llx.so", (unsigned long long)random);
        snprintf(copy->path, sizeof copy->path, "%s/%s", strcmp(directory, "/") ? directory : "", copy->name);
        int fd = openat(at, copy->name, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0500);
        if (fd >= 0) {
            int failed = write_all(fd, image, size) || fchmod(fd, 0500);
            if (!failed && (plan->uid != geteuid() || plan->gid != getegid()))
                failed = fchown(fd, plan->uid, plan->gid) && plan->uid != geteuid();
            failed |= close(fd);
            if (!failed) {
                copy->directory = at;
                flock(openat(at, copy->name, O_RDONLY | O_NOFOLLOW | O_CLOEXEC), LOCK_SH);     /* held as long as we and the guard live */
                return 0;
            }
        }
        problem = problem ? problem : errno;
        if (fd >= 0)
            unlinkat(at, copy->name, 0);
        close(at);
    }
    return problem ? problem : ENOENT;
}

static void remove_copy(struct copy *copy) {
    if (copy->directory >= 0)
        unlinkat(copy->directory, copy->name, 0);
}

/* Offset of a symbol in our own library file; 0 if it has none. */
static uint64_t find_symbol(const char *image, size_t size, const char *name) {
    const Elf64_Ehdr *head = (const void *)image;
    const Elf64_Shdr *sections = (const void *)(image + head->e_shoff);
    if (size < sizeof *head || head->e_shoff + head->e_shnum * sizeof *sections > size)
        return 0;
    for (int i = 0; i < head->e_shnum; i++) {
        if (sections[i].sh_type != SHT_DYNSYM)
            continue;
        const Elf64_Sym *symbols = (const void *)(image + sections[i].sh_offset);
        const char *names = image + sections[sections[i].sh_link].sh_offset;
        for (size_t k = 0; k < sections[i].sh_size / sizeof *symbols; k++)
            if (!strcmp(names + symbols[k].st_name, name))
                return symbols[k].st_value;
    }
    return 0;
}

/* ---- gdb and its guard ---- */

static int make_file(const char *name, const void *data, size_t size) {
    int fd = memfd_create(name, 0);     /* no FD_CLOEXEC: gdb opens it as /proc/self/fd/N */
    return fd >= 0 && write_all(fd, data, size) == 0 ? fd : -1;
}

/* The stub with its table filled in, as a file for gdb's `restore`. */
static int make_stub(const struct plan *plan, const struct copy *copy, uint64_t entry) {
    size_t size = stub_end - stub_start;
    char stub[2048];
    if (size > sizeof stub)
        return -1;
    memcpy(stub, stub_start, size);
#define PUT(name, value) memcpy(stub + (name - stub_start), &(uint64_t){value}, 8)
    PUT(stub_pthread_create, plan->pthread_create);
    PUT(stub_pthread_detach, plan->pthread_detach);
    PUT(stub_dlopen, plan->state ? 0 : plan->dlopen);
    PUT(stub_errno, plan->errno_location);
    PUT(stub_entry, entry);
    PUT(stub_rax1, plan->note + NOTE_SAVED);
    PUT(stub_rax2, plan->note + NOTE_SAVED);
    PUT(stub_note, plan->note);
#undef PUT
    strcpy(stub + (stub_path - stub_start), copy->path);
    strcpy(stub + (stub_python - stub_start), plan->python);
    return make_file("pydbattach-stub", stub, size);
}

static int make_script(const struct plan *plan, uint64_t token, int stub) {
    char rest[512];
    uint32_t first;             /* gdb has no 64-bit types before it has attached */
    memcpy(&first, stub_start, sizeof first);
    int n = snprintf(rest, sizeof rest,
        "\nset $token = %lu\nset $note_magic = %llu\nset $stub_back = %ld\nset $stub_restart = %ld\nset $stub_file = %d\nset $tries = %d\n"
        "set $stub_first = %u\nset $stub_last = %ld\n",
        token, NOTE_MAGIC, stub_back - stub_start, stub_restart - stub_start, stub, TRIES, first, stub_note - stub_start);
    int fd = make_file("pydbattach-plan", plan->text, plan->size);
    return fd >= 0 && write_all(fd, rest, n) == 0 ? fd : -1;
}

static void become_gdb(int plan, const char *script, int log, int pipe) {
    char plan_path[32];
    setpgid(0, 0);              /* with a child of its own, which can be left behind stopped */
    fcntl(pipe, F_SETFD, 0);    /* the pipe ends when guard and gdb have ended, not before */
    snprintf(plan_path, sizeof plan_path, "/proc/self/fd/%d", plan);
    int null = open("/dev/null", O_RDONLY);
    dup2(null, 0);
    dup2(log, 1);
    dup2(log, 2);
    /* No symbols, no libraries, no thread_db, no network, no embedded Python: every address comes
     * from look, and each of them costs time, or opens files of the wrong root. */
    execlp("gdb", "gdb", "-nx", "-batch", "-q", "-readnever", "-data-directory", "/nonexistent",
           "-iex", "set auto-load off", "-iex", "set debuginfod enabled off", "-iex", "set auto-solib-add off",
           "-iex", "set libthread-db-search-path /nonexistent", "-iex", "set debug-file-directory /nonexistent",
           "-iex", "set sysroot /nonexistent", "-x", plan_path, "-x", script, (char *)NULL);
    _exit(127);
}

/* If the target stands still now and no tracer is there, gdb died at the wrong moment: the stop is
 * ours, because look refuses stopped targets. A pending stop may arrive a little later. */
static void continue_target(int pid, int ms) {
    for (double end = now_ms() + ms; now_ms() < end; sleep_us(5000))
        if (process_state(pid) == 'T')
            kill(pid, SIGCONT);
}

/* After gdb was killed, and has been waited for: what it has left may be a SIGSTOP that no thread has taken yet (one in
 * state D, or one that has to wait for a processor). SIGCONT takes it away, whenever it would have come, and does
 * nothing else where no handler is set. */
static void undo_stop(int pid, int ms) {
    kill(pid, SIGCONT);
    continue_target(pid, ms);
}

/* gdb without its guard: known by the descriptor that it has inherited. */
static void end_gdb(int pid) {
    char want[64], path[320], link[64];
    snprintf(want, sizeof want, "/proc/%d/mem", pid);
    DIR *all = opendir("/proc");
    for (struct dirent *entry; all && (entry = readdir(all)); ) {
        int other = atoi(entry->d_name);
        snprintf(path, sizeof path, "/proc/%s/fd/%d", entry->d_name, LOCK_FD);
        ssize_t n = other > 0 ? readlink(path, link, sizeof link - 1) : -1;
        if (n <= 0 || (link[n] = 0, strcmp(link, want)))
            continue;
        read_proc(other, "comm", link, sizeof link);
        if (!strcmp(link, "gdb\n"))
            kill(other, SIGKILL);
    }
    if (all)
        closedir(all);
}

static void tell_detach(int pid, const struct pydb_state *state) {
    static const char frame[WIRE_HEADER] = {WIRE_DETACH, 0, 0, 0, 0};
    int fd = open_pipe_end(pid, state->in_write, state->in_node, O_WRONLY);
    if (fd < 0)
        return;
    write_all(fd, frame, sizeof frame);
    close(fd);
}

/* Until a client has taken the channel. If launcher and client have died before, which frees the lock,
 * nobody will: then the library is told to leave at once. */
static void watch_library(const struct plan *plan, uint64_t token) {
    char path[64];
    struct pydb_note note;
    struct pydb_state state;
    snprintf(path, sizeof path, "/proc/%d/mem", plan->pid);
    int lock = open(path, O_RDONLY | O_CLOEXEC);
    for (struct lived lived = {0}; count_lived(&lived) < LIBRARY_MS; sleep_us(20000)) {
        if (read_target(plan->pid, plan->note, &note, sizeof note) || note.token != token)
            return;
        if (!note.state || read_target(plan->pid, note.state, &state, sizeof state))
            continue;
        if (state.phase != PYDB_LOADING && state.phase != PYDB_READY)
            return;
        if (state.phase == PYDB_READY && lock >= 0 && flock(lock, LOCK_EX | LOCK_NB) == 0) {
            tell_detach(plan->pid, &state);
            return;
        }
    }
}

/* How long the first thread of a process has been on a processor, in ns; 0 if it cannot be told. */
static unsigned long long read_run_time(int pid) {
    char text[64];
    read_proc(pid, "schedstat", text, sizeof text);
    return strtoull(text, NULL, 10);
}

/* Until gdb has ended; 1: it was too slow and was killed. gdb 13 does not end now and then although its work is done
 * (2 of 3,242): when the library has answered, it has nothing to do any more. Its time at work is no
 * sign of trouble: it, and the threads that it stops, may have to compete for the processor. Asleep all the time it waits
 * for a thread that does not stop. */
static int await_gdb(const struct plan *plan, uint64_t token, pid_t gdb, int *status) {
    struct pollfd watch = {syscall(SYS_pidfd_open, gdb, 0), POLLIN, 0};
    struct lived lived = {0};
    struct pydb_note note;
    double before = count_lived(&lived), asleep = 0, answered = 0;
    unsigned long long ran = 0, runs;
    while (waitpid(gdb, status, WNOHANG) == 0) {
        poll(&watch, 1, 50);
        double step = count_lived(&lived) - before;
        before += step;
        runs = read_run_time(gdb);
        asleep = process_state(gdb) != 'R' && runs == ran ? asleep + step : 0;
        ran = runs;
        if (!read_target(plan->pid, plan->note, &note, sizeof note) && note.token == token && note.left && note.state)
            answered += step;
        if (asleep > GDB_MS || before > GDB_RUNS_MS || answered > GDB_ENDS_MS) {
            kill(gdb, SIGKILL);
            waitpid(gdb, status, 0);
            if (answered <= GDB_ENDS_MS)
                return 1;
            *status = 0;
            undo_stop(plan->pid, 50);
            return 0;
        }
    }
    return 0;
}

/* Runs gdb, outlives everybody, tells gdb's status over the pipe (255: killed, 254: too slow). */
static void guard_gdb(const struct plan *plan, uint64_t token, int text, const char *script, int log, int pipe,
                      struct copy *copy) {
    int pid = plan->pid;
    setsid();
    int null = open("/dev/null", O_RDWR);
    for (int fd = 0; fd < 3; fd++)      /* who waits for the end of our output must not wait for the guard */
        dup2(null, fd);
    sigset_t all;
    sigfillset(&all);
    sigprocmask(SIG_SETMASK, &all, NULL);
    pid_t gdb = fork();
    if (gdb == 0) {
        /* gdb passes a SIGINT of its own on to the target, where it is a KeyboardInterrupt, and leaves a stopped
         * target at SIGHUP and SIGTERM: it hears none. It needs SIGCHLD alone. */
        sigdelset(&all, SIGCHLD);
        sigprocmask(SIG_SETMASK, &all, NULL);
        become_gdb(text, script, log, pipe);
    }
    int status = 0, slow = await_gdb(plan, token, gdb, &status);
    kill(-gdb, SIGKILL);        /* its own child, which it leaves behind stopped when it is killed at the wrong moment */
    unsigned char said = slow ? 254 : WIFEXITED(status) ? WEXITSTATUS(status) : 255;
    if (said >= 254)
        undo_stop(pid, 300);
    else if (said != 0 && said != EXIT_MOVED)
        continue_target(pid, 300);
    if (write(pipe, &said, 1) != 1) { /* nobody listens any more */ }
    close(LOCK_FD);             /* from now on the lock is the launcher's and the client's alone */
    if (said == 0)
        watch_library(plan, token);
    remove_copy(copy);
    if (slow)
        continue_target(pid, 60000);
    _exit(0);
}

/* ---- waiting for the library ---- */

/* The file that an address of the target lies in, without its directory; what could harm a terminal is replaced. */
static void name_place(int pid, uint64_t address, char *name, size_t size) {
    char path[64], line[4352];
    snprintf(path, sizeof path, "/proc/%d/maps", pid);
    snprintf(name, size, "code at %#llx", (unsigned long long)address);
    FILE *maps = fopen(path, "re");
    while (maps && fgets(line, sizeof line, maps)) {
        unsigned long long low, high;
        char *slash = strrchr(line, '/');
        if (sscanf(line, "%llx-%llx", &low, &high) != 2 || address < low || address >= high || !slash)
            continue;
        snprintf(name, size, "%.*s", (int)strcspn(slash + 1, "\n"), slash + 1);
        for (char *c = name; *c; c++)
            if ((unsigned char)*c < 0x20 || *c == 0x7f || *c == '\\')
                *c = '?';
    }
    if (maps)
        fclose(maps);
}

/* The end of what gdb has said: each try has said something, and the last one says where it stands. */
static void read_log_end(int log, char *text, size_t size) {
    struct stat info = {0};
    fstat(log, &info);
    ssize_t n = pread(log, text, size - 1, info.st_size < (off_t)size ? 0 : info.st_size - (off_t)(size - 1));
    text[n > 0 ? n : 0] = 0;
}

/* Where the threads were in the last round, for the launcher: "thread 42 in libc.so.6, thread 43 in system call 12". */
static void tell_threads(int pid, int log) {
    char text[8192], place[128], *save;
    int told = 0;
    read_log_end(log, text, sizeof text);
    for (char *line = strtok_r(text, "\n", &save); line && told < 3; line = strtok_r(NULL, "\n", &save)) {
        int tid, handler;
        long call;
        unsigned long long pc;
        if (sscanf(line, "# at %d %ld %llx %d", &tid, &call, &pc, &handler) != 4)
            continue;
        name_place(pid, pc, place, sizeof place);
        printf("%sthread %d ", told++ ? ", " : "", tid);
        if (call >= 0)
            printf("in system call %ld", call);
        else
            printf("%sin %s", handler ? "in a signal handler that has interrupted something, " : "", place);
    }
    if (told)
        printf("\n");
}

static int explain_gdb(const struct plan *plan, int said, int log) {
    char text[4096] = "", *line = text, *last = NULL, *save;
    if (said == EXIT_MOVED) {
        tell_threads(plan->pid, log);
        return EXIT_MOVED;
    }
    if (process_state(plan->pid) == 0)
        return complain("process %d has exited", plan->pid);
    if (said == 127)
        return complain("gdb is not installed; install it: apt-get install gdb, dnf install gdb or apk add gdb");
    if (said == 254)
        return complain(GDB_LINE, plan->pid, GDB_MS / 1000);
    if (said == 255)
        return complain("gdb was killed; process %d runs on", plan->pid);
    ssize_t n = pread(log, text, sizeof text - 1, 0);
    text[n > 0 ? n : 0] = 0;
    for (line = strtok_r(text, "\n", &save); line; line = strtok_r(NULL, "\n", &save))
        last = line;
    /* A candidate that ended between look and gdb is no failure: look again. */
    if (strstr(last ? last : "", "No such process") || strstr(last ? last : "", "ptrace: No such"))
        return EXIT_MOVED;
    /* Nor is one that somebody else traced just then: look says who, or finds the moment between. */
    if (strstr(last ? last : "", "Operation not permitted") && has_tracer(plan->pid))
        return EXIT_MOVED;
    return complain("gdb could not attach to process %d: %s", plan->pid, last ? last : "it said nothing");
}

/* The thread that gdb has let into the stub, by its last words; 0: it has said nothing. */
static int find_borrowed(int log) {
    char text[256];
    int tid = 0;
    read_log_end(log, text, sizeof text);
    const char *at = strstr(text, "# took ");
    return at && sscanf(at, "# took %d", &tid) == 1 ? tid : 0;
}

static int explain_library(const struct plan *plan, const struct pydb_note *note, const struct pydb_state *state, int log) {
    if (process_state(plan->pid) == 0)
        return complain("process %d has exited", plan->pid);
    if (note->error)
        return complain("process %d cannot start another thread: %s", plan->pid, strerror(note->error));
    if (note->phase == NOTE_REFUSED)
        return complain("process %d could not load the library (dlopen refused it)", plan->pid);
    if (note->phase == NOTE_LOADING)
        return complain(LIBRARY_LINE, plan->pid, LIBRARY_MS / 1000);
    if (note->phase < NOTE_LOADING)
        return complain(STUB_LINE, find_borrowed(log), plan->pid, STUB_MS / 1000);
    if (state->phase == PYDB_FAILED)
        return complain("process %d has no room for the channel: %s", plan->pid, strerror(state->error));
    return complain("process %d has loaded the library, but it has not opened the channel; let go", plan->pid);
}

/* 0: *at is the address of a state whose channel can be opened. */
static int await_library(const struct plan *plan, uint64_t token, int from_guard, int log, uint64_t *at) {
    struct pydb_note note = {0};
    struct pydb_state state = {0};
    struct lived lived = {0};
    double start = now_ms(), gdb_done = 0;      /* gdb_done: by the time that we have lived */
    for (;;) {
        double now = count_lived(&lived) + 1;
        struct pollfd ready = {from_guard, POLLIN, 0};
        if (!gdb_done && poll(&ready, 1, 0) > 0) {
            unsigned char said = 0;
            int guarded = read(from_guard, &said, 1) == 1;
            if (!guarded)       /* the guard was killed, and now gdb has ended, nobody knows how: then the note tells */
                continue_target(plan->pid, 300);
            gdb_done = now;
            report_step("gdb ended", start);
            if (said != 0)
                return explain_gdb(plan, said, log);
            if (!guarded && (read_target(plan->pid, plan->note, &note, sizeof note) || note.token != token))
                return explain_gdb(plan, 255, log);
        }
        int ours = !read_target(plan->pid, plan->note, &note, sizeof note) && note.magic == NOTE_MAGIC && note.token == token;
        if (ours && note.state && !read_target(plan->pid, note.state, &state, sizeof state)
            && state.phase >= PYDB_READY) {
            if (state.phase == PYDB_FAILED)
                return explain_library(plan, &note, &state, log);
            report_step("library ready", start);
            *at = note.state;
            if (interrupted) {
                tell_detach(plan->pid, &state);
                return complain("gave up; %d runs on", plan->pid);
            }
            return 0;
        }
        double waited = gdb_done ? now - gdb_done : 0;
        int failed = ours && (note.error || note.phase == NOTE_REFUSED);
        if (gdb_done && (failed || process_state(plan->pid) == 0 || waited > LIBRARY_MS
                         || (waited > STUB_MS && note.phase < NOTE_LOADING)))
            return explain_library(plan, &note, &state, log);
        if (interrupted && gdb_done && waited > 200)
            return complain("gave up; %d runs on", plan->pid);
        if (!gdb_done && now > GUARD_MS) {    /* the guard would have: it was killed, too */
            end_gdb(plan->pid);
            continue_target(plan->pid, 300);
            return explain_gdb(plan, 254, log);
        }
        sleep_us(200);
    }
}

static char *map_library(const char *path, size_t *size) {
    struct stat info;
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0 || fstat(fd, &info) || info.st_size < (off_t)sizeof(Elf64_Ehdr))
        return NULL;
    char *image = mmap(NULL, info.st_size, PROT_READ, MAP_PRIVATE, fd, 0);
    close(fd);
    *size = info.st_size;
    return image == MAP_FAILED ? NULL : image;
}

static void note_signal(int number) {
    (void)number;
    interrupted = 1;
}

static void show_log(int log) {
    char text[512];
    ssize_t n;
    for (off_t at = 0; (n = pread(log, text, sizeof text, at)) > 0 && !write_all(2, text, n); at += n)
        ;
}

static int load_library(const char *library, const char *script) {
    struct plan plan = {0};
    struct copy copy = {.directory = -1};
    size_t size = 0;
    uint64_t token = 0, at = 0;
    int from_guard[2];
    double start = now_ms();
    unsigned a, b, c = 0, d;
    __get_cpuid(1, &a, &b, &c, &d);
    if (!(c & bit_OSXSAVE))
        return complain("this CPU has no xsave; the attach stub needs it");
    if (read_plan(&plan))
        return complain("pydbload: the plan is not whole");
    char *image = map_library(library, &size);
    if (!image)
        return complain("cannot read %s: %s", library, strerror(errno));
    if (plan.stub_room < (size_t)(stub_end - stub_start))
        return complain("process %d has no place for the attach stub (no padding after the text of its libraries)", plan.pid);
    uint64_t entry = plan.state ? plan.entry : find_symbol(image, size, "pydb_entry");
    int problem = plan.state ? 0 : place_copy(&plan, image, size, &copy);
    if (problem)
        return complain("process %d: no place takes the library (/tmp, /var/tmp, /dev/shm, /run, its working directory): %s",
                        plan.pid, strerror(problem));
    if (getrandom(&token, sizeof token, 0) != sizeof token)
        token = now_ms() * 1e6;
    token >>= 1;                /* gdb's integers are signed */
    int stub = make_stub(&plan, &copy, entry);
    int text = make_script(&plan, token, stub);
    int log = memfd_create("pydbattach-log", MFD_CLOEXEC);
    if (stub < 0 || text < 0 || log < 0 || pipe2(from_guard, O_CLOEXEC)) {
        remove_copy(&copy);
        return complain("cannot make the files for gdb: %s", strerror(errno));
    }
    report_step("placed", start);
    fflush(NULL);
    pid_t guard = fork();
    if (guard == 0) {
        if (fork() == 0)        /* its parent is init: nobody waits for it */
            guard_gdb(&plan, token, text, script, log, from_guard[1], &copy);
        _exit(0);
    }
    waitpid(guard, NULL, 0);
    close(from_guard[1]);
    int status = await_library(&plan, token, from_guard[0], log, &at);
    if (verbose && status)
        show_log(log);
    if (status) {
        remove_copy(&copy);
        return status;
    }
    char notice[256], *cursor = plan.text;
    while (!plan_text(&cursor, "notice", notice, sizeof notice))
        complain("%s", notice);
    printf("0x%llx\n", (unsigned long long)at);
    return status;
}

/* ---- the lock ---- */

/* Others may wait for the lock just as we do, with the same file open: only the one that has it has a line about it. */
static int has_lock(int pid) {
    char name[32], text[1024];
    snprintf(name, sizeof name, "fdinfo/%d", LOCK_FD);
    read_proc(pid, name, text, sizeof text);
    return strstr(text, "\nlock:") != NULL;
}

/* Who has the lock of /proc/PID/mem: the other session's client or launcher. 0 if it cannot be told. */
static int find_holder(int pid) {
    char want[64], path[320], link[64];
    snprintf(want, sizeof want, "/proc/%d/mem", pid);
    DIR *all = opendir("/proc");
    int found = 0;
    for (struct dirent *entry; all && !found && (entry = readdir(all)); ) {
        int other = atoi(entry->d_name);
        if (other <= 0 || other == getpid() || other == getppid())
            continue;
        snprintf(path, sizeof path, "/proc/%d/fd/%d", other, LOCK_FD);
        ssize_t n = readlink(path, link, sizeof link - 1);
        if (n > 0 && (link[n] = 0, !strcmp(link, want)) && has_lock(other))
            found = other;
    }
    if (all)
        closedir(all);
    return found;
}

static int is_gdb_or_guard(int pid) {
    char name[16];
    read_proc(pid, "comm", name, sizeof name);
    return !strcmp(name, "gdb\n") || !strcmp(name, "pydbload\n");
}

/* A gdb or guard that still has it is about to end, late on a loaded machine: the session before may be over. */
static int take_lock(int pid) {
    struct lived lived = {0};
    int holder = 0;
    for (double limit = LOCK_MS; ; sleep_us(5000)) {
        if (flock(LOCK_FD, LOCK_EX | LOCK_NB) == 0)
            return 0;
        if (errno != EWOULDBLOCK)
            return complain("cannot lock process %d: %s", pid, strerror(errno));
        if (count_lived(&lived) < limit && !interrupted)
            continue;
        holder = find_holder(pid);
        if (interrupted || lived.ms > LOCK_GDB_MS || !is_gdb_or_guard(holder))
            break;
        limit += LOCK_MS / 4;
    }
    if (holder)
        return complain(LOCK_LINE, pid, holder);
    return complain("another session is attached to process %d", pid);
}

/* Closed ones would be given to the files for gdb, and then be taken for its input and output. */
static void open_standard_files(void) {
    int fd;
    while ((fd = open("/dev/null", O_RDWR)) >= 0 && fd <= 2)
        ;
    close(fd);
}

int main(int argc, char **argv) {
    open_standard_files();
    struct sigaction action = {.sa_handler = note_signal};
    sigaction(SIGINT, &action, NULL);
    sigaction(SIGTERM, &action, NULL);
    sigaction(SIGHUP, &action, NULL);
    signal(SIGPIPE, SIG_IGN);
    if (argc > 1 && !strcmp(argv[1], "-v")) {
        verbose = 1;
        argv++, argc--;
    }
    if (argc == 3 && !strcmp(argv[1], "lock"))
        return take_lock(atoi(argv[2]));
    if (argc == 4 && !strcmp(argv[1], "load"))
        return load_library(argv[2], argv[3]);
    fputs("usage: pydbload lock PID | [-v] load LIBRARY SCRIPT < PLAN\n", stderr);
    return 2;
}
