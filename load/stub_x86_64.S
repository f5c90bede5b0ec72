/* SPDX-License-Identifier: MIT
 * stub_x86_64.S - the only code that runs in a thread of the program.
 *
 * gdb writes it into unused text padding of the target and sets the pc of one stopped, safe
 * thread to stub_start + 2; from then on nobody needs to help. The stub
 *   - saves every register, flag and vector register of the borrowed thread,
 *   - starts one thread of our own, with all signals blocked, and detaches it,
 *   - restores everything and goes back to where the thread was.
 * Our thread (starter) loads pyinjectcode.so and goes on in pydb_entry(); it may wait for the
 * dynamic linker's lock as long as it likes, because no thread of the program waits for it.
 *
 * Why + 2, and two ways in: where a system call was interrupted by the stop and is to be restarted
 * (-ERESTART...), the kernel subtracts 2, the length of `syscall`, from the pc when it resumes the
 * thread, and it comes in at stub_start. But if a signal with a handler arrives before that, the kernel runs
 * the handler first and makes the call fail with EINTR instead: nothing is subtracted. Only the kernel knows which
 * it was, so the way in tells the way back: stub_back - 2, to the `syscall`, or stub_back, behind it. (With one
 * way back, a call beside setitimer failed with ENOSYS: `syscall` ran with -EINTR for a number.)
 *
 * Everything position dependent stands in the table at the end, which pydbload fills in.
 */
    .section .rodata
    .globl stub_start, stub_end
    .globl stub_pthread_create, stub_pthread_detach, stub_dlopen, stub_entry
    .globl stub_note, stub_back, stub_restart, stub_path, stub_python
    .balign 64
stub_start:
    jmp 8f                          /* 2 bytes; the call is to be restarted */
    lea -128(%rsp), %rsp            /* the red zone belongs to the interrupted function */
    pushfq
    pushq $0
    jmp 9f
8:  lea -128(%rsp), %rsp
    pushfq
    pushq $1
9:  push %rax; push %rcx; push %rdx; push %rbx; push %rbp; push %rsi; push %rdi
    push %r8;  push %r9;  push %r10; push %r11; push %r12; push %r13; push %r14; push %r15
    cld
    mov %rsp, %rbp
    sub $4608, %rsp                 /* xsave area: 512 + 64 + the features of the mask below, < 4096 */
    and $-64, %rsp
    lea 512(%rsp), %rdi             /* xrstor wants the reserved part of the header zeroed */
    xor %eax, %eax
    mov $8, %ecx
    rep stosq
    mov $0xfff9ffff, %eax           /* all state but AMX tiles (8 KB, and no libc function uses them) */
    xor %edx, %edx
    xsave64 (%rsp)
    mov stub_note(%rip), %rbx
    movl $1, 8(%rbx)                /* NOTE_ENTERED */

    sub $64, %rsp                   /* (rsp): full mask, later the thread; 8(rsp): the thread's own mask */
    movq $-1, (%rsp)
    mov $2, %edi                    /* rt_sigprocmask(SIG_SETMASK, all, &old, 8): a thread inherits its */
    mov %rsp, %rsi                  /* mask, and no signal of the program may ever run in one of ours */
    lea 8(%rsp), %rdx
    mov $8, %r10d
    mov $14, %eax
    syscall

    mov %rsp, %rdi                  /* pthread_create(&thread, NULL, starter, NULL) */
    xor %esi, %esi
    lea starter(%rip), %rdx
    xor %ecx, %ecx
    call *stub_pthread_create(%rip)
    mov %eax, 12(%rbx)
    test %eax, %eax
    jne 1f
    mov (%rsp), %rdi
    call *stub_pthread_detach(%rip)
1:
    mov $2, %edi
    lea 8(%rsp), %rsi
    xor %edx, %edx
    mov $8, %r10d
    mov $14, %eax
    syscall
    add $64, %rsp

    movl $1, 24(%rbx)               /* the borrowed thread is on its way back */
    mov $0xfff9ffff, %eax
    xor %edx, %edx
    xrstor64 (%rsp)
    mov %rbp, %rsp
    pop %r15; pop %r14; pop %r13; pop %r12; pop %r11; pop %r10; pop %r9; pop %r8
    pop %rdi; pop %rsi; pop %rbp; pop %rbx; pop %rdx; pop %rcx; pop %rax
    btq $0, (%rsp)
    lea 8(%rsp), %rsp
    jc 8f
    popfq
    lea 128(%rsp), %rsp
    jmp *stub_back(%rip)
8:  popfq
    lea 128(%rsp), %rsp
    jmp *stub_restart(%rip)

starter:                            /* void *starter(void *): our own thread begins here */
    push %rbx
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
stub_pthread_create: .quad 0
stub_pthread_detach: .quad 0
stub_dlopen:         .quad 0        /* 0: do not load */
stub_entry:          .quad 0        /* pydb_entry: relative to the load base, or absolute without dlopen */
stub_note:           .quad 0        /* struct note in writable memory, see pydbload.c */
stub_back:           .quad 0        /* where the borrowed thread goes on; set by pydbattach.gdb */
stub_restart:        .quad 0        /* where it goes on if the kernel restarts its system call; the same */
stub_path:           .space 96      /* the library as the target names it */
stub_python:         .space 160     /* the file that holds the interpreter, for dlopen(RTLD_NOLOAD) */
stub_end:
    .section .note.GNU-stack, "", @progbits
