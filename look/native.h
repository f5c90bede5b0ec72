/* SPDX-License-Identifier: MIT
 * native.h - the C stack of a thread: see native.c.
 */
#ifndef NATIVE_H
#define NATIVE_H

#include "look.h"

struct native_frame {
    uint64_t pc, sp, offset;    /* sp: its variables begin there, 0: not known; offset: from the start of the function, or of the module's lowest address */
    const char *function;       /* C++ names demangled; NULL: the module has no name for it */
    const char *module;         /* as the target maps it; NULL: in no file */
    int evaluates;              /* the interpreter's loop: the Python frames of one C call of it belong here */
};

struct native_stack {           /* innermost first */
    struct native_frame *frames;
    int count, room;
    char trouble[128];          /* why there is nothing, or why it ends here; "" if it is whole */
};

struct native;
struct native *open_native(struct target *target, char *trouble, size_t size);
void read_native(struct native *native, pid_t tid, void (*meanwhile)(void *argument), void *argument,
                 struct native_stack *stack);
void close_native(struct native *native);

#endif
