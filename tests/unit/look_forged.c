/* SPDX-License-Identifier: MIT
 * look_forged.c - a process that is no Python but says it is, and lies.
 *
 *   look_forged SEED ADDRESS LIBRARY...
 *
 * Lays out each LIBRARY in memory as the dynamic linker would, sets the int at ADDRESS in the first one
 * to 1 (so that _PyRuntime looks initialised), says `ready`, and from then on writes nonsense over
 * headers, dynamic sections, hash tables, symbols and strings, and now and then repairs everything.
 */
#define _GNU_SOURCE
#include <elf.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#define PAGE 4096ul
#define SPOTS 64

static struct spot {
    unsigned char *at, *saved;
    size_t size;
} spots[SPOTS];
static int spot_count;

static void add_spot(unsigned char *at, size_t size) {
    if (spot_count < SPOTS)
        spots[spot_count++] = (struct spot){at, NULL, size};
}

static void map_segment(unsigned char *base, const Elf64_Phdr *p, int fd) {
    uint64_t lead = p->p_vaddr % PAGE, end = p->p_vaddr + p->p_filesz, page_end = (end + PAGE - 1) & ~(PAGE - 1);
    uint64_t last = (p->p_vaddr + p->p_memsz + PAGE - 1) & ~(PAGE - 1);
    int protection = PROT_READ | (p->p_flags & PF_X ? PROT_EXEC : PROT_WRITE);
    if (mmap(base + p->p_vaddr - lead, p->p_filesz + lead, protection, MAP_PRIVATE | MAP_FIXED, fd, p->p_offset - lead) == MAP_FAILED)
        _exit(1);
    if (p->p_flags & PF_W) {
        memset(base + end, 0, page_end - end);
        if (last > page_end)
            mmap(base + page_end, last - page_end, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_FIXED | MAP_ANONYMOUS, -1, 0);
    }
}

static unsigned char *lay_out(const char *path) {
    struct stat info;
    int fd = open(path, O_RDONLY);
    if (fd < 0 || fstat(fd, &info))
        _exit(1);
    unsigned char *file = mmap(NULL, info.st_size, PROT_READ, MAP_PRIVATE, fd, 0);
    const Elf64_Ehdr *head = (void *)file;
    const Elf64_Phdr *p = (void *)(file + head->e_phoff);
    uint64_t size = 0;
    for (int i = 0; i < head->e_phnum; i++)
        if (p[i].p_type == PT_LOAD && p[i].p_vaddr + p[i].p_memsz > size)
            size = p[i].p_vaddr + p[i].p_memsz;
    unsigned char *base = mmap(NULL, size + 2 * PAGE, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    for (int i = 0; i < head->e_phnum; i++)
        if (p[i].p_type == PT_LOAD)
            map_segment(base, &p[i], fd);
    add_spot(base, sizeof *head + head->e_phnum * sizeof *p);
    for (int i = 0; i < head->e_phnum; i++) {
        if (p[i].p_type != PT_DYNAMIC)
            continue;
        const Elf64_Dyn *entry = (void *)(base + p[i].p_vaddr);
        add_spot(base + p[i].p_vaddr, p[i].p_memsz);
        for (; entry->d_tag != DT_NULL; entry++) {
            if (entry->d_tag == DT_SYMTAB || entry->d_tag == DT_STRTAB || entry->d_tag == DT_GNU_HASH)
                add_spot(base + entry->d_un.d_val, 30000);
            if (entry->d_tag == DT_GNU_HASH)
                add_spot(base + entry->d_un.d_val, 16);
        }
    }
    munmap(file, info.st_size);
    close(fd);
    return base;
}

static uint64_t any(void) {
    return (uint64_t)random() << 42 ^ (uint64_t)random() << 21 ^ random();
}

/* A value that a careless reader would stumble over. */
static uint64_t forge(uint64_t old) {
    switch (random() % 8) {
    case 0: return 0;
    case 1: return UINT64_MAX;
    case 2: return 1ull << 63;
    case 3: return any();
    case 4: return old ^ 1ull << random() % 64;
    case 5: return (1ull << 47) - 8;
    case 6: return random() % 64;
    default: return (uint64_t)spots[random() % spot_count].at + random() % 30000;
    }
}

int main(int argc, char **argv) {
    if (argc < 4)
        return 2;
    srandom(atoi(argv[1]));
    for (int i = 3; i < argc; i++) {
        unsigned char *base = lay_out(argv[i]);
        if (i == 3)
            memcpy(base + strtoul(argv[2], NULL, 0), &(int){1}, sizeof(int));
    }
    for (int i = 0; i < spot_count; i++) {
        spots[i].saved = malloc(spots[i].size);
        memcpy(spots[i].saved, spots[i].at, spots[i].size);
    }
    if (write(1, "ready\n", 6) != 6)
        return 1;
    for (;;) {
        for (int i = 1 + random() % 4; i; i--) {
            const struct spot *spot = &spots[random() % spot_count];
            size_t room = spot->size > 600 && random() % 2 ? 600 : spot->size;
            unsigned char *at = spot->at + (any() % (room - 8) & ~3ul);
            uint64_t value;
            memcpy(&value, at, 8);
            value = forge(value);
            memcpy(at, &value, 8);
        }
        usleep(random() % 3000);
        if (random() % 2)
            for (int i = 0; i < spot_count; i++)
                memcpy(spots[i].at, spots[i].saved, spots[i].size);
    }
}
