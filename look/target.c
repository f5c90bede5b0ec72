/* SPDX-License-Identifier: MIT
 * target.c - a process seen through /proc: is it there, may we look, what is mapped in it.
 *
 * The directory /proc/PID is opened once and everything is opened beneath it: when the process ends
 * and its id is used again, the reads fail instead of telling about somebody else.
 *
 * The right to trace (PTRACE_MODE_ATTACH: what gdb needs later, and what Yama restricts) is asked
 * for by opening /proc/PID/mem. That takes no lock of the target's memory, as reading it does: a
 * thread in state D may hold that lock for as long as its disk or file server does not answer.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <linux/openat2.h>
#include <signal.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "core.h"
#include "look.h"

#define MAPS_AT_MOST (64u << 20)
#define PF_KTHREAD 0x00200000

/* Text of the target for a terminal or a file of lines: whatever is not printable becomes \xNN. */
void print_safely(FILE *to, const char *text) {
    for (const unsigned char *c = (const unsigned char *)text; *c; c++) {
        /* UTF-8 is passed on where it is well formed and no control character (C1: c2 80 - c2 9f) */
        int more = *c >= 0xc2 && *c <= 0xdf ? 1 : *c >= 0xe0 && *c <= 0xef ? 2 : *c >= 0xf0 && *c <= 0xf4 ? 3 : 0;
        int good = more > 0 && !(*c == 0xc2 && c[1] < 0xa0) && !(*c == 0xe0 && c[1] < 0xa0)
                   && !(*c == 0xed && c[1] > 0x9f) && !(*c == 0xf0 && c[1] < 0x90) && !(*c == 0xf4 && c[1] > 0x8f);
        for (int i = 1; good && i <= more; i++)
            good = (c[i] & 0xc0) == 0x80;
        if (good) {
            fwrite(c, 1, more + 1, to);
            c += more;
        } else if (*c >= 0x20 && *c < 0x7f) {
            putc(*c, to);
        } else {
            fprintf(to, "\\x%02x", *c);
        }
    }
}

/* The verdict: `brief` for a column of the list, the sentence (after "pydbattach: ") for people. */
int refuse(struct target *target, const char *brief, const char *format, ...) {
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(target->refusal.line, sizeof target->refusal.line, format, arguments);
    va_end(arguments);
    snprintf(target->refusal.brief, sizeof target->refusal.brief, "%s", brief);
    target->refusal.hint[0] = 0;
    target->refusal.status = 1;
    return -1;
}

void hint(struct target *target, const char *format, ...) {
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(target->refusal.hint, sizeof target->refusal.hint, format, arguments);
    va_end(arguments);
}

void close_target(struct target *target) {
    if (target->proc >= 0)
        close(target->proc);
    if (target->memory.fd >= 0)
        close(target->memory.fd);
    close_core(core_of(&target->memory));
    free(target->maps);
    free(target->mappings);
    free(target->images);
    free(target->threads);
}

/* A small file beneath /proc/PID, zero terminated; its length, or -1. */
ssize_t read_proc(const struct target *target, const char *name, char *text, size_t size) {
    int fd = openat(target->proc, name, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return -1;
    size_t done = 0;
    ssize_t n = 0;
    while (done < size - 1 && (n = read(fd, text + done, size - 1 - done)) > 0)
        done += n;
    int error = errno;
    close(fd);
    errno = error;
    text[done] = 0;
    return n < 0 ? -1 : (ssize_t)done;
}

int read_own_file(const char *path, char *text, size_t size) {
    struct target own = {.proc = AT_FDCWD};
    return read_proc(&own, path, text, size) < 0 ? -1 : 0;
}

/* The value of `name` in a text of "name:\tvalue" lines; "" if it is not there. */
static const char *find_field(const char *text, const char *name) {
    size_t length = strlen(name);
    for (const char *line = text; line; line = strchr(line, '\n')) {
        line += *line == '\n';
        if (!strncmp(line, name, length) && line[length] == ':')
            return line + length + 1 + strspn(line + length + 1, " \t");
    }
    return "";
}

int read_status(const struct target *target, const char *name, struct status *status) {
    char text[8192];
    if (read_proc(target, name, text, sizeof text) <= 0)
        return -1;
    memset(status, 0, sizeof *status);
    status->tgid = atoi(find_field(text, "Tgid"));
    status->pid = atoi(find_field(text, "Pid"));
    status->ppid = atoi(find_field(text, "PPid"));
    status->tracer = atoi(find_field(text, "TracerPid"));
    status->threads = atoi(find_field(text, "Threads"));
    status->seccomp = atoi(find_field(text, "Seccomp"));
    status->state = *find_field(text, "State");
    status->blocked = strtoull(find_field(text, "SigBlk"), NULL, 16);
    status->permitted_caps = strtoull(find_field(text, "CapPrm"), NULL, 16);
    sscanf(find_field(text, "Name"), "%63[^\n]", status->name);
    sscanf(find_field(text, "Uid"), "%u %u", &status->real_uid, &status->uid);
    sscanf(find_field(text, "Gid"), "%*u %u", &status->gid);
    const char *at = find_field(text, "Groups");
    char *end;
    for (; status->group_count < 64 && *at != '\n'; at = end) {
        unsigned long group = strtoul(at, &end, 10);
        if (end == at)
            break;
        status->groups[status->group_count++] = group;
        end += strspn(end, " \t");      /* strtoul would go on in the next line */
    }
    status->nspid = status->pid;
    for (at = find_field(text, "NSpid"); *at && *at != '\n'; at = end) {
        long id = strtol(at, &end, 10);
        if (end == at)
            break;
        status->nspid = id;
        end += strspn(end, " \t");
    }
    return status->tgid ? 0 : -1;
}

/* Fields of a stat file: state, flags, start time, stop signal. The name in it may hold anything: start behind its last ")". */
int read_stat(const struct target *target, const char *name, struct thread *thread, unsigned long long *start) {
    char text[1024];
    if (read_proc(target, name, text, sizeof text) <= 0)
        return -1;
    char *at = strrchr(text, ')');
    if (!at || sscanf(at, ") %c %*d %*d %*d %*d %*d %u", &thread->state, &thread->flags) != 2)
        return -1;
    int field = 3;
    for (at += 2; *at && field < 52; at++) {
        if (*at != ' ')
            continue;
        field++;
        if (field == 22 && start)
            *start = strtoull(at, NULL, 10);
        if (field == 52)        /* the signal, while the process is stopped; older kernels say 0 */
            thread->stop_signal = strtoul(at, NULL, 10) & 0x7f;
    }
    return 0;
}

int read_thread_stat(const struct target *target, struct thread *thread) {
    char name[32];
    snprintf(name, sizeof name, "task/%d/stat", thread->tid);
    return read_stat(target, name, thread, NULL);
}

int is_gone(struct target *target) {
    struct thread leader;
    return target->proc < 0 || read_stat(target, "stat", &leader, NULL) || leader.state == 'X'
           || (leader.state == 'Z' && target->status.state != 'Z');
}

int refuse_missing(struct target *target, pid_t pid) {
    return refuse(target, "gone", "no process with pid %d", pid);
}

/* Is it a process, and one that could run Python? */
int find_process(struct target *target, pid_t pid, pid_t self) {
    char path[32];
    struct thread leader = {0};
    memset(target, 0, sizeof *target);
    target->pid = pid;
    target->memory.fd = -1;
    snprintf(path, sizeof path, "/proc/%d", pid);
    target->proc = open(path, O_PATH | O_DIRECTORY | O_CLOEXEC);
    if (target->proc < 0 && access("/proc/self", F_OK))
        return refuse(target, "no /proc", "/proc is not mounted here");
    if (target->proc < 0 || read_status(target, "status", &target->status)
        || read_stat(target, "stat", &leader, &target->start)) {
        if (kill(pid, 0) && errno == ESRCH)
            return refuse_missing(target, pid);
        refuse(target, "Operation not permitted", "cannot attach to process %d: Operation not permitted", pid);
        hint(target, "/proc hides the processes of other users here (hidepid); try it as root");
        return -1;
    }
    target->flags = leader.flags;
    if (target->status.tgid != pid)
        return refuse(target, "a thread", "%d is a thread of process %d; give the process id", pid, target->status.tgid);
    if (pid == getpid() || pid == self)
        return refuse(target, "pydbattach", "process %d is pydbattach itself", pid);
    if ((leader.state == 'Z' && target->status.threads <= 1) || leader.state == 'X')
        return refuse(target, "zombie", "process %d is a zombie: it has exited and its parent %d has not collected it",
                      pid, target->status.ppid);
    if (leader.state == 'Z')
        return refuse(target, "first thread has ended",
                      "the first thread of process %d has ended, the others run on; it cannot be attached to", pid);
    if (leader.flags & PF_KTHREAD)
        return refuse(target, "kernel thread", "process %d is a kernel thread", pid);
    return 0;
}

/* A name as the target itself would say it, where the target has another root. */
const char *name_in_root(const struct target *target, const char *name) {
    char root[4096];
    ssize_t n = readlinkat(target->proc, "root", root, sizeof root - 1);
    if (n > 1 && !strncmp(name, root, n) && name[n] == '/')
        return name + n;
    return name;
}

static void read_exe(struct target *target) {
    char exe[4096];
    ssize_t n = readlinkat(target->proc, "exe", exe, sizeof exe - 1);
    if (n <= 0)
        return;
    exe[n] = 0;
    char *deleted = n > 10 ? exe + n - 10 : exe;
    if (!strcmp(deleted, " (deleted)"))
        *deleted = 0;
    strcpy(target->exe, name_in_root(target, exe));
}

/* The name of a user, NULL: none known. /etc/passwd first: getpwuid costs a tenth of a dump. */
const char *find_user(unsigned uid) {
    static char name[64];
    struct passwd *who = NULL;
    FILE *file = fopen("/etc/passwd", "re");
    while (file && (who = fgetpwent(file)) && who->pw_uid != uid)
        ;
    if (!who && getpwuid)
        who = getpwuid(uid);
    if (who)
        snprintf(name, sizeof name, "%s", who->pw_name);
    if (file)
        fclose(file);
    return who ? name : NULL;
}

/* Why the kernel said no, in order of certainty. */
static void explain_refusal(struct target *target) {
    struct stat owner;
    char text[8192];
    uint64_t own_caps = 0;
    int yama = 0;
    if (!read_own_file("/proc/self/status", text, sizeof text))
        own_caps = strtoull(find_field(text, "CapEff"), NULL, 16);
    if (!read_own_file("/proc/sys/kernel/yama/ptrace_scope", text, sizeof text))
        yama = atoi(text);
    int may_trace = own_caps >> CAP_SYS_PTRACE & 1;
    unsigned uid = target->status.uid;
    const char *user;
    if (yama == 3)
        hint(target, "sysctl kernel.yama.ptrace_scope = 3 forbids it to everybody until the next boot");
    else if (may_trace)
        hint(target, "it belongs to another user namespace or a security module (SELinux, AppArmor) protects it");
    else if (geteuid() == 0)
        hint(target, "CAP_SYS_PTRACE is missing here (a container without --cap-add=SYS_PTRACE?)");
    else if (uid != geteuid() && (user = find_user(uid)) != NULL)
        hint(target, "it belongs to user %s; try it as that user or as root", user);
    else if (uid != geteuid())
        hint(target, "it belongs to user %u; try it as that user or as root", uid);
    /* the kernel gives the files below /proc/PID of such a process to root */
    else if (!fstatat(target->proc, "stat", &owner, 0) && owner.st_uid != uid)
        hint(target, "it has made itself not dumpable (PR_SET_DUMPABLE or a set-user-id program); try it as root");
    else if (target->status.permitted_caps & ~own_caps)
        hint(target, "it has capabilities that you have not; try it as root");
    else if (yama)
        hint(target, "sysctl kernel.yama.ptrace_scope = %d may be restricting this attach; try it as root", yama);
    else
        hint(target, "a security module or a container may be restricting this attach; try it as root");
}

int ask_permission(struct target *target) {
    target->memory.pid = target->pid;
    target->memory.fd = openat(target->proc, "mem", O_RDONLY | O_CLOEXEC);
    read_exe(target);
    if (target->memory.fd >= 0)
        return 0;
    if (errno == ENOENT || errno == ESRCH)
        return refuse_missing(target, target->pid);
    refuse(target, "Operation not permitted", "cannot attach to process %d: Operation not permitted", target->pid);
    explain_refusal(target);
    return -1;
}

int refuse_traced(struct target *target, pid_t tracer) {
    char path[32], name[64] = "";
    snprintf(path, sizeof path, "/proc/%d/comm", tracer);
    if (read_own_file(path, name, sizeof name))
        return refuse(target, "traced", "process %d is already being traced by pid %d", target->pid, tracer);
    name[strcspn(name, "\n")] = 0;
    char brief[128];
    snprintf(brief, sizeof brief, "traced by pid %d (%s)", tracer, name);
    return refuse(target, brief, "process %d is already being traced by pid %d (%s)", target->pid, tracer, name);
}

int check_tracer(struct target *target) {
    return target->status.tracer ? refuse_traced(target, target->status.tracer) : 0;
}

/* ---- memory map ---- */

static int parse_mapping(char *line, struct mapping *m) {
    char *at = line;
    m->start = strtoull(at, &at, 16);
    if (*at++ != '-')
        return -1;
    m->end = strtoull(at, &at, 16);
    if (*at != ' ' || strlen(at) < 6)
        return -1;
    m->r = at[1] == 'r', m->w = at[2] == 'w', m->x = at[3] == 'x', m->private = at[4] == 'p';
    m->offset = strtoull(at + 5, &at, 16);
    unsigned major = strtoul(at, &at, 16);
    if (*at++ != ':')
        return -1;
    m->device = major << 20 | strtoul(at, &at, 16);
    m->inode = strtoull(at, &at, 10);
    m->name = at + strspn(at, " ");
    return m->start < m->end ? 0 : -1;
}

int read_maps(struct target *target) {
    size_t size = 0, room = 1 << 16;
    int fd = openat(target->proc, "maps", O_RDONLY | O_CLOEXEC), count = 0;
    ssize_t n = 0;
    char *text = fd >= 0 ? malloc(room) : NULL;
    while (text && (n = read(fd, text + size, room - 1 - size)) > 0) {
        size += n;
        if (room - size > PAGE || room >= MAPS_AT_MOST)
            continue;
        char *more = realloc(text, room *= 2);
        if (!more)
            break;
        text = more;
    }
    if (fd >= 0)
        close(fd);
    if (n < 0 || !size) {
        free(text);
        return refuse(target, "gone", "process %d has ended or has no memory", target->pid);
    }
    text[size] = 0;
    target->maps = text;
    for (size_t i = 0; i < size; i++)
        count += text[i] == '\n';
    target->mappings = calloc(count + 1, sizeof *target->mappings);
    if (!target->mappings)
        return refuse(target, "out of memory", "out of memory");
    char *save = NULL;
    for (char *line = strtok_r(text, "\n", &save); line && target->mapping_count < count; line = strtok_r(NULL, "\n", &save))
        if (!parse_mapping(line, &target->mappings[target->mapping_count]))
            target->mapping_count++;
    return 0;
}

const struct mapping *find_mapping(const struct target *target, uint64_t address) {
    int low = 0, high = target->mapping_count;
    while (low < high) {
        int middle = (low + high) / 2;
        const struct mapping *m = &target->mappings[middle];
        if (address >= m->end)
            low = middle + 1;
        else if (address < m->start)
            high = middle;
        else
            return m;
    }
    return NULL;
}

/* Which kind of machine code, by what the kernel told the program at its start. */
int check_machine(struct target *target) {
    uint64_t wide[128];
    const uint32_t *narrow = (const uint32_t *)wide;
    ssize_t n = read_proc(target, "auxv", (char *)wide, sizeof wide);
    uint64_t headers = 0, entry_size = 0;
    int is_wide = 0;
    for (ssize_t i = 0; i + 1 < n / 8 && wide[i]; i += 2) {
        if (wide[i] == AT_PHDR)
            headers = wide[i + 1];
        if (wide[i] == AT_PHENT)
            entry_size = wide[i + 1], is_wide = 1;
    }
    if (!is_wide || entry_size != sizeof(Elf64_Phdr)) {
        headers = 0;
        for (ssize_t i = 0; i + 1 < n / 4 && narrow[i]; i += 2) {
            if (narrow[i] == AT_PHDR)
                headers = narrow[i + 1];
            if (narrow[i] == AT_PHENT)
                entry_size = narrow[i + 1];
        }
        if (headers && entry_size == sizeof(Elf32_Phdr))
            return refuse(target, "32-bit", "process %d is a 32-bit program; only 64-bit ones can be attached to", target->pid);
        headers = 0;            /* no program of the usual kind, then hardly a Python */
    }
    target->program_headers = headers;
    return 0;
}

/* A mere name (O_PATH) as the target would find it: a symbolic link in its root must not lead to our files. */
static int find_in_root(const struct target *target, const char *path, int flags) {
    int root = openat(target->proc, "root", O_PATH | O_DIRECTORY | O_CLOEXEC);
    if (root < 0)
        return -1;
    struct open_how how = {.flags = O_PATH | O_CLOEXEC | flags, .resolve = RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS};
    int fd = syscall(SYS_openat2, root, path, &how, sizeof how);
    close(root);
    return fd;
}

int open_in_root(const struct target *target, const char *path) {
    return find_in_root(target, path, O_DIRECTORY);
}

/* For reading, and only when it is a regular file: to open a device or a FIFO may block, or do something. */
int open_file_in_root(const struct target *target, const char *path) {
    char own[32];
    struct stat info;
    int found = find_in_root(target, path, 0), fd = -1;
    if (found < 0)
        return -1;
    if (!fstat(found, &info) && S_ISREG(info.st_mode)) {
        snprintf(own, sizeof own, "/proc/self/fd/%d", found);
        fd = open(own, O_RDONLY | O_CLOEXEC);
    }
    close(found);
    return fd;
}
