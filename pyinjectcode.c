/* SPDX-License-Identifier: MIT
 * pyinjectcode.c - the library that lives in the target while somebody is attached.
 *
 * pydb_entry() runs in a thread of our own that the stub has started (load/stub_x86_64.S). It becomes
 * the keeper: it makes the channel, reads the client's frames, notices that the client is gone, and
 * never needs the GIL. It starts the evaluator, the thread that takes the GIL and runs the payload,
 * pythreadhacks.py and pyinjectcode.py, which the client sends as text. The payload gets the
 * functions of this file as the module-like dict `hands`.
 *
 * Facts it depends on
 *   - Only exported functions of the stable kind, found by dlsym: one binary for 3.8 - 3.15, no
 *     Python.h, no DT_NEEDED. The three structs below are part of the stable ABI.
 *   - Only functions that every glibc since 2.17 exports by this name (so fstat by syscall(), no strtol).
 *   - Unversioned references to glibc may bind to the oldest version of a symbol (pthread_cond_*
 *     of 2.2.5 is another thing): so waiting is done by plain futex calls.
 *   - A thread that waits for the GIL cannot be called back. At most one of ours waits there; the
 *     next attach adopts it (waiting_evaluator).
 *   - Our threads block every signal but 33 (wire.h): the stub creates them so, and threads inherit their mask.
 *   - The program may have any SIGPIPE handler, and its own threads write to our pipe: so writes to
 *     a closed pipe happen with SIGPIPE blocked and taken away.
 *   - errno belongs to the program where its thread calls us (trace_event, the hands).
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <link.h>
#include <linux/futex.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

#include "pyenter.h"
#include "steps.h"
#include "wire.h"

#ifndef PYDB_BUILD
#define PYDB_BUILD "development"
#endif
#define EXPORT __attribute__((visibility("default")))

#define OWN_MS 500              /* so often the keeper sees whether its descriptors are still its own */
#define MEMORY_NEEDED (6 << 20) /* of address space, for the payload and its work */
#define VISIT_MS 200            /* so long a thread that runs may take to hear a signal */
#define SURELY_NS 50000000      /* a thread that has computed for so long is through with the beginning or end of a short script */
#define GIL_US 2000             /* so long the evaluator keeps the GIL while it compiles the payload */

EXPORT struct pydb_state pydb_state = {.magic = PYDB_MAGIC, .build = PYDB_BUILD, .in_write = -1, .out_read = -1};

/* ---- what we use of Python's stable ABI (_SizeT: what the headers call with PY_SSIZE_T_CLEAN) ---- */

typedef struct PyObject PyObject;
typedef struct PyThreadState PyThreadState;
typedef PyObject *(*PyCFunction)(PyObject *, PyObject *);
typedef int (*Py_tracefunc)(PyObject *, PyObject *, int, PyObject *);
typedef PyObject *(*eval_function)(void *, void *, void *);     /* (thread,) frame, throw flag: see install_hook() */
struct PyMethodDef { const char *name; PyCFunction function; int flags; const char *doc; };
enum { METH_VARARGS = 1, FILE_INPUT = 257 };

#define PYTHON_FUNCTIONS(X) \
    X(int, Py_IsInitialized, (void)) \
    X(int, Py_GetRecursionLimit, (void)) \
    X(int, PyGILState_Ensure, (void)) \
    X(PyThreadState *, PyGILState_GetThisThreadState, (void)) \
    X(void, PyGILState_Release, (int)) \
    X(PyThreadState *, PyEval_SaveThread, (void)) \
    X(void, PyEval_RestoreThread, (PyThreadState *)) \
    X(PyThreadState *, PyThreadState_Get, (void)) \
    X(PyThreadState *, PyThreadState_Swap, (PyThreadState *)) \
    X(int, PyThreadState_SetAsyncExc, (unsigned long, PyObject *)) \
    X(void *, PyInterpreterState_Main, (void)) \
    X(void *, PyInterpreterState_Head, (void)) \
    X(void *, PyInterpreterState_Next, (void *)) \
    X(PyThreadState *, PyInterpreterState_ThreadHead, (void *)) \
    X(PyThreadState *, PyThreadState_Next, (PyThreadState *)) \
    X(PyThreadState *, PyThreadState_New, (void *)) \
    X(void, PyThreadState_Clear, (PyThreadState *)) \
    X(void, PyThreadState_DeleteCurrent, (void)) \
    X(void, PyEval_SetTrace, (Py_tracefunc, PyObject *)) \
    X(void, PyEval_SetProfile, (Py_tracefunc, PyObject *)) \
    X(PyObject *, PyEval_GetBuiltins, (void)) \
    X(PyObject *, PyEval_GetFrame, (void)) \
    X(PyObject *, PyEval_EvalCode, (PyObject *, PyObject *, PyObject *)) \
    X(PyObject *, Py_CompileString, (const char *, const char *, int)) \
    X(PyObject *, PyImport_GetModuleDict, (void)) \
    X(PyObject *, PyModule_New, (const char *)) \
    X(PyObject *, PyModule_GetDict, (PyObject *)) \
    X(PyObject *, PyDict_New, (void)) \
    X(PyObject *, PyDict_Copy, (PyObject *)) \
    X(PyObject *, PyDict_GetItemString, (PyObject *, const char *)) \
    X(int, PyDict_SetItemString, (PyObject *, const char *, PyObject *)) \
    X(PyObject *, PyDict_GetItem, (PyObject *, PyObject *)) \
    X(int, PyDict_Update, (PyObject *, PyObject *)) \
    X(int, PyDict_DelItem, (PyObject *, PyObject *)) \
    X(PyObject *, PyList_New, (ssize_t)) \
    X(int, PyList_Append, (PyObject *, PyObject *)) \
    X(PyObject *, PyList_GetItem, (PyObject *, ssize_t)) \
    X(ssize_t, PyList_Size, (PyObject *)) \
    X(int, PyList_SetSlice, (PyObject *, ssize_t, ssize_t, PyObject *)) \
    X(unsigned long, PyLong_AsUnsignedLong, (PyObject *)) \
    X(PyObject *, PyLong_FromLong, (long)) \
    X(PyObject *, PyLong_FromUnsignedLong, (unsigned long)) \
    X(PyObject *, PyLong_FromLongLong, (long long)) \
    X(PyObject *, PyLong_FromVoidPtr, (void *)) \
    X(PyObject *, PyFloat_FromDouble, (double)) \
    X(PyObject *, PyBool_FromLong, (long)) \
    X(PyObject *, PyUnicode_FromString, (const char *)) \
    X(PyObject *, PyBytes_FromStringAndSize, (const char *, ssize_t)) \
    X(char *, PyBytes_AsString, (PyObject *)) \
    X(PyObject *, PyCFunction_NewEx, (struct PyMethodDef *, PyObject *, PyObject *)) \
    X(int, _PyArg_ParseTuple_SizeT, (PyObject *, const char *, ...)) \
    X(PyObject *, _Py_BuildValue_SizeT, (const char *, ...)) \
    X(PyObject *, _PyObject_CallFunction_SizeT, (PyObject *, const char *, ...)) \
    X(PyObject *, PyObject_CallObject, (PyObject *, PyObject *)) \
    X(PyObject *, PyObject_GetAttrString, (PyObject *, const char *)) \
    X(PyObject *, PyObject_Str, (PyObject *)) \
    X(const char *, PyUnicode_AsUTF8, (PyObject *)) \
    X(PyObject *, PyErr_Occurred, (void)) \
    X(void, PyErr_Clear, (void)) \
    X(void, PyErr_Fetch, (PyObject **, PyObject **, PyObject **)) \
    X(void, PyErr_Restore, (PyObject *, PyObject *, PyObject *)) \
    X(void, PyErr_NormalizeException, (PyObject **, PyObject **, PyObject **)) \
    X(void, PyErr_SetString, (PyObject *, const char *)) \
    X(void, PyErr_SetObject, (PyObject *, PyObject *)) \
    X(int, PyErr_ExceptionMatches, (PyObject *)) \
    X(PyObject *, PyObject_Type, (PyObject *)) \
    X(int, PyObject_IsInstance, (PyObject *, PyObject *)) \
    X(int, PyObject_IsTrue, (PyObject *)) \
    X(void, Py_IncRef, (PyObject *)) \
    X(void, Py_DecRef, (PyObject *))
/* Not in every version: found or 0. */
#define PYTHON_EXTRAS(X) \
    X(int, _PyEval_SetTrace, (PyThreadState *, Py_tracefunc, PyObject *)) \
    X(PyObject *, PyThreadState_GetFrame, (PyThreadState *)) \
    X(PyThreadState *, _PyThreadState_UncheckedGet, (void)) \
    X(PyThreadState *, PyThreadState_GetUnchecked, (void)) \
    X(int, _PyEval_AddPendingCall, (void *, int (*)(void *), void *, int)) \
    X(PyObject *, PyFrame_GetCode, (PyObject *)) \
    X(void, PyThreadState_EnterTracing, (PyThreadState *)) \
    X(void, PyThreadState_LeaveTracing, (PyThreadState *)) \
    X(eval_function, _PyInterpreterState_GetEvalFrameFunc, (void *)) \
    X(void, _PyInterpreterState_SetEvalFrameFunc, (void *, eval_function)) \
    X(PyObject *, _PyEval_EvalFrameDefault, (void *, void *, void *)) \
    X(int, PyFrame_GetLineNumber, (PyObject *)) \
    X(void, PyFrame_LocalsToFast, (PyObject *, int))

#define DECLARE(result, name, arguments) result (*name) arguments;
static struct {
    PYTHON_FUNCTIONS(DECLARE)
    PYTHON_EXTRAS(DECLARE)
    PyObject *None, **RuntimeError, **RecursionError, **MemoryError, **BaseException, **KeyboardInterrupt;
} py;

/* 0, or -1 where this is no CPython we know. `python` names the file that holds the interpreter:
 * it may have been loaded out of the global scope. */
static int find_python(const char *python) {
    void *scope = RTLD_DEFAULT;
    if (!dlsym(scope, "PyGILState_Ensure"))
        scope = dlopen(python, RTLD_NOW | RTLD_NOLOAD);
    if (!scope)
        scope = RTLD_DEFAULT;
#define FIND(result, name, arguments) if (!(py.name = (result (*) arguments)dlsym(scope, #name))) return -1;
#define TRY(result, name, arguments) py.name = (result (*) arguments)dlsym(scope, #name);
    PYTHON_FUNCTIONS(FIND)
    PYTHON_EXTRAS(TRY)
    int (*find_symbol)(const void *, Dl_info *, void **, int) = (int (*)(const void *, Dl_info *, void **, int))dlsym(RTLD_DEFAULT, "dladdr1");
    void *symbol = NULL;
    Dl_info unused;
    visit_runtime = dlsym(scope, "_PyRuntime");
    if (visit_runtime && find_symbol && find_symbol(visit_runtime, &unused, &symbol, RTLD_DL_SYMENT) && symbol)
        visit_runtime_size = ((ElfW(Sym) *)symbol)->st_size;
    py.None = dlsym(scope, "_Py_NoneStruct");
    py.RuntimeError = dlsym(scope, "PyExc_RuntimeError");
    py.RecursionError = dlsym(scope, "PyExc_RecursionError");
    py.MemoryError = dlsym(scope, "PyExc_MemoryError");
    py.BaseException = dlsym(scope, "PyExc_BaseException");
    py.KeyboardInterrupt = dlsym(scope, "PyExc_KeyboardInterrupt");
    return py.None && py.RuntimeError && py.RecursionError && py.MemoryError && py.BaseException && py.KeyboardInterrupt ? 0 : -1;
}

static PyObject *none(void) {
    py.Py_IncRef(py.None);
    return py.None;
}

/* ---- waiting: futex words, as glibc's own primitives cannot be named without a version ---- */

static long futex(_Atomic uint32_t *word, int operation, uint32_t value, const struct timespec *timeout) {
    return syscall(SYS_futex, word, operation | FUTEX_PRIVATE_FLAG, value, timeout, NULL, 0);
}

static void lock(_Atomic uint32_t *word) {
    uint32_t expected = 0;
    if (atomic_compare_exchange_strong(word, &expected, 1))
        return;
    while (atomic_exchange(word, 2))
        futex(word, FUTEX_WAIT, 2, NULL);
}

static int try_lock(_Atomic uint32_t *word) {
    uint32_t expected = 0;
    return atomic_compare_exchange_strong(word, &expected, 1);
}

static void unlock(_Atomic uint32_t *word) {
    if (atomic_exchange(word, 0) == 2)
        futex(word, FUTEX_WAKE, 1, NULL);
}

static int64_t now_us(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec * 1000000LL + t.tv_nsec / 1000;
}

static int64_t now_ms(void) {
    return now_us() / 1000;
}

/* Waits until *word differs from seen: 1, or 0 after ms milliseconds (-1: no limit). */
static int await_change(_Atomic uint32_t *word, uint32_t seen, long ms) {
    int64_t end = now_ms() + ms;
    while (*word == seen) {
        long rest = ms < 0 ? 60000 : end - now_ms();
        if (rest <= 0)
            return 0;
        struct timespec t = {rest / 1000, rest % 1000 * 1000000};
        futex(word, FUTEX_WAIT, seen, &t);
    }
    return 1;
}

static void announce(_Atomic uint32_t *word) {
    ++*word;
    futex(word, FUTEX_WAKE, INT_MAX, NULL);
}

/* ---- the session's state; one at a time ---- */

struct frame {
    struct frame *next;
    uint32_t size;
    char kind;
    char data[];
};

#define SLOTS 64                /* places to wait at, for parked threads and evaluators */

static _Atomic uint32_t state_lock;    /* session_open, waiting_evaluator */
static _Atomic uint32_t session_open;  /* the channel is whole: 1; the client is gone or detaches: 0 */
static _Atomic uint32_t waiting_evaluator;     /* one of ours waits for the GIL */
static _Atomic uint32_t evaluators;    /* threads of ours that may be in Python */
static _Atomic uint32_t finished;      /* the payload has undone everything */

/* Our ends. The program may close descriptors that are not its own (os.closerange) and reuse their
 * numbers: a number is used only while the pipe behind it is still ours. */
struct end {
    int fd;
    dev_t device;
    ino_t inode;
};
static struct end in_read = {.fd = -1}, out_write = {.fd = -1}, bell_read = {.fd = -1}, bell_write = {.fd = -1};
static struct end client_write = {.fd = -1}, client_read = {.fd = -1};  /* the client's, until it has opened them */
static _Atomic uint32_t bell_lock;
static _Atomic uint32_t queue_lock, queue_news, write_lock;
static struct frame *queue_head, *queue_tail;
static _Atomic uint32_t slot_news[SLOTS];

static _Atomic uint32_t forked;        /* we are the child of a debugged parent, and have not cleaned up yet */
static PyObject *at_fork;       /* does it, where sys.monitoring is used: called at the first event */

static PyObject *payload;       /* namespace of pyinjectcode.py; kept between sessions, so that 100 attaches leave one */
static PyObject *payload_modules;       /* name -> namespace, for sources still to come */

static void push_frame(struct frame *frame) {
    frame->next = NULL;
    lock(&queue_lock);
    if (queue_tail)
        queue_tail->next = frame;
    else
        queue_head = frame;
    queue_tail = frame;
    unlock(&queue_lock);
    announce(&queue_news);
}

static struct frame *pop_frame(void) {
    lock(&queue_lock);
    struct frame *frame = queue_head;
    if (frame && !(queue_head = frame->next))
        queue_tail = NULL;
    unlock(&queue_lock);
    return frame;
}

static void drop_frames(void) {
    for (struct frame *frame; (frame = pop_frame()); )
        free(frame);
}

/* Everybody who waits in this library wakes up and sees session_open == 0. */
static void wake_all(void) {
    announce(&queue_news);
    for (int i = 0; i < SLOTS; i++)
        announce(&slot_news[i]);
}

static int is_ours(const struct end *end) {
    struct stat info;
    return end->fd >= 0 && syscall(SYS_fstat, end->fd, &info) == 0
        && info.st_dev == end->device && info.st_ino == end->inode;
}

/* Wakes the keeper from its poll. */
static void ring_bell(void) {
    lock(&bell_lock);
    if (is_ours(&bell_write) && write(bell_write.fd, "", 1) < 0) { /* it rings already */ }
    unlock(&bell_lock);
}

static void close_session(void) {
    lock(&state_lock);
    session_open = 0;
    if (pydb_state.phase < PYDB_CLOSING && pydb_state.phase != PYDB_IDLE)
        pydb_state.phase = PYDB_CLOSING;
    unlock(&state_lock);
    wake_all();
    ring_bell();
}

/* ---- the channel ---- */

/* As write(), but a closed pipe is an error and never a signal, whatever thread we are in. */
static ssize_t write_quietly(int fd, const struct iovec *parts, int count) {
    uint64_t pipe_signal = 1ull << (SIGPIPE - 1), old = 0, pending = 0;
    struct timespec at_once = {0, 0};
    syscall(SYS_rt_sigprocmask, SIG_BLOCK, &pipe_signal, &old, 8);
    syscall(SYS_rt_sigpending, &pending, 8);
    ssize_t n = writev(fd, parts, count);
    int error = errno;
    if (n < 0 && error == EPIPE && !(pending & pipe_signal))
        while (syscall(SYS_rt_sigtimedwait, &pipe_signal, NULL, &at_once, 8) < 0 && errno == EINTR)
            ;
    syscall(SYS_rt_sigprocmask, SIG_SETMASK, &old, NULL, 8);
    errno = error;
    return n;
}

/* Lets the GIL go before something that may block; `thread` is NULL for a caller that does not hold it. */
static void release_gil(PyThreadState **thread) {
    if (thread && !*thread)
        *thread = py.PyEval_SaveThread();
}

/* One frame to the client, whole or not at all: 0, or -1 when the session is over. A caller with the GIL
 * passes `thread`: the GIL is released (and *thread is set) only if the frame cannot be written at
 * once, since beside busy threads each release costs a switch interval per thread. */
static int send_frame(char kind, const void *data, uint32_t size, int even_closed, PyThreadState **thread) {
    char head[WIRE_HEADER] = {kind};
    memcpy(head + 1, &size, 4);
    size_t done = 0, total = WIRE_HEADER + size;
    int result = -1;
    if (!try_lock(&write_lock)) {
        release_gil(thread);
        lock(&write_lock);
    }
    while (done < total && (session_open || even_closed) && is_ours(&out_write)) {
        struct iovec parts[2] = {{head, WIRE_HEADER}, {(void *)data, size}};
        int first = done >= WIRE_HEADER;
        if (first) {
            parts[1].iov_base = (char *)data + (done - WIRE_HEADER);
            parts[1].iov_len = total - done;
        } else {
            parts[0].iov_base = head + done;
            parts[0].iov_len = WIRE_HEADER - done;
        }
        ssize_t n = write_quietly(out_write.fd, parts + first, 2 - first);
        if (n > 0) {
            done += n;
        } else if (n < 0 && errno == EAGAIN) {
            struct pollfd room = {out_write.fd, POLLOUT, 0};
            release_gil(thread);
            if (poll(&room, 1, 100) == 0 && even_closed)
                break;
        } else if (n < 0 && errno != EINTR) {
            break;
        }
    }
    if (done == total)
        result = 0;
    unlock(&write_lock);
    return result;
}

static void close_end(struct end *end) {
    int number = is_ours(end) ? end->fd : -1;
    end->fd = -1;               /* first: a fork() between the two would close what has the number by then */
    if (number >= 0)
        close(number);
}

/* The client has both its ends now; ours would hide that it has gone. */
static void drop_client_ends(void) {
    pydb_state.in_write = pydb_state.out_read = -1;
    close_end(&client_write);
    close_end(&client_read);
}

/* The descriptors may be reused by the program as soon as they are closed: nobody may still write. */
static void close_channel(void) {
    lock(&write_lock);
    lock(&bell_lock);
    close_end(&in_read);
    close_end(&out_write);
    close_end(&bell_read);
    close_end(&bell_write);
    unlock(&bell_lock);
    drop_client_ends();
    unlock(&write_lock);
}

/* Moves a descriptor out of the way of the program: 0, 1 and 2 may be free, small ones are dup2 targets. */
static int move_up(int fd) {
    int high = fcntl(fd, F_DUPFD_CLOEXEC, 64);
    if (high < 0)
        high = fcntl(fd, F_DUPFD_CLOEXEC, 3);   /* a small limit of descriptors */
    if (high < 0)
        return fd;
    close(fd);
    return high;
}

static int make_pipe(int ends[2]) {
    if (pipe2(ends, O_CLOEXEC | O_NONBLOCK))
        return -1;
    ends[0] = move_up(ends[0]);
    ends[1] = move_up(ends[1]);
    return 0;
}

static void remember(struct end *end, int fd) {
    struct stat info = {0};
    syscall(SYS_fstat, fd, &info);
    *end = (struct end){fd, info.st_dev, info.st_ino};
}

static int open_channel(void) {
    int in[2] = {-1, -1}, out[2] = {-1, -1}, bell[2] = {-1, -1};
    int failed = make_pipe(in) || make_pipe(out) || make_pipe(bell);
    int error = errno;
    remember(&in_read, in[0]);
    remember(&out_write, out[1]);
    remember(&bell_read, bell[0]);
    remember(&bell_write, bell[1]);
    remember(&client_write, in[1]);
    remember(&client_read, out[0]);
    pydb_state.in_write = in[1];
    pydb_state.out_read = out[0];
    pydb_state.in_node = client_write.inode;
    pydb_state.out_node = client_read.inode;
    if (failed)
        close_channel();
    errno = error;
    return failed ? -1 : 0;
}

/* Reads exactly size bytes: 0, or -1 on end of file, error or the deadline (ms, -1: none). A program that closes
 * our descriptors does not end the poll, which even keeps the pipes alive for the client: look now and then. */
static int read_exactly(void *buffer, size_t size, long ms) {
    int64_t end = now_ms() + ms;
    for (size_t done = 0; done < size; ) {
        if (!is_ours(&in_read) || !is_ours(&out_write))
            return -1;
        ssize_t n = read(in_read.fd, (char *)buffer + done, size - done);
        if (n > 0) {
            done += n;
        } else if (n < 0 && errno == EAGAIN) {
            long rest = ms < 0 ? OWN_MS : end - now_ms();
            struct pollfd all[3] = {{in_read.fd, POLLIN, 0}, {out_write.fd, 0, 0}, {bell_read.fd, POLLIN, 0}};
            if ((ms >= 0 && rest <= 0) || !session_open)
                return -1;
            poll(all, 3, rest < OWN_MS ? rest : OWN_MS);
            if (all[1].revents & POLLERR)       /* nobody reads what we write */
                return -1;
        } else if (n == 0 || errno != EINTR) {
            return -1;
        }
    }
    return 0;
}

static struct frame *read_frame(long ms) {
    static const char kinds[] = WIRE_CLIENT_KINDS;
    char head[WIRE_HEADER];
    uint32_t size;
    if (read_exactly(head, WIRE_HEADER, ms) || !memchr(kinds, head[0], sizeof kinds))
        return NULL;
    memcpy(&size, head + 1, 4);
    struct frame *frame = size <= WIRE_MAX ? malloc(sizeof *frame + size + 1) : NULL;
    if (!frame)
        return NULL;
    frame->kind = head[0];
    frame->size = size;
    frame->data[size] = 0;
    if (read_exactly(frame->data, size, FRAME_MS)) {
        free(frame);
        return NULL;
    }
    return frame;
}

/* ---- Python: errors, thread states ---- */

/* The pending exception as one line in `text`, and gone. */
static void take_error(char *text, size_t size) {
    PyObject *type = NULL, *value = NULL, *traceback = NULL, *words = NULL;
    const char *said = NULL;
    py.PyErr_Fetch(&type, &value, &traceback);
    py.PyErr_NormalizeException(&type, &value, &traceback);
    if (value && (words = py._PyObject_CallFunction_SizeT((PyObject *)py.PyDict_GetItemString(py.PyEval_GetBuiltins(), "repr"), "O", value)))
        said = py.PyUnicode_AsUTF8(words);
    size_t n = said ? strlen(said) : 0;
    memcpy(text, said ? said : "", n < size ? n : size - 1);
    text[n < size ? n : size - 1] = 0;
    for (PyObject **object = (PyObject *[]){type, value, traceback, words, NULL}; *object; object++)
        py.Py_DecRef(*object);
    py.PyErr_Clear();
}

/* Our thread state holds pthread_self() in the same word as every other holds its own. -1: not found. */
static int ident_offset(void) {
    static int offset = -1;
    unsigned long *words = (unsigned long *)py.PyThreadState_Get();
    for (int i = 0; offset < 0 && i < 64; i++)
        if (words[i] == pthread_self())
            offset = i;
    return offset;
}

/* 3.8 has no PyThreadState_GetFrame: there the frame is in the word of a thread state in which our own
 * thread state has our own frame. */
static PyObject *find_frame(PyThreadState *thread) {
    static int offset = -1;
    unsigned long *words = (unsigned long *)py.PyThreadState_Get(), own = (unsigned long)py.PyEval_GetFrame();
    if (py.PyThreadState_GetFrame)
        return py.PyThreadState_GetFrame(thread);
    for (int i = 0; offset < 0 && own && i < 64; i++)
        if (words[i] == own)
            offset = i;
    PyObject *frame = offset < 0 ? NULL : ((PyObject **)thread)[offset];
    if (frame)
        py.Py_IncRef(frame);
    return frame;
}

/* The state with the thread's frames. Up to 3.11 a state that a thread has just made for one that it starts bears its own ident,
 * too, until that one runs: newest first in the list, and without a frame. */
static PyThreadState *find_thread_state(unsigned long ident) {
    int offset = ident_offset();
    PyThreadState *state = py.PyInterpreterState_ThreadHead(py.PyInterpreterState_Main()), *found = NULL;
    for (; state && offset >= 0; state = py.PyThreadState_Next(state)) {
        if (((unsigned long *)state)[offset] != ident)
            continue;
        PyObject *frame = find_frame(state);
        found = state;
        if (!frame)
            continue;
        py.Py_DecRef(frame);
        break;
    }
    return found;
}

/* A number of /proc/self/task/TID/stat. */
enum { START_TIME = 22, POLICY = 41 };
static long read_stat(long tid, int field) {
    char path[64] = "/proc/self/task/", digits[24], text[512];
    int n = 0, at = strlen(path);
    for (long rest = tid; rest > 0 && n < 20; rest /= 10)
        digits[n++] = '0' + rest % 10;
    while (n)
        path[at++] = digits[--n];
    memcpy(path + at, "/stat", 6);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    ssize_t size = fd < 0 ? 0 : read(fd, text, sizeof text - 1);
    if (fd >= 0)
        close(fd);
    long number = 0;
    for (ssize_t i = size - 1, end = 0; i >= 0 && size > 0; i--)
        if (text[i] == ')') {           /* the last one: names may contain it */
            for (end = i + 1, n = 2; end < size && n < field; end++)
                n += text[end] == ' ';
            for (; end < size && text[end] >= '0' && text[end] <= '9'; end++)
                number = number * 10 + (text[end] - '0');
            break;
        }
    return number;
}

/* ---- hands: what the payload can do by us ---- */

#define HAND(name) static PyObject *name(PyObject *self, PyObject *arguments)
#define PARSE(...) (void)self; if (!py._PyArg_ParseTuple_SizeT(arguments, __VA_ARGS__)) return NULL

/* send(kind: int, data: bytes) -> bool: a frame to the client; False when the session is over. */
HAND(hand_send) {
    int kind;
    const char *data;
    ssize_t size;
    PARSE("iy#", &kind, &data, &size);
    if (size > WIRE_MAX)
        size = WIRE_MAX;
    int saved = errno;
    PyThreadState *thread = NULL;
    int failed = send_frame(kind, data, size, 0, &thread);
    if (thread)
        py.PyEval_RestoreThread(thread);
    errno = saved;
    return py.PyBool_FromLong(!failed);
}

/* next_frame(ms: int) -> (kind, bytes), (0, b"") when the session is over, None after ms or poke() */
HAND(hand_next_frame) {
    long ms;
    PARSE("l", &ms);
    uint32_t seen = queue_news;
    struct frame *frame = pop_frame();
    if (!frame && session_open && ms) {
        PyThreadState *thread = py.PyEval_SaveThread();
        await_change(&queue_news, seen, ms);
        py.PyEval_RestoreThread(thread);
        frame = pop_frame();
    }
    if (!session_open) {
        free(frame);
        return py._Py_BuildValue_SizeT("iy#", 0, "", (ssize_t)0);
    }
    if (!frame)
        return none();
    PyObject *result = py._Py_BuildValue_SizeT("iy#", (int)frame->kind, frame->data, (ssize_t)frame->size);
    free(frame);
    return result;
}

/* poke(): whoever is in next_frame() returns. */
HAND(hand_poke) {
    PARSE("");
    announce(&queue_news);
    return none();
}

/* news(slot) -> int, wait(slot, seen, ms) -> bool, wake(slot): a place to wait at. wait() returns
 * when wake() was called after the news() that gave seen, or the session is over; False after ms. */
HAND(hand_news) {
    int slot;
    PARSE("i", &slot);
    return py.PyLong_FromUnsignedLong(slot_news[slot % SLOTS]);
}

HAND(hand_wait) {
    int slot;
    unsigned long seen;
    long ms;
    PARSE("ikl", &slot, &seen, &ms);
    int saved = errno, changed = 1;
    if (session_open) {
        PyThreadState *thread = py.PyEval_SaveThread();
        changed = await_change(&slot_news[slot % SLOTS], seen, ms);
        py.PyEval_RestoreThread(thread);
    }
    errno = saved;
    return py.PyBool_FromLong(changed);
}

HAND(hand_wake) {
    int slot;
    PARSE("i", &slot);
    announce(&slot_news[slot % SLOTS]);
    return none();
}

/* is_open() -> bool: the session goes on. Also False in the child of a fork. */
HAND(hand_is_open) {
    PARSE("");
    return py.PyBool_FromLong(session_open);
}

HAND(hand_ident) {
    PARSE("");
    return py.PyLong_FromUnsignedLong(pthread_self());
}

HAND(hand_monotonic) {
    struct timespec t;
    PARSE("");
    clock_gettime(CLOCK_MONOTONIC, &t);
    return py.PyFloat_FromDouble(t.tv_sec + t.tv_nsec / 1e9);
}

/* An evaluation is a list that holds the ident of its thread while it runs. The two functions below
 * are atomic under the GIL, so that no interrupt reaches a thread which has gone back to the program.
 *
 * interrupt(evaluation, exception type) -> bool: raises it there; False if the evaluation is over
 * finish(evaluation) -> bool: it is over; True if an interrupt was sent, which may still arrive.
 *
 * A pending exception is never taken back: up to 3.11 PyThreadState_SetAsyncExc(ident, NULL) leaves
 * the eval breaker set for ever, and a traced call then loops in the evaluator. */
HAND(hand_interrupt) {
    PyObject *evaluation, *type;
    unsigned long ident;
    PARSE("OO", &evaluation, &type);
    if (py.PyList_Size(evaluation) < 1)
        return py.PyBool_FromLong(0);
    ident = py.PyLong_AsUnsignedLong(py.PyList_GetItem(evaluation, 0));
    if (py.PyList_Size(evaluation) == 1)
        py.PyList_Append(evaluation, py.None);
    return py.PyBool_FromLong(py.PyThreadState_SetAsyncExc(ident, type) > 0);
}

HAND(hand_finish) {
    PyObject *evaluation;
    PARSE("O", &evaluation);
    ssize_t size = py.PyList_Size(evaluation);
    py.PyList_SetSlice(evaluation, 0, size, NULL);
    return py.PyBool_FromLong(size > 1);
}

/* native_id(ident) -> int: the kernel's id of a thread, 0 if unknown. glibc keeps it in struct
 * pthread, at the offset where our own has ours; read as foreign memory, since it may be gone. */
HAND(hand_native_id) {
    static int offset = -1;
    unsigned long ident;
    PARSE("k", &ident);
    int tid = syscall(SYS_gettid), found = 0;
    for (int i = 0; offset < 0 && i < 2048; i += 4)
        if (*(int *)(pthread_self() + i) == tid)
            offset = i;
    struct iovec local = {&found, sizeof found}, remote = {(void *)(ident + offset), sizeof found};
    if (offset < 0 || syscall(SYS_process_vm_readv, syscall(SYS_getpid), &local, 1, &remote, 1, 0) != sizeof found)
        found = 0;
    return py.PyLong_FromLong(found);
}

/* cpu_time(native id) -> int: nanoseconds that a thread of this process has run, -1 if it is gone.
 * No /proc: it need not be mounted where the target lives. */
static int64_t cpu_time(int tid) {
    struct timespec t;
    clockid_t clock = (clockid_t)(~(unsigned)tid << 3 | 6);       /* CPUCLOCK_SCHED | CPUCLOCK_PERTHREAD_MASK */
    return syscall(SYS_clock_gettime, clock, &t) ? -1 : t.tv_sec * 1000000000LL + t.tv_nsec;
}

HAND(hand_cpu_time) {
    int tid;
    PARSE("i", &tid);
    return py.PyLong_FromLongLong(cpu_time(tid));
}

/* idents() -> [ident]: every thread state of the main interpreter, newest first */
HAND(hand_idents) {
    PARSE("");
    int offset = ident_offset();
    PyObject *list = py.PyList_New(0);
    PyThreadState *state = py.PyInterpreterState_ThreadHead(py.PyInterpreterState_Main());
    for (; list && state && offset >= 0; state = py.PyThreadState_Next(state)) {
        PyObject *ident = py.PyLong_FromUnsignedLong(((unsigned long *)state)[offset]);
        if (ident)
            py.PyList_Append(list, ident);
        py.Py_DecRef(ident);
    }
    return list;
}

/* has_subinterpreters() -> bool: then sys._current_frames() must not be called */
HAND(hand_has_subinterpreters) {
    PARSE("");
    return py.PyBool_FromLong(py.PyInterpreterState_Next(py.PyInterpreterState_Head()) != NULL);
}

/* frame(ident) -> the topmost frame of a thread of the main interpreter, or None */
HAND(hand_frame) {
    unsigned long ident;
    PARSE("k", &ident);
    PyThreadState *state = find_thread_state(ident);
    PyObject *frame = state ? find_frame(state) : NULL;
    return frame ? frame : none();
}

/* ---- the limit of recursion ----
 *
 * Nothing of ours runs in a thread of the program that is near it: it would go over the limit. And up to 3.9 a thread that
 * has gone over it must come back by 50 calls (a quarter of a small limit), or its next time is fatal for the process. */

#define NEAR_LIMIT 100
#define DEPTHS 4
static int depth_place, depth_step;     /* the int of a thread state that changes by 1 or -1 with each call; 0: not known */

/* note_depth(level: int): called with DEPTHS - 1 to 0 by a Python function that calls itself */
HAND(hand_note_depth) {
    static int seen[DEPTHS][64];
    int level;
    PARSE("i", &level);
    memcpy(seen[level % DEPTHS], py.PyThreadState_Get(), sizeof seen[0]);
    for (int i = 0; !level && !depth_step && i < 64; i++) {
        int step = seen[0][i] - seen[1][i];
        if ((step == 1 || step == -1) && seen[1][i] - seen[2][i] == step && seen[2][i] - seen[3][i] == step) {
            depth_place = i;
            depth_step = step;
        }
    }
    return none();
}

/* Up to 3.10 calls are counted up from 0, later down from the limit. */
static int is_near_limit(const PyThreadState *thread) {
    int limit = py.Py_GetRecursionLimit(), count = ((const int *)thread)[depth_place];
    return depth_step && (depth_step > 0 ? limit - count : count) < (limit > 4 * NEAR_LIMIT ? NEAR_LIMIT : limit / 4 + 1);
}

/* True if the pending exception was raised by our own Python code, by the innermost frame of its
 * traceback. KeyboardInterrupt has no frame of its own: the interpreter raises it in whatever runs. */
static int is_own_error(PyObject *type, PyObject *traceback) {
    PyObject *at = traceback, *frame, *code, *name;
    if (type == *py.KeyboardInterrupt || !at)
        return 0;
    py.Py_IncRef(at);
    for (PyObject *next; (next = py.PyObject_GetAttrString(at, "tb_next")) && next != py.None; at = next)
        py.Py_DecRef(at);
    frame = py.PyObject_GetAttrString(at, "tb_frame");
    code = frame ? py.PyObject_GetAttrString(frame, "f_code") : NULL;
    name = code ? py.PyObject_GetAttrString(code, "co_filename") : NULL;
    const char *text = name ? py.PyUnicode_AsUTF8(name) : NULL;
    int own = text && (!strcmp(text, "pyinjectcode") || !strcmp(text, "pythreadhacks") || !strcmp(text, "pybreaks")
                       || !strcmp(text, "pycatch") || !strcmp(text, "pyenter"));
    for (PyObject **object = (PyObject *[]){at, frame, code, name, NULL}; *object; object++)
        py.Py_DecRef(*object);
    py.PyErr_Clear();
    return own;
}

/* What a handler of events has answered: 0, or -1 with an exception for the program.
 * Python runs signal handlers of the program in whatever code the main thread executes, also in ours.
 * What they raise belongs to the program; the payload answers with it. One that comes at its very
 * first instruction it cannot catch: that is told from an error of ours by its traceback, and from the
 * limits of the program (recursion, memory) by its type. */
static int take_answer(PyObject *answer) {
    if (!answer) {
        PyObject *type = NULL, *value = NULL, *traceback = NULL;
        int ours = py.PyErr_ExceptionMatches(*py.RecursionError) || py.PyErr_ExceptionMatches(*py.MemoryError);
        py.PyErr_Fetch(&type, &value, &traceback);
        if (!ours && !is_own_error(type, traceback)) {
            py.PyErr_Restore(type, value, traceback);
            return -1;
        }
        py.Py_DecRef(type);
        py.Py_DecRef(value);
        py.Py_DecRef(traceback);
        return 0;
    }
    int raised = py.PyObject_IsInstance(answer, *py.BaseException) == 1;
    if (raised) {
        PyObject *type = py.PyObject_Type(answer);
        py.PyErr_SetObject(type, answer);
        py.Py_DecRef(type);
    }
    py.Py_DecRef(answer);
    return raised ? -1 : 0;
}

/* set_locals(frame, changed: dict, gone: list): variables of a frame, up to 3.12 (later frame.f_locals
 * writes through). In one go with the GIL held: the frame's thread may come back at any time, and a
 * snapshot of its variables that is older than this call must not be written to it. */
HAND(hand_set_locals) {
    PyObject *frame, *changed, *gone, *locals;
    PARSE("OOO", &frame, &changed, &gone);
    if (!py.PyFrame_LocalsToFast || !(locals = py.PyObject_GetAttrString(frame, "f_locals")))
        return none();
    py.PyDict_Update(locals, changed);
    for (ssize_t i = 0; i < py.PyList_Size(gone); i++)
        py.PyDict_DelItem(locals, py.PyList_GetItem(gone, i));
    py.PyErr_Clear();
    py.PyFrame_LocalsToFast(frame, py.PyList_Size(gone) > 0);
    py.Py_DecRef(locals);
    return none();
}

/* gate(ident, function, others, disable, generation) -> function for sys.monitoring (3.12+): calls `function`
 * in the thread `ident` and `others` in all others; either may be None. `disable` is
 * sys.monitoring.DISABLE, the one answer that is passed on as it is: unless one thread is chosen, whose
 * events it would end too, or the breakpoints have changed since the gate was made (renew()). */
static unsigned long generation;

static PyObject *pass_gate(PyObject *self, PyObject *arguments) {
    unsigned long ident, made;
    PyObject *function, *others, *disable;
    if (!py._PyArg_ParseTuple_SizeT(self, "kOOOk", &ident, &function, &others, &disable, &made)) {
        py.PyErr_Clear();
        return none();
    }
    int saved = errno;
    if (forked && at_fork) {
        forked = 0;
        PyObject *done = py.PyObject_CallObject(at_fork, NULL);
        py.Py_DecRef(done);
        py.PyErr_Clear();
        errno = saved;
        return none();
    }
    if (!ident || ident != pthread_self())
        function = others;
    if (function == py.None || is_near_limit(py.PyThreadState_Get()))
        return none();
    PyObject *answer = py.PyObject_CallObject(function, arguments);
    if (answer && answer == disable && !ident && made == generation) {
        errno = saved;
        return answer;
    }
    int raised = take_answer(answer);
    errno = saved;
    return raised ? NULL : none();
}

HAND(hand_gate) {
    static struct PyMethodDef method = {"gate", pass_gate, METH_VARARGS, NULL};
    unsigned long ident, made;
    PyObject *function, *others, *disable;
    PARSE("kOOOk", &ident, &function, &others, &disable, &made);
    PyObject *all = py._Py_BuildValue_SizeT("(kOOOk)", ident, function, others, disable, made);
    PyObject *gate = all ? py.PyCFunction_NewEx(&method, all, NULL) : NULL;
    py.Py_DecRef(all);
    return gate;
}

/* renew() -> int: the breakpoints have changed; the number of the new generation */
HAND(hand_renew) {
    PARSE("");
    return py.PyLong_FromUnsignedLong(++generation);
}

/* at_fork(function): called at the first event in the child of a fork */
HAND(hand_at_fork) {
    PyObject *function;
    PARSE("O", &function);
    py.Py_IncRef(function);
    py.Py_DecRef(at_fork);
    at_fork = function == py.None ? NULL : function;
    return none();
}

/* start_times([native id]) -> [int]: clock ticks after boot at which threads were started; 0 where /proc does not tell */
HAND(hand_start_times) {
    PyObject *ids, *list = py.PyList_New(0);
    PARSE("O", &ids);
    int count = py.PyList_Size(ids);
    long *times = calloc(count > 0 ? count + 1 : 1, sizeof *times);
    for (int i = 0; times && i < count; i++) {
        long tid = 0;
        PyObject *one = py._Py_BuildValue_SizeT("(O)", py.PyList_GetItem(ids, i));
        if (one && !py._PyArg_ParseTuple_SizeT(one, "l", &tid))
            py.PyErr_Clear();
        py.Py_DecRef(one);
        times[i] = tid;
    }
    PyThreadState *thread = py.PyEval_SaveThread();
    for (int i = 0; times && i < count; i++)
        times[i] = read_stat(times[i], START_TIME);
    py.PyEval_RestoreThread(thread);
    for (int i = 0; list && times && i < count; i++) {
        PyObject *time = py.PyLong_FromLong(times[i]);
        py.PyList_Append(list, time);
        py.Py_DecRef(time);
    }
    free(times);
    return list;
}

static int stat_file(const char *path, struct stat *info) {
    return syscall(SYS_newfstatat, AT_FDCWD, path, info, 0);
}

/* read_files([path]) -> [(data, mtime, size) or None]; of "?path" without the data. In one go and with one release of the GIL:
 * beside a busy thread each release costs a switch interval. Regular files below 16 MiB only. */
HAND(hand_read_files) {
    PyObject *paths;
    PARSE("O", &paths);
    int count = py.PyList_Size(paths);
    if (count < 0 || count > 256)
        return none();
    struct { char *data; int64_t size, full, mtime; const char *path; } *files = calloc(count + 1, sizeof *files);
    for (int i = 0; files && i < count; i++)
        files[i].path = py.PyUnicode_AsUTF8(py.PyList_GetItem(paths, i));
    py.PyErr_Clear();
    PyThreadState *thread = py.PyEval_SaveThread();
    for (int i = 0; files && i < count; i++) {
        struct stat info;
        if (files[i].path && *files[i].path == '?') {
            if (stat_file(files[i].path + 1, &info) == 0 && S_ISREG(info.st_mode) && (files[i].data = malloc(1))) {
                files[i].mtime = info.st_mtime;
                files[i].full = info.st_size;
            }
            continue;
        }
        int fd = files[i].path ? open(files[i].path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY) : -1;
        if (fd < 0)
            continue;
        if (syscall(SYS_fstat, fd, &info) == 0 && S_ISREG(info.st_mode) && info.st_size < 16 << 20
            && (files[i].data = malloc(info.st_size + 1))) {
            files[i].mtime = info.st_mtime;
            files[i].full = info.st_size;
            while (files[i].size < info.st_size) {
                ssize_t n = read(fd, files[i].data + files[i].size, info.st_size - files[i].size);
                if (n <= 0)
                    break;
                files[i].size += n;
            }
        }
        close(fd);
    }
    py.PyEval_RestoreThread(thread);
    PyObject *list = py.PyList_New(0);
    for (int i = 0; list && files && i < count; i++) {
        PyObject *item = files[i].data
            ? py._Py_BuildValue_SizeT("y#LL", files[i].data, (ssize_t)files[i].size, (long long)files[i].mtime, (long long)files[i].full)
            : none();
        if (item)
            py.PyList_Append(list, item);
        py.Py_DecRef(item);
        free(files[i].data);
    }
    free(files);
    return list;
}

/* Lets whoever waits for the GIL have it now: it would ask only after a switch interval, and to let go and
 * take again at once gives it to nobody. */
static void breathe(void) {
    struct timespec t = {0, 50000};
    PyThreadState *thread = py.PyEval_SaveThread();
    syscall(SYS_clock_nanosleep, CLOCK_MONOTONIC, 0, &t, NULL);
    py.PyEval_RestoreThread(thread);
}

HAND(hand_breathe) {
    PARSE("");
    breathe();
    return none();
}

/* done(): the payload has undone everything that it has changed. */
HAND(hand_done) {
    PARSE("");
    finished = 1;
    announce(&queue_news);
    return none();
}

/* ---- the trace function, 3.8 - 3.11 (later versions have sys.monitoring) ---- */

/* A thread that is traced, and what it was traced by before: called through, and put back. */
struct traced {
    struct traced *next;
    unsigned long ident;
    PyObject *handler;          /* called as handler(frame, what: int, arg); NULL: only for breakpoints */
    Py_tracefunc old_function;
    PyObject *old_object;
    int on;                     /* our trace function is there; a record that is off is kept for the next time */
    int adopted;                /* set from outside, for frames that ran already: see end_adoption() */
};
static int others;              /* records that are on with a handler, a tracer of the program, or adopted: not only breakpoints */
#define BUCKETS 64
static struct traced *all_traced[BUCKETS];      /* by ident; guarded by the GIL */

/* Where a thread state keeps c_traceobj: found by setting a trace function of our own thread to a
 * known object and looking for it. The layout c_profilefunc, c_tracefunc, c_profileobj, c_traceobj is
 * the same in 3.8 - 3.11. -1: not found. */
static int traceobj_offset(void) {
    static int offset = -1;
    if (offset >= 0)
        return offset;
    PyObject *mark = py.PyDict_New();
    unsigned long *words = (unsigned long *)py.PyThreadState_Get();
    extern int trace_nothing(PyObject *, PyObject *, int, PyObject *) __attribute__((visibility("hidden")));
    py.PyEval_SetTrace(trace_nothing, mark);
    for (int i = 2; offset < 0 && i < 64; i++)
        if (words[i] == (unsigned long)mark && words[i - 2] == (unsigned long)trace_nothing)
            offset = i;
    py.PyEval_SetTrace(NULL, NULL);
    py.Py_DecRef(mark);
    return offset;
}

int trace_nothing(PyObject *object, PyObject *frame, int what, PyObject *argument) {
    (void)object, (void)frame, (void)what, (void)argument;
    return 0;
}

static int trace_event(PyObject *object, PyObject *frame, int what, PyObject *argument);
static PyObject *evaluate_frame(void *first, void *second, void *third);

static struct traced **find_traced(unsigned long ident) {
    struct traced **at = &all_traced[(ident >> 12 ^ ident >> 23) % BUCKETS];
    while (*at && (*at)->ident != ident)
        at = &(*at)->next;
    return at;
}

/* Sets the trace function of any thread, by the road that its version leaves open. 3.8 has no
 * function for it, but there PyThreadState_Swap keeps the GIL. */
static int set_trace_of(PyThreadState *thread, Py_tracefunc function, PyObject *object) {
    if (thread == py.PyThreadState_Get()) {
        py.PyEval_SetTrace(function, object);
        return 0;
    }
    if (py._PyEval_SetTrace)
        return py._PyEval_SetTrace(thread, function, object);
    PyThreadState *own = py.PyThreadState_Swap(thread);
    py.PyEval_SetTrace(function, object);
    py.PyThreadState_Swap(own);
    return 0;
}

static int is_other(const struct traced *traced) {
    return traced->on && (traced->handler || traced->old_function || traced->adopted);
}

/* The record is off: our trace function is not on the thread any more. */
static void turn_off(struct traced *traced) {
    PyObject *handler = traced->handler, *object = traced->old_object;
    others -= is_other(traced);
    traced->handler = traced->old_object = NULL;
    traced->old_function = NULL;
    traced->on = traced->adopted = 0;
    if (handler)
        py.Py_DecRef(handler);
    if (object)
        py.Py_DecRef(object);
}

static void forget_traced(struct traced **at) {
    struct traced *traced = *at;
    *at = traced->next;
    turn_off(traced);
    free(traced);
}

/* Our trace function on a thread: the record of it, NULL without memory. What was there is called through. */
static struct traced *trace_thread(unsigned long ident, PyThreadState *thread) {
    struct traced *traced = *find_traced(ident);
    int offset = traceobj_offset();
    if (offset < 0)
        return NULL;
    Py_tracefunc now = ((Py_tracefunc *)thread)[offset - 2];
    if (traced && traced->on && now == trace_event)
        return traced;
    if (traced)                 /* was on: the program has set a tracer of its own in the meantime */
        turn_off(traced);
    if (!traced) {
        if (!(traced = calloc(1, sizeof *traced)))
            return NULL;
        struct traced **end = find_traced(ident);
        traced->ident = ident;
        *end = traced;
    }
    if (now && now != trace_event) {
        traced->old_function = now;
        if ((traced->old_object = ((PyObject **)thread)[offset]))
            py.Py_IncRef(traced->old_object);
    }
    traced->on = 1;
    others += is_other(traced);
    set_trace_of(thread, trace_event, traced->old_object);     /* so that sys.gettrace() answers as before */
    return traced;
}

/* And what was there before back on it, if ours is still there. */
static void untrace(struct traced *traced, PyThreadState *thread) {
    int offset = traceobj_offset();
    if (!traced || !traced->on)
        return;
    if (offset >= 0 && ((Py_tracefunc *)thread)[offset - 2] == trace_event)
        set_trace_of(thread, traced->old_function, traced->old_object);
    turn_off(traced);
}

static void forget_all_traced(void) {
    for (int i = 0; i < BUCKETS; i++)
        for (struct traced **at = &all_traced[i]; *at; )
            if ((*at)->on)
                at = &(*at)->next;
            else
                forget_traced(at);
}

static unsigned long own_threads[16];  /* idents of our threads that are in Python; guarded by the GIL */

static int is_own_thread(unsigned long ident) {
    for (size_t i = 0; i < sizeof own_threads / sizeof *own_threads && own_threads[i]; i++)
        if (own_threads[i] == ident)
            return 1;
    return 0;
}

static void note_own_thread(unsigned long from, unsigned long to) {
    size_t i = 0, last = sizeof own_threads / sizeof *own_threads - 1;
    while (i < last && own_threads[i] != from)
        i++;
    own_threads[i] = to;
    for (; !to && i < last; i++)        /* no gaps */
        own_threads[i] = own_threads[i + 1];
    own_threads[last] = 0;
}

/* ---- breakpoints in every thread, 3.8 - 3.11 ----
 *
 * A trace function costs a thread up to three times its speed, whatever it does. So ours is on a thread
 * only while it executes a function with a breakpoint: a hook around the evaluation of frames (PEP 523),
 * which every thread passes, also one that starts later, puts it there and takes it away. What the
 * frames that ran already need is set from outside, by hand_adopt().
 *
 * No cheaper road is safe on 3.11. A trap among the instructions is seen by whoever reads co_code, and the one that
 * would do (DO_TRACING) runs in circles unless there are events anyway. To let the events begin at the breakpoint
 * (_co_firsttraceable) makes frames before it incomplete: sys._getframe() and tracebacks leave them out. */

#define KNOWN 8192              /* code objects that we remember, at most three quarters of it */

struct line {
    int number;                 /* 0: the end */
    PyObject *what;             /* for line_hit(frame, what) */
};
struct known {
    PyObject *code;             /* ours, so that no other code gets its address */
    struct line *lines;         /* with breakpoints; NULL: none */
    unsigned long asking;       /* the thread that finds out just now */
};
static struct known *known;
static int known_count;
static PyObject *break_names, *ask_lines, *line_hit;
static PyObject *raise_hit;     /* told of exceptions in all frames: then all code has events */
static int raise_leaves;        /* and of returns */
static eval_function old_eval;  /* what evaluates frames without us; set while the hook is in place */
static int frame_argument = -1, code_word = -1, tracing_place = -1;
static int cframe_word = -1;    /* of a thread state: points to where 3.10 and 3.11 say if there are events; -1: elsewhere */
static unsigned char events_on; /* and what stands there if so */
static unsigned char hot_lines[8192];   /* a bit for each number of a line with a breakpoint, modulo 65,536 */

static void free_lines(struct line *lines) {
    for (struct line *at = lines; at && at->number; at++)
        py.Py_DecRef(at->what);
    free(lines);
}

static void forget_known(void) {
    struct known *old = known;
    known = NULL;
    known_count = 0;
    memset(hot_lines, 0, sizeof hot_lines);
    for (int i = 0; old && i < KNOWN; i++)
        if (old[i].code) {
            free_lines(old[i].lines);
            py.Py_DecRef(old[i].code);
        }
    free(old);
}

static struct known *find_known(const PyObject *code) {
    if (!known && !(known = calloc(KNOWN, sizeof *known)))
        return NULL;
    uint64_t at = ((uintptr_t)code >> 4) * 0x9e3779b97f4a7c15ull >> 51;         /* 13 bits: KNOWN */
    while (known[at].code && known[at].code != code)
        at = (at + 1) % KNOWN;
    return &known[at];
}

/* The file of a code object may be one with breakpoints: its base name says so. "<module>" among the names
 * asks for the bodies of all modules that are imported. */
static int is_candidate(PyObject *code, const char *attribute) {
    PyObject *name = py.PyObject_GetAttrString(code, attribute);
    const char *text = name ? py.PyUnicode_AsUTF8(name) : NULL, *slash = text ? strrchr(text, '/') : NULL;
    int found = 0;
    for (ssize_t i = 0; text && break_names && !found && i < py.PyList_Size(break_names); i++) {
        const char *one = py.PyUnicode_AsUTF8(py.PyList_GetItem(break_names, i));
        found = one && (!strcmp(one, slash ? slash + 1 : text) || !strcmp(one, "*"));
    }
    py.PyErr_Clear();
    py.Py_DecRef(name);
    return found;
}

/* What runs between the two has no events: neither a tool of the program nor a stepping user sees it. */
static void be_quiet(PyThreadState *thread) {
    if (py.PyThreadState_EnterTracing)
        py.PyThreadState_EnterTracing(thread);
    else
        ((int *)thread)[tracing_place]++;
}

static void end_quiet(PyThreadState *thread) {
    if (py.PyThreadState_LeaveTracing)
        py.PyThreadState_LeaveTracing(thread);
    else
        ((int *)thread)[tracing_place]--;
}

/* The answer of ask_lines(code), [(line, what)], as an array; a signal handler's exception is raised a little later. */
static struct line *ask_for_lines(PyObject *code) {
    PyObject *ask = ask_lines;
    struct line *lines = NULL;
    py.Py_IncRef(ask);
    be_quiet(py.PyThreadState_Get());
    PyObject *answer = py._PyObject_CallFunction_SizeT(ask, "O", code);
    end_quiet(py.PyThreadState_Get());
    py.Py_DecRef(ask);
    ssize_t count = answer ? py.PyList_Size(answer) : 0;
    if (count > 0 && (lines = calloc(count + 1, sizeof *lines)))
        for (ssize_t i = 0; i < count; i++) {
            if (!py._PyArg_ParseTuple_SizeT(py.PyList_GetItem(answer, i), "iO", &lines[i].number, &lines[i].what))
                break;
            py.Py_IncRef(lines[i].what);
            hot_lines[lines[i].number / 8 % sizeof hot_lines] |= 1 << lines[i].number % 8;
        }
    py.Py_DecRef(answer);
    if (!answer && take_answer(NULL)) {
        PyObject *kind, *error, *where;
        py.PyErr_Fetch(&kind, &error, &where);
        py.PyThreadState_SetAsyncExc(pthread_self(), kind);
        py.Py_DecRef(kind);
        py.Py_DecRef(error);
        py.Py_DecRef(where);
    }
    return lines;
}

/* The lines of a code object that nobody has asked about. That may take Python code, and others then run: each
 * thread that comes by meanwhile asks for itself. */
static const struct line *find_lines(PyObject *code) {
    struct known *at = find_known(code);
    unsigned long me = pthread_self(), before;
    if (at && !at->code && known_count > KNOWN / 4 * 3) {
        forget_known();
        at = find_known(code);
    }
    if (!at)
        return NULL;
    if (!at->code) {
        at->code = code;
        py.Py_IncRef(code);
        known_count++;
    }
    if (!is_candidate(code, "co_filename") && !is_candidate(code, "co_name"))
        return NULL;
    struct line *lines = NULL;
    do {
        free_lines(lines);
        before = generation;
        if ((at = find_known(code)) && at->code)
            at->asking = me;
        lines = ask_lines ? ask_for_lines(code) : NULL;
    } while (before != generation && ask_lines);
    if (!(at = find_known(code)) || !at->code) {       /* forgotten meanwhile: asked again next time */
        free_lines(lines);
        return NULL;
    }
    struct line *old = at->lines;
    at->lines = lines;
    at->asking = 0;
    free_lines(old);
    return lines;
}

/* The lines with breakpoints of a code object, NULL for nearly all code. A frame may be evaluated with an
 * exception pending (generator.throw()). */
static const struct line *lines_of(PyObject *code) {
    static const struct line none[1];           /* catchpoints: events, and no lines */
    const struct line *lines;
    struct known *at = find_known(code);
    if (at && at->code && (!at->asking || at->asking == pthread_self())) {
        lines = at->lines;
    } else if (is_near_limit(py.PyThreadState_Get())) {
        return NULL;
    } else {
        PyObject *type, *value, *traceback;
        py.PyErr_Fetch(&type, &value, &traceback);
        lines = find_lines(code);
        py.PyErr_Restore(type, value, traceback);
    }
    return lines || !raise_hit ? lines : none;
}

static PyObject *code_of(PyObject *frame) {
    PyObject *code = py.PyFrame_GetCode ? py.PyFrame_GetCode(frame) : py.PyObject_GetAttrString(frame, "f_code");
    py.Py_DecRef(code);         /* the frame has it */
    return code;
}

/* A frame, or one that it returns to, has a breakpoint. */
static int has_breaks(PyObject *frame) {
    PyObject *at = frame, *next;
    int found = 0;
    py.Py_IncRef(at);
    while (!found && at && at != py.None) {
        found = lines_of(code_of(at)) != NULL;
        next = py.PyObject_GetAttrString(at, "f_back");
        py.Py_DecRef(at);
        at = next;
    }
    if (at)
        py.Py_DecRef(at);
    py.PyErr_Clear();
    return found;
}

/* A frame with a breakpoint returns: no more events for the thread, if it was the last one. */
static void end_adoption(PyObject *frame) {
    PyObject *type, *value, *traceback;
    if (!lines_of(code_of(frame)))
        return;
    py.PyErr_Fetch(&type, &value, &traceback);
    PyObject *back = py.PyObject_GetAttrString(frame, "f_back");
    if (back && !has_breaks(back))
        untrace(*find_traced(pthread_self()), py.PyThreadState_Get());
    py.Py_DecRef(back);
    py.PyErr_Restore(type, value, traceback);
}

static int line_place;          /* the word of a frame object that has the line of its event, once it is known */

/* It is found by looking at the first few frames; PyFrame_GetLineNumber() would count through the code's table. */
static __attribute__((noinline)) int find_line(PyObject *frame) {
    static uint32_t places = ~0u << 4;          /* the words that have always been right */
    static int seen, last;
    int line = py.PyFrame_GetLineNumber(frame);
    for (int i = 4; i < 30; i++)
        if (((int *)frame)[i] != line)
            places &= ~(1u << i);
    places &= (1u << 30) - 1;
    seen += line != last && line > 2;
    last = line;
    if (seen > 7 && places && !(places & (places - 1)))
        line_place = __builtin_ctz(places);
    return line;
}

static int line_of_frame(PyObject *frame) {
    return line_place ? ((int *)frame)[line_place] : find_line(frame);
}

static int may_hit(PyObject *frame) {
    unsigned line = line_of_frame(frame);
    return hot_lines[line / 8 % sizeof hot_lines] >> line % 8 & 1;
}

static int check_line(PyObject *frame) {
    const struct line *at = line_hit ? lines_of(code_of(frame)) : NULL;
    int line = at ? line_of_frame(frame) : 0;
    for (; at && at->number; at++)
        if (at->number == line) {
            PyObject *hit = line_hit, *what = at->what;
            py.Py_IncRef(hit);
            py.Py_IncRef(what);
            int result = take_answer(py._PyObject_CallFunction_SizeT(hit, "OO", frame, what));
            py.Py_DecRef(hit);
            py.Py_DecRef(what);
            return result;
        }
    return 0;
}

/* An exception (1), a return (3), a return by an exception (4). */
static int check_exception(PyObject *frame, int what, PyObject *argument) {
    PyObject *type, *value, *traceback, *hit = raise_hit;
    if (what == 3 && argument && !raise_leaves)
        return 0;
    py.PyErr_Fetch(&type, &value, &traceback);
    py.Py_IncRef(hit);
    int result = take_answer(py._PyObject_CallFunction_SizeT(hit, "OiO", frame, what == 3 && !argument ? 4 : what,
                                                             argument ? argument : py.None));
    py.Py_DecRef(hit);
    if (!result)
        py.PyErr_Restore(type, value, traceback);
    return result;
}

/* The same as trace_thread() or untrace() for a thread that has no other tracer: what PyEval_SetTrace() would do, without
 * the audit event that each of its calls is to the program. 0, or -1: that has to be done by the long road. */
static int flip_events(struct traced *traced, PyThreadState *thread, int on) {
    int offset = traceobj_offset();
    void **words = (void **)thread;
    if (cframe_word < 0 || !traced || traced->on == on || traced->old_function || traced->adopted || words[offset]
        || words[offset - 2] != (on ? NULL : (void *)trace_event))
        return -1;
    words[offset - 2] = on ? (void *)trace_event : NULL;
    *(unsigned char *)words[cframe_word] = on || words[offset - 3] ? events_on : 0;
    traced->on = on;
    return 0;
}

/* Events of a thread on or off, unless it steps: then it has them all. */
static void switch_events(unsigned long me, PyThreadState *thread, int on) {
    struct traced *traced = *find_traced(me);
    if ((traced && traced->handler) || !flip_events(traced, thread, on))
        return;
    if (on)
        trace_thread(me, thread);
    else
        untrace(traced, thread);
}

/* Where 3.8, which has no functions for it, keeps the function that evaluates frames: NULL if not found. */
static eval_function *eval_place(void) {
    static eval_function *place;
    eval_function *words = py.PyInterpreterState_Main();
    for (int i = 0; !place && py._PyEval_EvalFrameDefault && i < 256; i++)
        if (words[i] == py._PyEval_EvalFrameDefault)
            place = &words[i];
    return place;
}

static eval_function get_eval(void) {
    if (py._PyInterpreterState_GetEvalFrameFunc)
        return py._PyInterpreterState_GetEvalFrameFunc(py.PyInterpreterState_Main());
    return eval_place() ? *eval_place() : NULL;
}

static void set_eval(eval_function function) {
    if (py._PyInterpreterState_SetEvalFrameFunc)
        py._PyInterpreterState_SetEvalFrameFunc(py.PyInterpreterState_Main(), function);
    else
        *eval_place() = function;
}

/* With the hook in place each call of Python code takes C stack, which 3.11 does not need otherwise: a
 * program may recurse much deeper than its stack would bear. Near the end of the stack the hook goes. */
#define STACK_RESERVE (512 << 10)

static int is_stack_low(unsigned long me) {
    static struct { unsigned long ident; char *low; } stacks[BUCKETS];
    unsigned long at = (me >> 12 ^ me >> 23) % BUCKETS;
    if (stacks[at].ident != me) {
        pthread_attr_t attributes;
        void *base = NULL;
        size_t size = 0;
        int saved = errno;
        if (!pthread_getattr_np(me, &attributes)) {
            pthread_attr_getstack(&attributes, &base, &size);
            pthread_attr_destroy(&attributes);
        }
        stacks[at].ident = me;
        stacks[at].low = (char *)base + (size / 4 < STACK_RESERVE ? size / 4 : STACK_RESERVE);
        errno = saved;
    }
    return (char *)__builtin_frame_address(0) < stacks[at].low;
}

static PyObject *evaluate_deep_frame(void *first, void *second, void *third) {
    static int deep;
    eval_function eval = old_eval;
    deep++;
    if (get_eval() == evaluate_frame)
        set_eval(eval);
    PyObject *result = eval(first, second, third);
    if (!--deep && old_eval == eval && get_eval() == eval) {
        if (line_hit)
            set_eval(evaluate_frame);
        else
            old_eval = NULL;
    }
    return result;
}

/* Evaluates a frame. The state that the caller's frame needs is put back, unless breakpoints have changed
 * meanwhile: then hand_adopt() has seen to that frame. */
static PyObject *evaluate_frame(void *first, void *second, void *third) {
    eval_function eval = old_eval;
    PyThreadState *thread = frame_argument ? first : py.PyThreadState_Get();
    unsigned long me = pthread_self();
    if (!line_hit || !session_open || ((int *)thread)[tracing_place] > 0 || is_own_thread(me))
        return eval(first, second, third);      /* also what a trace function calls: it has no events */
    if (is_stack_low(me))
        return evaluate_deep_frame(first, second, third);
    int on = ((Py_tracefunc *)thread)[traceobj_offset() - 2] == trace_event;
    int want = lines_of(((PyObject **)(frame_argument ? second : first))[code_word]) != NULL;
    if (on == want)
        return eval(first, second, third);
    unsigned long before = generation;
    switch_events(me, thread, want);
    PyObject *result = eval(first, second, third);
    if (before == generation && line_hit && session_open) {
        PyObject *type, *value, *traceback;
        if (!result)
            py.PyErr_Fetch(&type, &value, &traceback);
        switch_events(me, thread, on);
        if (!result)
            py.PyErr_Restore(type, value, traceback);
    }
    return result;
}

/* Finds out which argument is the frame (3.8 passes no thread state), and which of its words the code. */
static PyObject *probe_code;
static int before_tracing[26];

/* Where a thread state counts the trace functions that it is in: one more now than before. */
static int probe_tracing(PyObject *object, PyObject *frame, int what, PyObject *argument) {
    const int *words = (int *)py.PyThreadState_Get();
    (void)object, (void)frame, (void)what, (void)argument;
    for (int i = 6, found = 0; i < 26; i++)
        if (before_tracing[i] >= 0 && before_tracing[i] < 2 && words[i] == before_tracing[i] + 1)
            tracing_place = found++ ? -1 : i;
    return 0;
}

/* A byte of foreign memory, -1 if there is none. */
static int read_byte(const void *address) {
    unsigned char byte;
    struct iovec local = {&byte, 1}, remote = {(void *)address, 1};
    return syscall(SYS_process_vm_readv, syscall(SYS_getpid), &local, 1, &remote, 1, 0) == 1 ? byte : -1;
}

/* The word of a thread state that points to a byte which a trace function makes other than 0. 3.8 and 3.9 have none. */
static void probe_events(PyThreadState *thread) {
    void *const *words = (void **)thread;
    int before[64], found = 0, quiet = py.PyThreadState_LeaveTracing != NULL;
    if (quiet)                  /* enter_python() has entered it */
        py.PyThreadState_LeaveTracing(thread);
    for (int i = 0; i < traceobj_offset() - 3; i++)
        before[i] = read_byte(words[i]);
    py.PyEval_SetTrace(trace_nothing, NULL);
    for (int i = 0; i < traceobj_offset() - 3; i++)
        if (before[i] == 0 && read_byte(words[i]) > 0) {
            cframe_word = found++ ? -1 : i;
            events_on = read_byte(words[i]);
        }
    py.PyEval_SetTrace(NULL, NULL);
    if (quiet)
        py.PyThreadState_EnterTracing(thread);
}

static PyObject *probe_frame(void *first, void *second, void *third) {
    frame_argument = first == (void *)py.PyThreadState_Get();
    PyObject **words = frame_argument ? second : first;
    for (int i = 0; code_word < 0 && i < 12; i++)
        if (words[i] == probe_code)
            code_word = i;
    return old_eval(first, second, third);
}

/* Finds all places that the hook needs: 0, or -1 where it cannot be done. In a thread of ours, since no
 * trace function is called in a thread that is parked in one. */
static int probe_python(void) {
    if (code_word >= 0 && tracing_place >= 0)
        return 0;
    if (old_eval || traceobj_offset() < 0 || !py.PyFrame_GetLineNumber || !(old_eval = get_eval()))
        return -1;
    PyThreadState *thread = py.PyThreadState_Get();
    probe_events(thread);
    PyObject *names = py.PyDict_New();
    probe_code = names ? py.Py_CompileString("0", "pyinjectcode", FILE_INPUT) : NULL;
    if (probe_code) {
        set_eval(probe_frame);
        memcpy(before_tracing, thread, sizeof before_tracing);
        if (py.PyThreadState_EnterTracing) {
            py.PyThreadState_EnterTracing(thread);
            probe_tracing(NULL, NULL, 0, NULL);
            py.PyThreadState_LeaveTracing(thread);
        } else {
            py.PyEval_SetTrace(probe_tracing, NULL);
        }
        PyObject *result = py.PyEval_EvalCode(probe_code, names, names);
        if (!py.PyThreadState_EnterTracing)
            py.PyEval_SetTrace(NULL, NULL);
        py.Py_DecRef(result);
        py.Py_DecRef(probe_code);
        set_eval(old_eval);
    }
    old_eval = NULL;
    py.PyErr_Clear();
    py.Py_DecRef(names);
    return code_word >= 0 && tracing_place >= 0 ? 0 : -1;
}

static int install_hook(void) {
    if (old_eval)
        return 0;
    if (code_word < 0 || tracing_place < 0 || !(old_eval = get_eval()))
        return -1;
    set_eval(evaluate_frame);
    return 0;
}

/* Somebody else's hook may be on top of ours by now: then ours stays, and does nothing. */
static void remove_hook(void) {
    if (old_eval && get_eval() == evaluate_frame) {
        set_eval(old_eval);
        old_eval = NULL;
    }
}

static __attribute__((noinline)) int handle_event(PyObject *frame, int what, PyObject *argument) {
    int saved = errno, result = 0;
    struct traced *traced = *find_traced(pthread_self());
    if (!traced || !traced->on)
        return 0;
    if (traced->old_function && traced->old_function(traced->old_object, frame, what, argument))
        result = -1;            /* the program's tracer raises: as it would without us */
    if (!(traced = *find_traced(pthread_self())) || !traced->on)
        return result;
    if (!session_open) {        /* the child of a fork: give back what was there */
        set_trace_of(py.PyThreadState_Get(), traced->old_function, traced->old_object);
        turn_off(traced);
        errno = saved;
        return result;
    }
    int near = is_near_limit(py.PyThreadState_Get());
    if (!result && !near && raise_hit && (what == 1 || what == 3)) {
        result = check_exception(frame, what, argument);
        if (!(traced = *find_traced(pthread_self())) || !traced->on) {      /* it has stood meanwhile */
            errno = saved;
            return result;
        }
    }
    if (!result && !traced->handler) {
        result = what == 2 && !near && may_hit(frame) ? check_line(frame) : 0;
        if (what == 3 && traced->adopted)
            end_adoption(frame);
    } else if (!result && !near && what <= 3) {
        PyObject *type, *value, *traceback, *handler = traced->handler;
        py.PyErr_Fetch(&type, &value, &traceback);
        py.Py_IncRef(handler);
        result = take_answer(py._PyObject_CallFunction_SizeT(handler, "OiO", frame, what, argument ? argument : py.None));
        py.Py_DecRef(handler);
        if (!result)
            py.PyErr_Restore(type, value, traceback);
    }
    errno = saved;
    return result;
}

/* Nearly all events end here, so nothing else happens on their way. */
static int trace_event(PyObject *object, PyObject *frame, int what, PyObject *argument) {
    (void)object;
    if (!others && session_open && (what != 2 || !may_hit(frame)) && !(raise_hit && (what == 1 || what == 3)))
        return 0;
    return handle_event(frame, what, argument);
}

/* trace(ident, handler or None) -> bool: False if there is no such thread */
HAND(hand_trace) {
    unsigned long ident;
    PyObject *handler;
    PARSE("kO", &ident, &handler);
    PyThreadState *thread = find_thread_state(ident);
    if (handler == py.None || !thread) {
        if (thread)
            untrace(*find_traced(ident), thread);
        else if (*find_traced(ident))
            forget_traced(find_traced(ident));
        return py.PyBool_FromLong(thread != NULL);
    }
    if (traceobj_offset() < 0) {
        py.PyErr_SetString(*py.RuntimeError, "this Python keeps its trace function at an unknown place");
        return NULL;
    }
    struct traced *traced = trace_thread(ident, thread);
    if (!traced)
        return py.PyBool_FromLong(0);
    PyObject *old = traced->handler;
    py.Py_IncRef(handler);
    others -= is_other(traced);
    traced->handler = handler;
    others += is_other(traced);
    if (old)
        py.Py_DecRef(old);
    return py.PyBool_FromLong(1);
}

/* prepare(): for breaks(); to be called in a thread of ours before */
HAND(hand_prepare) {
    PARSE("");
    probe_python();
    return none();
}

/* breaks(names: [str] or None, ask, hit) -> bool: breakpoints in the files with these base names, in all
 * threads. ask(code) answers with the lines that have one, hit(frame, line) is called there. With None: no
 * more breakpoints. False if this Python has no place for the hook. */
HAND(hand_breaks) {
    PyObject *names, *ask, *hit;
    PARSE("OOO", &names, &ask, &hit);
    int off = names == py.None;
    if (!off && install_hook())
        return py.PyBool_FromLong(0);
    forget_known();
    generation++;
    PyObject *old[3] = {break_names, ask_lines, line_hit};
    break_names = off ? NULL : names;
    ask_lines = off ? NULL : ask;
    line_hit = off ? NULL : hit;
    for (int i = 0; i < 3; i++) {
        if (!off)
            py.Py_IncRef((PyObject *[]){names, ask, hit}[i]);
        if (old[i])
            py.Py_DecRef(old[i]);
    }
    if (off) {
        remove_hook();
        forget_all_traced();
    }
    return py.PyBool_FromLong(1);
}

/* raised(function or None, leaves): function(frame, what, argument) is called for the exceptions in all frames, and
 * for returns if leaves; breaks() is to be called next. */
HAND(hand_raised) {
    PyObject *function, *old = raise_hit;
    int leaves;
    PARSE("Oi", &function, &leaves);
    py.Py_IncRef(function);
    raise_hit = function == py.None ? NULL : function;
    raise_leaves = leaves;
    if (old)
        py.Py_DecRef(old);
    return none();
}

/* adopt(ident): the breakpoints have changed: events in the frames that a thread has on its stack, if one
 * of them has a breakpoint; else none. To be called for every thread. */
HAND(hand_adopt) {
    unsigned long ident;
    PARSE("k", &ident);
    PyThreadState *thread = find_thread_state(ident);
    if (!thread || (*find_traced(ident) && (*find_traced(ident))->handler))
        return none();
    PyObject *frame = find_frame(thread);
    int want = line_hit && frame && has_breaks(frame);
    if (frame)
        py.Py_DecRef(frame);
    if (!(thread = find_thread_state(ident)))
        return none();
    if (want) {
        struct traced *traced = trace_thread(ident, thread);
        if (traced) {
            others -= is_other(traced);
            traced->adopted = 1;
            others += is_other(traced);
        }
    } else {
        untrace(*find_traced(ident), thread);
    }
    return none();
}

/* ---- inside a blocked thread of the program (pyenter.c) ---- */

/* What is to be called in a visited thread. It answers None: the thread goes on waiting; or (how, object):
 * how it gets an exception. RAISE_LATER: object is a class, raised when the thread is back in Python.
 * RAISE_PENDING (3.12, 3.13): a pending call raises object in its lock wait, which is interrupted. Else
 * `how` is a signal for which the payload has set a handler of Python that raises: it is sent, and
 * arrives with the interrupted wait, when no code of ours runs in the thread any more. */
enum { RAISE_NOTHING = -1, RAISE_LATER = 0, RAISE_PENDING = 1, RAISE_US = 1000000 };

struct visitor {
    PyThreadState *thread;
    PyObject *callable;
};
static struct visitor visitors[VISITS];         /* guarded by the GIL */

struct doom {
    unsigned long ident;
    PyObject *error;
    int64_t end;
};

/* Raises an exception object, with no frame of ours in its traceback. Always NULL. */
static PyObject *raise_object(PyObject *error) {
    PyObject *type = py.PyObject_Type(error);
    py.PyErr_SetObject(type, error);
    py.Py_DecRef(type);
    return NULL;
}

/* A pending call of 3.12 and 3.13: any thread may meet it, and puts it back unless it is the right one. */
static int raise_pending(void *argument) {
    struct doom *doom = argument;
    int mine = doom->ident == pthread_self(), result = mine ? -1 : 0;
    if (!mine && now_us() < doom->end && !py._PyEval_AddPendingCall(py.PyInterpreterState_Main(), raise_pending, doom, 0))
        return 0;
    if (mine)
        raise_object(doom->error);
    py.Py_DecRef(doom->error);
    free(doom);
    return result;
}

static int add_doom(PyObject *error) {
    struct doom *doom = py._PyEval_AddPendingCall ? malloc(sizeof *doom) : NULL;
    if (!doom)
        return -1;
    *doom = (struct doom){pthread_self(), error, now_us() + RAISE_US};
    py.Py_IncRef(error);
    if (!py._PyEval_AddPendingCall(py.PyInterpreterState_Main(), raise_pending, doom, 0))
        return 0;
    py.Py_DecRef(error);
    free(doom);
    return -1;
}

/* What the thread is traced and profiled by, while code of ours runs in it. 3.11 and later can be told not
 * to trace; before, the functions are taken away, and put back below what the session has set since. */
struct tracing {
    Py_tracefunc profile, trace;
    PyObject *profile_object, *trace_object;
};

static void stop_tracing(struct tracing *old) {
    PyThreadState *thread = py.PyThreadState_Get();
    int offset = py.PyThreadState_EnterTracing ? -1 : traceobj_offset();
    memset(old, 0, sizeof *old);
    if (py.PyThreadState_EnterTracing)
        py.PyThreadState_EnterTracing(thread);
    if (offset < 3)
        return;
    if ((old->profile = ((Py_tracefunc *)thread)[offset - 3])) {
        if ((old->profile_object = ((PyObject **)thread)[offset - 1]))
            py.Py_IncRef(old->profile_object);
        py.PyEval_SetProfile(NULL, NULL);
    }
    struct traced *traced = *find_traced(pthread_self());
    Py_tracefunc trace = ((Py_tracefunc *)thread)[offset - 2];
    if (trace == trace_event && traced) {       /* ours knows what to leave out, the program's below it does not */
        others -= is_other(traced);
        old->trace = traced->old_function;
        old->trace_object = traced->old_object;
        traced->old_function = NULL;
        traced->old_object = NULL;
        others += is_other(traced);
    } else if (trace && trace != trace_event) {
        old->trace = trace;
        if ((old->trace_object = ((PyObject **)thread)[offset]))
            py.Py_IncRef(old->trace_object);
        py.PyEval_SetTrace(NULL, NULL);
    }
}

static void resume_tracing(struct tracing *old) {
    struct traced *traced = *find_traced(pthread_self());
    if (py.PyThreadState_LeaveTracing)
        py.PyThreadState_LeaveTracing(py.PyThreadState_Get());
    if (old->profile)
        py.PyEval_SetProfile(old->profile, old->profile_object);
    if (old->trace && traced && traced->on) {   /* ours is on top now */
        others -= is_other(traced);
        traced->old_function = old->trace;
        traced->old_object = old->trace_object;
        others += is_other(traced);
        old->trace_object = NULL;
    } else if (old->trace) {
        py.PyEval_SetTrace(old->trace, old->trace_object);
    }
    if (old->profile_object)
        py.Py_DecRef(old->profile_object);
    if (old->trace_object)
        py.Py_DecRef(old->trace_object);
}

/* What the callable has answered: RAISE_..., or a signal. The last thing before the GIL is let go: no
 * bytecode of ours may meet the exception. */
static int obey(PyObject *answer) {
    int how = RAISE_NOTHING;
    PyObject *object = NULL;
    if (!answer || answer == py.None || !py._PyArg_ParseTuple_SizeT(answer, "iO", &how, &object))
        how = RAISE_NOTHING;
    py.PyErr_Clear();
    if (how == RAISE_PENDING && add_doom(object))
        how = RAISE_NOTHING;
    if (how == RAISE_LATER)
        py.PyThreadState_SetAsyncExc(pthread_self(), object);
    return how;
}

/* callable(is_lock, error or None). An exception may be raised in it that is not its own, an interrupt or by a
 * signal handler of the program: it is called once more and told. */
static PyObject *call_visitor(PyObject *callable, int is_lock) {
    PyObject *type, *value, *traceback, *answer = py._PyObject_CallFunction_SizeT(callable, "iO", is_lock, py.None);
    if (answer)
        return answer;
    py.PyErr_Fetch(&type, &value, &traceback);
    py.PyErr_NormalizeException(&type, &value, &traceback);
    if (value)
        answer = py._PyObject_CallFunction_SizeT(callable, "iO", is_lock, value);
    for (PyObject **object = (PyObject *[]){type, value, traceback, NULL}; *object; object++)
        py.Py_DecRef(*object);
    py.PyErr_Clear();
    return answer;
}

/* In the thread, in the signal handler. It must not have the GIL, and its thread state must be the one
 * that Python finds for it. */
static int run_visitor(void *argument, int is_lock) {
    struct visitor *visitor = argument;
    PyThreadState *(*get)(void) = py.PyThreadState_GetUnchecked ? py.PyThreadState_GetUnchecked : py._PyThreadState_UncheckedGet;
    PyThreadState *own = py.PyGILState_GetThisThreadState();
    PyObject *type, *value, *traceback, *callable, *answer = NULL;
    struct tracing old;
    if (!session_open || !get || !own || own != visitor->thread || get() == own)
        return VISIT_REFUSED;
    int held = py.PyGILState_Ensure(), how;
    py.PyErr_Fetch(&type, &value, &traceback);
    stop_tracing(&old);
    callable = visitor->callable;
    visitor->callable = NULL;
    if (callable) {
        answer = call_visitor(callable, is_lock);
        py.Py_DecRef(callable);
    }
    resume_tracing(&old);
    how = obey(answer);
    if (answer)
        py.Py_DecRef(answer);
    py.PyErr_Restore(type, value, traceback);
    py.PyGILState_Release(held);
    if (how > RAISE_PENDING)
        syscall(SYS_tgkill, syscall(SYS_getpid), syscall(SYS_gettid), how);
    return how >= 0 ? VISIT_INTERRUPT : VISIT_RESUME;
}

static void forget_visitor(int slot) {
    PyObject *callable = visitors[slot].callable;
    visitors[slot].callable = NULL;
    if (callable)
        py.Py_DecRef(callable);
}

/* visit(ident, native id, callable) -> the visit, an int: callable(is a lock wait: int, error) is called in the thread, soon;
 * or why it is not: str, the rest of a sentence that begins with the thread */
HAND(hand_visit) {
    unsigned long ident;
    int tid, slot = find_visit();
    PyObject *callable;
    PARSE("kiO", &ident, &tid, &callable);
    PyThreadState *thread = find_thread_state(ident);
    const char *reason = !thread ? "has ended" : slot < 0 ? "cannot be entered while so many others are"
        : !visit_runtime_size ? "cannot be told from one that waits for the GIL, in this Python"
        : is_near_limit(thread) ? "is too near its limit of recursion" : NULL;
    if (!reason) {
        forget_visitor(slot);
        py.Py_IncRef(callable);
        visitors[slot] = (struct visitor){thread, callable};
        reason = send_visit(slot, tid, run_visitor, &visitors[slot], 0);
    }
    return reason ? py.PyUnicode_FromString(reason) : py.PyLong_FromLong(slot);
}

/* visit_state(visit) -> "" until the callable is called; "inside" while, "left" after that; else why it will not be */
HAND(hand_visit_state) {
    int slot;
    const char *reason;
    PARSE("i", &slot);
    int state = visit_state(slot, &reason);
    return py.PyUnicode_FromString(state == VISIT_SENT ? "" : state == VISIT_INSIDE ? "inside" : state == VISIT_LEFT ? "left"
                                   : reason ? reason : "has moved on");
}

/* end_visits(): those that have not begun will not; the signal is the program's again */
HAND(hand_end_visits) {
    PARSE("");
    end_visits();
    for (int i = 0; i < VISITS; i++) {
        const char *reason;
        if (visit_state(i, &reason) == VISIT_MISSED)
            forget_visitor(i);
    }
    return none();
}

/* hear_visits(on): may this thread, one of ours, be visited? */
HAND(hand_hear_visits) {
    int on;
    PARSE("i", &on);
    hear_visits(on);
    return none();
}

/* free_signal(native id) -> int: one that the program does not use and the thread does not block; 0: none */
HAND(hand_free_signal) {
    int tid;
    PARSE("i", &tid);
    return py.PyLong_FromLong(find_free_signal(tid));
}

/* ---- a thread that keeps the GIL lends it ----
 *
 * A catastrophic regular expression keeps the GIL, and asks PyErr_CheckSignals() now and then. From 3.14 on that runs a script
 * which the slot of the thread names (PEP 768). Ours waits for the end of a pipe, and while it does the GIL is free.
 *   - The slot is written by its own thread, in a signal handler, and only if that thread's state is the current one: then it
 *     has the GIL, so that nobody can free the state meanwhile. (sys.remote_exec() writes from outside, and may be too late.)
 *   - Script and pipe have no name but /proc/self/fd/N, and the script closes them.
 *   - What the thread does not begin in time is taken out of the slot again. If that cannot be done, the script finds
 *     the end of its pipe at once.
 * Offsets and bit come from look, which knows the version. */
static struct {
    int tid, breaker, bit, remote, pending, path, path_size;
    char script_name[40];
    int takes_back;
    int32_t *slot;              /* debugger_pending_call, where the script was put */
    struct end write, read, script;
} loan = {.write = {.fd = -1}, .read = {.fd = -1}, .script = {.fd = -1}};

/* In the thread, wherever it is. */
static int write_slot(void *unused, int is_lock) {
    char *own = (char *)py.PyThreadState_GetUnchecked();
    (void)unused, (void)is_lock;
    if (!own)
        return VISIT_REFUSED;
    int32_t *pending = (int32_t *)(own + loan.remote + loan.pending);
    char *path = own + loan.remote + loan.path;
    size_t size = strlen(loan.script_name) + 1;
    if (loan.takes_back) {
        if (*pending == 1 && !memcmp(path, loan.script_name, size))
            *pending = 0;
        return VISIT_RESUME;
    }
    if (*pending)
        return VISIT_REFUSED;
    memcpy(path, loan.script_name, size);
    loan.slot = pending;
    *pending = 1;
    __atomic_fetch_or((uintptr_t *)(own + loan.breaker), (uintptr_t)loan.bit, __ATOMIC_SEQ_CST);
    return VISIT_RESUME;
}

static int visit_holder(void) {
    const char *reason;
    int slot = find_visit();
    if (slot < 0 || send_visit(slot, loan.tid, write_slot, NULL, 1))
        return -1;
    for (int ms = 0; ms < VISIT_MS && visit_state(slot, &reason) == VISIT_SENT; ms++)
        poll(NULL, 0, 1);
    end_visits();               /* it has begun by now, or will not */
    while (visit_state(slot, &reason) == VISIT_INSIDE)
        poll(NULL, 0, 1);
    return visit_state(slot, &reason) == VISIT_LEFT ? 0 : -1;
}

/* Does the script still wait in the slot, for all we know? Read as foreign memory: it may be gone. */
static int is_pending(void) {
    int32_t pending = 0;
    struct iovec local = {&pending, sizeof pending}, remote = {loan.slot, sizeof pending};
    return syscall(SYS_process_vm_readv, syscall(SYS_getpid), &local, 1, &remote, 1, 0) != sizeof pending || pending == 1;
}

static int write_script(void) {
    char text[512];
    int ends[2] = {-1, -1};
    int fd = syscall(SYS_memfd_create, "pydbattach", 1 /* MFD_CLOEXEC */);
    if (fd < 0)
        return -1;
    remember(&loan.script, move_up(fd));
    if (make_pipe(ends)) {
        close_end(&loan.script);
        return -1;
    }
    remember(&loan.read, ends[0]);
    remember(&loan.write, ends[1]);
    fcntl(ends[0], F_SETFL, 0);         /* the script waits */
    /* The numbers may be the program's by the time that it runs. */
    snprintf(text, sizeof text, "pyinjectcode = 1\nimport posix\ntry:\n if posix.fstat(%d)[1] == %llu: posix.close(%d)\n"
             " while posix.fstat(%d)[1] == %llu and posix.read(%d, 1): pass\nexcept BaseException: pass\n"
             "try:\n if posix.fstat(%d)[1] == %llu: posix.close(%d)\nexcept BaseException: pass\n",
             loan.script.fd, (unsigned long long)loan.script.inode, loan.script.fd,
             loan.read.fd, (unsigned long long)loan.read.inode, loan.read.fd,
             loan.read.fd, (unsigned long long)loan.read.inode, loan.read.fd);
    snprintf(loan.script_name, sizeof loan.script_name, "/proc/self/fd/%d", loan.script.fd);
    ssize_t size = strlen(text);
    return write(loan.script.fd, text, size) == size && !access(loan.script_name, R_OK) ? 0 : -1;
}

/* The thread goes on, and has the GIL again; the script closes what it has. */
static void end_loan(void) {
    close_end(&loan.write);
    loan.read.fd = loan.script.fd = -1;
}

static void drop_loan(void) {
    close_end(&loan.write);
    close_end(&loan.read);
    close_end(&loan.script);
}

static void lend_again(void) {
    if (loan.write.fd >= 0 || !loan.tid)
        return;
    loan.takes_back = 0;
    loan.slot = NULL;
    if (write_script() || visit_holder()) {
        drop_loan();
        return;
    }
    int64_t end = now_ms() + LEND_MS, begun = -1, used = 0;
    while (is_pending() && now_ms() < end)
        poll(NULL, 0, 1);
    if (is_pending()) {
        loan.takes_back = 1;
        if (!visit_holder() && !is_pending())
            drop_loan();
        else
            end_loan();
        return;
    }
    /* Its first act is to close itself. One that never does (no memory, say) is not tried again, nor are its descriptors
     * closed: it may be on its way. */
    for (end = now_ms() + LEND_MS; is_ours(&loan.script) && used - begun < SURELY_NS && now_ms() < end; poll(NULL, 0, 1)) {
        if ((used = cpu_time(loan.tid)) < 0)
            break;
        begun = begun < 0 ? used : begun;
    }
    if (is_ours(&loan.script)) {
        end_loan();
        loan.tid = 0;
    }
}

/* WIRE_LEND. By the keeper, which needs no GIL. */
static void lend(const char *text) {
    long number[7] = {0};
    for (int n = 0; n < 7; n++, text += *text == ' ') {
        if (*text < '0' || *text > '9')
            return;
        for (; *text >= '0' && *text <= '9'; text++)
            if ((number[n] = number[n] * 10 + *text - '0') > INT32_MAX)
                return;
    }
    if (!py.PyThreadState_GetUnchecked || loan.write.fd >= 0 || number[6] < (long)sizeof loan.script_name)
        return;
    loan.tid = number[0], loan.breaker = number[1], loan.bit = number[2], loan.remote = number[3];
    loan.pending = number[4], loan.path = number[5], loan.path_size = number[6];
    lend_again();
}

/* lender() -> int: native id of the thread that lends us the GIL, 0: none */
HAND(hand_lender) {
    PARSE("");
    return py.PyLong_FromLong(loan.write.fd >= 0 ? loan.tid : 0);
}

/* end_loan(signal): the lender goes on, and keeps the GIL again. A signal (0: none) is sent to it when it is surely through
 * with our script: so its handler, which raises, is called by the code that lent us the GIL. */
HAND(hand_end_loan) {
    int number;
    PARSE("i", &number);
    if (loan.write.fd < 0)
        return none();
    PyThreadState *thread = py.PyEval_SaveThread();
    struct end read_end = loan.read;
    end_loan();
    if (number) {
        int64_t used = 0, end = now_ms() + LEND_MS;
        while (is_ours(&read_end) && now_ms() < end)
            poll(NULL, 0, 1);
        for (int64_t first = -1; now_ms() < end && used - first < SURELY_NS; poll(NULL, 0, 1)) {
            if ((used = cpu_time(loan.tid)) < 0)
                break;
            first = first < 0 ? used : first;
        }
        syscall(SYS_tgkill, syscall(SYS_getpid), loan.tid, number);
    }
    py.PyEval_RestoreThread(thread);
    return none();
}

/* raiser(error, signal, number, old) -> function: what signal.signal() takes for a handler. It puts the old one
 * back and raises error, without a frame of its own. */
static PyObject *restore_and_raise(PyObject *self, PyObject *arguments) {
    PyObject *error, *set, *old, *done = NULL;
    int number;
    (void)arguments;
    if (!py._PyArg_ParseTuple_SizeT(self, "OOiO", &error, &set, &number, &old))
        return NULL;
    py.Py_IncRef(self);                 /* the last reference to us goes with the handler */
    for (int tries = 0; tries < 3 && !done; tries++) {         /* it runs signal handlers of the program: they may raise */
        py.PyErr_Clear();
        done = py._PyObject_CallFunction_SizeT(set, "iO", number, old);
    }
    if (done)
        raise_object(error);
    py.Py_DecRef(done);
    py.Py_DecRef(self);
    return NULL;
}

HAND(hand_raiser) {
    static struct PyMethodDef method = {"raiser", restore_and_raise, METH_VARARGS, NULL};
    PyObject *error, *set, *old;
    int number;
    PARSE("OOiO", &error, &set, &number, &old);
    PyObject *all = py._Py_BuildValue_SizeT("(OOiO)", error, set, number, old);
    PyObject *raiser = all ? py.PyCFunction_NewEx(&method, all, NULL) : NULL;
    py.Py_DecRef(all);
    return raiser;
}

/* raise_later(ident, type) -> bool: raised when the thread is back in Python */
HAND(hand_raise_later) {
    unsigned long ident;
    PyObject *type;
    PARSE("kO", &ident, &type);
    return py.PyBool_FromLong(py.PyThreadState_SetAsyncExc(ident, type) > 0);
}

/* ---- threads of ours ---- */

/* PyThreadState_New holds the lock of the interpreter's list of threads, without the GIL. Up to 3.12 the child of a fork()
 * at that moment has the lock, locked for ever: it hung in one of 400 attaches to a program that forks all the time.
 * So fork() waits until we are through. From 3.13 on (PyThreadState_GetUnchecked came with it) os.fork() itself holds
 * that lock: it would wait for us, and we for it. */
static _Atomic uint32_t birth_lock;
/* And while the channel is made: the child would not know those descriptors, and keep them. */
static _Atomic uint32_t channel_lock;

static void before_fork(void) {
    lock(&channel_lock);
    if (!py.PyThreadState_GetUnchecked)
        lock(&birth_lock);
}

static void after_fork_in_parent(void) {
    if (!py.PyThreadState_GetUnchecked)
        unlock(&birth_lock);
    unlock(&channel_lock);
}

/* The GIL for a thread of ours, always of the main interpreter; NULL: no memory is left (PyGILState_Ensure would
 * abort the program). No tool of the program shall see its code (coverage, a profiler: from 3.12 on they see all
 * threads; before 3.11 none of ours). */
static PyThreadState *enter_python(void) {
    lock(&birth_lock);
    PyThreadState *own = py.PyThreadState_New(py.PyInterpreterState_Main());
    unlock(&birth_lock);
    if (!own)
        return NULL;
    py.PyEval_RestoreThread(own);
    if (py.PyThreadState_EnterTracing)
        py.PyThreadState_EnterTracing(own);
    note_own_thread(0, pthread_self());
    return own;
}

static void leave_python(PyThreadState *own) {
    note_own_thread(pthread_self(), 0);
    if (py.PyThreadState_LeaveTracing)
        py.PyThreadState_LeaveTracing(own);
    py.PyThreadState_Clear(own);
    py.PyThreadState_DeleteCurrent();
}

/* The first act of each thread of ours: glibc has just taken signal 32 out of its mask. */
static void be_known_as_ours(void) {
    uint64_t ours = OUR_SIGNALS;
    syscall(SYS_rt_sigprocmask, SIG_SETMASK, &ours, NULL, 8);
}

static int start_thread(void *(*run)(void *), void *argument) {
    pthread_t thread;
    uint64_t ours = OUR_SIGNALS, old;
    syscall(SYS_rt_sigprocmask, SIG_SETMASK, &ours, &old, 8);
    int error = pthread_create(&thread, NULL, run, argument);
    syscall(SYS_rt_sigprocmask, SIG_SETMASK, &old, NULL, 8);
    if (!error)
        pthread_detach(thread);
    return error;
}

/* An evaluator has left the payload. Its answer is True if it has undone the session (one that was left
 * behind has not, and may come back in the middle of a later session). */
static void end_session(PyObject *answer, uint32_t generation) {
    if (answer && py.PyObject_IsTrue(answer) == 1 && pydb_state.generation == generation) {
        finished = 1;
        close_session();
    }
    py.Py_DecRef(answer);
    py.PyErr_Clear();
}

static void *run_callable(void *argument) {
    be_known_as_ours();
    PyObject *callable = argument;
    uint32_t generation = pydb_state.generation;
    PyThreadState *own = enter_python();
    if (own) {
        end_session(py.PyObject_CallObject(callable, NULL), generation);
        py.Py_DecRef(callable);
        leave_python(own);
    } else {
        close_session();
    }
    evaluators--;
    announce(&queue_news);
    return NULL;
}

/* spawn(callable) -> bool: another thread of ours that runs Python, every signal blocked */
HAND(hand_spawn) {
    PyObject *callable;
    PARSE("O", &callable);
    py.Py_IncRef(callable);
    evaluators++;
    int error = start_thread(run_callable, callable);
    if (error) {
        evaluators--;
        py.Py_DecRef(callable);
    }
    return py.PyBool_FromLong(!error);
}

/* Modules that not every session needs are kept as text until the payload asks for them: to compile them
 * would take time from every attach. */
static struct frame *kept;
static int run_source(struct frame *frame);

static int is_needed_at_once(const struct frame *frame) {
    return !strcmp(frame->data, "pythreadhacks") || !strcmp(frame->data, "pyinjectcode");
}

static void keep_source(struct frame *frame) {
    struct frame **end = &kept;
    while (*end)
        end = &(*end)->next;
    frame->next = NULL;
    *end = frame;
}

/* load(name) -> bool: runs the pieces of a module that were kept; False if there are none (any more). In an
 * error the rest stays where it is. */
HAND(hand_load) {
    const char *name;
    PARSE("s", &name);
    int found = 0;
    for (struct frame **at = &kept, *frame; (frame = *at); ) {
        if (strcmp(frame->data, name)) {
            at = &frame->next;
            continue;
        }
        *at = frame->next;
        int failed = run_source(frame);
        free(frame);
        if (failed)
            return NULL;
        breathe();
        found = 1;
    }
    return py.PyBool_FromLong(found);
}

/* namespace(name) -> a module of the payload */
HAND(hand_namespace) {
    const char *name;
    PARSE("s", &name);
    PyObject *module = py.PyDict_GetItemString(payload_modules, name);
    if (!module)
        return none();
    py.Py_IncRef(module);
    return module;
}

static struct PyMethodDef hands[] = {
#define METHOD(name) {#name, hand_##name, METH_VARARGS, NULL}
    METHOD(send), METHOD(next_frame), METHOD(poke), METHOD(news), METHOD(wait), METHOD(wake),
    METHOD(is_open), METHOD(ident), METHOD(monotonic), METHOD(interrupt), METHOD(finish), METHOD(native_id),
    METHOD(cpu_time), METHOD(idents), METHOD(has_subinterpreters), METHOD(note_depth), METHOD(frame),
    METHOD(set_locals), METHOD(gate), METHOD(at_fork), METHOD(start_times), METHOD(read_files), METHOD(done), METHOD(breathe),
    METHOD(trace), METHOD(prepare), METHOD(breaks), METHOD(adopt), METHOD(renew), METHOD(raised), METHOD(load),
    METHOD(namespace), METHOD(visit), METHOD(visit_state), METHOD(end_visits), METHOD(hear_visits), METHOD(free_signal), METHOD(lender), METHOD(end_loan),
    METHOD(raiser), METHOD(raise_later), METHOD(spawn),
};

/* The kinds of frames, by the names of wire.h, so that the payload does not repeat them. */
static const struct { const char *name; int kind; } kinds[] = {
#define KIND(name) {#name, WIRE_##name}
    KIND(LINE), KIND(EOF), KIND(INTERRUPT), KIND(DETACH), KIND(COMPLETE), KIND(SIZE),
    KIND(OUTPUT), KIND(CODE), KIND(NOTICE), KIND(ERROR), KIND(READ), KIND(MATCHES), KIND(STATE), KIND(DUMP), KIND(SAVE),
};

/* ---- the payload ---- */

static PyObject *make_hands(void) {
    PyObject *module = py.PyModule_New("hands"), *dict = module ? py.PyModule_GetDict(module) : NULL;
    for (size_t i = 0; dict && i < sizeof hands / sizeof *hands; i++) {
        PyObject *function = py.PyCFunction_NewEx(&hands[i], NULL, NULL);
        if (function)
            py.PyDict_SetItemString(dict, hands[i].name, function);
        py.Py_DecRef(function);
    }
    for (size_t i = 0; dict && i < sizeof kinds / sizeof *kinds; i++) {
        PyObject *kind = py.PyLong_FromLong(kinds[i].kind);
        py.PyDict_SetItemString(dict, kinds[i].name, kind);
        py.Py_DecRef(kind);
    }
    if (dict)
        py.PyDict_SetItemString(dict, "modules", py.PyImport_GetModuleDict());
    return module;
}

/* The namespace of one of our two modules. They share `hands` and a private copy of the builtins:
 * what the program has put into its own does not matter to us. */
static PyObject *find_namespace(const char *name) {
    PyObject *module;
    if (!payload_modules) {
        PyObject *hands_module = make_hands(), *builtins = py.PyDict_Copy(py.PyEval_GetBuiltins());
        payload_modules = py.PyDict_New();
        if (!hands_module || !builtins || !payload_modules)
            return NULL;
        py.PyDict_SetItemString(payload_modules, "hands", hands_module);
        py.PyDict_SetItemString(payload_modules, "__builtins__", builtins);
    }
    int known = (module = py.PyDict_GetItemString(payload_modules, name)) != NULL;
    if (!known && !(module = py.PyModule_New(name)))
        return NULL;
    PyObject *dict = py.PyModule_GetDict(module);
    if (!known) {
        py.PyDict_SetItemString(dict, "hands", py.PyDict_GetItemString(payload_modules, "hands"));
        py.PyDict_SetItemString(dict, "__builtins__", py.PyDict_GetItemString(payload_modules, "__builtins__"));
        py.PyDict_SetItemString(payload_modules, name, module);
        py.Py_DecRef(module);
    }
    /* Each time: a client that is gone may have begun with another module. */
    for (const char **friend = (const char *[]){"pythreadhacks", "pyinjectcode", NULL}; *friend; friend++) {
        PyObject *other = py.PyDict_GetItemString(payload_modules, *friend);
        if (other && other != module)
            py.PyDict_SetItemString(dict, *friend, other);
    }
    return dict;
}

/* WIRE_SOURCE: name, 0, line, 0, text. Compiled at its line by a run of newlines in front. */
static int run_source(struct frame *frame) {
    const char *name = frame->data, *line = name + strlen(name) + 1, *end = frame->data + frame->size;
    if (line >= end)
        return -1;
    const char *text = line + strlen(line) + 1;
    long newlines = -1;
    for (const char *digit = line; *digit >= '0' && *digit <= '9' && newlines < 100000; digit++)
        newlines = (newlines < 0 ? 0 : newlines) * 10 + (*digit - '0');
    newlines--;
    PyObject *namespace = find_namespace(name), *code = NULL, *result = NULL;
    if (!namespace || text > end || newlines < 0 || newlines > 100000)
        return -1;
    char *whole = malloc(newlines + (end - text) + 1);
    if (whole) {
        memset(whole, '\n', newlines);
        memcpy(whole + newlines, text, end - text);
        whole[newlines + (end - text)] = 0;
        code = py.Py_CompileString(whole, name, FILE_INPUT);
        free(whole);
    }
    if (code)
        result = py.PyEval_EvalCode(code, namespace, namespace);
    if (code)
        py.Py_DecRef(code);
    if (result)
        py.Py_DecRef(result);
    return result ? 0 : -1;
}

static void send_error(const char *what) {
    char text[512];
    size_t n = strlen(what);
    memcpy(text, what, n + 1);
    if (py.PyErr_Occurred())
        take_error(text + n, sizeof text - n);
    PyThreadState *thread = NULL;
    send_frame(WIRE_ERROR, text, strlen(text), 0, &thread);
    if (thread)
        py.PyEval_RestoreThread(thread);
}

/* Frames until WIRE_START, then main() of the payload. What was sent once is kept: the library and
 * the payload are of one build. */
static void serve_session(uint32_t generation) {
    PyObject *started = payload;
    int64_t held_since = now_us();
    while (session_open) {
        if (now_us() - held_since > GIL_US) {
            breathe();
            held_since = now_us();
        }
        uint32_t seen = queue_news;
        struct frame *frame = pop_frame();
        if (!frame) {
            PyThreadState *thread = py.PyEval_SaveThread();
            await_change(&queue_news, seen, FRAME_MS);
            py.PyEval_RestoreThread(thread);
            continue;
        }
        if (frame->kind == WIRE_SOURCE && !started && !is_needed_at_once(frame)) {
            keep_source(frame);
            continue;
        }
        if (frame->kind == WIRE_SOURCE && !started && run_source(frame)) {
            send_error("the payload does not run in this Python: ");
            free(frame);
            break;
        }
        if (frame->kind == WIRE_START) {
            PyObject *namespace = find_namespace("pyinjectcode");
            PyObject *begin = namespace ? py.PyDict_GetItemString(namespace, "main") : NULL;
            if (begin)
                payload = namespace;    /* not one that never came: the next client would send its own in vain */
            PyObject *result = begin ? py._PyObject_CallFunction_SizeT(begin, "y#", frame->data, (ssize_t)frame->size) : NULL;
            free(frame);
            if (result) {
                end_session(result, generation);
                return;
            }
            send_error("the session has failed: ");
            break;
        }
        free(frame);
    }
    if (pydb_state.generation == generation) {
        finished = 1;
        close_session();
    }
}

static void *run_evaluator(void *unused) {
    (void)unused;
    be_known_as_ours();
    int tid = syscall(SYS_gettid);
    pydb_state.evaluator = tid;
    PyThreadState *own = enter_python();
    uint32_t generation = pydb_state.generation;
    lock(&state_lock);
    waiting_evaluator = 0;
    int open = session_open;
    if (open)
        evaluators++;
    unlock(&state_lock);
    if (open && !own) {
        static const char words[] = "the process has no memory left for a session; it runs on";
        send_frame(WIRE_ERROR, words, sizeof words - 1, 0, NULL);
        for (int ms = 0; session_open && pydb_state.phase < PYDB_OPEN && ms < FRAME_MS; ms++)
            poll(NULL, 0, 1);   /* the client has not opened the channel yet */
        finished = 1;
        close_session();
    } else if (open) {
        pydb_state.has_gil = 1;
        PyThreadState *thread = NULL;
        send_frame(WIRE_ALIVE, "", 0, 0, &thread);
        if (thread)
            py.PyEval_RestoreThread(thread);
        serve_session(generation);
        py.PyErr_Clear();
    }
    if (own)
        leave_python(own);
    if (pydb_state.evaluator == tid)
        pydb_state.evaluator = 0;
    if (open) {
        evaluators--;
        announce(&queue_news);
    }
    return NULL;
}

/* Runs a function of the payload, by name, in a thread of its own: to interrupt what cannot hear. */
static _Atomic uint32_t messengers, messenger_generation;

static void *run_messenger(void *name) {
    be_known_as_ours();
    if (!py.Py_IsInitialized()) {       /* the interpreter has ended, and the process lives on in C */
        messengers = 0;
        return NULL;
    }
    PyThreadState *own = enter_python();
    PyObject *function = own && payload && messenger_generation == pydb_state.generation ? py.PyDict_GetItemString(payload, name) : NULL;
    PyObject *result = function ? py.PyObject_CallObject(function, NULL) : NULL;
    if (result)
        py.Py_DecRef(result);
    else if (own)
        py.PyErr_Clear();
    if (own)
        leave_python(own);
    messengers = 0;
    return NULL;
}

static void send_messenger(const char *name) {
    if (atomic_exchange(&messengers, 1))
        return;                 /* the one before still waits for the GIL */
    messenger_generation = pydb_state.generation;
    if (start_thread(run_messenger, (void *)name))
        messengers = 0;
}

/* ---- the keeper ---- */

/* The child of a fork is not debugged and has none of our descriptors or threads. The memory of the
 * session is left as it is: somebody may have been in the middle of it. */
static void after_fork_in_child(void) {
    close_end(&in_read);
    close_end(&out_write);
    close_end(&bell_read);
    close_end(&bell_write);
    drop_client_ends();
    drop_loan();
    end_visits();
    forked = 1;
    bell_lock = 0;
    state_lock = queue_lock = write_lock = birth_lock = channel_lock = 0;
    session_open = waiting_evaluator = evaluators = messengers = 0;
    queue_head = queue_tail = NULL;
    pydb_state.phase = PYDB_IDLE;
    pydb_state.keeper = pydb_state.evaluator = pydb_state.has_gil = 0;
}

extern int __register_atfork(void (*)(void), void (*)(void), void (*)(void), void *);

/* Reads frames until the client is gone or detaches. */
static void keep_channel(void) {
    long ms = COME_MS;
    for (struct frame *frame; session_open && (frame = read_frame(ms)); ms = -1) {
        if (pydb_state.phase == PYDB_READY) {
            drop_client_ends();
            pydb_state.phase = PYDB_OPEN;
        }
        if (frame->kind == WIRE_DETACH) {
            free(frame);
            return;
        }
        if (frame->kind == WIRE_INTERRUPT) {
            free(frame);
            send_messenger("on_interrupt");
            continue;
        }
        if (frame->kind == WIRE_LEND) {
            lend(frame->data);
            free(frame);
            continue;
        }
        push_frame(frame);
    }
}

/* Waits until the payload has undone everything, and helps an evaluator that is stuck. */
static void await_undo(void) {
    int64_t start = now_ms(), next = start + HANGUP_MS;
    while (evaluators && !finished && py.Py_IsInitialized()) {
        uint32_t seen = queue_news;
        if (!evaluators || finished)
            break;
        await_change(&queue_news, seen, 20);
        if (now_ms() > next) {
            send_messenger("on_hangup");
            lend_again();
            next = now_ms() + HANGUP_MS;
        }
    }
}

static void run_keeper(void) {
    keep_channel();
    close_session();
    await_undo();
    int64_t end = now_ms() + LEAVE_MS;        /* our threads leave Python before we say good bye */
    while (((pydb_state.evaluator && !waiting_evaluator && evaluators) || (messengers && loan.write.fd >= 0))
           && py.Py_IsInitialized() && now_ms() < end) {
        struct timespec t = {0, 200000};
        syscall(SYS_clock_nanosleep, CLOCK_MONOTONIC, 0, &t, NULL);
    }
    end_visits();
    end_loan();                 /* behind it the GIL may not come for a long time */
    loan.tid = 0;
    send_frame(WIRE_BYE, "", 0, 1, NULL);
    close_channel();
    drop_frames();
}

/* Is there address space for the stack of the evaluator and for its work? With less a session would fail in the
 * middle, in one place or another. */
static int check_memory(void) {
    struct rlimit stack = {0};
    getrlimit(RLIMIT_STACK, &stack);
    size_t size = MEMORY_NEEDED + (stack.rlim_cur == RLIM_INFINITY ? 0 : stack.rlim_cur);
    void *room = mmap(NULL, size, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    return room == MAP_FAILED ? -1 : munmap(room, size);
}

/* Threads inherit their priority: ours, which may compute what the user likes, must not stand before the program's. Read
 * from /proc: a system call more would be one more for a seccomp filter to kill for. */
static void lose_priority(void) {
    struct sched_param none = {0};
    long policy = read_stat(syscall(SYS_gettid), POLICY);
    if (policy == SCHED_FIFO || policy == SCHED_RR)
        syscall(SYS_sched_setscheduler, 0, SCHED_OTHER, &none);
}

/* Called by the stub's thread, after dlopen or in a library that is there already. */
EXPORT void *pydb_entry(const char *python, struct pydb_note *note, const char *path) {
    static _Atomic int prepared;
    uint32_t phase = PYDB_IDLE;
    int entered = atomic_compare_exchange_strong(&pydb_state.phase, &phase, PYDB_LOADING);
    if (!entered && phase == PYDB_FAILED && prepared)
        entered = atomic_compare_exchange_strong(&pydb_state.phase, &phase, PYDB_LOADING);
    if (path && *path == '/')
        unlink(path);
    if (!entered) {
        note->state = (uint64_t)&pydb_state;
        return NULL;
    }
    lose_priority();
    pydb_state.keeper = syscall(SYS_gettid);
    pydb_state.generation++;
    pydb_state.has_gil = 0;
    finished = forked = 0;
    int failed = !prepared && find_python(python);
    if (!failed && !prepared)
        __register_atfork(before_fork, after_fork_in_parent, after_fork_in_child, NULL);
    prepared |= !failed;        /* what fails from here on may be tried again */
    if (!failed && !(failed = check_memory())) {
        lock(&channel_lock);
        failed = open_channel();
        unlock(&channel_lock);
    }
    if (failed) {
        pydb_state.error = prepared || py.None ? errno : ENOSYS;
        pydb_state.keeper = 0;
        pydb_state.phase = PYDB_FAILED;
        note->state = (uint64_t)&pydb_state;
        return NULL;
    }
    lock(&state_lock);
    session_open = 1;
    int start = !waiting_evaluator;
    waiting_evaluator = 1;
    unlock(&state_lock);
    if (start) {
        int error = start_thread(run_evaluator, NULL);
        if (error) {
            waiting_evaluator = 0;
            session_open = 0;
            close_channel();
            pydb_state.error = error;
            pydb_state.keeper = 0;
            pydb_state.phase = PYDB_FAILED;
            note->state = (uint64_t)&pydb_state;
            return NULL;
        }
    }
    pydb_state.phase = PYDB_READY;
    note->state = (uint64_t)&pydb_state;
    run_keeper();
    pydb_state.keeper = 0;
    pydb_state.phase = PYDB_IDLE;
    return NULL;
}
