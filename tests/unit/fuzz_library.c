/* SPDX-License-Identifier: MIT
 * fuzz_library.c - what a hostile client may send to the library in the target, made up by libFuzzer.
 *
 * The keeper reads the input as frames, cut in reads of any size; the evaluator takes them with a Python that
 * is made of stubs: pieces of source are compiled (read, that is), main() gets the options and then every
 * frame. Besides the sanitizers it is judged that the frames that arrive are those that were sent, up to the first
 * one that is longer than allowed, of an unknown kind, not whole, or WIRE_DETACH, and none after it.
 *
 *     byte 0      MANNER_...
 *     byte 1      the longest read, 0: any
 *     then        the bytes of the channel; in MANNER_FRAMED (kind, two bytes of length, payload)..., to be made into frames
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <poll.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

static const char *input;
static size_t input_left, longest_read;
static unsigned reads;

/* A client that has nothing to say just now, and a signal, now and then. */
static ssize_t fuzz_read(int fd, void *buffer, size_t size) {
    (void)fd;
    if (longest_read && ++reads % 3 == 0) {
        errno = reads % 2 ? EAGAIN : EINTR;
        return -1;
    }
    size = longest_read && size > longest_read ? longest_read : size;
    size = size < input_left ? size : input_left;
    memcpy(buffer, input, size);
    input += size;
    input_left -= size;
    return (ssize_t)size;
}

static int fuzz_poll(struct pollfd *waits, nfds_t count, int ms) {
    (void)ms;
    for (nfds_t i = 0; i < count; i++)
        waits[i].revents = 0;
    return 0;
}

/* No deadline passes, however slow the machine is. */
static int fuzz_clock(clockid_t clock, struct timespec *time) {
    (void)clock;
    *time = (struct timespec){1, 0};
    return 0;
}

#define clock_gettime(...) fuzz_clock(__VA_ARGS__)
#define read(...) fuzz_read(__VA_ARGS__)
#define poll(...) fuzz_poll(__VA_ARGS__)
#include "pyinjectcode.c"
#undef read
#include "fuzz_frames.h"

enum { MANNER_FRAMED = 1, MANNER_FAILS = 2, HEAD = 2 };

static const char client_kinds[] = WIRE_CLIENT_KINDS;

/* ---- the frames as they were sent, and as they arrive ---- */

struct sum {
    unsigned frames;
    uint64_t hash;
};
static struct sum sent, arrived;

/* FNV-1a; reads each byte, so that the sanitizer sees it. */
static void add_frame(struct sum *sum, int kind, const char *data, size_t size) {
    uint64_t hash = sum->hash ^ (uint64_t)kind << 32 ^ size;
    for (size_t i = 0; i < size; i++)
        hash = (hash ^ (unsigned char)data[i]) * 0x100000001b3u;
    *sum = (struct sum){sum->frames + 1, hash};
}

static void add_sent(const char *data, size_t size) {
    while (size >= WIRE_HEADER && memchr(client_kinds, data[0], sizeof client_kinds) && data[0] != WIRE_DETACH) {
        uint32_t length;
        memcpy(&length, data + 1, 4);
        if (length > WIRE_MAX || length > size - WIRE_HEADER)
            return;
        if (data[0] != WIRE_INTERRUPT && data[0] != WIRE_LEND)          /* the keeper's own */
            add_frame(&sent, data[0], data + WIRE_HEADER, length);
        data += WIRE_HEADER + length;
        size -= WIRE_HEADER + length;
    }
}

/* ---- a Python of stubs: objects are counted, text is read ---- */

struct PyObject {
    int references;
};
static PyObject forever;        /* all modules and dicts */
static int manner, objects;

static PyObject *new_object(void) {
    PyObject *object = calloc(1, sizeof *object);
    if (!object)
        abort();
    object->references = 1;
    objects++;
    return object;
}

static void drop_object(PyObject *object) {
    if (object && object != &forever && !--object->references) {
        free(object);
        objects--;
    }
}

static void read_text(const char *text, size_t size) {
    struct sum unused = {0};
    add_frame(&unused, 0, text, size);
}

static PyObject *compile_text(const char *text, const char *name, int start) {
    (void)start;
    read_text(name, strlen(name));
    read_text(text, strlen(text));
    return manner & MANNER_FAILS && strstr(text, "fail") ? NULL : new_object();
}

static PyObject *run_code(PyObject *code, PyObject *globals, PyObject *locals) {
    (void)globals, (void)locals;
    return code->references == 1 ? new_object() : NULL;
}

static const char *parsed_name;

static int parse_arguments(PyObject *arguments, const char *format, ...) {
    va_list list;
    (void)arguments;
    va_start(list, format);
    if (*format == 'l')
        *va_arg(list, long *) = 0;
    else if (*format == 's')
        *va_arg(list, const char **) = parsed_name;
    va_end(list);
    return 1;
}

/* next_frame() has one. */
static PyObject *build_value(const char *format, ...) {
    va_list list;
    va_start(list, format);
    int kind = va_arg(list, int);
    const char *data = va_arg(list, const char *);
    ssize_t size = va_arg(list, ssize_t);
    va_end(list);
    if (kind)
        add_frame(&arrived, kind, data, (size_t)size);
    return new_object();
}

/* main() of the payload: takes all frames, and loads a module or two. */
static PyObject *call_main(PyObject *function, const char *format, ...) {
    va_list list;
    (void)function;
    if (strcmp(format, "y#"))
        return NULL;
    va_start(list, format);
    const char *options = va_arg(list, const char *);
    ssize_t size = va_arg(list, ssize_t);
    va_end(list);
    read_text(options, (size_t)size);
    while (queue_head)
        drop_object(hand_next_frame(NULL, NULL));
    for (int i = 0; i < 2; i++) {
        parsed_name = i ? "pybreaks" : "pycatch";
        drop_object(hand_load(NULL, NULL));
    }
    session_open = 0;
    return manner & MANNER_FAILS ? NULL : new_object();
}

/* The evaluator has taken all there is. */
static PyThreadState *save_thread(void) {
    if (!queue_head) {
        session_open = 0;
        announce(&queue_news);
    }
    return NULL;
}

static void restore_thread(PyThreadState *thread) { (void)thread; }
static void take_object(PyObject *object) { object->references += object != &forever; }
static PyObject *get_forever(void) { return &forever; }
static PyObject *get_item(PyObject *dict, const char *name) { (void)dict, read_text(name, strlen(name)); return &forever; }
static PyObject *get_dict(PyObject *module) { return module; }
static PyObject *to_bool(long value) { (void)value; return new_object(); }
static int is_true(PyObject *object) { (void)object; return 1; }
static void clear_error(void) { }
static PyObject *no_error(void) { return NULL; }

static void set_up_python(void) {
    py.Py_CompileString = compile_text;
    py.PyEval_EvalCode = run_code;
    py._PyArg_ParseTuple_SizeT = parse_arguments;
    py._Py_BuildValue_SizeT = build_value;
    py._PyObject_CallFunction_SizeT = call_main;
    py.PyEval_SaveThread = save_thread;
    py.PyEval_RestoreThread = restore_thread;
    py.Py_IncRef = take_object;
    py.Py_DecRef = drop_object;
    py.PyEval_GetBuiltins = get_forever;
    py.PyDict_GetItemString = get_item;
    py.PyModule_GetDict = get_dict;
    py.PyBool_FromLong = to_bool;
    py.PyObject_IsTrue = is_true;
    py.PyErr_Clear = clear_error;
    py.PyErr_Occurred = no_error;
    py.None = &forever;
    payload_modules = &forever;
}

/* What the keeper has queued. */
static void add_arrived(void) {
    for (struct frame *frame = queue_head; frame; frame = frame->next) {
        if (frame->data[frame->size])
            abort();
        add_frame(&arrived, frame->kind, frame->data, frame->size);
    }
}

int LLVMFuzzerInitialize(int *count, char ***arguments);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerInitialize(int *count, char ***arguments) {
    (void)count, (void)arguments;
    set_up_python();
    messengers = 1;             /* there is one already: no more threads */
    py.PyThreadState_GetUnchecked = NULL;       /* and nobody who could lend the GIL */
    int failed = open_channel();
    drop_client_ends();
    return failed;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    if (size < HEAD)
        return 0;
    manner = data[0];
    longest_read = data[1];
    reads = 0;
    char *frames = manner & MANNER_FRAMED ? make_frames(data + HEAD, size - HEAD, client_kinds, sizeof client_kinds, &input_left) : NULL;
    input_left = frames ? input_left : size - HEAD;
    input = frames ? frames : (const char *)data + HEAD;
    sent = arrived = (struct sum){0};
    add_sent(input, input_left);

    session_open = 1;
    finished = 0;
    pydb_state.phase = PYDB_READY;
    pydb_state.generation++;
    keep_channel();
    add_arrived();
    if (sent.frames != arrived.frames || sent.hash != arrived.hash) {
        fprintf(stderr, "%u frames were sent, %u have arrived\n", sent.frames, arrived.frames);
        abort();
    }
    serve_session(pydb_state.generation);

    drop_frames();
    for (struct frame *next; kept; kept = next) {
        next = kept->next;
        free(kept);
    }
    payload = NULL;
    free(frames);
    if (objects)
        abort();
    return 0;
}
