/* SPDX-License-Identifier: MIT
 * search.c - an interpreter that no symbol tells of: linked into a program without its dynamic symbols, stripped.
 *
 * From 3.13 on _PyRuntime begins with "xdebugpy". Before, it is found by what it points to: at the offsets of a
 * version's layout, the first and the main interpreter, whose threads point back to it and whose modules have
 * a sys that says that very version. All of it lies in writable data of some image.
 */
#include <stdlib.h>
#include <string.h>

#include "dump.h"

#define SEGMENT_AT_MOST (64ull << 20)
#define ALL_AT_MOST (512ull << 20)
#define WORDS 8192
#define CANDIDATES_TRIED 200000

struct search_state {
    struct dump *dump;
    struct layout layouts[16];
    int layout_count;
    uint64_t searched;
    int tried;
};

/* Does a PyInterpreterState of dump->layout stand at `address`? */
int is_interpreter(struct dump *dump, uint64_t address) {
    const struct layout *l = &dump->layout;
    uint64_t state, back, modules, type, name;
    char text[5];
    return address && !(address & 7) && !read_cached(dump->memory, address + l->interpreter_threads, &state, 8)
           && state && !(state & 7) && !read_cached(dump->memory, state + l->thread_interpreter, &back, 8) && back == address
           && !read_cached(dump->memory, address + l->interpreter_modules, &modules, 8)
           && !read_cached(dump->memory, modules + l->object_type, &type, 8)
           && !read_cached(dump->memory, type + l->type_name, &name, 8)
           && !read_cached(dump->memory, name, text, sizeof text) && !memcmp(text, "dict", 5);
}

static int is_data(const struct target *target, uint64_t address) {
    const struct mapping *m = address > PAGE && !(address & 7) ? find_mapping(target, address) : NULL;
    return m && m->r && m->w;
}

/* A layout that fits the interpreter that the word at `at` points to. */
static int try_word(struct search_state *search, uint64_t at, uint64_t word) {
    struct dump *dump = search->dump;
    uint64_t main;
    if (!is_data(dump->target, word) || ++search->tried > CANDIDATES_TRIED)
        return -1;
    for (int i = 0; i < search->layout_count; i++) {
        dump->layout = search->layouts[i];
        const struct layout *l = &dump->layout;
        uint64_t runtime = l->runtime_interpreters ? at - l->runtime_interpreters : 0;
        dump->str_type = 0;
        if (!is_interpreter(dump, word)
            || (runtime && (read_memory(dump->memory, runtime + l->runtime_main, &main, 8) || !is_interpreter(dump, main)))
            || (int)(read_sys_version(dump, word) >> 16) != l->version)
            continue;
        dump->target->python.runtime = runtime;
        dump->target->python.version = l->version;
        return 0;
    }
    return -1;
}

static int try_cookie(struct search_state *search, uint64_t at) {
    struct target *target = search->dump->target;
    uint32_t version = read_told_version(&target->memory, at);
    if (version >> 24 != 3)
        return -1;
    target->python.runtime = at;
    target->python.version = version >> 16;
    return 0;
}

static int search_segment(struct search_state *search, uint64_t at, uint64_t end) {
    static uint64_t words[WORDS];
    uint64_t cookie;
    memcpy(&cookie, "xdebugpy", 8);
    for (at = (at + 7) & ~7ull; at + 8 <= end; ) {
        size_t size = end - at < sizeof words ? (end - at) & ~7ull : sizeof words;
        size_t page = PAGE - at % PAGE;
        if (read_memory(search->dump->memory, at, words, size)
            && (size <= page || read_memory(search->dump->memory, at, words, size = page)))
            return -1;
        for (size_t k = 0; k < size / 8; k++)
            if ((words[k] == cookie && !try_cookie(search, at + 8 * k))
                || (words[k] > PAGE && words[k] >> 47 == 0 && !try_word(search, at + 8 * k, words[k])))
                return 0;
        at += size;
    }
    return -1;
}

static int search_image(struct search_state *search, const struct elf *image) {
    for (int i = 0; i < image->segment_count; i++) {
        const Elf64_Phdr *p = &image->segments[i];
        if (p->p_type != PT_LOAD || !(p->p_flags & PF_W) || p->p_memsz > SEGMENT_AT_MOST
            || (search->searched += p->p_memsz) > ALL_AT_MOST)
            continue;
        if (!search_segment(search, p->p_vaddr, p->p_vaddr + p->p_memsz))
            return 0;
    }
    return -1;
}

static void take_image(struct target *target, const struct elf *image) {
    target->python.image = image;
    if (image == target->program)
        snprintf(target->python.path, sizeof target->python.path, "%s", target->exe);
    else
        snprintf(target->python.path, sizeof target->python.path, "%s", name_in_root(target, image->mapping->name));
}

/* After find_python has found none. -1: there is none, and the refusal stands. */
int search_python(struct dump *dump) {
    struct target *target = dump->target;
    struct search_state search = {.dump = dump};
    for (int version = FIRST_DUMPED; version <= 0x030c; version++)
        if (!read_layout(dump->memory, 0, version, &search.layouts[search.layout_count]))
            search.layout_count++;
    for (int round = 0; round < 2; round++) {
        for (int i = 0; i < target->image_count; i++) {
            const struct elf *image = &target->images[i];
            if ((image == target->program) != (round == 0) || image == target->libc || image == target->linker
                || search_image(&search, image))
                continue;
            take_image(target, image);
            memset(&target->refusal, 0, sizeof target->refusal);
            return 0;
        }
    }
    return -1;
}

/* The interpreter of 3.6, whose list no symbol names: in a word of its own image. */
uint64_t search_interpreter(struct dump *dump) {
    const struct elf *image = dump->target->python.image;
    uint64_t words[512];
    for (int i = 0; i < image->segment_count; i++) {
        const Elf64_Phdr *p = &image->segments[i];
        if (p->p_type != PT_LOAD || !(p->p_flags & PF_W) || p->p_memsz > SEGMENT_AT_MOST)
            continue;
        for (uint64_t at = (p->p_vaddr + 7) & ~7ull, end = p->p_vaddr + p->p_memsz; at + 8 <= end; ) {
            size_t size = end - at < sizeof words ? (end - at) & ~7ull : sizeof words;
            if (read_memory(dump->memory, at, words, size))
                break;
            for (size_t k = 0; k < size / 8; k++)
                if (is_data(dump->target, words[k]) && !is_in(image, words[k]) && is_interpreter(dump, words[k]))
                    return words[k];
            at += size;
        }
    }
    return 0;
}
