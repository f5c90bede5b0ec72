/* SPDX-License-Identifier: MIT
 * slow_birth.c - preloaded: makes PyThreadState_New take a second once `armed` is 1, and says in `under_way` that it
 * does; makes it fail, as without memory, once `armed` is 2.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stddef.h>
#include <time.h>

volatile int armed, under_way;

void *PyThreadState_New(void *interpreter) {
    void *(*real)(void *) = (void *(*)(void *))dlsym(RTLD_NEXT, "PyThreadState_New");
    if (!armed)
        return real(interpreter);
    if (armed == 2)
        return NULL;
    under_way = 1;
    struct timespec t = {1, 0};
    nanosleep(&t, NULL);
    void *made = real(interpreter);
    under_way = 0;
    return made;
}
