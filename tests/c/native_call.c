/* SPDX-License-Identifier: MIT
 * native_call.c - functions with C++ names, without a C++ compiler, between Python frames.
 */
void checkout(void (*call)(void)) __asm__("_ZN4shop5Order8checkoutEPFvvE");

static volatile int calls;

__attribute__((noinline)) static void deliver(void (*call)(void)) {
    call();
    calls++;                    /* no tail call */
}

void checkout(void (*call)(void)) {
    deliver(call);
    calls++;
}
