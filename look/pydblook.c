/* SPDX-License-Identifier: MIT
 * pydblook.c - looks at a process from outside and never touches it.
 *
 *   pydblook [-v] [--self PID] [--library FILE] plan PID    may it be attached to, and how (plan.c)
 *   pydblook [-v] list                                      the Python processes here (list.c)
 *   pydblook [--version V] [--sources HOME] [-v] [--json] [--no-fold] [--all-children]
 *       [--locals] [--depth N] [--length N] [--width N] dump PID...     all stacks (dump.c)
 *
 *   pydblook [-v] [--json] ... --core CORE dump [EXECUTABLE]    the same of a core file (core.c)
 *   pydblook [-v] gil PID                                   which thread holds the GIL, and where (holder.c)
 *
 * pydbdump is this program once more, linked statically: it starts in half the time, and hands over to pydblook what
 * needs libraries.
 *
 * -v tells the time of each step; --self names the launcher, which cannot be its own target;
 * --library is the pyinjectcode.so of this build, to know it again in the target; --sources is for the launcher:
 * a program that is older than its sources there hands back to it.
 *
 * Exit status: 0 done, 1 cannot be attached to (one line on stderr says why), 2 wrong usage.
 */
#define _GNU_SOURCE
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "../steps.h"
#include "values.h"

#define KILL_MS 100
#define CHILD_STACK (8u << 20)

int watch_ms = LOOK_MS;            /* for run_watched */

static struct options options;
static double last_time;

void tell_time(const char *step) {
    double now = now_ms();
    if (options.verbose)
        fprintf(stderr, "pydbattach: look: %s %.2f ms\n", step, now - last_time);
    last_time = now;
}

int complain(const struct target *target) {
    fflush(stdout);
    fputs("pydbattach: ", stderr);
    print_safely(stderr, target->refusal.line);
    if (target->refusal.hint[0]) {
        fputs("\npydbattach: ", stderr);
        print_safely(stderr, target->refusal.hint);
    }
    fputc('\n', stderr);
    return target->refusal.status;
}

struct job {
    int (*work)(struct target *target);
    struct target *target;
};

/* A child in our own memory, for a work that leaves nothing in buffers of stdio: fork() would copy our page tables, and both
 * sides each page that they write, a sixth of a small dump. We do nothing until it has ended or was killed. */
#ifdef SANITIZED
static pid_t start_in_our_memory(struct job *job) {
    (void)job;
    return -1;
}
#else
static int do_job(void *data) {
    const struct job *job = data;
    _exit(job->work(job->target));
}

static pid_t start_in_our_memory(struct job *job) {
    char *stack = mmap(NULL, CHILD_STACK, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_STACK, -1, 0);
    if (stack == MAP_FAILED || mprotect(stack, 4096, PROT_NONE))
        return -1;
    return clone(do_job, stack + CHILD_STACK, CLONE_VM | SIGCHLD, job);
}
#endif

/* Reading memory may wait: for the lock that a thread in state D holds, for a page on a file server
 * that does not answer. Nothing but time ends such a wait, so a child reads, and what it says counts.
 * `once`: no other work follows, so it may find what this one has left in our memory.
 * Its exit status, or -1 with a refusal. */
int run_watched(int (*work)(struct target *target), struct target *target, int once) {
    int status;
    fflush(stdout);
    fflush(stderr);
    struct job job = {work, target};
    pid_t child = once ? start_in_our_memory(&job) : -1;
    if (child < 0)
        child = fork();
    if (child < 0)
        return work(target);
    if (!child)
        exit(work(target));
    struct pollfd end = {.fd = syscall(SYS_pidfd_open, child, 0), .events = POLLIN};
    int ended = end.fd < 0 || poll(&end, 1, watch_ms) == 1;
    if (!ended) {
        kill(child, SIGKILL);
        poll(&end, 1, KILL_MS);         /* it may live until the disk answers; we do not wait for that */
    }
    if (end.fd >= 0)
        close(end.fd);
    int collected = waitpid(child, &status, ended ? 0 : WNOHANG) == child;
    if (ended && collected && WIFEXITED(status))
        return WEXITSTATUS(status);
    if (ended)
        return refuse(target, "does not answer", "pydblook has crashed while it read the memory of process %d", target->pid);
    return refuse(target, "does not answer", LOOK_LINE, target->pid, watch_ms / 1000);
}

/* The checks that need /proc only, most certain and most helpful answer first ... */
int look_at_process(struct target *target, pid_t pid, pid_t self) {
    if (find_process(target, pid, self) || ask_permission(target) || check_tracer(target) || read_threads(target))
        return -1;
    tell_time("process");
    return 0;
}

/* ... and those that read memory: to be run under run_watched. */
int look_into_memory(struct target *target) {
    if (read_maps(target) || check_machine(target) || find_python(target, 1) || check_version(target))
        return -1;
    tell_time("python");
    if (check_stopped(target) || check_frozen(target) || check_waiting(target) || check_ready(target)
        || check_descriptors(target))
        return -1;
    tell_time("state");
    return 0;
}

/* What happened while we looked explains more than what we found. */
static void check_gone(struct target *target) {
    if (is_gone(target) && strncmp(target->refusal.line, "no process", 10))
        refuse(target, "gone", "no process with pid %d", target->pid);
}

static int plan_in_child(struct target *target) {
    if (look_into_memory(target) || print_plan(target, &options)) {
        check_gone(target);
        return complain(target);
    }
    return 0;
}

static int plan(const char *text) {
    struct target target = {.proc = -1};
    char *end;
    errno = 0;
    long pid = strtol(text, &end, 10);
    if (text[0] < '0' || text[0] > '9' || *end || errno || pid < 1 || pid > INT32_MAX) {
        fputs("pydbattach: not a process id: '", stderr);
        print_safely(stderr, text);
        fputs("'\n", stderr);
        return 2;
    }
    last_time = now_ms();
    int status = look_at_process(&target, pid, options.self) ? -1 : run_watched(plan_in_child, &target, 0);
    if (status < 0)
        status = complain(&target);
    tell_time("plan");
    close_target(&target);
    return status;
}

static int is_newer(int directory, const char *name, const struct stat *own) {
    struct stat source;
    return !fstatat(directory, name, &source, 0)
           && (source.st_mtim.tv_sec != own->st_mtim.tv_sec ? source.st_mtim.tv_sec > own->st_mtim.tv_sec
               : source.st_mtim.tv_nsec > own->st_mtim.tv_nsec);
}

/* Has a source of this program changed since it was built? */
static int is_stale(const char *home) {
    struct stat own;
    struct dirent *entry;
    int top = open(home, O_PATH | O_DIRECTORY | O_CLOEXEC), stale = 0;
    int fd = openat(top, "look", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR *sources = fd >= 0 ? fdopendir(fd) : NULL;
    if (!stat("/proc/self/exe", &own))
        stale = is_newer(top, "Makefile", &own) || is_newer(top, "steps.h", &own) || is_newer(top, "wire.h", &own);
    while (sources && !stale && (entry = readdir(sources))) {
        const char *dot = strrchr(entry->d_name, '.');
        stale = dot && (!strcmp(dot, ".c") || !strcmp(dot, ".h")) && is_newer(fd, entry->d_name, &own);
    }
    if (sources)
        closedir(sources);
    if (top >= 0)
        close(top);
    return stale;
}

/* Back to the launcher, which builds, and does what was asked for then. Returns if it cannot. */
static void rebuild(const char *home, char **argv, int dump) {
    char launcher[4096], *arguments[4096] = {"sh", launcher, "--stale"};
    int count = 3;
    snprintf(launcher, sizeof launcher, "%s/pydbattach.sh", home);
    for (int i = 5; argv[i]; i++) {     /* behind --version and --sources */
        if (count == 4095)
            return;
        arguments[count++] = i == dump ? "--dump" : argv[i];
    }
    execv("/bin/sh", arguments);
}

/* Is there anything in this dump that pydbdump cannot do? */
static int needs_libraries(char **pids, int count, const struct dump_options *dump) {
    if (dump->native || dump->core || dump->children)
        return 1;
    for (int i = 0; i < count; i++) {
        char path[64];
        struct stat process;
        snprintf(path, sizeof path, "/proc/%s", pids[i]);
        if (!stat(path, &process) && process.st_uid && !find_user(process.st_uid))
            return 1;
    }
    return 0;
}

/* To pydblook, beside this program. Returns if it cannot. */
static void hand_over(char **argv) {
    char path[4096];
    ssize_t n = readlink("/proc/self/exe", path, sizeof path - 16);
    if (n <= 0)
        return;
    path[n] = 0;
    strcpy(strrchr(path, '/') + 1, "pydblook");
    execv(path, argv);
}

static int usage(void) {
    fputs("usage: pydblook [-v] [--self PID] [--library FILE] plan PID\n"
          "       pydblook [-v] list\n"
          "       pydblook [-v] [--json] [--no-fold] [--all-children] [--version V]\n"
          "           [--locals] [--depth N] [--length N] [--width N] dump PID...\n", stderr);
    return 2;
}

int main(int argc, char **argv) {
    static const struct option names[] = {
        {"self", required_argument, NULL, 's'}, {"library", required_argument, NULL, 'l'}, {"json", no_argument, NULL, 'j'},
        {"no-fold", no_argument, NULL, 'f'}, {"all-children", no_argument, NULL, 'c'}, {"version", required_argument, NULL, 'V'},
        {"native", no_argument, NULL, 'n'}, {"core", required_argument, NULL, 'o'}, {"colour", no_argument, NULL, 'C'},
        {"locals", no_argument, NULL, 'L'}, {"depth", required_argument, NULL, 'D'}, {"length", required_argument, NULL, 'N'},
        {"width", required_argument, NULL, 'W'}, {"sources", required_argument, NULL, 'S'}, {0}};
    const char *home = NULL;
    struct dump_options dump = {.fold = 1, .version = "", .depth = DEPTH, .length = LENGTH, .width = WIDTH};
    int c;
    while ((c = getopt_long(argc, argv, "+v", names, NULL)) != -1) {
        if (c == 'v')
            options.verbose = 1;
        else if (c == 's')
            options.self = atoi(optarg);
        else if (c == 'l')
            options.library = optarg;
        else if (c == 'j')
            dump.json = 1;
        else if (c == 'f')
            dump.fold = 0;
        else if (c == 'c')
            dump.children = 1;
        else if (c == 'n')
            dump.native = 1;
        else if (c == 'o')
            dump.core = optarg;
        else if (c == 'C')
            dump.colour = 1;
        else if (c == 'V')
            dump.version = optarg;
        else if (c == 'S')
            home = optarg;
        else if (c == 'L')
            dump.locals = 1;
        else if (c == 'D')
            dump.depth = atoi(optarg);
        else if (c == 'N')
            dump.length = atoi(optarg);
        else if (c == 'W')
            dump.width = atoi(optarg);
        else
            return usage();
    }
    if (argc - optind == 2 && !strcmp(argv[optind], "plan"))
        return plan(argv[optind + 1]);
    if (argc - optind == 1 && !strcmp(argv[optind], "list"))
        return print_list();
    if (argc - optind == 2 && !strcmp(argv[optind], "gil"))
        return print_holder(argv[optind + 1]);
    if (dump.core && (argc - optind < 1 || argc - optind > 2))
        return usage();
    if (argc - optind >= (dump.core ? 1 : 2) && !strcmp(argv[optind], "dump")) {
        last_time = now_ms();
        if (home && is_stale(home))
            rebuild(home, argv, optind);
        if (!getpwuid && needs_libraries(argv + optind + 1, argc - optind - 1, &dump))
            hand_over(argv);
        const char *terminal = getenv("TERM"), *no_colour = getenv("NO_COLOR");
        dump.colour |= isatty(1) && !(no_colour && no_colour[0]) && terminal && strcmp(terminal, "dumb");
        dump.core_executable = dump.core && argc - optind == 2 ? argv[optind + 1] : NULL;
        return print_dump(argv + optind + 1, dump.core ? 1 : argc - optind - 1, &dump);
    }
    return usage();
}
