/* SPDX-License-Identifier: MIT
 * elfmem.c - an ELF image, read from the memory that it is mapped to.
 *
 * The dynamic linker needs PT_DYNAMIC, its symbol table, strings and hash table mapped, so they are
 * there in every process, whatever became of the file: other root, deleted by an upgrade, a
 * container. Nothing is opened. glibc has relocated the pointers in the dynamic section in place,
 * musl and the linker's own image have not: an address outside of the image is taken as an offset.
 *
 * DT_GNU_HASH: bloom filter (one word says "not here" for most names), buckets, then for each bucket a
 * run of hashes whose last one has bit 0 set; symbol i's hash is chain[i - first].
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

#include "look.h"

#define CHAIN_AT_MOST 4096
#define OWN_LIBRARY_AT_MOST (16u << 20)

/* One read more; -1: they are used up. */
int count_read(struct memory *memory) {
    return ++memory->reads > (memory->reads_at_most ? memory->reads_at_most : READS_AT_MOST) ? -1 : 0;
}

int read_memory(struct memory *memory, uint64_t address, void *to, size_t size) {
    if (memory->backend)
        return count_read(memory) ? -1 : memory->backend(memory, address, to, size);
    if (!memory->pid) {
        if (address > memory->size || size > memory->size - address)
            return -1;
        memcpy(to, memory->image + address, size);
        return 0;
    }
    if (count_read(memory) || address + size < address)
        return -1;
    struct iovec local = {to, size}, remote = {(void *)address, size};
    ssize_t n = process_vm_readv(memory->pid, &local, 1, &remote, 1, 0);
    if (n < 0 && (errno == ENOSYS || errno == EPERM) && address <= INT64_MAX)   /* a seccomp filter around us */
        n = pread(memory->fd, to, size, address);
    return n == (ssize_t)size ? 0 : -1;
}

/* A zero-terminated text; what does not fit in size - 1 bytes is cut. Texts may end just before unmapped memory. */
int read_text(struct memory *memory, uint64_t address, char *to, size_t size) {
    size_t done = 0;
    while (done < size - 1) {
        size_t piece = PAGE - (address + done) % PAGE;
        if (piece > size - 1 - done)
            piece = size - 1 - done;
        if (read_memory(memory, address + done, to + done, piece))
            return -1;
        if (memchr(to + done, 0, piece))
            return 0;
        done += piece;
    }
    to[done] = 0;
    return 0;
}

int is_in(const struct elf *elf, uint64_t address) {
    return address >= elf->start && address < elf->end;
}

/* Segments, load bias and span from the headers at `at`. */
static int read_segments(struct elf *elf, uint64_t at) {
    struct {
        Elf64_Ehdr head;
        unsigned char rest[PAGE / 4];
    } first;
    if (read_memory(elf->memory, at, &first, sizeof first) && read_memory(elf->memory, at, &first, sizeof first.head))
        return -1;
    const Elf64_Ehdr *head = &first.head;
    if (memcmp(head->e_ident, ELFMAG, SELFMAG) || head->e_ident[EI_CLASS] != ELFCLASS64
        || head->e_machine != own_machine || head->e_phentsize != sizeof(Elf64_Phdr))
        return -1;
    uint64_t from = head->e_phoff, size = head->e_phnum * sizeof(Elf64_Phdr);
    if (from > PAGE || size > 8 * PAGE)
        return -1;
    Elf64_Phdr *table = malloc(size + 1);
    int failed = !table;
    if (!failed && from + size <= sizeof first)
        memcpy(table, (char *)&first + from, size);
    else if (!failed)
        failed = read_memory(elf->memory, at + from, table, size);
    int based = 0;
    for (int i = 0; !failed && i < head->e_phnum; i++) {
        const Elf64_Phdr *p = &table[i];
        if (p->p_type != PT_LOAD && p->p_type != PT_DYNAMIC && p->p_type != PT_INTERP)
            continue;
        if (p->p_memsz > UINT32_MAX || p->p_vaddr > (1ull << 47) || elf->segment_count == SEGMENTS_AT_MOST) {
            failed = 1;
            break;
        }
        elf->segments[elf->segment_count++] = *p;
        if (p->p_type == PT_LOAD && !based && p->p_offset < PAGE) {
            elf->base = at - (p->p_vaddr - p->p_offset);
            based = 1;
        }
    }
    free(table);
    if (failed || !based)
        return -1;
    elf->start = UINT64_MAX;
    for (int i = 0; i < elf->segment_count; i++) {
        Elf64_Phdr *p = &elf->segments[i];
        p->p_vaddr += elf->base;
        if (p->p_type != PT_LOAD)
            continue;
        if (p->p_vaddr < elf->start)
            elf->start = p->p_vaddr;
        if (p->p_vaddr + p->p_memsz > elf->end)
            elf->end = p->p_vaddr + p->p_memsz;
    }
    return 0;
}

static uint64_t absolute(const struct elf *elf, uint64_t value) {
    return is_in(elf, value) ? value : value + elf->base;
}

static int read_dynamic(struct elf *elf, uint64_t at, uint64_t size) {
    Elf64_Dyn entries[128];
    uint64_t soname = 0, needed[96];
    int needed_count = 0;
    if (size > sizeof entries)
        size = sizeof entries;
    if (read_memory(elf->memory, at, entries, size))
        return -1;
    elf->dynamic = at;
    for (size_t i = 0; i < size / sizeof *entries && entries[i].d_tag != DT_NULL; i++) {
        uint64_t value = entries[i].d_un.d_val;
        switch (entries[i].d_tag) {
        case DT_SYMTAB: elf->symbols = absolute(elf, value); break;
        case DT_STRTAB: elf->strings = absolute(elf, value); break;
        case DT_STRSZ: elf->strings_size = value; break;
        case DT_GNU_HASH: elf->gnu_hash = absolute(elf, value); break;
        case DT_HASH: elf->old_hash = absolute(elf, value); break;
        case DT_SONAME: soname = value; break;
        case DT_DEBUG: elf->debug = value; break;
        case DT_NEEDED:
            if (needed_count < 96)
                needed[needed_count++] = value;
            break;
        }
    }
    if (!elf->symbols || !elf->strings || !is_in(elf, elf->symbols) || !is_in(elf, elf->strings)
        || elf->strings_size > elf->end - elf->strings)
        return -1;
    if (soname && soname < elf->strings_size
        && read_text(elf->memory, elf->strings + soname, elf->soname, sizeof elf->soname))
        elf->soname[0] = 0;
    /* Only a program that has not even mapped its libpython needs this: programs have no soname. */
    for (int i = 0; !soname && i < needed_count; i++) {
        char name[16];
        if (needed[i] < elf->strings_size && !read_text(elf->memory, elf->strings + needed[i], name, sizeof name)
            && !strncmp(name, "libpython", 9))
            elf->needs_python = 1;
    }
    if (elf->gnu_hash && (!is_in(elf, elf->gnu_hash)
                          || read_memory(elf->memory, elf->gnu_hash, elf->gnu_head, sizeof elf->gnu_head)))
        elf->gnu_head[0] = 0;
    return 0;
}

/* The image whose first page is mapped at `at`; -1 where it is none. One without a dynamic section is an image without symbols. */
int open_image(struct elf *elf, struct memory *memory, const struct mapping *mapping, uint64_t at) {
    memset(elf, 0, sizeof *elf);
    elf->memory = memory;
    elf->mapping = mapping;
    if (read_segments(elf, at))
        return -1;
    for (int i = 0; i < elf->segment_count; i++)
        if (elf->segments[i].p_type == PT_DYNAMIC
            && read_dynamic(elf, elf->segments[i].p_vaddr, elf->segments[i].p_memsz))
            elf->symbols = elf->strings = 0;
    return 0;
}

/* Symbol number i, if it is defined and its name is `name`. */
static int read_symbol(struct elf *elf, uint64_t i, const char *name, Elf64_Sym *symbol) {
    char text[64];
    size_t size = strlen(name) + 1;
    return i > UINT32_MAX || read_memory(elf->memory, elf->symbols + i * sizeof *symbol, symbol, sizeof *symbol)
           || symbol->st_shndx == SHN_UNDEF || symbol->st_shndx == SHN_ABS
           || size > sizeof text || symbol->st_name >= elf->strings_size || size > elf->strings_size - symbol->st_name
           || read_memory(elf->memory, elf->strings + symbol->st_name, text, size) || memcmp(text, name, size)
           || !is_in(elf, elf->base + symbol->st_value) ? -1 : 0;
}

static int find_by_gnu_hash(struct elf *elf, const char *name, Elf64_Sym *symbol) {
    uint32_t hash = 5381, buckets = elf->gnu_head[0], first = elf->gnu_head[1], words = elf->gnu_head[2];
    for (const char *c = name; *c; c++)
        hash = hash * 33 + (unsigned char)*c;
    uint64_t word, at = elf->gnu_hash + sizeof elf->gnu_head;
    if (!words || elf->gnu_head[3] > 31 || read_memory(elf->memory, at + hash / 64 % words * 8, &word, sizeof word)
        || !(word >> hash % 64 & 1) || !(word >> (hash >> elf->gnu_head[3]) % 64 & 1))
        return -1;
    uint32_t i, run[16];
    at += words * 8ull;
    if (read_memory(elf->memory, at + hash % buckets * 4ull, &i, sizeof i) || i < first)
        return -1;
    at += buckets * 4ull;
    for (int steps = 0; steps < CHAIN_AT_MOST; steps++, i++) {
        int k = steps % 16;
        if (!k && read_memory(elf->memory, at + (i - first) * 4ull, run, sizeof run))
            return -1;
        if ((run[k] | 1) == (hash | 1) && !read_symbol(elf, i, name, symbol))
            return 0;
        if (run[k] & 1)
            return -1;
    }
    return -1;
}

static int find_by_old_hash(struct elf *elf, const char *name, Elf64_Sym *symbol) {
    uint32_t hash = 0, head[2], i;
    for (const char *c = name; *c; c++) {
        hash = (hash << 4) + (unsigned char)*c;
        hash = (hash ^ (hash >> 24 & 0xf0)) & 0x0fffffff;
    }
    if (!is_in(elf, elf->old_hash) || read_memory(elf->memory, elf->old_hash, head, sizeof head) || !head[0]
        || read_memory(elf->memory, elf->old_hash + 8 + hash % head[0] * 4ull, &i, sizeof i))
        return -1;
    for (int steps = 0; i && i < head[1] && steps < CHAIN_AT_MOST; steps++) {
        if (!read_symbol(elf, i, name, symbol))
            return 0;
        if (read_memory(elf->memory, elf->old_hash + 8 + head[0] * 4ull + i * 4ull, &i, sizeof i))
            return -1;
    }
    return -1;
}

static int look_up(struct elf *elf, const char *name, Elf64_Sym *symbol) {
    if (!elf->symbols)
        return -1;
    if (elf->gnu_head[0])
        return find_by_gnu_hash(elf, name, symbol);
    return elf->old_hash ? find_by_old_hash(elf, name, symbol) : -1;
}

/* Address of a defined dynamic symbol; 0 if there is none. */
uint64_t find_symbol(struct elf *elf, const char *name) {
    Elf64_Sym symbol;
    return look_up(elf, name, &symbol) ? 0 : elf->base + symbol.st_value;
}

/* The same for a function, which must lie in executable memory of the image. */
uint64_t find_function(struct elf *elf, const char *name) {
    Elf64_Sym symbol;
    if (look_up(elf, name, &symbol) || ELF64_ST_TYPE(symbol.st_info) != STT_FUNC)
        return 0;
    uint64_t at = elf->base + symbol.st_value;
    for (int i = 0; i < elf->segment_count; i++) {
        const Elf64_Phdr *p = &elf->segments[i];
        if (p->p_type == PT_LOAD && p->p_flags & PF_X && at >= p->p_vaddr && at < p->p_vaddr + p->p_memsz)
            return at;
    }
    return 0;
}

/* A library file of our own, laid out as it would be in memory, at base 0. */
int read_library_file(const char *path, struct memory *memory, struct elf *elf) {
    struct stat info;
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0 || fstat(fd, &info) || info.st_size > OWN_LIBRARY_AT_MOST || info.st_size < (off_t)sizeof(Elf64_Ehdr)) {
        if (fd >= 0)
            close(fd);
        return -1;
    }
    uint64_t size = info.st_size;
    unsigned char *file = mmap(NULL, size, PROT_READ, MAP_PRIVATE, fd, 0);
    unsigned char *image = calloc(1, OWN_LIBRARY_AT_MOST);
    close(fd);
    int failed = -1;
    if (file != MAP_FAILED && image) {
        struct memory raw = {.image = file, .size = size};
        struct elf as_file;
        if (!open_image(&as_file, &raw, NULL, 0) && as_file.base == 0) {
            for (int i = 0; i < as_file.segment_count; i++) {
                const Elf64_Phdr *p = &as_file.segments[i];
                if (p->p_type == PT_LOAD && p->p_offset <= size && p->p_filesz <= size - p->p_offset
                    && p->p_vaddr <= OWN_LIBRARY_AT_MOST && p->p_filesz <= OWN_LIBRARY_AT_MOST - p->p_vaddr)
                    memcpy(image + p->p_vaddr, file + p->p_offset, p->p_filesz);
            }
            *memory = (struct memory){.image = image, .size = OWN_LIBRARY_AT_MOST};
            failed = open_image(elf, memory, NULL, 0);
        }
    }
    if (file != MAP_FAILED)
        munmap(file, size);
    if (failed)
        free(image);
    return failed;
}

/* All images that are mapped from files, or only those that are wanted. */
int read_images(struct target *target, int (*is_wanted)(const struct target *target, const struct mapping *mapping)) {
    int room = 0;
    free(target->images);
    target->images = NULL;
    target->image_count = 0;
    for (int i = 0; i < target->mapping_count && target->image_count < IMAGES_AT_MOST; i++) {
        const struct mapping *m = &target->mappings[i];
        if (m->offset || !m->inode || !m->r || (is_wanted && !is_wanted(target, m)))
            continue;
        if (target->image_count == room) {
            room = room ? 2 * room : 64;
            struct elf *more = realloc(target->images, room * sizeof *more);
            if (!more)
                return refuse(target, "out of memory", "out of memory");
            target->images = more;
        }
        if (!open_image(&target->images[target->image_count], &target->memory, m, m->start))
            target->image_count++;
    }
    return 0;
}

struct elf *find_image(struct target *target, const char *soname) {
    for (int i = 0; i < target->image_count; i++)
        if (!strcmp(target->images[i].soname, soname))
            return &target->images[i];
    return NULL;
}
