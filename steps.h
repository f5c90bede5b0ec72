/* SPDX-License-Identifier: MIT
 * steps.h - every step of an attach: its deadline, what is undone when that passes, and the line that says so.
 *
 * The numbers and lines here are the ones that act: the programs and the library take both from this table. A deadline
 * counts only the time in which we have lived: a machine that stands still for seconds (a virtual one that is moved or
 * starved) must not make one pass. Two steps have no number of milliseconds: "moment", tried TRIES times in a gdb and
 * then by up to 12 gdbs (60 where a thread has only moved on; pydbattach.sh), and the GIL, which is waited for until it
 * comes or the user gives up.
 */
#ifndef PYDB_STEPS_H
#define PYDB_STEPS_H

#define TRIES 100               /* attaches in one gdb, half a millisecond each; then look again */

#define HAS_LOCK "another session is attached to process %d: pid %d"
#define NO_GDB "gdb has not attached to process %d within %d s; let go"

/*       step, ms,            what is undone                                    the line */
#define STEPS(STEP) \
    /* pydblook: reads */ \
    STEP(LOOK, 3000, "the child that reads is killed; nothing was done", \
         "the memory of process %d could not be read within %d s (a disk or file server that does not answer?)") \
    STEP(THREAD, 1000, "nothing was done", \
         "no thread of process %d can be borrowed for the attach (%s)") \
    /* pydbload: lock, gdb under its guard, the stub, the library */ \
    STEP(LOCK, 1000, "nothing was done", \
         HAS_LOCK) \
    STEP(LOCK_GDB, 10000, "nothing was done; a gdb or guard that is about to end has the lock", \
         HAS_LOCK) \
    STEP(GDB, 8000, "gdb, asleep all the time, is killed (it never calls the target); a target that it has left stopped is continued", \
         NO_GDB) \
    STEP(GDB_RUNS, 20000, "the same, of a gdb that is at work", \
         NO_GDB) \
    STEP(GDB_ENDS, 600, "gdb is killed: the library has answered, and all that is left to gdb is to end", "") \
    STEP(GUARD, 22000, "guard and gdb hang: gdb is killed by us, the target continued", \
         NO_GDB) \
    STEP(STUB, 2000, "nothing: the stub needs nobody, the library finds no client and closes by itself", \
         "thread %d of process %d has not run the attach stub within %d s; let go") \
    STEP(LIBRARY, 10000, "the copy is removed; a dlopen that comes late finds no client and closes", \
         "process %d has not loaded the library within %d s: another thread holds the dynamic linker's lock; let go") \
    /* pydbclient */ \
    STEP(CHANNEL, 10000, "the library closes by itself (COME)", \
         "the library in process %d has not opened its channel within %d s") \
    STEP(PAYLOAD, 10000, "the channel is closed, which is a detach", \
         "%d did not take the payload within %d s; gave up") \
    STEP(GIL, 1000, "nothing: it is waited for, Ctrl-C gives up; one thread of ours stays and the next attach adopts it", \
         "a thread of %s holds the GIL and has not let go for 1 s; waiting, Ctrl-C gives up") \
    STEP(PROMPT, 10000, "a detach", \
         "the session in %d did not begin within %d s; detached") \
    STEP(BYE, 5000, "the client ends; the library undoes the rest when the GIL comes", \
         "%d has not confirmed the detach (a thread holds the GIL); it will as soon as it can") \
    /* pyinjectcode.so: nobody hears it any more */ \
    STEP(COME, 3000, "everything: the library closes; a client that has not spoken by then will not come", "") \
    STEP(FRAME, 10000, "everything: the library closes; a client that has begun a frame will not end it", "") \
    STEP(LEND, 1000, "the script is taken back out of the thread's slot, or ends at once when it comes to run", "") \
    STEP(HANGUP, 250, "an evaluator that is busy so long after the client has gone is interrupted, and so on", "") \
    STEP(LEAVE, 1000, "the keeper leaves the rest to an evaluator that waits for the GIL", "")

#define STEP_MS(name, ms, undo, line) name##_MS = ms,
#define STEP_LINE(name, ms, undo, line) __attribute__((unused)) static const char name##_LINE[] = line;
enum { STEPS(STEP_MS) };
STEPS(STEP_LINE)

#endif
