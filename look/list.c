/* SPDX-License-Identifier: MIT
 * list.c - `pydblook list`: the Python processes here, and why one cannot be attached to.
 *
 * What a process is stands in its memory, so of those that we may not read only the name can tell;
 * they have a row if it begins with "python".
 */
#define _GNU_SOURCE
#include <dirent.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "look.h"

#define COMMAND_AT_MOST 1024
#define NO_WIDTH 1000000        /* not a terminal: nothing is cut */

static double uptime;
static int width;

static double read_uptime(void) {
    struct target own = {.proc = AT_FDCWD};
    char text[64] = "0";
    read_proc(&own, "/proc/uptime", text, sizeof text);
    return atof(text);
}

static void say_age(const struct target *target, char *text, size_t size) {
    long age = uptime - (double)target->start / sysconf(_SC_CLK_TCK);
    if (age < 0)
        age = 0;
    if (age < 60)
        snprintf(text, size, "%lds", age);
    else if (age < 3600)
        snprintf(text, size, "%ldm%02lds", age / 60, age % 60);
    else if (age < 86400)
        snprintf(text, size, "%ldh%02ldm", age / 3600, age / 60 % 60);
    else
        snprintf(text, size, "%ldd%02ldh", age / 86400, age / 3600 % 24);
}

static void say_python(struct target *target, char *text, size_t size) {
    if (target->python.version)
        tell_version(target, text, size);
    else
        snprintf(text, size, "%s", !strcmp(target->refusal.brief, "PyPy") ? "PyPy" : "?");
}

/* The command line in one line, or the short name in brackets as ps does. */
static void say_command(const struct target *target, char *text, size_t size) {
    int answers = strcmp(target->refusal.brief, "does not answer");     /* this file is memory, too */
    ssize_t n = answers ? read_proc(target, "cmdline", text, size) : 0;
    if (n <= 0) {
        snprintf(text, size, "[%s]", target->status.name);
        return;
    }
    while (n && !text[n - 1])
        n--;
    for (ssize_t i = 0; i < n; i++)
        if (!text[i])
            text[i] = ' ';
}

static int looks_like_python(const struct target *target) {
    const char *slash = strrchr(target->exe, '/');
    return !strncmp(target->status.name, "python", 6) || !strncmp(slash ? slash + 1 : target->exe, "python", 6);
}

/* Does it belong into the list, after look_at has said `refused`? */
static int is_listed(const struct target *target, int refused) {
    if (!refused || target->python.image || !strcmp(target->refusal.brief, "PyPy"))
        return 1;
    static const char *const no_row[] = {"not Python", "gone", "kernel thread", "a thread", "pydbattach"};
    for (size_t i = 0; i < sizeof no_row / sizeof *no_row; i++)
        if (!strcmp(target->refusal.brief, no_row[i]))
            return 0;
    return looks_like_python(target);
}

static void print_row(struct target *target, int refused) {
    char user[33], python[32], age[32], command[COMMAND_AT_MOST], *line = NULL, reason[160] = "";
    size_t size = 0;
    const char *who = find_user(target->status.uid);
    snprintf(user, sizeof user, "%u", target->status.uid);
    if (who)
        snprintf(user, sizeof user, "%s", who);
    say_python(target, python, sizeof python);
    say_age(target, age, sizeof age);
    say_command(target, command, sizeof command);
    if (refused)
        snprintf(reason, sizeof reason, "  (not: %s)", target->refusal.brief);
    int used = printf("%7d %-8s %-8s %7d %7s ", target->pid, user, python, target->status.threads, age);
    FILE *safe = open_memstream(&line, &size);
    if (safe) {
        print_safely(safe, command);
        fclose(safe);
    }
    int room = width - used - (int)strlen(reason);
    if (room < 16)
        room = 16;
    if (line && (int)size > room)       /* cut in front of a character, not inside */
        for (size = room; size && ((unsigned char)line[size] & 0xc0) == 0x80; size--)
            ;
    printf("%.*s", (int)size, line ? line : "");
    print_safely(stdout, reason);
    putchar('\n');
    free(line);
}

/* Runs in a child, see run_watched. */
static int look_and_print(struct target *target) {
    int refused = look_into_memory(target);
    if (is_listed(target, refused) && !(refused && is_gone(target)))
        print_row(target, refused);
    return 0;
}

static int compare_pids(const struct dirent **a, const struct dirent **b) {
    return atoi((*a)->d_name) - atoi((*b)->d_name);
}

static int is_pid(const struct dirent *entry) {
    return entry->d_name[0] >= '1' && entry->d_name[0] <= '9';
}

int print_list(void) {
    struct dirent **entries;
    struct winsize window;
    uptime = read_uptime();
    width = !ioctl(1, TIOCGWINSZ, &window) && window.ws_col ? window.ws_col : NO_WIDTH;
    int count = scandir("/proc", &entries, is_pid, compare_pids);
    if (count <= 0) {
        fputs("pydbattach: /proc is not mounted here\n", stderr);
        return 1;
    }
    printf("%7s %-8s %-8s %7s %7s %s\n", "PID", "USER", "PYTHON", "THREADS", "AGE", "COMMAND");
    for (int i = 0; i < count; i++) {
        struct target target;
        int refused = look_at_process(&target, atoi(entries[i]->d_name), 0);
        if (!refused)
            refused = run_watched(look_and_print, &target, 0);
        if (refused && is_listed(&target, refused) && !is_gone(&target))
            print_row(&target, refused);
        close_target(&target);
        free(entries[i]);
    }
    free(entries);
    fflush(stdout);
    return ferror(stdout) ? 1 : 0;
}
