/* SPDX-License-Identifier: MIT
 * stub_x86_64.S - the only code that runs in a thread of the program.
 *
 * gdb writes it into unused text padding of the target and sets the pc of one stopped, safe
 * thread to stub_start + 2; from then on nobody needs to help. The stub
 *   - lays the registers of the borrowed thread into the note, then blocks all signals: not before they are
 *     blocked may rsp be anything but the program's, because a handler would run there; and our thread inherits the mask,
 *     no signal of the program may ever run in one of ours (which lets 33 in again by itself: wire.h),
 *   - goes to a stack of its own: how much is left of the thread's nobody can tell from outside (the end of a
 *     recursion, a signal stack or a coroutine in the middle of the heap), so not a byte of it is touched,
 *   - saves flags, vector registers and errno, which pthread_create may change,
 *   - starts one thread of our own and detaches it,
 *   - restores everything and goes back to where the thread was.
 * What it never touches needs no care: fs and gs (thread-locals), the alternate signal stack, the shadow stack (each call
 * here returns), protection keys but by xrstor. Our thread (starter) loads pyinjectcode.so and goes on in pydb_entry(); it may
 * wait for the dynamic linker's lock as long as it likes, because no thread of the program waits for it.
 *
 * Why + 2, and two ways in: where a system call was interrupted by the stop and is to be restarted
 * (-ERESTART...), the kernel subtracts 2, the length of `syscall`, from the pc when it resumes the
 * thread, and it comes in at stub_start. But if a signal with a handler arrives before that, the kernel runs
 * the handler first and makes the call fail with EINTR instead: nothing is subtracted. Only the kernel knows which
 * it was, so the way in tells the way back: stub_back - 2, to the `syscall`, or stub_back, behind it. (With one
 * way back, a call beside setitimer failed with ENOSYS: `syscall` ran with -EINTR for a number.)
 *
 * mov, lea, jrcxz and syscall change no flag: nothing else may stand before pushfq and behind popfq.
 * Everything position dependent stands in the table at the end, which pydbload fills in.
 */
    .section .rodata
    .globl stub_start, stub_end, stub_rax1, stub_rax2
    .globl stub_pthread_create, stub_pthread_detach, stub_dlopen, stub_errno, stub_entry
    .globl stub_note, stub_back, stub_restart, stub_path, stub_python

    /* struct pydb_note (wire.h), rbx as long as we are in here */
    PHASE = 8; ERROR = 12; LEFT = 24; RESTART = 28
    RAX = 40; RBX = 48; RCX = 56; RDX = 64; RSI = 72; RDI = 80; RSP = 88; R8 = 96; R9 = 104; R10 = 112; R11 = 120
    FLAGS = 128; MASK = 136

    STACK_SIZE = 256 << 10          /* pthread_create may come to the malloc of anybody */
    VECTORS = 4096                  /* the xsave area: 512 + 64 + the features of the mask, < 3 KB */
    FEATURES = 0xfff9ffff           /* all state but AMX tiles (8 KB, and no libc function uses them) */

    .balign 64
stub_start:
    jmp 8f                          /* 2 bytes; the call is to be restarted */
    .byte 0x66, 0x0f, 0x1f, 0x44, 0, 0      /* no operation: look knows a stub by its first 8 bytes */
    movabs %rax, 0x1122334455667788 /* to the note: the one store that needs no register */
stub_rax1 = . - 8
    mov stub_note(%rip), %rax
    movl $0, RESTART(%rax)
    jmp 9f
8:  movabs %rax, 0x1122334455667788
stub_rax2 = . - 8
    mov stub_note(%rip), %rax
    movl $1, RESTART(%rax)
9:  mov %rbx, RBX(%rax)
    mov %rcx, RCX(%rax)
    mov %rdx, RDX(%rax)
    mov %rsi, RSI(%rax)
    mov %rdi, RDI(%rax)
    mov %rsp, RSP(%rax)
    mov %r8, R8(%rax)
    mov %r9, R9(%rax)
    mov %r10, R10(%rax)
    mov %r11, R11(%rax)
    mov %rax, %rbx

    mov $2, %edi                    /* rt_sigprocmask(SIG_SETMASK, all, &mask, 8): 33, too, whose handler (glibc's setuid) */
    lea all_signals(%rip), %rsi     /* would lay its frame over the note */
    lea MASK(%rbx), %rdx
    mov $8, %r10d
    mov $14, %eax
    syscall
    lea FLAGS+8(%rbx), %rsp
    pushfq
    cld
    movl $1, PHASE(%rbx)            /* NOTE_ENTERED */

    xor %edi, %edi                  /* mmap(NULL, STACK_SIZE, PROT_READ | PROT_WRITE, private, anonymous, -1, 0) */
    mov $STACK_SIZE, %esi
    mov $3, %edx
    mov $0x24022, %r10d             /* MAP_STACK | MAP_NORESERVE | MAP_ANONYMOUS | MAP_PRIVATE */
    mov $-1, %r8
    xor %r9d, %r9d
    mov $9, %eax
    syscall
    cmp $-4096, %rax
    ja 3f
    lea STACK_SIZE-8(%rax), %rsp
    push %rbp; push %r12; push %r13; push %r14; push %r15
    lea STACK_SIZE-64-VECTORS(%rax), %rbp
    mov %rbp, %rsp
    mov %rax, %r14
    mov $FEATURES, %eax
    xor %edx, %edx
    xsave64 (%rbp)                  /* zeroed by the kernel, as xrstor wants its header */
    call *stub_errno(%rip)
    mov %rax, %r12
    mov (%r12), %r13d

    sub $16, %rsp
    mov %rsp, %rdi                  /* pthread_create(&thread, NULL, starter, NULL) */
    xor %esi, %esi
    lea starter(%rip), %rdx
    xor %ecx, %ecx
    call *stub_pthread_create(%rip)
    mov %eax, ERROR(%rbx)
    test %eax, %eax
    jne 1f
    mov (%rsp), %rdi
    call *stub_pthread_detach(%rip)
1:  mov %r13d, (%r12)
    mov $FEATURES, %eax
    xor %edx, %edx
    xrstor64 (%rbp)
    mov %r14, %rdi                  /* munmap(stack, STACK_SIZE) */
    lea VECTORS+16(%rbp), %rsp
    pop %r15; pop %r14; pop %r13; pop %r12; pop %rbp
    lea FLAGS(%rbx), %rsp
    mov $STACK_SIZE, %esi
    mov $11, %eax
    syscall
    jmp 4f
3:  neg %eax
    mov %eax, ERROR(%rbx)

4:  lea FLAGS(%rbx), %rsp
    popfq
    mov RSP(%rbx), %rsp
    mov $2, %edi                    /* rt_sigprocmask(SIG_SETMASK, &mask, NULL, 8): handlers may run from here on */
    lea MASK(%rbx), %rsi
    mov $0, %edx
    mov $8, %r10d
    mov $14, %eax
    syscall
    mov RAX(%rbx), %rax
    mov RDX(%rbx), %rdx
    mov RSI(%rbx), %rsi
    mov RDI(%rbx), %rdi
    mov R8(%rbx), %r8
    mov R9(%rbx), %r9
    mov R10(%rbx), %r10
    mov R11(%rbx), %r11
    mov RESTART(%rbx), %ecx
    jrcxz 8f
    mov RCX(%rbx), %rcx
    movl $1, LEFT(%rbx)             /* the note and the stub are free */
    mov RBX(%rbx), %rbx
    jmp *stub_restart(%rip)
8:  mov RCX(%rbx), %rcx
    movl $1, LEFT(%rbx)
    mov RBX(%rbx), %rbx
    jmp *stub_back(%rip)

starter:                            /* void *starter(void *): our own thread begins here */
    push %rbx
    fninit                          /* rounding and traps are inherited, too: where the program has asked for a */
    pushq $0x1f80                   /* SIGFPE, ours, which hears no signal, would end it */
    ldmxcsr (%rsp)
    pop %rbx
    mov $2, %edi                    /* the mask once more: glibc has just taken 32 out of it, and by 32 we are known */
    lea our_signals(%rip), %rsi
    xor %edx, %edx
    mov $8, %r10d
    mov $14, %eax
    syscall
    mov stub_note(%rip), %rbx
    mov stub_dlopen(%rip), %rcx
    mov stub_entry(%rip), %rax
    test %rcx, %rcx                 /* 0: the library is there from an earlier attach */
    jz 2f
    movl $2, 8(%rbx)                /* NOTE_LOADING */
    lea stub_path(%rip), %rdi
    mov $0x1002, %esi               /* RTLD_NOW | RTLD_NODELETE */
    call *%rcx
    test %rax, %rax
    jz 3f
    mov (%rax), %rax                /* link_map: its first word is the load base */
    add stub_entry(%rip), %rax
2:
    movl $4, 8(%rbx)                /* NOTE_LOADED */
    lea stub_python(%rip), %rdi
    mov %rbx, %rsi
    lea stub_path(%rip), %rdx
    pop %rbx
    jmp *%rax                       /* pydb_entry(python, note, path) returns to the C library, never to this stub */
3:
    movl $3, 8(%rbx)                /* NOTE_REFUSED */
    xor %eax, %eax
    pop %rbx
    ret

    .balign 8
all_signals:         .quad -1
our_signals:         .quad ~(1 << 32)       /* OUR_SIGNALS of wire.h */
stub_pthread_create: .quad 0
stub_pthread_detach: .quad 0
stub_dlopen:         .quad 0        /* 0: do not load */
stub_errno:          .quad 0        /* __errno_location */
stub_entry:          .quad 0        /* pydb_entry: relative to the load base, or absolute without dlopen */
stub_note:           .quad 0        /* struct note in writable memory, see pydbload.c */
stub_back:           .quad 0        /* where the borrowed thread goes on; set by pydbattach.gdb */
stub_restart:        .quad 0        /* where it goes on if the kernel restarts its system call; the same */
stub_path:           .space 96      /* the library as the target names it */
stub_python:         .space 160     /* the file that holds the interpreter, for dlopen(RTLD_NOLOAD) */
stub_end:
    .section .note.GNU-stack, "", @progbits
