/* pydbclient.c - the terminal of the person who attaches: arguments, then one session.
 * SPDX-License-Identifier: MIT
 *
 *     pydbclient [-nv] [-t THREAD] [-c COMMAND]... [--timeout SECONDS] [--look PYDBLOOK] --payload DIR
 *                PID STATE_ADDR
 *
 * The launcher starts it when the library is in the target; STATE_ADDR is where struct pydb_state
 * (wire.h) stands in the target's memory. Exit status: 0 done, 1 could not, 2 wrong usage.
 */
#include <fcntl.h>
#include <getopt.h>
#include <locale.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "client.h"

#define MOST_SECONDS 1e6

static const char usage_text[] =
    "usage: pydbclient [-nv] [-t THREAD] [-c COMMAND]... [--timeout SECONDS] --payload DIR PID STATE_ADDR\n";

static void usage(void) {
    fputs(usage_text, stderr);
    exit(2);
}

static void refuse(const char *what, const char *argument) {
    fprintf(stderr, "pydbattach: not %s: '%s'\n", what, argument);
    exit(2);
}

static double parse_seconds(const char *argument) {
    char *end;
    double seconds = strtod(argument, &end);
    if (end == argument || *end || !(seconds > 0 && seconds <= MOST_SECONDS))
        refuse("a number of seconds", argument);
    return seconds;
}

static pid_t parse_pid(const char *argument) {
    char *end;
    long pid = strtol(argument, &end, 10);
    if (*argument < '0' || *argument > '9' || *end || pid <= 0 || pid > INT32_MAX)
        refuse("a process id", argument);
    return (pid_t)pid;
}

static uint64_t parse_address(const char *argument) {
    char *end;
    uint64_t address = strtoull(argument, &end, 16);
    if (*argument == '-' || end == argument || *end || !address)
        refuse("an address", argument);
    return address;
}

/* Each line of a -c is a command of its own. */
static void add_commands(struct options *options, char *argument) {
    for (char *line; (line = strsep(&argument, "\n"));) {
        size_t count = (size_t)options->command_count + 1;
        const char **commands = reallocarray(options->commands, count, sizeof *commands);
        if (!commands) {
            fputs("pydbattach: out of memory\n", stderr);
            exit(1);
        }
        options->commands = commands;
        options->commands[options->command_count++] = line;
    }
}

static void parse(int count, char **arguments, struct options *options) {
    enum { TIMEOUT = 256, PAYLOAD, LOOK, REMIND };
    static const struct option names[] = {
        {"thread", required_argument, NULL, 't'},      {"command", required_argument, NULL, 'c'},
        {"timeout", required_argument, NULL, TIMEOUT}, {"payload", required_argument, NULL, PAYLOAD},
        {"look", required_argument, NULL, LOOK},
        {"remind", required_argument, NULL, REMIND}, /* for the tests: 20 s are long */
        {"verbose", no_argument, NULL, 'v'},           {NULL, 0, NULL, 0},
    };
    int option;
    while ((option = getopt_long(count, arguments, "+t:c:nv", names, NULL)) != -1) {
        switch (option) {
        case 't':
            if (!*optarg || strchr(optarg, '\n'))
                refuse("a thread", optarg);
            options->thread = optarg;
            break;
        case 'c':
            add_commands(options, optarg);
            break;
        case TIMEOUT:
            options->timeout = parse_seconds(optarg);
            break;
        case PAYLOAD:
            options->payload = optarg;
            break;
        case LOOK:
            options->look = optarg;
            break;
        case REMIND:
            options->remind = parse_seconds(optarg);
            break;
        case 'n':
            options->no_rc = true;
            break;
        case 'v':
            options->verbose = true;
            break;
        default:
            usage();
        }
    }
    if (count - optind != 2 || !options->payload)
        usage();
    options->pid = parse_pid(arguments[optind]);
    options->address = parse_address(arguments[optind + 1]);
}

/* A descriptor below 3 that is closed would become the channel, and errors would go to the target. */
static void fill_standard_descriptors(void) {
    int fd;
    while ((fd = open("/dev/null", O_RDWR | O_NOCTTY)) >= 0 && fd <= STDERR_FILENO)
        continue;
    if (fd >= 0)
        close(fd);
}

int main(int count, char **arguments) {
    struct options options = {.remind = 20};
    fill_standard_descriptors();
    setlocale(LC_CTYPE, "");
    parse(count, arguments, &options);
    int status = session_run(&options);
    free(options.commands);
    return status;
}
