/* SPDX-License-Identifier: MIT
 * steps.c - a library to preload into the programs of an attach: it knows each step, and can hold one of them there.
 *
 * A step is a call of the C library by which a program acts on the world: it opens, reads, forks, traces, waits.
 * It is named "ROLE CALL DETAIL": who ("pydbload", a "+" for each fork: "pydbload++" is the guard of gdb),
 * what, and on what (numbers and random names left out), so that names are the same in each attach.
 *
 *   STEPS_LOG=FILE      each step that is new in its process is appended: "ROLE CALL DETAIL"; to FILE.created the
 *                       names of the files that are made in the target's directories
 *   STEPS_HOLD=STEP     hold there: connect to STEPS_SOCKET, say "PID\n", go on when the other side closes or writes
 *   STEPS_WHEN=before   (or after) the call; STEPS_NTH=N: the Nth time that this step is reached in a process, from 1
 *   STEPS_CLOCK=1       the wall clock jumps by hours each time that anybody looks at it
 *   STEPS_RANDOM=N      getrandom() gives this byte again and again
 *
 * The target is never preloaded, but for the clock.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/types.h>
#include <sys/uio.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define SEEN_AT_MOST 256
#define NAME 160

static char role[64];
static char seen[SEEN_AT_MOST][NAME];
static int seen_count, nth_wanted = 1, nth, ready;
static const char *log_path, *wanted, *when, *socket_path;

#define REAL(name) ((__typeof__(&name))real(#name))

static void *real(const char *name) {
    return dlsym(RTLD_NEXT, name);
}

__attribute__((constructor)) static void begin(int argc, char **argv) {
    const char *name = program_invocation_short_name;
    for (int i = 0; i < argc; i++)      /* sh, with the script among its arguments */
        if (strstr(argv[i], "pydbattach.sh"))
            name = "launcher";
    snprintf(role, sizeof role, "%s", name);
    log_path = getenv("STEPS_LOG");
    wanted = getenv("STEPS_HOLD");
    when = getenv("STEPS_WHEN");
    socket_path = getenv("STEPS_SOCKET");
    if (getenv("STEPS_NTH"))
        nth_wanted = atoi(getenv("STEPS_NTH"));
    ready = 1;
}

/* The same words for the same step in each attach: digits become #, and random names are cut. */
static void name_step(char *name, const char *call, const char *detail) {
    int n = snprintf(name, NAME, "%s %s", role, call);
    if (detail && *detail) {
        char *to = name + n;
        *to++ = ' ';
        for (int number = 0; *detail && to < name + NAME - 1; detail++) {
            int digit = *detail >= '0' && *detail <= '9';
            if (!digit || !number)
                *to++ = digit ? '#' : *detail == ' ' ? '_' : *detail;
            number = digit;
        }
        *to = 0;
        char *random = strstr(name, ".pydbattach.");
        if (random)
            strcpy(random, ".pydbattach.");
    }
}

static void write_log(const char *log_path, const char *name) {
    char line[NAME + 2];
    int n = snprintf(line, sizeof line, "%s\n", name), fd = syscall(SYS_open, log_path, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0666);
    if (fd >= 0) {
        syscall(SYS_write, fd, line, n);
        syscall(SYS_close, fd);
    }
}

static void hold(void) {
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    char text[32], byte;
    int n = snprintf(text, sizeof text, "%d\n", (int)syscall(SYS_getpid));
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    snprintf(address.sun_path, sizeof address.sun_path, "%s", socket_path);
    if (fd >= 0 && connect(fd, (struct sockaddr *)&address, sizeof address) == 0) {
        syscall(SYS_write, fd, text, n);
        while (syscall(SYS_read, fd, &byte, 1) < 0 && errno == EINTR)
            ;
    }
    syscall(SYS_close, fd);
}

/* One process is held in each attach: another one may come to a step of the same name. */
static int is_first(void) {
    char path[200];
    snprintf(path, sizeof path, "%s.held", socket_path);
    int fd = syscall(SYS_open, path, O_CREAT | O_EXCL | O_WRONLY | O_CLOEXEC, 0666);
    if (fd >= 0)
        syscall(SYS_close, fd);
    return fd >= 0;
}

/* 1: hold after the call. */
static int step(const char *call, const char *detail) {
    char name[NAME];
    int saved = errno, after = 0;
    if (!ready)
        return 0;
    name_step(name, call, detail);
    int known = 0;
    for (int i = 0; i < seen_count && !known; i++)
        known = !strcmp(seen[i], name);
    if (!known && seen_count < SEEN_AT_MOST)
        strcpy(seen[seen_count++], name);
    if (!known && log_path)
        write_log(log_path, name);
    if (wanted && !strcmp(wanted, name) && ++nth == nth_wanted && is_first()) {
        after = when && !strcmp(when, "after");
        if (!after)
            hold();
    }
    errno = saved;
    return after;
}

#define STEP(call, detail, type, expression) ({ \
    int after_ = step(call, detail); \
    type result_ = expression; \
    if (after_) { int saved_ = errno; hold(); errno = saved_; } \
    result_; })

static const char *base(const char *path) {
    const char *slash = path ? strrchr(path, '/') : NULL;
    return !path ? "" : !strncmp(path, "/proc/", 6) ? path : slash && slash[1] ? slash + 1 : path;
}

/* Libraries, terminals and locales are no steps of ours. */
static int is_dull(const char *path) {
    static const char *const dull[] = {"/lib/", "/usr/", "/etc/", "/dev/tty", "/sys/", "/proc/self/maps"};
    for (size_t i = 0; path && i < sizeof dull / sizeof *dull; i++)
        if (!strncmp(path, dull[i], strlen(dull[i])))
            return 1;
    return !path;
}

#define OPEN(name) int name(const char *path, int flags, ...) { \
    va_list rest; va_start(rest, flags); mode_t mode = va_arg(rest, mode_t); va_end(rest); \
    if (is_dull(path)) return REAL(name)(path, flags, mode); \
    return STEP("open", base(path), int, REAL(name)(path, flags, mode)); }
OPEN(open)
OPEN(open64)
#define OPENAT(name) int name(int at, const char *path, int flags, ...) { \
    va_list rest; va_start(rest, flags); mode_t mode = va_arg(rest, mode_t); va_end(rest); \
    if (is_dull(path)) return REAL(name)(at, path, flags, mode); \
    if (log_path && (flags & O_CREAT)) { \
        char log[200]; snprintf(log, sizeof log, "%s.created", log_path); write_log(log, path); } \
    return STEP("openat", base(path), int, REAL(name)(at, path, flags, mode)); }
OPENAT(openat)
OPENAT(openat64)

ssize_t read(int fd, void *data, size_t size) {
    return STEP("read", "", ssize_t, REAL(read)(fd, data, size));
}
ssize_t write(int fd, const void *data, size_t size) {
    return STEP("write", fd == 1 ? "stdout" : fd == 2 ? "stderr" : "", ssize_t, REAL(write)(fd, data, size));
}
ssize_t pread64(int fd, void *data, size_t size, off64_t at) {
    return STEP("pread", "", ssize_t, REAL(pread64)(fd, data, size, at));
}
ssize_t pwrite64(int fd, const void *data, size_t size, off64_t at) {
    return STEP("pwrite", "", ssize_t, REAL(pwrite64)(fd, data, size, at));
}
ssize_t process_vm_readv(pid_t pid, const struct iovec *local, unsigned long count, const struct iovec *remote,
                         unsigned long remotes, unsigned long flags) {
    return STEP("process_vm_readv", "", ssize_t, REAL(process_vm_readv)(pid, local, count, remote, remotes, flags));
}

long ptrace(int request, pid_t pid, void *address, void *data);
long ptrace(int request, pid_t pid, void *address, void *data) {
    static const char *const names[] = {[0] = "TRACEME", "PEEKTEXT", "PEEKDATA", "PEEKUSER", "POKETEXT", "POKEDATA", "POKEUSER",
        "CONT", "KILL", "SINGLESTEP", [12] = "GETREGS", "SETREGS", "GETFPREGS", "SETFPREGS", "ATTACH", "DETACH"};
    char other[16];
    const char *name = request >= 0 && request < 18 && names[request] ? names[request] : NULL;
    if (!name) {
        /* letters, for digits are left out of names */
        snprintf(other, sizeof other, "%s", request == 0x4200 ? "SETOPTIONS" : request == 0x4202 ? "GETSIGINFO" :
                 request == 0x4204 ? "GETREGSET" : request == 0x4205 ? "SETREGSET" : request == 0x4206 ? "SEIZE" : "other");
        name = other;
    }
    return STEP("ptrace", name, long, REAL(ptrace)(request, pid, address, data));
}
pid_t waitpid(pid_t pid, int *status, int options) {
    return STEP("waitpid", "", pid_t, REAL(waitpid)(pid, status, options));
}
pid_t wait4(pid_t pid, int *status, int options, struct rusage *usage) {
    return STEP("wait", "", pid_t, REAL(wait4)(pid, status, options, usage));
}
pid_t wait3(int *status, int options, struct rusage *usage) {
    return STEP("wait", "", pid_t, REAL(wait3)(status, options, usage));
}
pid_t fork(void) {
    int after = step("fork", "");
    pid_t child = REAL(fork)();
    if (child == 0) {
        strncat(role, "+", sizeof role - strlen(role) - 1);
        seen_count = nth = 0;
    } else if (after) {
        hold();
    }
    return child;
}
int kill(pid_t pid, int number) {
    return STEP("kill", "", int, REAL(kill)(pid, number));
}
int poll(struct pollfd *all, nfds_t count, int ms) {
    return STEP("poll", "", int, REAL(poll)(all, count, ms));
}
int ppoll(struct pollfd *all, nfds_t count, const struct timespec *time, const sigset_t *mask) {
    return STEP("poll", "", int, REAL(ppoll)(all, count, time, mask));
}
int pselect(int count, fd_set *in, fd_set *out, fd_set *bad, const struct timespec *time, const sigset_t *mask) {
    return STEP("select", "", int, REAL(pselect)(count, in, out, bad, time, mask));
}
int flock(int fd, int operation) {
    return STEP("flock", "", int, REAL(flock)(fd, operation));
}
int unlinkat(int at, const char *path, int flags) {
    return STEP("unlinkat", base(path), int, REAL(unlinkat)(at, path, flags));
}
int memfd_create(const char *name, unsigned flags) {
    return STEP("memfd_create", name, int, REAL(memfd_create)(name, flags));
}
int pipe2(int ends[2], int flags) {
    return STEP("pipe", "", int, REAL(pipe2)(ends, flags));
}
int fchmod(int fd, mode_t mode) {
    return STEP("fchmod", "", int, REAL(fchmod)(fd, mode));
}
int execve(const char *path, char *const argv[], char *const envp[]) {
    step("execve", base(path));
    return REAL(execve)(path, argv, envp);
}
pid_t setsid(void) {
    return STEP("setsid", "", pid_t, REAL(setsid)());
}
void _exit(int status) {
    step("exit", "");
    REAL(_exit)(status);
    __builtin_unreachable();
}

static time_t jump(void) {
    static unsigned times;
    static const int hours[] = {0, 5, -7, 1000, -30000, 24};
    return getenv("STEPS_CLOCK") ? hours[times++ % 6] * 3600l : 0;
}
int clock_gettime(clockid_t clock, struct timespec *now) {
    int result = syscall(SYS_clock_gettime, clock, now);
    if (result == 0 && (clock == CLOCK_REALTIME || clock == CLOCK_REALTIME_COARSE))
        now->tv_sec += jump();
    return result;
}
int gettimeofday(struct timeval *now, void *zone) {
    int result = syscall(SYS_gettimeofday, now, zone);
    now->tv_sec += jump();
    return result;
}
time_t time(time_t *at) {
    time_t now = syscall(SYS_time, NULL) + jump();
    if (at)
        *at = now;
    return now;
}
ssize_t getrandom(void *data, size_t size, unsigned flags) {
    const char *byte = getenv("STEPS_RANDOM");
    if (!byte)
        return syscall(SYS_getrandom, data, size, flags);
    memset(data, atoi(byte), size);
    return size;
}
