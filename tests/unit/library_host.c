/* SPDX-License-Identifier: MIT
 * library_host.c - a Python program with the library's own code linked in, so that the sanitizers see it: test_library.py.
 *
 *     library_host LIBPYTHON SCRIPT        runs SCRIPT in the main thread
 *
 * Each line on its standard input is an attach: a thread enters the library as the stub's would, and the
 * address of pydb_state is printed as soon as the library has said where it is. A line that begins with
 * "f" forks as well: the child leaves at once, through the handlers of the library.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "wire.h"

void *pydb_entry(const char *python, struct pydb_note *note, const char *path);

static const char *python_path;

/* The stub's thread. The note belongs to whoever waits for it. */
static void *enter(void *note) {
    return pydb_entry(python_path, note, NULL);
}

static void *take_orders(void *unused) {
    char line[64];
    sigset_t all;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, NULL);
    while (fgets(line, sizeof line, stdin)) {
        pthread_t thread;
        struct pydb_note *note = calloc(1, sizeof *note);      /* stays: the library may have it still */
        if (!note || pthread_create(&thread, NULL, enter, note))
            abort();
        pthread_detach(thread);
        if (*line == 'f') {
            pid_t child = fork();
            if (!child)
                _exit(0);
            waitpid(child, NULL, 0);
        }
        while (!note->state)
            usleep(100);
        printf("%lx\n", (unsigned long)note->state);
        fflush(stdout);
    }
    return unused;
}

int main(int count, char **arguments) {
    void *library = count == 3 ? dlopen(python_path = arguments[1], RTLD_NOW | RTLD_GLOBAL) : NULL;
    FILE *script = library ? fopen(arguments[2], "r") : NULL;
    if (!script) {
        fprintf(stderr, "usage: library_host LIBPYTHON SCRIPT (%s)\n", library ? "no script" : dlerror());
        return 2;
    }
    void (*initialize)(int) = (void (*)(int))dlsym(library, "Py_InitializeEx");
    int (*run)(FILE *, const char *) = (int (*)(FILE *, const char *))dlsym(library, "PyRun_SimpleFile");
    int (*finalize)(void) = (int (*)(void))dlsym(library, "Py_FinalizeEx");
    pthread_t orders;
    initialize(1);
    if (pthread_create(&orders, NULL, take_orders, NULL))
        return 2;
    int failed = run(script, arguments[2]);
    fclose(script);
    pthread_join(orders, NULL);
    return finalize() < 0 || failed;
}
