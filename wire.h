/* SPDX-License-Identifier: MIT
 * wire.h - what pyinjectcode.so (in the target) and pydbclient say to each other.
 *
 * The channel is two pipes that the library makes in the target. The client opens them as
 * /proc/PID/fd/N; the numbers stand in struct pydb_state, which pydbload and the client read
 * from the target's memory. Whoever may trace the process may open them, nobody else.
 *
 * Each direction carries frames: one byte kind, four bytes length (little endian, payload
 * bytes, at most WIRE_MAX), payload. Text is UTF-8 without a terminating zero. A frame that
 * is longer or of an unknown kind ends the session: the other side cannot be trusted.
 */
#ifndef PYDB_WIRE_H
#define PYDB_WIRE_H

#include <stdint.h>

#define WIRE_MAX (1u << 20)
#define WIRE_HEADER 5

/* client -> target */
enum {
    WIRE_SOURCE = 'P',     /* one piece of Python source: module name, 0, first line (decimal), 0, text */
    WIRE_START = 'S',      /* all pieces are sent; payload: the options, lines of "name value" (below) */
    WIRE_LINE = 'L',       /* a line the user typed, without its newline: the answer to WIRE_READ */
    WIRE_EOF = 'E',        /* end of the user's input: the other answer to WIRE_READ */
    WIRE_INTERRUPT = 'I',  /* Ctrl-C: stop the evaluation, or bring a running thread back to the prompt */
    WIRE_DETACH = 'D',     /* undo everything now, whatever is going on */
    WIRE_COMPLETE = 'C',   /* begin, 0, end (decimal byte offsets into line), 0, line; answered by WIRE_MATCHES */
    WIRE_SIZE = 'W',       /* the terminal: "columns rows" (decimal) */
    WIRE_LEND = 'N',       /* the GIL does not come: what `pydblook gil` says behind "lend ": the thread that has it, and its slot */
};
#define WIRE_CLIENT_KINDS {WIRE_SOURCE, WIRE_START, WIRE_LINE, WIRE_EOF, WIRE_INTERRUPT, WIRE_DETACH, WIRE_COMPLETE, WIRE_SIZE, \
                           WIRE_LEND}
/* Options of WIRE_START, one a line, in any order, each at most once but for "rc":
 *   thread SELECTOR     the thread to go to: number, ident, native id or name; without it the main one
 *   pid PID             the process id as the user knows it (the target may be in another namespace)
 *   rc TEXT             one line of the caller's ~/.pdbrc; in the order of the file
 *   batch 1             commands are not typed by a person (a pipe, or -c)
 */

/* target -> client */
enum {
    WIRE_ALIVE = 'G',      /* the evaluator has the GIL; empty. Sent once, before the first prompt */
    WIRE_OUTPUT = 'O',     /* results: to stdout */
    WIRE_CODE = 'Q',       /* results as WIRE_OUTPUT, but Python source (a client with colours may colour it) */
    WIRE_NOTICE = 'M',     /* one line about the session, without "pydbattach: " and newline: to stderr */
    WIRE_ERROR = 'F',      /* as WIRE_NOTICE, but the attach has failed: the client leaves with status 1 after WIRE_BYE */
    WIRE_READ = 'R',       /* the prompt; the client answers with WIRE_LINE or WIRE_EOF, once */
    WIRE_MATCHES = 'C',    /* completions of the word at [begin,end), separated by newlines; may be empty */
    WIRE_STATE = 'T',      /* what the chosen thread does from now on: "stopped N", "blocked N" or "running N", or "none"; N its number */
    WIRE_DUMP = 'K',       /* show all stacks as pydblook sees them; payload: words of "locals", "native" */
    WIRE_SAVE = 'B',       /* what `breaks save` writes: a phrase for people ("3 breakpoints"), 0, text; only while such a line runs */
    WIRE_BYE = 'X',        /* the target has undone everything; empty. Then it closes the channel */
};
#define WIRE_TARGET_KINDS {WIRE_ALIVE, WIRE_OUTPUT, WIRE_CODE, WIRE_NOTICE, WIRE_ERROR, WIRE_READ, WIRE_MATCHES, WIRE_STATE, \
                           WIRE_DUMP, WIRE_SAVE, WIRE_BYE}

/* How the library tells from inside the target what it has reached. Written by the library,
 * read from outside through /proc/PID/mem. Symbol: pydb_state. Phases only grow within a generation. */
enum {
    PYDB_IDLE = 0,         /* loaded, no session: entry() may be called */
    PYDB_LOADING = 1,      /* the keeper is at work on the channel */
    PYDB_READY = 2,        /* the channel can be opened */
    PYDB_OPEN = 3,         /* a client has sent its first frame */
    PYDB_CLOSING = 4,      /* the client is gone; undoing */
    PYDB_FAILED = 5,       /* see error */
};

struct pydb_state {
    char magic[8];               /* PYDB_MAGIC */
    char build[24];              /* which build of library and payload this is; another one is loaded beside it */
    _Atomic uint32_t generation; /* sessions so far */
    _Atomic uint32_t phase;      /* PYDB_... */
    _Atomic int32_t error;       /* errno of what failed */
    _Atomic int32_t in_write;    /* descriptor numbers in the target: the client writes here ... */
    _Atomic int32_t out_read;    /* ... and reads here. -1 when dropped */
    _Atomic int32_t keeper;      /* thread id (as the target's PID namespace counts) of our keeper, 0 if none */
    _Atomic int32_t evaluator;   /* thread id of our thread that waits for, or has, the GIL; 0 if none */
    _Atomic int32_t has_gil;     /* 1: the evaluator of this generation got the GIL at least once */
    _Atomic uint64_t in_node;    /* inodes of the two pipes: the numbers may be the program's by now */
    _Atomic uint64_t out_node;
};
#define PYDB_MAGIC "PYDBATT1"

/* The note: a few words of writable memory in the target (padding behind some library's .bss) through
 * which stub, library and pydbload speak before there is a channel. gdb clears it before it sets the pc. */
enum {
    NOTE_WRITTEN = 0,      /* by gdb; the stub has not begun */
    NOTE_ENTERED = 1,      /* the stub runs in the borrowed thread; error: what pthread_create said */
    NOTE_LOADING = 2,      /* our thread calls dlopen */
    NOTE_REFUSED = 3,      /* dlopen said no */
    NOTE_LOADED = 4,       /* pydb_entry was called */
};

struct pydb_note {
    uint64_t magic;        /* NOTE_MAGIC */
    volatile uint32_t phase;
    volatile uint32_t error;
    uint64_t token;        /* which attach this is: random */
    volatile uint32_t left;/* 1: the borrowed thread is on its way back */
    uint32_t restart;      /* the stub's: 1, its system call is to be restarted */
    _Atomic uint64_t state;  /* address of struct pydb_state, written by pydb_entry */
};
#define NOTE_SAVED 40          /* behind these words the stub keeps registers of the borrowed thread (load/stub_x86_64.S) */
#define NOTE_SIZE 144
#define NOTE_MAGIC 0x45544f4e42445950ull   /* "PYDBNOTE" */


/* The signals that each thread of ours blocks: all but 33, by which glibc's setuid() asks every thread and waits for each
 * answer. Nobody else can have this mask, since programs cannot block 32 (glibc keeps it for pthread_cancel). */
#define OUR_SIGNALS 0xfffffffeffffffffull
#define OUR_SIGNALS_SEEN 0xfffffffefffbfeffull  /* as /proc shows it: SIGKILL and SIGSTOP cannot be blocked */

#endif
