/* SPDX-License-Identifier: MIT
 * cpu_x86_64.c - what look knows about the processor and its system calls.
 *
 * A call is in the table if neither malloc nor the dynamic linker ever makes it, or if the rule beside
 * it tells those uses apart. What is not here is no safe place: mmap, munmap, mprotect, madvise, brk,
 * clone, clone3, execve, fstat, ... (facts: where a call in the target is safe).
 *
 * The classes follow signal(7), "Interruption of system calls by stop signals": a stop by ptrace makes
 * some calls fail with EINTR although no handler has run; all others go on as if nothing had been.
 * pause, sigsuspend and the message queues go on, too, but on some kernels only.
 */
#include <string.h>
#include <sys/syscall.h>

#include "calls_x86_64.h"
#include "look.h"

const int own_machine = EM_X86_64;

const struct call calls[] = {
    {SYS_futex, RESTARTS, IF_WAITING},
    {SYS_poll, RESTARTS, ALWAYS},
    {SYS_ppoll, RESTARTS, ALWAYS},
    {SYS_select, RESTARTS, ALWAYS},
    {SYS_pselect6, RESTARTS, ALWAYS},
    {SYS_nanosleep, RESTARTS, ALWAYS},
    {SYS_clock_nanosleep, RESTARTS, ALWAYS},
    /* a sleep, poll or futex with a time-out that an earlier stop has interrupted */
    {SYS_restart_syscall, RESTARTS, ALWAYS},
    {SYS_wait4, RESTARTS, ALWAYS},
    {SYS_waitid, RESTARTS, ALWAYS},
    {SYS_read, RESTARTS, IF_STREAM},
    {SYS_readv, RESTARTS, IF_STREAM},
    {SYS_write, RESTARTS, IF_STREAM},
    {SYS_writev, RESTARTS, IF_STREAM},
    {SYS_recvfrom, RESTARTS, ALWAYS},
    {SYS_recvmsg, RESTARTS, ALWAYS},
    {SYS_recvmmsg, RESTARTS, ALWAYS},
    {SYS_sendto, RESTARTS, ALWAYS},
    {SYS_sendmsg, RESTARTS, ALWAYS},
    {SYS_sendmmsg, RESTARTS, ALWAYS},
    {SYS_accept, RESTARTS, ALWAYS},
    {SYS_accept4, RESTARTS, ALWAYS},
    {SYS_connect, RESTARTS, ALWAYS},
    {SYS_flock, RESTARTS, ALWAYS},
    {SYS_fcntl, RESTARTS, IF_LOCK_COMMAND},
    {SYS_mq_timedreceive, RESTARTS, ALWAYS},
    {SYS_mq_timedsend, RESTARTS, ALWAYS},
    {SYS_epoll_wait, SEES_EINTR, ALWAYS},
    {SYS_epoll_pwait, SEES_EINTR, ALWAYS},
    {441 /* epoll_pwait2 */, SEES_EINTR, ALWAYS},
    {SYS_semop, SEES_EINTR, ALWAYS},
    {SYS_semtimedop, SEES_EINTR, ALWAYS},
    {SYS_rt_sigtimedwait, SEES_EINTR, ALWAYS},
    {SYS_pause, SEES_EINTR, ALWAYS},
    {SYS_rt_sigsuspend, SEES_EINTR, ALWAYS},
    {SYS_msgrcv, SEES_EINTR, ALWAYS},
    {SYS_msgsnd, SEES_EINTR, ALWAYS},
    {SYS_io_getevents, SEES_EINTR, ALWAYS},
    {333 /* io_pgetevents */, SEES_EINTR, ALWAYS},
    {426 /* io_uring_enter */, SEES_EINTR, ALWAYS},
    {SYS_open, LAST_RESORT, IF_FIFO},
    {SYS_openat, LAST_RESORT, IF_FIFO},
};
const int call_count = sizeof calls / sizeof *calls;

/* How load/stub_x86_64.S begins: a stub of an earlier attach may be written over. */
const unsigned char stub_head[8] = {0xeb, 0x20, 0x66, 0x0f, 0x1f, 0x44, 0x00, 0x00};

/* The frame that the kernel lays on the stack for a signal handler: return address, ucontext (flags,
 * link, stack, 23 registers, address of the vector registers above it, mask). It is known by the word
 * of its segment registers, the same in every 64-bit program, whatever the return address is (glibc's
 * __restore_rt, Go's ...). siginfo follows, but is filled in only for SA_SIGINFO: of no use here. */
#define SEGMENTS 0x002b000000000033ull  /* ss 2b, cs 33 */
#define FLAGS_AT 8
#define PC_AT 176
#define SEGMENTS_AT 192
#define VECTORS_AT 232
#define MASK_AT 304
#define VECTORS_NEAR 8192

/* The registers as ptrace and core files have them (struct user_regs_struct), in the order of DWARF (System V ABI). */
void order_registers(const uint64_t *registers, uint64_t *dwarf, uint64_t *pc) {
    enum { R15, R14, R13, R12, RBP, RBX, R11, R10, R9, R8, RAX, RCX, RDX, RSI, RDI, ORIG_RAX, RIP, CS, EFLAGS, RSP };
    static const int order[DWARF_REGISTERS - 1] = {RAX, RDX, RCX, RBX, RSI, RDI, RBP, RSP,
                                                   R8, R9, R10, R11, R12, R13, R14, R15};
    for (int i = 0; i < DWARF_REGISTERS - 1; i++)
        dwarf[i] = registers[order[i]];
    *pc = dwarf[DWARF_REGISTERS - 1] = registers[RIP];
}

uint64_t stack_pointer(const uint64_t *registers) {
    return registers[19];
}

/* Where struct pthread is: fs_base. */
uint64_t thread_pointer(const uint64_t *registers) {
    return registers[21];
}

/* The system call that a thread is in, and its first argument; -1: none. */
long call_of_registers(const uint64_t *registers, uint64_t *argument) {
    *argument = registers[14];
    return (int64_t)registers[15] < 0 ? -1 : (long)registers[15];
}

int find_signal_frame(const unsigned char *stack, size_t size, uint64_t base, size_t from, struct signal_frame *frame) {
    static const uint64_t segments = SEGMENTS;
    for (size_t at = (from + 7) & ~7ul; at + MASK_AT + 8 <= size; at += 8) {
        uint64_t flags, vectors;
        if (memcmp(stack + at + SEGMENTS_AT, &segments, 8))
            continue;
        memcpy(&flags, stack + at + FLAGS_AT, 8);
        memcpy(&vectors, stack + at + VECTORS_AT, 8);
        if (flags > 7 || vectors % 16 || vectors <= base + at || vectors > base + at + VECTORS_NEAR)
            continue;
        memcpy(&frame->pc, stack + at + PC_AT, 8);
        memcpy(&frame->mask, stack + at + MASK_AT, 8);
        frame->at = at;
        return 0;
    }
    return -1;
}

const char *call_name(long nr) {
    static const char *const names[] = {CALL_NAMES};
    return nr >= 0 && nr < (long)(sizeof names / sizeof *names) ? names[nr] : NULL;
}
