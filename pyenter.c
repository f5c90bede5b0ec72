/* SPDX-License-Identifier: MIT
 * pyenter.c - runs a function of ours in a thread of the program that is blocked in a system call.
 *
 * A signal is sent to that one thread, and its handler calls the function, on top of whatever hangs. No
 * Python in here: what the function does, and that it needs the GIL, is pyinjectcode.c's business.
 *
 * Facts it depends on
 *   - Where a signal finds a thread decides what may be done in the handler. A thread inside malloc or the
 *     linker may do nothing. One that waits in a system call which neither of them makes may do all:
 *     it is as if the wait itself called us (look/ chooses the thread for the attach by the same rule). The
 *     handler judges by the registers that it has interrupted, so /proc need not be there.
 *   - SA_RESTART: the kernel has put the pc back on the syscall instruction, and the call's number into
 *     rax: lock waits without a time limit, recv, read and accept go on and notice nothing.
 *   - poll, select, epoll_wait, nanosleep, timed lock waits and few others return EINTR whatever one asks for:
 *     none that malloc or the linker make. Python waits on, for the rest of the time (PEP 475).
 *   - rt_tgsigqueueinfo: this thread and no other gets the signal, with the number of its visit.
 *   - The signal is a real-time one that has its default action, so nobody uses it, and that the thread
 *     does not block, so it does not wait for it either. The default action kills: before it is put
 *     back, SIG_IGN drops what is still pending.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/futex.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdint.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <ucontext.h>
#include <unistd.h>

#include "pyenter.h"
#include "wire.h"

#define FIRST_FREE 35           /* 32 - 34 belong to the C libraries */
#define LAST_SIGNAL 64
#define STACK_NEAR 65536

struct visit {
    _Atomic uint32_t state;
    int tid, anywhere;
    visit_function function;
    void *argument;
    const char *reason;         /* the rest of a sentence that begins with the thread, when it was missed */
};
static struct visit visits[VISITS];
static _Atomic int installed;  /* the signal that has our handler, or 0 */
const void *visit_runtime;
unsigned long visit_runtime_size;

/* The system call that the handler has interrupted; number -1: one that has returned EINTR. */
struct place {
    long number;
    unsigned long arguments[3];
};

/* ---- x86-64 ---- */

/* Read as foreign memory: the bytes before a pc need not be there. */
static int is_syscall(unsigned long pc) {
    unsigned char code[2];
    struct iovec local = {code, sizeof code}, remote = {(void *)pc, sizeof code};
    return syscall(SYS_process_vm_readv, syscall(SYS_getpid), &local, 1, &remote, 1, 0) == sizeof code
        && code[0] == 0x0f && code[1] == 0x05;
}

/* 0, or -1 where it has interrupted something else. */
static int find_call(const ucontext_t *context, struct place *place) {
    const greg_t *registers = context->uc_mcontext.gregs;
    unsigned long pc = registers[REG_RIP];
    int returned = registers[REG_RAX] == -EINTR;
    *place = (struct place){returned ? -1 : registers[REG_RAX], {registers[REG_RDI], registers[REG_RSI], registers[REG_RDX]}};
    return is_syscall(returned ? pc - 2 : pc) ? 0 : -1;
}

static unsigned long stack_pointer(const ucontext_t *context) {
    return context->uc_mcontext.gregs[REG_RSP];
}

/* Of a thread at such a call: one that the kernel would restart returns EINTR instead. */
static void interrupt_call(ucontext_t *context) {
    greg_t *registers = context->uc_mcontext.gregs;
    if (registers[REG_RAX] != -EINTR) {
        registers[REG_RIP] += 2;
        registers[REG_RAX] = -EINTR;
    }
}

/* ---- where a thread is ---- */

static char *append_number(char *to, unsigned long number) {
    char digits[24];
    int n = 0;
    do
        digits[n++] = '0' + number % 10;
    while ((number /= 10) && n < 20);
    while (n)
        *to++ = digits[--n];
    *to = 0;
    return to;
}

/* The text of /proc/self/task/TID/NAME: its length, or -1. */
static ssize_t read_task_file(int tid, const char *name, char *text, size_t size) {
    char path[64] = "/proc/self/task/", *end = append_number(path + strlen(path), tid);
    *end++ = '/';
    memcpy(end, name, strlen(name) + 1);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return -1;
    ssize_t length = read(fd, text, size - 1);
    close(fd);
    text[length > 0 ? length : 0] = 0;
    return length;
}

static const char *read_hex(const char *text, unsigned long *value) {
    *value = 0;
    while (*text == ' ' || *text == '\t')
        text++;
    if (text[0] == '0' && text[1] == 'x')
        text += 2;
    for (;; text++) {
        int digit = *text >= '0' && *text <= '9' ? *text - '0' : *text >= 'a' && *text <= 'f' ? *text - 'a' + 10 : -1;
        if (digit < 0)
            return text;
        *value = *value << 4 | digit;
    }
}

/* The calls that may be restarted and in which neither malloc nor the linker waits. */
static int is_safe(long number) {
    static const short safe[] = {
        SYS_read, SYS_write, SYS_readv, SYS_writev, SYS_poll, SYS_ppoll, SYS_select, SYS_pselect6, SYS_epoll_wait,
        SYS_epoll_pwait, SYS_recvfrom, SYS_recvmsg, SYS_recvmmsg, SYS_sendto, SYS_sendmsg, SYS_accept, SYS_accept4,
        SYS_connect, SYS_nanosleep, SYS_clock_nanosleep, SYS_wait4, SYS_waitid, SYS_pause, SYS_flock, SYS_fcntl,
        SYS_semop, SYS_semtimedop, SYS_msgrcv, SYS_msgsnd, SYS_mq_timedreceive, SYS_mq_timedsend, SYS_rt_sigtimedwait,
        SYS_rt_sigsuspend, SYS_restart_syscall,
    };
    for (size_t i = 0; i < sizeof safe / sizeof *safe; i++)
        if (safe[i] == number)
            return 1;
    return 0;
}

/* Why nothing may be done here, or NULL. */
static const char *judge_place(const ucontext_t *context, struct place *place) {
    if (find_call(context, place))
        return "is not blocked in a system call";
    int operation = place->arguments[1] & FUTEX_CMD_MASK;
    if (place->arguments[0] - (unsigned long)visit_runtime < visit_runtime_size)
        return "waits for the GIL";
    if (place->number == SYS_futex && operation == FUTEX_WAIT && place->arguments[2] == 2)
        return "waits inside malloc";
    int waits = operation == FUTEX_WAIT || operation == FUTEX_WAIT_BITSET;
    if (place->number >= 0 && !(place->number == SYS_futex ? waits : is_safe(place->number)))
        return "is in a system call that must not be interrupted";
    return NULL;
}

/* It waits for a semaphore to be no longer 0, and not for one on its own stack, as the parking lot has them
 * (PyMutex: 3.13 in part, 3.14 and later). */
static int is_lock_wait(const ucontext_t *context, const struct place *place) {
    int operation = place->arguments[1] & FUTEX_CMD_MASK;
    return (place->number == SYS_futex || place->number < 0) && place->arguments[2] == 0
        && (operation == FUTEX_WAIT_BITSET || operation == FUTEX_WAIT)
        && place->arguments[0] - stack_pointer(context) > STACK_NEAR;
}

/* ---- the signal ---- */

static void on_visit(int number, siginfo_t *info, void *context) {
    struct visit *visit = &visits[info->si_value.sival_int & (VISITS - 1)];
    struct place place;
    uint32_t sent = VISIT_SENT;
    int saved = errno;
    (void)number;
    if (info->si_code == SI_QUEUE && info->si_pid == syscall(SYS_getpid)
        && visit->state == VISIT_SENT && visit->tid == syscall(SYS_gettid)
        && atomic_compare_exchange_strong(&visit->state, &sent, VISIT_INSIDE)) {
        int answer = VISIT_REFUSED;
        visit->reason = judge_place(context, &place);
        if (visit->anywhere)
            answer = visit->function(visit->argument, 0);
        else if (!visit->reason)
            answer = visit->function(visit->argument, is_lock_wait(context, &place));
        if (answer == VISIT_INTERRUPT)
            interrupt_call(context);
        visit->state = answer == VISIT_REFUSED ? VISIT_MISSED : VISIT_LEFT;
    }
    errno = saved;
}

/* A signal that the program does not use and this thread (0: any) does not block; 0: there is none. */
int find_free_signal(int tid) {
    char text[4096];
    unsigned long blocked = 0;  /* as far as we know, where there is no /proc */
    ssize_t size = tid ? read_task_file(tid, "status", text, sizeof text) : 0;
    for (char *line = size > 0 ? text : NULL; line && *line; line = strchr(line, '\n') ? strchr(line, '\n') + 1 : NULL)
        if (!strncmp(line, "SigBlk:", 7))
            read_hex(line + 7, &blocked);
    for (int number = LAST_SIGNAL; number >= FIRST_FREE; number--) {
        struct sigaction now;
        if (!(blocked >> (number - 1) & 1) && sigaction(number, NULL, &now) == 0
            && (now.sa_sigaction == on_visit || (!(now.sa_flags & SA_SIGINFO) && now.sa_handler == SIG_DFL)))
            return number;
    }
    return 0;
}

/* Our own threads block all signals: this one hears the highest free one from now on, or no more. */
void hear_visits(int on) {
    int number = on ? find_free_signal(0) : 0;
    uint64_t all = OUR_SIGNALS, but_one = number ? all & ~(1ull << (number - 1)) : all;
    syscall(SYS_rt_sigprocmask, SIG_SETMASK, &but_one, NULL, sizeof all);
}

static int is_ours(int number) {
    struct sigaction now;
    return sigaction(number, NULL, &now) == 0 && (now.sa_flags & SA_SIGINFO) && now.sa_sigaction == on_visit;
}

/* Visits that have not begun will not, and the signal is the program's again. */
void end_visits(void) {
    for (int i = 0; i < VISITS; i++) {
        uint32_t sent = VISIT_SENT;
        atomic_compare_exchange_strong(&visits[i].state, &sent, VISIT_MISSED);
    }
    int number = atomic_exchange(&installed, 0);
    if (!number || !is_ours(number))
        return;
    struct sigaction action = {.sa_handler = SIG_IGN};
    sigaction(number, &action, NULL);
    action.sa_handler = SIG_DFL;
    sigaction(number, &action, NULL);
}

/* A number for a new visit, or -1. */
int find_visit(void) {
    for (int i = 0; i < VISITS; i++)
        if (visits[i].state != VISIT_SENT && visits[i].state != VISIT_INSIDE)
            return i;
    return -1;
}

const char *send_visit(int slot, int tid, visit_function function, void *argument, int anywhere) {
    int number = find_free_signal(tid);
    if (!number)
        return "gets no signal: the program uses or blocks all real-time signals";
    if (installed && installed != number)
        end_visits();
    struct sigaction action = {.sa_sigaction = on_visit, .sa_flags = SA_SIGINFO | SA_RESTART | SA_NODEFER};
    if (installed != number && sigaction(number, &action, NULL))
        return "takes no signal";
    installed = number;
    visits[slot].tid = tid;
    visits[slot].anywhere = anywhere;
    visits[slot].function = function;
    visits[slot].argument = argument;
    visits[slot].reason = NULL;
    visits[slot].state = VISIT_SENT;    /* last: from here on the handler may have it */
    siginfo_t info;
    memset(&info, 0, sizeof info);
    info.si_code = SI_QUEUE;
    info.si_pid = syscall(SYS_getpid);
    info.si_uid = syscall(SYS_getuid);
    info.si_value.sival_int = slot;
    if (!syscall(SYS_rt_tgsigqueueinfo, info.si_pid, tid, number, &info))
        return NULL;
    end_visits();
    return "takes no signal";
}

int visit_state(int slot, const char **reason) {
    const struct visit *visit = &visits[slot & (VISITS - 1)];
    int state = visit->state;   /* first: while the thread is inside, the reason is its own */
    *reason = state == VISIT_MISSED ? visit->reason : NULL;
    return state;
}
