/* SPDX-License-Identifier: MIT
 * core_threads.c - the threads of a core file, as kernel.c tells those of a process.
 *
 * Their numbers are those of the dead process's PID namespace (the kernel) or of ours (gcore); Python knows
 * the former, and so does glibc's struct pthread, to which the thread pointer points.
 */
#include <stdlib.h>

#include "core.h"
#include "dump.h"

#define TID_IN_PTHREAD 720      /* glibc, x86-64 */

static void read_core_thread(struct dump *dump, struct dump_thread *thread) {
    uint64_t registers[REGISTERS_AT_MOST] = {0};
    int32_t inner;
    if (read_core_registers(core_of(dump->memory), thread->tid, registers, sizeof registers))
        return;
    thread->system_call = call_of_registers(registers, &thread->argument);
    if (!read_memory(dump->memory, thread_pointer(registers) + TID_IN_PTHREAD, &inner, sizeof inner) && inner > 0)
        thread->inner_tid = inner;
}

/* All threads. -1: out of memory. */
int read_core_threads(struct dump *dump) {
    const struct core *core = core_of(dump->memory);
    int n = core_thread_count(core);
    dump->threads = calloc(n + 1, sizeof *dump->threads);
    if (!dump->threads)
        return -1;
    for (int i = 0; i < n; i++) {
        struct dump_thread *thread = &dump->threads[i];
        *thread = (struct dump_thread){.tid = core_thread(core, i), .interpreter = -1, .complete = 1, .system_call = -2,
                                       .cpu_seconds = core_thread_time(core, i), .off_cpu_seconds = -1};
        thread->inner_tid = thread->tid;
        read_core_thread(dump, thread);
    }
    dump->thread_count = n;
    return 0;
}
