/* SPDX-License-Identifier: MIT
 * python.c - is it CPython, which version, and is the interpreter ready?
 *
 * An image that defines Py_GetVersion holds an interpreter: a static python3.11, libpython3.12.so.1.0,
 * or a program with an embedded one. Names of files say nothing (uwsgi is one, a script may be called
 * python). From 3.11 on Py_Version tells the version; before, the functions that came with each.
 * PyPy calls all of its C API PyPy..., but has rpython_startup_code.
 */
#define _GNU_SOURCE
#include <string.h>
#include <unistd.h>

#include "look.h"

#define LINK_MAPS_AT_MOST 4096

static const struct {
    const char *symbol;
    int version;
} arrivals[] = {                /* newest first: the first one that is there decides */
    {"PyModule_AddObjectRef", 0x030a},
    {"PyFrame_GetBack", 0x0309},
    {"PyConfig_Read", 0x0308},
    {"PyThread_tss_create", 0x0307},
    {"PyOS_FSPath", 0x0306},
    {"PyObject_Calloc", 0x0305},
    {"PyMem_RawMalloc", 0x0304},
    {"PyUnicode_AsUTF8", 0x0303},
    {"PyUnicode_FromString", 0x0300},
    {"PyCapsule_New", 0x0207},
    {"PyString_FromString", 0x0200},
};

static int find_version(struct target *target, struct elf *elf) {
    uint64_t at = find_symbol(elf, "Py_Version"), number;
    if (at)         /* in a core without its file it cannot be read, and then nothing may be guessed */
        return !read_memory(&target->memory, at, &number, sizeof number) && number >> 24 == 3 ? number >> 16 : 0;
    int is_two = find_symbol(elf, "PyString_FromString") != 0;
    for (size_t i = 0; i < sizeof arrivals / sizeof *arrivals; i++)
        if (is_two == (arrivals[i].version < 0x0300) && find_symbol(elf, arrivals[i].symbol))
            return arrivals[i].version;
    return 0;
}

/* The name under which the dynamic linker knows an image: the only one that dlopen(RTLD_NOLOAD) is
 * sure to find again. Its list hangs on DT_DEBUG of the program: r_debug.r_map, link_map.l_ld. */
static int find_link_name(struct target *target, const struct elf *elf, char *name, size_t size) {
    uint64_t head[2], map[4];   /* r_version, r_map; l_addr, l_name, l_ld, l_next */
    if (!target->program || !target->program->debug
        || read_memory(&target->memory, target->program->debug, head, sizeof head))
        return -1;
    uint64_t at = head[1];
    for (int i = 0; at && i < LINK_MAPS_AT_MOST; i++, at = map[3]) {
        if (read_memory(&target->memory, at, map, sizeof map))
            return -1;
        if (map[2] == elf->dynamic)
            return read_text(&target->memory, map[1], name, size) || name[0] != '/' ? -1 : 0;
    }
    return -1;
}

/* The image of the program, of the C library and of the dynamic linker. */
static void name_images(struct target *target) {
    for (int i = 0; i < target->image_count; i++) {
        struct elf *elf = &target->images[i];
        if (target->program_headers && is_in(elf, target->program_headers))
            target->program = elf;      /* the linker, where somebody runs ld-linux-x86-64.so.2 PROGRAM */
        if (!strcmp(elf->soname, "libc.so.6"))
            target->libc = elf;
        else if (!strncmp(elf->soname, "ld-linux", 8))
            target->linker = elf;
    }
}

/* The program itself comes first, then what calls itself libpython, then all the others. */
static struct elf *find_interpreter(struct target *target, const char *symbol) {
    for (int round = 0; round < 3; round++) {
        for (int i = 0; i < target->image_count; i++) {
            struct elf *elf = &target->images[i];
            int when = elf == target->program ? 0 : !strncmp(elf->soname, "libp", 4) ? 1 : 2;
            if (when == round && find_symbol(elf, symbol))
                return elf;
        }
    }
    return NULL;
}

static int refuse_starting(struct target *target) {
    return refuse(target, "starting", "process %d has not finished starting its Python interpreter; "
                  "try again in a moment", target->pid);
}

/* The program, and what is called libpython: nearly always one of them is it. */
static int is_likely(const struct target *target, const struct mapping *mapping) {
    const char *name = strrchr(mapping->name, '/');
    return (target->program_headers >= mapping->start && target->program_headers < mapping->end)
           || (name && !strncmp(name + 1, "libpython", 9));
}

/* all_images: the caller needs them. There may be hundreds, and to open one takes some reads. */
int find_python(struct target *target, int all_images) {
    struct elf *elf = NULL;
    for (int likely = !all_images; !elf && likely >= 0; likely--) {
        if (read_images(target, likely ? is_likely : NULL))
            return -1;
        target->program = target->libc = target->linker = NULL;
        name_images(target);
        elf = find_interpreter(target, "Py_GetVersion");
    }
    if (!elf) {
        if (find_interpreter(target, "rpython_startup_code"))
            return refuse(target, "PyPy", "process %d runs PyPy, supported is CPython 3.8 to 3.15", target->pid);
        if (target->program && target->program->needs_python)
            return refuse_starting(target);
        return refuse(target, "not Python", "process %d is not a CPython process: %s", target->pid,
                      target->exe[0] ? target->exe : target->status.name);
    }
    target->python.image = elf;
    target->python.version = find_version(target, elf);
    target->python.runtime = find_symbol(elf, "_PyRuntime");
    if (elf == target->program)
        strcpy(target->python.path, target->exe);
    else if (find_link_name(target, elf, target->python.path, sizeof target->python.path))
        snprintf(target->python.path, sizeof target->python.path, "%s", name_in_root(target, elf->mapping->name));
    return 0;
}

/* PyGILState_Ensure crashes before the interpreter is initialised and waits for ever once it ends. */
int check_ready(struct target *target) {
    struct layout layout;
    uint32_t initialized;
    uint64_t finalizing;
    if (read_layout(&target->memory, target->python.runtime, target->python.version, &layout)
        || read_memory(&target->memory, target->python.runtime + layout.runtime_initialized, &initialized, sizeof initialized)
        || read_memory(&target->memory, target->python.runtime + layout.runtime_finalizing, &finalizing, sizeof finalizing))
        return refuse(target, "cannot be read", "the memory of process %d cannot be read", target->pid);
    if (finalizing)
        return refuse(target, "ending", "process %d is ending: its Python interpreter is being finalized", target->pid);
    if (initialized != 1)
        return refuse_starting(target);
    return 0;
}

/* Which C library? None at all can also mean that the linker has not mapped it yet. */
static int check_libc(struct target *target) {
    if (target->libc)
        return 0;
    for (int i = 0; i < target->image_count; i++)
        if (strstr(target->images[i].soname, "musl") || !strcmp(target->images[i].soname, "libc.so"))
            return refuse(target, "musl", "process %d uses musl libc; only glibc is supported", target->pid);
    if (check_ready(target))
        return -1;
    return refuse(target, "no glibc", "process %d uses no shared C library; only glibc is supported", target->pid);
}

int check_version(struct target *target) {
    int version = target->python.version;
    char brief[32];
    struct layout layout;
    if (version < FIRST_VERSION || version > LAST_VERSION) {
        if (!version)
            return refuse(target, "unknown Python", "process %d runs a Python of unknown version, "
                          "supported are 3.8 to 3.15", target->pid);
        snprintf(brief, sizeof brief, "Python %d.%d", version >> 8, version & 0xff);
        return refuse(target, brief, "process %d runs %s, supported are 3.8 to 3.15", target->pid, brief);
    }
    if (!target->python.runtime || read_layout(&target->memory, target->python.runtime, version, &layout))
        return refuse(target, "unknown layout", "process %d runs a Python %d.%d whose data cannot be read", target->pid,
                      version >> 8, version & 0xff);
    if (check_libc(target))
        return -1;
    if (layout.free_threaded) {
        snprintf(brief, sizeof brief, "free-threaded Python %d.%d", version >> 8, version & 0xff);
        return refuse(target, brief, "process %d runs a %s; only builds with the GIL can be attached to", target->pid, brief);
    }
    return 0;
}
