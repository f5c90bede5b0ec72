/* SPDX-License-Identifier: MIT
 * core.c - a core file in the place of a process.
 *
 * What the kernel (or gdb's gcore) writes: one PT_LOAD for each piece of memory, with as much of its content
 * as was asked for (/proc/PID/coredump_filter; by default not that of mapped files), and PT_NOTE with
 *   NT_PRSTATUS   one for each thread: its id and registers, the one that got the signal first
 *   NT_PRPSINFO   pid, name, arguments     NT_AUXV   where the program's headers are
 *   NT_FILE       which file is mapped where
 * So what is not in the core is read from those files, if they are still the ones: a file must begin as
 * its image in the core does, which has the ELF header and, nearly always, the build id.
 *
 * The file may be truncated (ulimit -c, a full disk) or anything at all: every number in it is checked
 * against its size, all tables are bounded, and reading past its end fails as unmapped memory does.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/procfs.h>
#include <sys/stat.h>
#include <unistd.h>

#include "core.h"

#define SEGMENTS_OF_CORE_AT_MOST (1u << 20)
#define NOTES_AT_MOST (256ul << 20)     /* 3 KB for each thread */
#define FILES_AT_MOST 65536

struct segment {
    uint64_t start, end, offset, size, promised;        /* size: so much of it is in the file; it should be `promised` */
    unsigned flags;
};

struct file {                   /* one that was mapped, opened when it is needed */
    const char *name;
    int fd, asked;
};

struct piece {                  /* of NT_FILE */
    uint64_t start, end, offset;
    int file;
};

struct core {
    int fd;
    uint64_t size, wanted;      /* bytes that it has, and that it should have */
    struct segment *segments;
    int segment_count;
    unsigned char *notes;
    struct piece *pieces;
    int piece_count;
    struct file *files;
    int file_count;
    struct elf_prstatus *threads;
    int thread_count, thread_room;
    struct elf_prpsinfo about;
    uint64_t program_headers;
    const char *executable;     /* to be taken for the program, NULL: the file that was mapped */
    char root[4096];            /* what EXECUTABLE has before the name that the process knew: the others are there, too */
    char command[ELF_PRARGSZ + 1];
};

/* ---- memory ---- */

static int read_at(int fd, uint64_t offset, void *to, size_t size) {
    size_t done = 0;
    while (done < size && offset <= INT64_MAX - size) {
        ssize_t n = pread(fd, (char *)to + done, size - done, offset + done);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return -1;
        done += n;
    }
    return done == size ? 0 : -1;
}

static const struct segment *find_segment(const struct core *core, uint64_t address) {
    int low = 0, high = core->segment_count;
    while (low < high) {
        int middle = (low + high) / 2;
        const struct segment *s = &core->segments[middle];
        if (address >= s->end)
            low = middle + 1;
        else if (address < s->start)
            high = middle;
        else
            return s;
    }
    return NULL;
}

static const struct piece *find_piece(const struct core *core, uint64_t address) {
    int low = 0, high = core->piece_count;
    while (low < high) {
        int middle = (low + high) / 2;
        const struct piece *p = &core->pieces[middle];
        if (address >= p->end)
            low = middle + 1;
        else if (address < p->start)
            high = middle;
        else
            return p;
    }
    return NULL;
}

/* So many bytes from `address` on are in the core itself; 0 if none is. */
static size_t held(const struct core *core, uint64_t address, size_t size, uint64_t *offset) {
    const struct segment *s = find_segment(core, address);
    if (!s || address - s->start >= s->size)
        return 0;
    uint64_t left = s->size - (address - s->start);
    *offset = s->offset + (address - s->start);
    return size < left ? size : left;
}

static int is_program(const struct core *core, int file) {
    const struct piece *p = find_piece(core, core->program_headers);
    return p && p->file == file;
}

/* Does it begin as the core says? Where the core has nothing of that page, the name has to do. */
static int is_same(struct core *core, int file, int fd) {
    unsigned char ours[PAGE], theirs[PAGE];
    for (int i = 0; i < core->piece_count; i++) {
        const struct piece *p = &core->pieces[i];
        uint64_t offset;
        if (p->file != file || p->offset || !held(core, p->start, PAGE, &offset))
            continue;
        ssize_t n = pread(fd, theirs, sizeof theirs, 0);
        return n > 0 && held(core, p->start, n, &offset) == (size_t)n && !read_at(core->fd, offset, ours, n)
               && !memcmp(ours, theirs, n);
    }
    return 1;
}

static int open_file(struct core *core, int number) {
    struct file *file = &core->files[number];
    struct stat info;
    if (file->asked)
        return file->fd;
    file->asked = 1;
    char below[8192];
    snprintf(below, sizeof below, "%s%s", core->root, file->name);
    int fd = open(core->executable && is_program(core, number) ? core->executable : below, O_RDONLY | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
    if (fd >= 0 && (fstat(fd, &info) || !S_ISREG(info.st_mode) || !is_same(core, number, fd))) {
        close(fd);
        fd = -1;
    }
    return file->fd = fd;
}

/* A mapped file by its name, for somebody who reads more of it than was mapped. */
int open_core_file(struct core *core, const char *name) {
    for (int i = 0; i < core->file_count; i++)
        if (core->files[i].name == name || !strcmp(core->files[i].name, name)) {
            int fd = open_file(core, i);
            return fd < 0 ? -1 : fcntl(fd, F_DUPFD_CLOEXEC, 3);
        }
    return -1;
}

/* It was in the core, or could have been written to: what the file has there is not what the memory had. */
static int is_lost(const struct segment *segment, uint64_t address) {
    return segment && (address - segment->start < segment->promised || segment->flags & PF_W);
}

/* struct memory's backend */
static int read_core(struct memory *memory, uint64_t address, void *to, size_t size) {
    struct core *core = memory->backend_data;
    for (size_t done = 0, n; done < size; done += n) {
        uint64_t at = address + done, offset;
        int fd = core->fd;
        if (at < address)
            return -1;
        n = held(core, at, size - done, &offset);
        if (!n) {
            const struct piece *p = find_piece(core, at);
            const struct segment *s = find_segment(core, at);
            if (!p || is_lost(s, at) || (fd = open_file(core, p->file)) < 0)
                return -1;
            offset = p->offset + (at - p->start);
            n = p->end - at < size - done ? p->end - at : size - done;
            if (s && s->end - at < n)
                n = s->end - at;
        }
        if (read_at(fd, offset, (char *)to + done, n))
            return -1;
    }
    return 0;
}

struct core *core_of(const struct memory *memory) {
    return memory->backend == read_core ? memory->backend_data : NULL;
}

/* ---- the tables ---- */

static int compare_segments(const void *a, const void *b) {
    const struct segment *one = a, *other = b;
    return one->start < other->start ? -1 : one->start > other->start;
}

static int compare_pieces(const void *a, const void *b) {
    const struct piece *one = a, *other = b;
    return one->start < other->start ? -1 : one->start > other->start;
}

/* More than 65,534 program headers: their number is in the first section header. */
static uint64_t count_headers(const struct core *core, const Elf64_Ehdr *head) {
    Elf64_Shdr first;
    if (head->e_phnum != PN_XNUM)
        return head->e_phnum;
    return read_at(core->fd, head->e_shoff, &first, sizeof first) ? 0 : first.sh_info;
}

static void add_segment(struct core *core, const Elf64_Phdr *p) {
    uint64_t in_file = p->p_filesz < p->p_memsz ? p->p_filesz : p->p_memsz, promised = in_file;
    if (!p->p_memsz || p->p_vaddr + p->p_memsz < p->p_vaddr || p->p_offset + in_file < p->p_offset)
        return;
    if (p->p_offset + in_file > core->wanted)
        core->wanted = p->p_offset + in_file;
    if (p->p_offset >= core->size)
        in_file = 0;
    else if (in_file > core->size - p->p_offset)
        in_file = core->size - p->p_offset;
    core->segments[core->segment_count++] = (struct segment){
        p->p_vaddr, p->p_vaddr + p->p_memsz, p->p_offset, in_file, promised, p->p_flags};
}

static void add_thread(struct core *core, const unsigned char *text, uint64_t size) {
    if (size < sizeof *core->threads || core->thread_count == THREADS_AT_MOST)
        return;
    if (core->thread_count == core->thread_room) {
        int room = core->thread_room ? 2 * core->thread_room : 64;
        struct elf_prstatus *more = realloc(core->threads, room * sizeof *more);
        if (!more)
            return;
        core->threads = more;
        core->thread_room = room;
    }
    memcpy(&core->threads[core->thread_count++], text, sizeof *core->threads);
}

static void read_auxiliary(struct core *core, const unsigned char *text, uint64_t size) {
    uint64_t pair[2];
    for (; size >= sizeof pair; text += sizeof pair, size -= sizeof pair) {
        memcpy(pair, text, sizeof pair);
        if (pair[0] == AT_PHDR)
            core->program_headers = pair[1];
    }
}

static int number_file(struct core *core, const char *name) {
    for (int i = core->file_count; i-- > 0 && i > core->file_count - 64;)     /* they come in the order of the addresses */
        if (!strcmp(core->files[i].name, name))
            return i;
    core->files[core->file_count] = (struct file){name, -1, 0};
    return core->file_count++;
}

/* count, page size, {start, end, offset in pages}..., names... */
static void read_files(struct core *core, const unsigned char *text, uint64_t size) {
    uint64_t head[2], row[3];
    if (core->pieces || size < sizeof head || text[size - 1])
        return;
    memcpy(head, text, sizeof head);
    if (!head[0] || head[0] > FILES_AT_MOST || head[0] * sizeof row > size - sizeof head || head[1] > (1u << 24))
        return;
    core->pieces = calloc(head[0], sizeof *core->pieces);
    core->files = calloc(head[0], sizeof *core->files);
    if (!core->pieces || !core->files)
        return;
    const char *name = (const char *)text + sizeof head + head[0] * sizeof row, *end = (const char *)text + size;
    for (uint64_t i = 0; i < head[0] && name < end; i++, name += strlen(name) + 1) {
        memcpy(row, text + sizeof head + i * sizeof row, sizeof row);
        if (row[0] < row[1] && row[2] < UINT64_MAX / (1u << 24))
            core->pieces[core->piece_count++] = (struct piece){row[0], row[1], row[2] * head[1], number_file(core, name)};
    }
    qsort(core->pieces, core->piece_count, sizeof *core->pieces, compare_pieces);
}

static void read_note(struct core *core, unsigned type, const unsigned char *text, uint64_t size) {
    if (type == NT_PRSTATUS)
        add_thread(core, text, size);
    else if (type == NT_PRPSINFO && size >= sizeof core->about)
        memcpy(&core->about, text, sizeof core->about);
    else if (type == NT_AUXV)
        read_auxiliary(core, text, size);
    else if (type == NT_FILE)
        read_files(core, text, size);
}

static int read_notes(struct core *core, const Elf64_Phdr *p) {
    Elf64_Nhdr head;
    uint64_t size = p->p_filesz;
    if (p->p_offset + size > core->wanted)
        core->wanted = p->p_offset + size;
    if (core->notes || p->p_offset >= core->size)
        return 0;
    if (size > core->size - p->p_offset)
        size = core->size - p->p_offset;
    if (size > NOTES_AT_MOST)
        size = NOTES_AT_MOST;
    core->notes = malloc(size + 1);
    if (!core->notes || read_at(core->fd, p->p_offset, core->notes, size))
        return -1;
    for (uint64_t at = 0; size - at >= sizeof head;) {
        memcpy(&head, core->notes + at, sizeof head);
        at += sizeof head;
        uint64_t name = (head.n_namesz + 3ull) & ~3ull, text = (head.n_descsz + 3ull) & ~3ull;
        if (name > size - at || head.n_descsz > size - at - name)
            break;
        if (head.n_namesz == 5 && !memcmp(core->notes + at, "CORE", 5))
            read_note(core, head.n_type, core->notes + at + name, head.n_descsz);
        at += name;
        at += text < size - at ? text : size - at;
    }
    return 0;
}

static int read_headers(struct core *core, const Elf64_Ehdr *head) {
    uint64_t count = count_headers(core, head);
    if (!count || count > SEGMENTS_OF_CORE_AT_MOST || head->e_phentsize != sizeof(Elf64_Phdr)
        || head->e_phoff > core->size || count * sizeof(Elf64_Phdr) > core->size - head->e_phoff)
        return -1;
    Elf64_Phdr *table = malloc(count * sizeof *table);
    core->segments = calloc(count, sizeof *core->segments);
    int failed = !table || !core->segments || read_at(core->fd, head->e_phoff, table, count * sizeof *table);
    for (uint64_t i = 0; !failed && i < count; i++) {
        if (table[i].p_type == PT_LOAD)
            add_segment(core, &table[i]);
        else if (table[i].p_type == PT_NOTE)
            failed = read_notes(core, &table[i]);
    }
    free(table);
    qsort(core->segments, core->segment_count, sizeof *core->segments, compare_segments);
    int kept = 0;               /* no two may overlap */
    for (int i = 0; i < core->segment_count; i++)
        if (!kept || core->segments[i].start >= core->segments[kept - 1].end)
            core->segments[kept++] = core->segments[i];
    core->segment_count = kept;
    return failed ? -1 : 0;
}

/* ---- as a target ---- */

static int compare_mappings(const void *a, const void *b) {
    const struct mapping *one = a, *other = b;
    return one->start < other->start ? -1 : one->start > other->start;
}

/* What /proc/PID/maps would say: the files, and the memory between. */
static int make_mappings(struct target *target, const struct core *core) {
    struct mapping *m = calloc(core->piece_count + core->segment_count + 1, sizeof *m);
    if (!m)
        return refuse(target, "out of memory", "out of memory");
    target->mappings = m;
    for (int i = 0; i < core->piece_count; i++) {
        const struct piece *p = &core->pieces[i];
        const struct segment *s = find_segment(core, p->start);
        unsigned flags = s ? s->flags : PF_R | PF_X;    /* gcore has left it out: a file that was not written to */
        *m++ = (struct mapping){.start = p->start, .end = p->end, .offset = p->offset, .inode = p->file + 1,
                                .r = (flags & PF_R) != 0, .w = (flags & PF_W) != 0, .x = (flags & PF_X) != 0,
                                .private = 1, .name = core->files[p->file].name};
    }
    for (int i = 0; i < core->segment_count; i++) {
        const struct segment *s = &core->segments[i];
        if (!find_piece(core, s->start))
            *m++ = (struct mapping){.start = s->start, .end = s->end, .r = (s->flags & PF_R) != 0,
                                    .w = (s->flags & PF_W) != 0, .x = (s->flags & PF_X) != 0, .private = 1, .name = ""};
    }
    target->mapping_count = m - target->mappings;
    qsort(target->mappings, target->mapping_count, sizeof *m, compare_mappings);
    return 0;
}

static void describe(struct target *target, struct core *core) {
    const struct piece *program = find_piece(core, core->program_headers);
    target->pid = core->about.pr_pid ? core->about.pr_pid : core->threads[0].pr_pid;
    target->status.tgid = target->status.pid = target->status.nspid = target->pid;
    target->status.ppid = core->about.pr_ppid;
    target->status.uid = target->status.real_uid = core->about.pr_uid;
    target->status.gid = core->about.pr_gid;
    target->status.threads = core->thread_count;
    target->status.state = 'R';
    snprintf(target->status.name, sizeof target->status.name, "%.*s", (int)sizeof core->about.pr_fname,
             core->about.pr_fname);
    snprintf(core->command, sizeof core->command, "%.*s", ELF_PRARGSZ, core->about.pr_psargs);
    size_t length = strlen(core->command);
    while (length && core->command[length - 1] == ' ')
        core->command[--length] = 0;
    target->program_headers = core->program_headers;
    if (program)
        snprintf(target->exe, sizeof target->exe, "%s", core->files[program->file].name);
}

static void find_root(struct core *core, const char *program) {
    size_t length = core->executable ? strlen(core->executable) : 0, known = strlen(program);
    if (length > known && program[0] == '/' && !strcmp(core->executable + length - known, program))
        snprintf(core->root, sizeof core->root, "%.*s", (int)(length - known), core->executable);
}

static int check_executable(struct target *target, struct core *core, const char *path) {
    const struct piece *program = find_piece(core, core->program_headers);
    if (program)
        find_root(core, core->files[program->file].name);
    if (!core->executable || !program || open_file(core, program->file) >= 0)
        return 0;
    if (access(core->executable, R_OK))
        return refuse(target, "no such file", "cannot open '%s': %s", core->executable, strerror(errno));
    return refuse(target, "another program", "'%s' is not the program of core file '%s'", core->executable, path);
}

static int open_core_and_look(struct target *target, struct core *core, const char *path) {
    Elf64_Ehdr head;
    struct stat info;
    core->fd = open(path, O_RDONLY | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
    if (core->fd < 0 || fstat(core->fd, &info))
        return refuse(target, "no core", "cannot open core file '%s': %s", path, strerror(errno));
    core->size = S_ISREG(info.st_mode) ? info.st_size : 0;
    memset(&head, 0, sizeof head);
    if (read_at(core->fd, 0, &head, sizeof head) || memcmp(head.e_ident, ELFMAG, SELFMAG) || head.e_type != ET_CORE)
        return refuse(target, "no core", "'%s' is not a core file", path);
    if (head.e_ident[EI_CLASS] != ELFCLASS64 || head.e_machine != own_machine)
        return refuse(target, "other machine", "core file '%s' is not of a 64-bit program of this machine", path);
    int failed = read_headers(core, &head);
    if (!failed && core->thread_count)
        return 0;
    if (core->wanted > core->size || failed)
        return refuse(target, "truncated", "core file '%s' is truncated or damaged", path);
    return refuse(target, "no threads", "core file '%s' tells of no thread", path);
}

/* What the core lacks explains more than what was not found because of it. Its time is that of the file. */
void explain_core(struct target *target, const char *path, int failed, long long *time) {
    struct core *core = core_of(&target->memory);
    struct stat info;
    if (!fstat(core->fd, &info))
        *time = info.st_mtime;
    if (core->wanted > core->size) {
        refuse(target, "truncated", "core file '%s' is truncated: it has %llu of %llu bytes", path,
               (unsigned long long)core->size, (unsigned long long)core->wanted);
        return;
    }
    for (int i = 0; failed && i < core->file_count; i++)
        if (core->files[i].asked && core->files[i].fd < 0) {
            hint(target, "%s is not the file that was mapped, or cannot be read", core->files[i].name);
            return;
        }
}

int open_core(struct target *target, const char *path, const char *executable) {
    memset(target, 0, sizeof *target);
    target->proc = target->memory.fd = -1;
    struct core *core = calloc(1, sizeof *core);
    if (!core)
        return refuse(target, "out of memory", "out of memory");
    core->fd = -1;
    core->executable = executable;
    target->memory.backend = read_core;
    target->memory.backend_data = core;
    if (open_core_and_look(target, core, path))
        return -1;
    describe(target, core);
    return check_executable(target, core, path) || make_mappings(target, core) ? -1 : 0;
}

void close_core(struct core *core) {
    if (!core)
        return;
    if (core->fd >= 0)
        close(core->fd);
    for (int i = 0; i < core->file_count; i++)
        if (core->files[i].fd >= 0)
            close(core->files[i].fd);
    free(core->segments);
    free(core->notes);
    free(core->pieces);
    free(core->files);
    free(core->threads);
    free(core);
}

/* ---- threads ---- */

int core_thread_count(const struct core *core) {
    return core->thread_count;
}

pid_t core_thread(const struct core *core, int i) {
    return core->threads[i].pr_pid;
}

/* Processor time, in seconds; gcore does not tell. */
double core_thread_time(const struct core *core, int i) {
    const struct elf_prstatus *t = &core->threads[i];
    double seconds = t->pr_utime.tv_sec + t->pr_stime.tv_sec + (t->pr_utime.tv_usec + t->pr_stime.tv_usec) / 1e6;
    return seconds > 0 ? seconds : -1;
}

/* The first 80 bytes of the command line, in which blanks stand for the ends of arguments: each with its zero. */
size_t split_core_command(const struct core *core, char *to, size_t size) {
    size_t n = snprintf(to, size, "%s", core->command);
    for (size_t i = 0; i < n; i++)
        if (to[i] == ' ')
            to[i] = 0;
    return n ? n + 1 : 0;
}

int read_core_registers(struct core *core, pid_t tid, uint64_t *registers, size_t size) {
    for (int i = 0; i < core->thread_count; i++) {
        if (core->threads[i].pr_pid != tid)
            continue;
        if (size > sizeof core->threads[i].pr_reg)
            size = sizeof core->threads[i].pr_reg;
        memcpy(registers, core->threads[i].pr_reg, size);
        return 0;
    }
    return -1;
}
