/* SPDX-License-Identifier: MIT
 * places.c - where in the target there is room for what an attach needs.
 *
 * Stub and note live in padding: the kernel maps whole pages, so behind the last byte of a segment
 * there are bytes up to the end of the page that belong to nobody. They must be zero, or begin
 * with what an earlier attach has left there. Where the linker has not padded the file (older ld)
 * the page goes on with the next segment's bytes: not zero, not taken.
 *
 * The C library first: nobody ever unloads it. The linker last for the stub and never for the note
 * (its early malloc takes the end of its data), the program never for the note (the heap may follow).
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <linux/stat.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "../wire.h"
#include "look.h"

#define STUB_NEEDED 960

/* The unused bytes behind segment p, from a multiple of `align` on; their number, 0 if there are none.
 * They count if all are zero or the first ones are `magic`. */
static uint64_t find_padding(struct target *target, const struct elf *elf, const Elf64_Phdr *p, uint64_t align,
                             const void *magic, uint64_t *at) {
    unsigned char bytes[PAGE];
    uint64_t end = p->p_vaddr + p->p_memsz, page_end = (end + PAGE - 1) & ~(PAGE - 1);
    *at = (end + align - 1) & ~(align - 1);
    if (end == p->p_vaddr || *at >= page_end)
        return 0;
    const struct mapping *m = find_mapping(target, end - 1);
    int writable = (p->p_flags & PF_W) != 0, executable = (p->p_flags & PF_X) != 0;
    if (!m || !m->r || m->w != writable || m->x != executable || !m->private || m->end < page_end)
        return 0;
    if (executable && m->inode != elf->mapping->inode)
        return 0;
    uint64_t room = page_end - *at;
    if (read_memory(elf->memory, *at, bytes, room))
        return 0;
    if (!memcmp(bytes, magic, 8))
        return room;
    for (uint64_t i = 0; i < room; i++)
        if (bytes[i])
            return 0;
    return room;
}

/* The last segment of that kind in an image; others end where the next begins. */
static uint64_t find_in_image(struct target *target, const struct elf *elf, unsigned flags, uint64_t align, uint64_t needed,
                              const void *magic, uint64_t *at) {
    for (int i = elf->segment_count - 1; i >= 0; i--) {
        const Elf64_Phdr *p = &elf->segments[i];
        if (p->p_type != PT_LOAD || (p->p_flags & (PF_W | PF_X)) != flags)
            continue;
        int shared_page = 0;
        uint64_t last = p->p_vaddr + p->p_memsz - 1;
        for (int k = 0; k < elf->segment_count; k++)
            shared_page |= k != i && elf->segments[k].p_type == PT_LOAD && elf->segments[k].p_vaddr / PAGE == last / PAGE;
        uint64_t room = shared_page ? 0 : find_padding(target, elf, p, align, magic, at);
        if (room >= needed)
            return room;
    }
    return 0;
}

int find_stub_place(struct target *target, struct places *places) {
    for (int round = 0; round < 4; round++) {
        for (int i = 0; i < target->image_count; i++) {
            const struct elf *elf = &target->images[i];
            int when = elf == target->libc ? 0 : elf == target->linker ? 3 : elf == target->program ? 2 : 1;
            if (when == round && (places->stub_room = find_in_image(target, elf, PF_X, 64, STUB_NEEDED, stub_head, &places->stub)))
                return 0;
        }
    }
    return refuse(target, "no place for the stub",
                  "process %d has no place for the attach stub (no padding after the text of its libraries)", target->pid);
}

int find_note_place(struct target *target, struct places *places) {
    static const uint64_t magic = NOTE_MAGIC;
    for (int round = 0; round < 2; round++) {
        for (int i = 0; i < target->image_count; i++) {
            const struct elf *elf = &target->images[i];
            if (elf == target->linker || elf == target->program || (elf == target->libc) != (round == 0))
                continue;
            if ((places->note_room = find_in_image(target, elf, PF_W, 16, NOTE_SIZE, &magic, &places->note)))
                return 0;
        }
    }
    return refuse(target, "no place for the note",
                  "process %d has no place for the attach note (no padding after the data of its libraries)", target->pid);
}

/* Is pyinjectcode.so of this very build there from an earlier attach? */
int find_library(struct target *target, const char *file, struct places *places) {
    struct memory memory;
    struct elf own;
    struct pydb_state mine, theirs;
    uint64_t at;
    if (!file)
        return 0;
    if (read_library_file(file, &memory, &own) || !(at = find_symbol(&own, "pydb_state"))
        || read_memory(&memory, at, &mine, sizeof mine))
        return refuse(target, "bad library", "%s is not a pyinjectcode.so", file);
    for (int i = 0; i < target->image_count; i++) {
        struct elf *elf = &target->images[i];
        uint64_t state, entry;
        if (!strstr(elf->mapping->name, "/.pydbattach.") || !(state = find_symbol(elf, "pydb_state"))
            || !(entry = find_function(elf, "pydb_entry")) || read_memory(&target->memory, state, &theirs, sizeof theirs)
            || memcmp(theirs.magic, mine.magic, sizeof mine.magic) || memcmp(theirs.build, mine.build, sizeof mine.build))
            continue;
        places->library = elf->base;
        places->state = state;
        places->entry = entry;
        break;
    }
    return 0;
}

/* ---- a directory for the copy of the library ---- */

/* May the target's user go through this directory? By owner, group and mode; a refusal of the kernel that
 * this does not foresee only makes the launcher try the next place. */
static int may_enter(const struct status *status, const struct stat *info) {
    if (status->uid == 0)
        return 1;
    if (info->st_uid == status->uid)
        return info->st_mode & S_IXUSR;
    int member = info->st_gid == status->gid;
    for (int i = 0; i < status->group_count; i++)
        member |= info->st_gid == status->groups[i];
    return info->st_mode & (member ? S_IXGRP : S_IXOTH);
}

static int can_be_reached(const struct target *target, const char *path) {
    char part[4096];
    struct stat info;
    for (const char *slash = path; slash; slash = strchr(slash + 1, '/')) {
        const char *next = strchr(slash + 1, '/');
        size_t length = next ? (size_t)(next - path) : strlen(path);
        snprintf(part, sizeof part, "%.*s", (int)length, path);
        int fd = open_in_root(target, part), failed = fd < 0 || fstat(fd, &info);
        if (fd >= 0)
            close(fd);
        if (failed || !may_enter(&target->status, &info))
            return 0;
    }
    return 1;
}

static int is_place(const struct target *target, const char *path) {
    struct statvfs info;
    if (path[0] != '/' || strlen(path) > PLACE_SIZE - 8)
        return 0;
    for (const char *c = path; *c; c++)
        if ((unsigned char)*c < 0x20 || *c == 0x7f || *c == '\\')
            return 0;           /* it goes into a line of a gdb script */
    int fd = open_in_root(target, path);
    int good = fd >= 0 && !fstatvfs(fd, &info) && !(info.f_flag & (ST_NOEXEC | ST_RDONLY))
               && !faccessat(fd, ".", W_OK | X_OK, AT_EACCESS) && can_be_reached(target, path);
    if (fd >= 0)
        close(fd);
    return good;
}

/* Its working directory, as its own root names it; "" if that is somewhere else. */
static void read_cwd(const struct target *target, char *cwd, size_t size) {
    char path[4096];
    struct stat here, there;
    ssize_t n = readlinkat(target->proc, "cwd", path, sizeof path - 1);
    cwd[0] = 0;
    if (n <= 0)
        return;
    path[n] = 0;
    snprintf(cwd, size, "%s", name_in_root(target, path));
    int fd = open_in_root(target, cwd);
    if (fd < 0 || fstat(fd, &here) || fstatat(target->proc, "cwd", &there, 0)
        || here.st_dev != there.st_dev || here.st_ino != there.st_ino)
        cwd[0] = 0;
    if (fd >= 0)
        close(fd);
}

int find_directories(struct target *target, struct places *places) {
    char cwd[4096];
    const char *const names[PLACES_AT_MOST] = {"/tmp", "/var/tmp", "/dev/shm", "/run", cwd, "/"};
    read_cwd(target, cwd, sizeof cwd);
    for (int i = 0; i < PLACES_AT_MOST; i++)
        if (is_place(target, names[i]))
            strcpy(places->directories[places->directory_count++], names[i]);
    if (places->directory_count)
        return 0;
    return refuse(target, "no place for the library", "process %d has no directory that it could load a library from "
                  "(/tmp, /var/tmp, /dev/shm, its working directory)", target->pid);
}
