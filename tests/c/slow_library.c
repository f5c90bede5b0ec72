/* SPDX-License-Identifier: MIT
 * slow_library.c - a library that holds the dynamic linker's lock while it sleeps.
 *
 * SLOW_CONSTRUCTOR=SECONDS makes its constructor sleep; iterate() sleeps SLOW_CALLBACK seconds in
 * a dl_iterate_phdr callback. Both say so by a file named `sleeping`. load_in_thread() loads another
 * copy in a thread of its own, for ctypes.CDLL keeps the GIL. Preloaded into an interpreter, the
 * constructor keeps that from being initialised.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <link.h>
#include <pthread.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static void sleep_by(const char *variable) {
    const char *seconds = getenv(variable);
    if (!seconds)
        return;
    close(open("sleeping", O_CREAT | O_WRONLY, 0644));
    double left = atof(seconds);
    struct timespec t = {(time_t)left, (long)((left - (time_t)left) * 1e9)};
    while (nanosleep(&t, &t))
        ;
}

__attribute__((constructor)) static void begin(void) {
    sleep_by("SLOW_CONSTRUCTOR");
}

static int callback(struct dl_phdr_info *info, size_t size, void *data) {
    (void)info;
    (void)size;
    (void)data;
    sleep_by("SLOW_CALLBACK");
    return 1;
}

int iterate(void) {
    return dl_iterate_phdr(callback, NULL);
}

static void *load(void *path) {
    return dlopen(path, RTLD_NOW);
}

int load_in_thread(char *path) {
    static pthread_t thread;
    return pthread_create(&thread, NULL, load, path);
}

/* The parent of a vfork() is in uninterruptible sleep until the child ends. */
int sleep_in_vfork(unsigned seconds) {
    pid_t child = vfork();
    if (child == 0) {
        prctl(PR_SET_PDEATHSIG, 9);
        sleep(seconds);
        _exit(0);
    }
    return waitpid(child, NULL, 0);
}
