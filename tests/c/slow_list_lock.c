/* slow_list_lock.c - preloaded: a thread that blocks all signals, so one of pydbattach's, is slow to release its first lock.
 * SPDX-License-Identifier: MIT
 *
 * That lock is the one of the interpreter's list of thread states: held while PyThreadState_New() runs.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <semaphore.h>
#include <signal.h>
#include <unistd.h>

int sem_post(sem_t *semaphore) {
    static __thread int seen;
    int (*post)(sem_t *) = (int (*)(sem_t *))dlsym(RTLD_NEXT, "sem_post");
    sigset_t blocked;
    if (!seen++ && pthread_sigmask(SIG_BLOCK, NULL, &blocked) == 0 && sigismember(&blocked, SIGUSR1))
        usleep(300000);
    return post(semaphore);
}
