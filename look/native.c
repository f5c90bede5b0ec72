/* SPDX-License-Identifier: MIT
 * native.c - the C stack of a thread, by the unwind tables (.eh_frame) of the mapped files.
 *
 * A stack can only be unwound while it stands still, so this is the one part of look that stops a
 * thread: PTRACE_SEIZE and PTRACE_INTERRUPT, its registers and the used part of its stack are copied,
 * `meanwhile` reads its Python frames, and it is let go. All the rest works on the copy. What this
 * may do to the target is what any ptrace stop does (system calls restart; epoll_wait and a few others
 * fail with EINTR). It can never be left stopped: each stop is the work of a thread of ours, and the
 * kernel detaches what a tracer has when that thread ends, on whatever way. So a thread in state D,
 * which does not stop before the deadline, is let go by ending ours.
 *
 * libdw (elfutils) knows DWARF. It is opened when it is wanted, not linked: loading it takes as long
 * as a whole dump without C frames. It sees the files only (find_elf), none of its debug information
 * and no debuginfod. Names come from .symtab, or .dynsym where a file is stripped; the linear search is
 * done once for each pc.
 *
 * A file is opened through /proc/PID/map_files, or under the target's root, and must begin as what is
 * mapped does: that has the ELF header, the segments and usually the build id.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <elfutils/libdwfl.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/ptrace.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "core.h"
#include "native.h"

#define STOP_MS 300             /* a thread that runs or sleeps stops within one */
#define ALL_STOPS_MS 1500       /* for those that did not, together; then the others get 10 */
#define STACK_AT_MOST (8ul << 20)
#define FRAMES_AT_MOST 20000
#define RED_ZONE 128
#define NAMES_ROOM 4096         /* a power of two; pcs whose function is remembered */
#define VDSO_AT_MOST (64ul << 10)

#define LIBDW(X) \
    X(dwfl_begin) X(dwfl_end) X(dwfl_report_begin) X(dwfl_report_module) X(dwfl_report_end) \
    X(dwfl_attach_state) X(dwfl_getthread_frames) X(dwfl_frame_pc) X(dwfl_thread_state_registers) \
    X(dwfl_thread_state_register_pc) X(dwfl_errmsg) X(dwfl_errno) \
    X(dwfl_module_info)

/* Since elfutils 0.188; without it frames have no stack pointer. */
typedef int (*frame_register)(Dwfl_Frame *state, unsigned number, Dwarf_Word *value);

static struct {
#define X(name) __typeof__(&name) name;
    LIBDW(X)
#undef X
    frame_register dwfl_frame_reg;
} dw;

struct module {
    const char *name;
    uint64_t start, end, base;
    int mapping;                /* its first one, in target->mappings */
    const unsigned char *file;  /* NULL: not read yet, or cannot be */
    uint64_t size;
    const Elf64_Sym *symbols;
    uint64_t symbol_count, strings_size;
    const char *strings;
    int asked;
};

struct name {
    uint64_t pc, start;
    char *function;
    int known, evaluates;
};

struct native {
    struct target *target;
    Dwfl *dwfl;
    struct module *modules;
    int module_count;
    struct name names[NAMES_ROOM];
    char *(*demangle)(const char *, char *, size_t *, int *);
    int asked_demangler;
    /* the thread that is looked at */
    pid_t tid;
    uint64_t registers[REGISTERS_AT_MOST];
    unsigned char *stack;
    uint64_t stack_at, stack_size, stack_room, stack_end;
    struct native_stack *out;
    int cut;
    int in_vain;                /* ms that were waited for threads that did not stop */
};

/* ---- the files ---- */

static int compare_modules(const void *a, const void *b) {
    const struct module *one = a, *other = b;
    return one->start < other->start ? -1 : one->start > other->start;
}

static struct module *find_module(struct native *native, uint64_t pc) {
    int low = 0, high = native->module_count;
    while (low < high) {
        int middle = (low + high) / 2;
        struct module *m = &native->modules[middle];
        if (pc >= m->end)
            low = middle + 1;
        else if (pc < m->start)
            high = middle;
        else
            return m;
    }
    return NULL;
}

/* Does the file begin as the memory does? An image whose first page is not to be had (a core) is taken on trust. */
static int is_same_file(struct native *native, const struct module *module, int fd) {
    unsigned char mapped[PAGE], filed[PAGE];
    ssize_t n = pread(fd, filed, sizeof filed, 0);
    if (n < (ssize_t)sizeof(Elf64_Ehdr))
        return 0;
    if (read_memory(&native->target->memory, module->start, mapped, n))
        return core_of(&native->target->memory) != NULL;
    return !memcmp(mapped, filed, n);
}

static int accept_file(struct native *native, const struct module *module, int fd) {
    struct stat info;
    if (fd < 0)
        return -1;
    if (!fstat(fd, &info) && S_ISREG(info.st_mode) && is_same_file(native, module, fd))
        return fd;
    close(fd);
    return -1;
}

/* The kernel's own code in the process has no file: a copy of its memory is one. */
static int copy_vdso(struct native *native, const struct module *module) {
    char bytes[VDSO_AT_MOST];
    uint64_t size = module->end - module->start;
    if (size > sizeof bytes || read_memory(&native->target->memory, module->start, bytes, size))
        return -1;
    int fd = memfd_create("vdso", MFD_CLOEXEC);
    if (fd >= 0 && write(fd, bytes, size) == (ssize_t)size)
        return fd;
    if (fd >= 0)
        close(fd);
    return -1;
}

static int open_module(struct native *native, const struct module *module) {
    const struct target *target = native->target;
    const struct mapping *m = &target->mappings[module->mapping];
    char name[64];
    if (module->name[0] == '[')
        return copy_vdso(native, module);
    if (core_of(&target->memory))
        return accept_file(native, module, open_core_file(core_of(&target->memory), module->name));
    snprintf(name, sizeof name, "map_files/%lx-%lx", (unsigned long)m->start, (unsigned long)m->end);
    int fd = accept_file(native, module, openat(target->proc, name, O_RDONLY | O_NONBLOCK | O_NOCTTY | O_CLOEXEC));
    return fd >= 0 ? fd : accept_file(native, module, open_file_in_root(target, name_in_root(target, module->name)));
}

/* What ends before the image does: the first mapping of another file, or of none. */
static int add_module(struct native *native, const struct elf *elf) {
    const struct target *target = native->target;
    const struct mapping *first = elf->mapping, *last = first;
    int runs = 0, at = first - target->mappings;
    for (int i = at; i < target->mapping_count && target->mappings[i].start < elf->end; i++) {
        const struct mapping *m = &target->mappings[i];
        if (m->inode && (m->inode != first->inode || m->device != first->device))
            break;
        runs |= m->x;
        last = m;
    }
    if (!runs)
        return 0;               /* a file that somebody reads, not one that is loaded */
    native->modules[native->module_count++] = (struct module){
        .name = first->name, .start = first->start, .end = last->end, .base = elf->base, .mapping = at};
    return 1;
}

static int read_modules(struct native *native) {
    struct target *target = native->target;
    native->modules = calloc(target->image_count + 1, sizeof *native->modules);
    if (!native->modules)
        return -1;
    for (int i = 0; i < target->image_count; i++)
        add_module(native, &target->images[i]);
    for (int i = 0; i < target->mapping_count; i++) {
        struct elf vdso;
        if (!strcmp(target->mappings[i].name, "[vdso]")
            && !open_image(&vdso, &target->memory, &target->mappings[i], target->mappings[i].start))
            add_module(native, &vdso);
    }
    qsort(native->modules, native->module_count, sizeof *native->modules, compare_modules);
    int kept = 0;               /* no two may overlap */
    for (int i = 0; i < native->module_count; i++)
        if (!kept || native->modules[i].start >= native->modules[kept - 1].end)
            native->modules[kept++] = native->modules[i];
    native->module_count = kept;
    return 0;
}

/* ---- names ---- */

static const void *in_file(const struct module *module, uint64_t offset, uint64_t size) {
    return offset <= module->size && size <= module->size - offset ? module->file + offset : NULL;
}

/* The better symbol table of a file: .symtab has the static functions, too. */
static void find_symbols(struct module *module) {
    const Elf64_Ehdr *head = in_file(module, 0, sizeof *head);
    if (!head || head->e_shentsize != sizeof(Elf64_Shdr) || head->e_shoff % 8)
        return;
    const Elf64_Shdr *sections = in_file(module, head->e_shoff, head->e_shnum * sizeof *sections);
    for (int i = 0; sections && i < head->e_shnum; i++) {
        const Elf64_Shdr *s = &sections[i];
        if (s->sh_type != SHT_SYMTAB && (s->sh_type != SHT_DYNSYM || module->symbols))
            continue;
        if (s->sh_offset % 8 || s->sh_link >= head->e_shnum)
            continue;
        const Elf64_Shdr *strings = &sections[s->sh_link];
        const void *table = in_file(module, s->sh_offset, s->sh_size);
        const char *text = in_file(module, strings->sh_offset, strings->sh_size);
        if (!table || !text || !strings->sh_size || text[strings->sh_size - 1])
            continue;
        module->symbols = table;
        module->symbol_count = s->sh_size / sizeof *module->symbols;
        module->strings = text;
        module->strings_size = strings->sh_size;
    }
}

static void read_module(struct native *native, struct module *module) {
    struct stat info;
    if (module->asked)
        return;
    module->asked = 1;
    int fd = open_module(native, module);
    if (fd < 0)
        return;
    void *file = fstat(fd, &info) ? MAP_FAILED : mmap(NULL, info.st_size, PROT_READ, MAP_PRIVATE, fd, 0);
    close(fd);
    if (file == MAP_FAILED)
        return;
    module->file = file;
    module->size = info.st_size;
    find_symbols(module);
}

/* The function that covers an address of the file; a global name before a local one. */
static const Elf64_Sym *find_covering(const struct module *module, uint64_t at) {
    const Elf64_Sym *best = NULL;
    for (uint64_t i = 0; i < module->symbol_count; i++) {
        const Elf64_Sym *s = &module->symbols[i];
        int type = ELF64_ST_TYPE(s->st_info);
        if (at < s->st_value || at - s->st_value >= s->st_size || s->st_shndx == SHN_UNDEF
            || (type != STT_FUNC && type != STT_GNU_IFUNC && type != STT_NOTYPE) || s->st_name >= module->strings_size)
            continue;
        if (!best || s->st_value > best->st_value
            || (s->st_value == best->st_value && ELF64_ST_BIND(s->st_info) > ELF64_ST_BIND(best->st_info)))
            best = s;
    }
    return best;
}

/* libstdc++ has the demangler; where no program uses C++ it is not even loaded. */
static char *demangle(struct native *native, const char *symbol) {
    int status;
    if (strncmp(symbol, "_Z", 2))
        return strdup(symbol);
    if (!native->asked_demangler) {
        void *library = dlopen("libstdc++.so.6", RTLD_NOW | RTLD_LOCAL);
        native->asked_demangler = 1;
        if (library)
            native->demangle = (char *(*)(const char *, char *, size_t *, int *))dlsym(library, "__cxa_demangle");
    }
    char *name = native->demangle ? native->demangle(symbol, NULL, NULL, &status) : NULL;
    return name ? name : strdup(symbol);
}

/* The interpreter's loop, its parts that the compiler has moved away (.cold, .part.0, .llvm...), and the
 * functions that it is made of where it is built with tail calls (3.14+). */
static int is_eval_loop(const char *function) {
    static const char loop[] = "_PyEval_EvalFrameDefault";
    return !strncmp(function, "_TAIL_CALL_", 11)
           || (!strncmp(function, loop, sizeof loop - 1) && (!function[sizeof loop - 1] || function[sizeof loop - 1] == '.'));
}

static const struct name *find_name(struct native *native, struct module *module, uint64_t pc) {
    struct name *name = NULL;
    for (unsigned i = 0; i < 16; i++) {
        name = &native->names[((pc * 0x9e3779b97f4a7c15ull >> 40) + i) & (NAMES_ROOM - 1)];
        if (name->known && name->pc == pc)
            return name;
        if (!name->known)
            break;
    }
    free(name->function);
    *name = (struct name){.pc = pc, .known = 1};
    read_module(native, module);
    const Elf64_Sym *symbol = find_covering(module, pc - module->base);
    if (symbol) {
        const char *text = module->strings + symbol->st_name;
        name->function = demangle(native, text);
        name->start = module->base + symbol->st_value;
        name->evaluates = is_eval_loop(text);
    }
    return name;
}

/* ---- what libdw asks ---- */

static int find_elf(Dwfl_Module *module, void **user, const char *name, Dwarf_Addr base, char **path, Elf **elf) {
    struct native *native = *user;
    struct module *ours = native ? find_module(native, base) : NULL;
    (void)module, (void)name, (void)elf;
    *path = NULL;
    return ours ? open_module(native, ours) : -1;
}

static int find_no_debuginfo(Dwfl_Module *module, void **user, const char *name, Dwarf_Addr base, const char *file,
                             const char *link, GElf_Word crc, char **path) {
    (void)module, (void)user, (void)name, (void)base, (void)file, (void)link, (void)crc, (void)path;
    return -1;
}

static pid_t no_next_thread(Dwfl *dwfl, void *argument, void **thread) {
    (void)dwfl, (void)argument, (void)thread;
    return 0;
}

static bool get_thread(Dwfl *dwfl, pid_t tid, void *argument, void **thread) {
    (void)dwfl, (void)tid;
    *thread = argument;
    return true;
}

/* A word, from the copy where it is in the stack. What has not been copied of it may have changed. */
static bool read_word(Dwfl *dwfl, Dwarf_Addr address, Dwarf_Word *word, void *argument) {
    struct native *native = argument;
    (void)dwfl;
    if (address >= native->stack_at && address - native->stack_at <= native->stack_size
        && native->stack_size - (address - native->stack_at) >= sizeof *word) {
        memcpy(word, native->stack + (address - native->stack_at), sizeof *word);
        return true;
    }
    if (address >= native->stack_at && address < native->stack_end) {
        native->cut = 1;
        return false;
    }
    return !read_memory(&native->target->memory, address, word, sizeof *word);
}

static bool set_registers(Dwfl_Thread *thread, void *argument) {
    struct native *native = argument;
    Dwarf_Word words[DWARF_REGISTERS], pc;
    order_registers(native->registers, words, &pc);
    if (!dw.dwfl_thread_state_registers(thread, 0, DWARF_REGISTERS, words))
        return false;
    dw.dwfl_thread_state_register_pc(thread, pc);
    return true;
}

static int take_frame(Dwfl_Frame *state, void *argument) {
    struct native *native = argument;
    struct native_stack *out = native->out;
    Dwarf_Addr pc;
    bool exact;
    if (!dw.dwfl_frame_pc(state, &pc, &exact))
        return DWARF_CB_ABORT;
    if (!pc)
        return DWARF_CB_ABORT;
    if (out->count == FRAMES_AT_MOST) {
        snprintf(out->trouble, sizeof out->trouble, "more than %d C frames", FRAMES_AT_MOST);
        return DWARF_CB_ABORT;
    }
    if (out->count == out->room) {
        int room = out->room ? 2 * out->room : 64;
        struct native_frame *more = realloc(out->frames, room * sizeof *more);
        if (!more)
            return DWARF_CB_ABORT;
        out->frames = more;
        out->room = room;
    }
    uint64_t at = exact ? pc : pc - 1;  /* a call may be the last instruction of its function */
    struct native_frame *frame = &out->frames[out->count++];
    struct module *module = find_module(native, at);
    Dwarf_Word sp;
    *frame = (struct native_frame){.pc = pc, .offset = pc};
    if (dw.dwfl_frame_reg && !dw.dwfl_frame_reg(state, DWARF_SP, &sp))
        frame->sp = sp;
    if (module) {
        const struct name *name = find_name(native, module, at);
        frame->module = module->name;
        frame->function = name->function;
        frame->offset = pc - (name->function ? name->start : module->base);
        frame->evaluates = name->evaluates;
    }
    return DWARF_CB_OK;
}

static const Dwfl_Callbacks callbacks = {.find_elf = find_elf, .find_debuginfo = find_no_debuginfo};
static const Dwfl_Thread_Callbacks thread_callbacks = {
    .next_thread = no_next_thread, .get_thread = get_thread, .memory_read = read_word, .set_initial_registers = set_registers};

/* ---- the stop ---- */

struct stop {
    struct native *native;
    void (*meanwhile)(void *argument);
    void *argument;
    char *trouble;
    size_t size;
    sigset_t child;
};

static int64_t clock_us(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec * 1000000ll + t.tv_nsec / 1000;
}

/* Its status once it has stopped; -1 when it has not, or has ended. */
static int wait_for_stop(struct stop *stop, pid_t tid, int *status) {
    int ms = stop->native->in_vain + STOP_MS > ALL_STOPS_MS ? 10 : STOP_MS;
    int64_t until = clock_us() + ms * 1000, left;
    while ((left = until - clock_us()) > 0) {
        pid_t got = waitpid(tid, status, __WALL | WNOHANG);
        if (got < 0 || (got == tid && !WIFSTOPPED(*status))) {
            snprintf(stop->trouble, stop->size, "the thread has ended");
            return -1;
        }
        if (got == tid)
            return 0;
        struct timespec time = {.tv_nsec = (left < 20000 ? left : 20000) * 1000};
        sigtimedwait(&stop->child, NULL, &time);        /* it comes with the stop; if not, look again */
    }
    stop->native->in_vain += ms;
    snprintf(stop->trouble, stop->size, "the thread did not stop within %d ms", ms);
    return -1;
}

/* The mapping that a stack pointer is in; the main thread's may have grown since the map was read. */
static const struct mapping *find_stack(const struct target *target, uint64_t sp) {
    const struct mapping *m = find_mapping(target, sp);
    for (int i = 0; !m && i < target->mapping_count; i++)
        if (target->mappings[i].start > sp && !strcmp(target->mappings[i].name, "[stack]"))
            return &target->mappings[i];
    return m;
}

/* Reads up to the first page that is not there: -1 if that is the very first. */
static int read_until_gap(struct native *native, uint64_t size) {
    struct memory *memory = &native->target->memory;
    if (!read_memory(memory, native->stack_at, native->stack, size)) {
        native->stack_size = size;
        return 0;
    }
    for (uint64_t piece; native->stack_size < size; native->stack_size += piece) {
        uint64_t at = native->stack_at + native->stack_size;
        piece = PAGE - at % PAGE < size - native->stack_size ? PAGE - at % PAGE : size - native->stack_size;
        if (read_memory(memory, at, native->stack + native->stack_size, piece))
            break;
    }
    native->stack_end = native->stack_at + native->stack_size;
    return native->stack_size ? 0 : -1;
}

/* From the stack pointer to the end of the mapping; or to the thread's own data, which glibc has above the
 * stack, for from 2.42 on (guard pages without a mapping of their own) one mapping can have many stacks. */
static int copy_stack(struct native *native, uint64_t sp) {
    const struct mapping *m = find_stack(native->target, sp);
    uint64_t own = thread_pointer(native->registers);
    if (!m)
        return -1;
    native->stack_at = sp - RED_ZONE < m->start && sp >= m->start ? m->start : sp - RED_ZONE;
    native->stack_end = own > sp && own < m->end ? own : m->end;
    uint64_t size = native->stack_end - native->stack_at;
    if (size > STACK_AT_MOST)
        size = STACK_AT_MOST;
    if (size > native->stack_room) {
        free(native->stack);
        native->stack = malloc(size);
        native->stack_room = native->stack ? size : 0;
    }
    return native->stack ? read_until_gap(native, size) : -1;
}

static void copy_thread(struct stop *stop) {
    struct native *native = stop->native;
    struct iovec all = {native->registers, sizeof native->registers};
    if (ptrace(PTRACE_GETREGSET, native->tid, NT_PRSTATUS, &all)) {
        snprintf(stop->trouble, stop->size, "its registers cannot be read: %s", strerror(errno));
        return;
    }
    if (copy_stack(native, stack_pointer(native->registers)))
        snprintf(stop->trouble, stop->size, "its stack cannot be read");
    if (stop->meanwhile)
        stop->meanwhile(stop->argument);
    stop->meanwhile = NULL;
}

/* In a thread of its own: when it returns, the kernel lets go of whatever it still traces. */
static void *stop_and_copy(void *argument) {
    struct stop *stop = argument;
    pid_t tid = stop->native->tid;
    int status;
    setpriority(PRIO_PROCESS, gettid(), -20);   /* if we may: a busy machine shall not make the stop longer */
    if (ptrace(PTRACE_SEIZE, tid, 0, 0)) {
        snprintf(stop->trouble, stop->size, "cannot stop the thread: %s", strerror(errno));
        return NULL;
    }
    if (ptrace(PTRACE_INTERRUPT, tid, 0, 0) || wait_for_stop(stop, tid, &status))
        return NULL;
    copy_thread(stop);
    /* A signal that was on its way to the thread goes on. */
    int signal = status >> 16 ? 0 : WSTOPSIG(status);
    ptrace(PTRACE_DETACH, tid, 0, signal);
    return NULL;
}

static void stop_thread(struct stop *stop) {
    pthread_t tracer;
    sigset_t before;
    sigemptyset(&stop->child);
    sigaddset(&stop->child, SIGCHLD);
    pthread_sigmask(SIG_BLOCK, &stop->child, &before);
    int error = pthread_create(&tracer, NULL, stop_and_copy, stop);
    if (error)
        snprintf(stop->trouble, stop->size, "no thread for it: %s", strerror(error));
    else
        pthread_join(tracer, NULL);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
}

/* ---- the story ---- */

static int load_libdw(char *trouble, size_t size) {
    void *library = dlopen("libdw.so.1", RTLD_NOW | RTLD_LOCAL);
    if (!library) {
        snprintf(trouble, size, "libdw (elfutils) is not installed; install it: apt-get install libdw1, "
                 "dnf install elfutils-libs or apk add libdw");
        return -1;
    }
#define X(name) dw.name = (__typeof__(&name))dlsym(library, #name); if (!dw.name) goto old;
    LIBDW(X)
#undef X
    dw.dwfl_frame_reg = (frame_register)dlsym(library, "dwfl_frame_reg");
    return 0;
old:
    snprintf(trouble, size, "libdw (elfutils) is too old");
    return -1;
}

/* One Dwfl for all threads: the tables of a file are read once. */
static int open_dwfl(struct native *native) {
    native->dwfl = dw.dwfl_begin(&callbacks);
    if (!native->dwfl)
        return -1;
    dw.dwfl_report_begin(native->dwfl);
    for (int i = 0; i < native->module_count; i++) {
        struct module *m = &native->modules[i];
        Dwfl_Module *reported = dw.dwfl_report_module(native->dwfl, m->name, m->start, m->end);
        void **user;
        if (reported && dw.dwfl_module_info(reported, &user, NULL, NULL, NULL, NULL, NULL, NULL))
            *user = native;
    }
    return dw.dwfl_report_end(native->dwfl, NULL, NULL)
           || !dw.dwfl_attach_state(native->dwfl, NULL, native->target->pid, &thread_callbacks, native) ? -1 : 0;
}

/* After read_images. NULL, with the reason in `trouble`, where there can be no C frames. */
struct native *open_native(struct target *target, char *trouble, size_t size) {
    if (load_libdw(trouble, size))
        return NULL;
    struct native *native = calloc(1, sizeof *native);
    if (native)
        native->target = target;
    if (native && !read_modules(native) && !open_dwfl(native))
        return native;
    snprintf(trouble, size, "%s", native && native->dwfl ? dw.dwfl_errmsg(-1) : "out of memory");
    close_native(native);
    return NULL;
}

/* The C stack of a thread. `meanwhile` is called once in any case: while the thread stands still if it can be stopped. */
void read_native(struct native *native, pid_t tid, void (*meanwhile)(void *argument), void *argument,
                 struct native_stack *stack) {
    struct stop stop = {native, meanwhile, argument, stack->trouble, sizeof stack->trouble, {{0}}};
    native->tid = tid;
    native->out = stack;
    native->cut = 0;
    native->stack_at = native->stack_size = native->stack_end = 0;
    stack->count = 0;
    stack->trouble[0] = 0;
    struct core *core = core_of(&native->target->memory);
    if (!core)
        stop_thread(&stop);
    else if (read_core_registers(core, tid, native->registers, sizeof native->registers))
        snprintf(stack->trouble, sizeof stack->trouble, "the core has no registers of this thread");
    if (stop.meanwhile)
        stop.meanwhile(argument);
    if (stack->trouble[0])
        return;
    if (dw.dwfl_getthread_frames(native->dwfl, tid, take_frame, native) && !stack->trouble[0]) {
        if (native->cut)
            snprintf(stack->trouble, sizeof stack->trouble, "more than %lu MB of stack", STACK_AT_MOST >> 20);
        else if (dw.dwfl_errno())
            snprintf(stack->trouble, sizeof stack->trouble, "%s", dw.dwfl_errmsg(-1));
    }
}

void close_native(struct native *native) {
    if (!native)
        return;
    if (native->dwfl)
        dw.dwfl_end(native->dwfl);
    for (int i = 0; i < native->module_count; i++)
        if (native->modules[i].file)
            munmap((void *)native->modules[i].file, native->modules[i].size);
    for (int i = 0; i < NAMES_ROOM; i++)
        free(native->names[i].function);
    free(native->modules);
    free(native->stack);
    free(native);
}
