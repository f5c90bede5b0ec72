/* SPDX-License-Identifier: MIT
 * registers.c - a thread that knows what is in each of its registers, and looks.
 *
 * compute(in_call) fills integer, SSE, AVX and (where the CPU has them) AVX-512 registers, flags (the direction flag
 * among them), x87 and SSE control words, errno and the red zone with known values, spins for a while in one instruction,
 * or sleeps in clock_nanosleep, and compares; again and again, until the file `stop` is there. Returns the number
 * of rounds, or minus the line of this file that found a difference.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

enum { RBX, RAX, RCX, RDX, RBP, RSI, RDI, R8, R9, R10, R11, R12, R13, R14, R15, INTEGERS = 16 };

struct registers {              /* the offsets are written out in spin() */
    uint64_t integers[INTEGERS];
    uint64_t flags, x87_control, sse_control;           /* 128, 136, 144 */
    double x87_top;                                     /* 152 */
    uint64_t red_zone[16];                              /* 160 */
    uint64_t masks[8];                                  /* 288: k0 - k7 */
    unsigned char vectors[32][64];                      /* 352 */
};
_Static_assert(offsetof(struct registers, red_zone) == 160 && offsetof(struct registers, vectors) == 352, "see spin()");

__attribute__((visibility("hidden"))) struct registers expected, seen;
__attribute__((visibility("hidden"))) uint64_t spin_kind;      /* 0 SSE, 1 AVX, 2 AVX-512 */
__attribute__((visibility("hidden"))) void spin(void);
static struct timespec nap = {0, 3000000};

#define STR(x) #x
#define LOW(X) X(0) X(1) X(2) X(3) X(4) X(5) X(6) X(7)
#define MIDDLE(X) X(8) X(9) X(10) X(11) X(12) X(13) X(14) X(15)
#define HIGH(X) X(16) X(17) X(18) X(19) X(20) X(21) X(22) X(23) X(24) X(25) X(26) X(27) X(28) X(29) X(30) X(31)
#define LOAD_XMM(n) "movups expected+352+64*" STR(n) "(%rip), %xmm" STR(n) "\n"
#define LOAD_YMM(n) "vmovups expected+352+64*" STR(n) "(%rip), %ymm" STR(n) "\n"
#define LOAD_ZMM(n) "vmovups expected+352+64*" STR(n) "(%rip), %zmm" STR(n) "\n"
#define LOAD_K(n) "kmovq expected+288+8*" STR(n) "(%rip), %k" STR(n) "\n"
#define STORE_XMM(n) "movups %xmm" STR(n) ", seen+352+64*" STR(n) "(%rip)\n"
#define STORE_YMM(n) "vmovups %ymm" STR(n) ", seen+352+64*" STR(n) "(%rip)\n"
#define STORE_ZMM(n) "vmovups %zmm" STR(n) ", seen+352+64*" STR(n) "(%rip)\n"
#define STORE_K(n) "kmovq %k" STR(n) ", seen+288+8*" STR(n) "(%rip)\n"
#define LOAD_RED(n) "mov expected+160+8*" STR(n) "(%rip), %rax\nmov %rax, -128+8*" STR(n) "(%rsp)\n"
#define STORE_RED(n) "mov -128+8*" STR(n) "(%rsp), %rax\nmov %rax, seen+160+8*" STR(n) "(%rip)\n"
#define EACH(X) X(rbx, 0) X(rax, 1) X(rcx, 2) X(rdx, 3) X(rbp, 4) X(rsi, 5) X(rdi, 6) X(r8, 7) X(r9, 8) X(r10, 9) \
    X(r11, 10) X(r12, 11) X(r13, 12) X(r14, 13) X(r15, 14)
#define LOAD(name, n) "mov expected+8*" STR(n) "(%rip), %" STR(name) "\n"
#define STORE(name, n) "mov %" STR(name) ", seen+8*" STR(n) "(%rip)\n"

/* Loads everything from `expected`, spins while rcx counts down, or makes a system call where rcx is 0, and stores
 * everything to `seen`. Between the two nothing changes a flag: mov, lea, loop and jrcxz do not. */
__asm__(".text\n.type spin, @function\nspin:\n"
        "push %rbx\npush %rbp\npush %r12\npush %r13\npush %r14\npush %r15\n"
        "cmpq $1, spin_kind(%rip)\nje 2f\nja 3f\n"
        LOW(LOAD_XMM) MIDDLE(LOAD_XMM) "jmp 4f\n"
        "2:\n" LOW(LOAD_YMM) MIDDLE(LOAD_YMM) "jmp 4f\n"
        "3:\n" LOW(LOAD_ZMM) MIDDLE(LOAD_ZMM) HIGH(LOAD_ZMM) LOW(LOAD_K)
        "4:\nfninit\nfldcw expected+136(%rip)\nldmxcsr expected+144(%rip)\nfldl expected+152(%rip)\n"
        LOW(LOAD_RED) MIDDLE(LOAD_RED)
        "lea -256(%rsp), %rsp\npushq expected+128(%rip)\npopfq\nlea 256(%rsp), %rsp\n"
        EACH(LOAD)
        "jrcxz 6f\n"
        "5: loop 5b\njmp 7f\n"
        "6: syscall\n"
        "7:\n" EACH(STORE)
        "lea -256(%rsp), %rsp\npushfq\npopq seen+128(%rip)\nlea 256(%rsp), %rsp\ncld\n"
        LOW(STORE_RED) MIDDLE(STORE_RED)
        "cmpq $1, spin_kind(%rip)\nje 2f\nja 3f\n"
        LOW(STORE_XMM) MIDDLE(STORE_XMM) "jmp 4f\n"
        "2:\n" LOW(STORE_YMM) MIDDLE(STORE_YMM) "vzeroupper\njmp 4f\n"
        "3:\n" LOW(STORE_ZMM) MIDDLE(STORE_ZMM) HIGH(STORE_ZMM) LOW(STORE_K) "vzeroupper\n"
        "4:\nfnstcw seen+136(%rip)\nstmxcsr seen+144(%rip)\nfstpl seen+152(%rip)\nfninit\n"
        "movl $0x1f80, -8(%rsp)\nldmxcsr -8(%rsp)\n"
        "pop %r15\npop %r14\npop %r13\npop %r12\npop %rbp\npop %rbx\nret\n.size spin, .-spin\n");

static void fill(uint64_t round, int in_call) {
    unsigned char *bytes = (unsigned char *)&expected;
    for (size_t i = 0; i < sizeof expected; i++)
        bytes[i] = (i * 7 + round * 13 + 1) & 0xff;
    expected.flags = round % 2 ? 0xcd7 : 0x246;         /* all of CF PF AF ZF SF DF OF, or few */
    expected.x87_control = 0xb7f;                       /* not the default: rounds up */
    expected.sse_control = 0x5f80;
    expected.x87_top = 3.25 + round;
    expected.integers[RCX] = in_call ? 0 : 30000000;
    if (in_call) {
        expected.flags &= ~0x400ul;                     /* the kernel wants none */
        expected.integers[RAX] = SYS_clock_nanosleep;
        expected.integers[RDI] = CLOCK_MONOTONIC;
        expected.integers[RSI] = 0;
        expected.integers[RDX] = (uint64_t)&nap;
        expected.integers[R10] = 0;
    }
    memset(&seen, 0, sizeof seen);
}

static long compare(int in_call) {
    if (in_call) {              /* what the kernel itself changes */
        if (seen.integers[RAX] != 0)
            return -__LINE__;
        seen.integers[RAX] = expected.integers[RAX];
        seen.integers[RCX] = expected.integers[RCX];
        seen.integers[R11] = expected.integers[R11];
    } else {
        expected.integers[RCX] = 0;
    }
    if (memcmp(seen.integers, expected.integers, 15 * 8))
        return -__LINE__;
    if ((seen.flags & 0xcd5) != (expected.flags & 0xcd5))
        return -__LINE__;
    if ((uint16_t)seen.x87_control != (uint16_t)expected.x87_control || (uint32_t)seen.sse_control != (uint32_t)expected.sse_control)
        return -__LINE__;
    if (seen.x87_top != expected.x87_top)
        return -__LINE__;
    if (memcmp(seen.red_zone, expected.red_zone, sizeof seen.red_zone))
        return -__LINE__;
    if (spin_kind == 2 && memcmp(seen.masks, expected.masks, sizeof seen.masks))
        return -__LINE__;
    for (int i = 0; i < (spin_kind == 2 ? 32 : 16); i++)
        if (memcmp(seen.vectors[i], expected.vectors[i], spin_kind == 2 ? 64 : spin_kind == 1 ? 32 : 16))
            return -__LINE__;
    return 0;
}

long compute(int in_call) {
    long rounds = 0, wrong = 0;
    while (!wrong && access("stop", F_OK)) {
        spin_kind = __builtin_cpu_supports("avx512bw") ? rounds % 3 : __builtin_cpu_supports("avx") ? rounds % 2 : 0;
        fill(rounds, in_call);
        errno = 77;
        spin();
        if (errno != 77)
            return -__LINE__;
        wrong = compare(in_call);
        rounds++;
    }
    return wrong ? wrong : rounds;
}
