/* SPDX-License-Identifier: MIT
 * codes.c - code objects: names, file and line table, read once each.
 *
 * Two calls for a code object: its fixed part, then the beginnings of all that hangs on it. A code object
 * does not change, but it can be freed and another one take its place: codes_hold compares at the end.
 */
#include <stdlib.h>
#include <string.h>

#include "dump.h"

#define BUCKETS 1024u
#define FIXED_AT_MOST 512
#define TEXT_FIRST 256          /* so much of a str at the first try: most names and paths */
#define LINES_FIRST 512
#define LINES_AT_MOST (4u << 20)

static struct code **find_bucket(struct dump *dump, uint64_t address) {
    return &dump->codes[address * 0x9e3779b97f4a7c15ull >> 54 & (BUCKETS - 1)];
}

static uint64_t get_pointer(const unsigned char *bytes, int32_t at) {
    uint64_t value;
    memcpy(&value, bytes + at, sizeof value);
    return value;
}

static int32_t get_int(const unsigned char *bytes, int32_t at) {
    int32_t value;
    memcpy(&value, bytes + at, sizeof value);
    return value;
}

/* Is `type` the type of code objects? Known by its name once, by its address then. */
static int is_code_type(struct dump *dump, uint64_t type) {
    char name[5];
    uint64_t at;
    if (dump->code_type)
        return type == dump->code_type;
    if (!type || read_memory(dump->memory, type + dump->layout.type_name, &at, sizeof at)
        || read_memory(dump->memory, at, name, sizeof name) || memcmp(name, "code", 5))
        return 0;
    dump->code_type = type;
    return 1;
}

/* How much of `size` bytes from `address` lies in its page: more may not be there. */
static size_t in_page(uint64_t address, size_t size) {
    size_t room = PAGE - address % PAGE;
    return size < room ? size : room;
}

static int read_lines(struct dump *dump, struct code *code, const unsigned char *first, size_t got) {
    const struct layout *l = &dump->layout;
    uint64_t size;
    if (got >= (size_t)l->bytes_items)
        size = get_pointer(first, l->var_size);
    else if (read_memory(dump->memory, code->lines_object + l->var_size, &size, sizeof size))
        return -1;
    if (size > LINES_AT_MOST || !(code->lines = malloc(size + 1)))
        return -1;
    code->lines_size = size;
    if (size + l->bytes_items <= got)
        memcpy(code->lines, first + l->bytes_items, size);
    else if (read_memory(dump->memory, code->lines_object + l->bytes_items, code->lines, size))
        return -1;
    return 0;
}

static int fill_code(struct dump *dump, struct code *code, const unsigned char *fixed) {
    const struct layout *l = &dump->layout;
    code->file_object = get_pointer(fixed, l->code_file);
    code->name_object = get_pointer(fixed, l->code_name);
    code->lines_object = get_pointer(fixed, l->code_lines);
    code->first_line = get_int(fixed, l->code_first_line);
    code->flags = get_int(fixed, l->code_flags);
    code->arguments = get_int(fixed, l->code_arguments);
    code->keyword_only = get_int(fixed, l->code_keyword_only);
    code->local_count = get_int(fixed, l->code_local_count);
    code->locals_plus = l->code_locals_plus ? get_int(fixed, l->code_locals_plus) : 0;
    code->first_traceable = l->code_first_traceable ? get_int(fixed, l->code_first_traceable) : 0;
    code->adaptive = l->code_adaptive ? code->address + l->code_adaptive : 0;
    uint64_t qualified = l->code_qualified_name ? get_pointer(fixed, l->code_qualified_name) : 0;

    unsigned char texts[3][TEXT_FIRST], lines[LINES_FIRST];
    uint64_t addresses[3] = {code->file_object, code->name_object, qualified};
    struct piece pieces[4];
    int count = 0, shared = qualified == code->name_object, text_count = qualified && !shared ? 3 : 2;
    for (int i = 0; i < text_count; i++)
        pieces[count++] = (struct piece){addresses[i], texts[i], in_page(addresses[i], TEXT_FIRST), 0};
    pieces[count++] = (struct piece){code->lines_object, lines, in_page(code->lines_object, LINES_FIRST), 0};
    if (read_pieces(dump->memory, pieces, count))
        return -1;
    code->file = read_str_from(dump, addresses[0], texts[0], pieces[0].size);
    code->name = read_str_from(dump, addresses[1], texts[1], pieces[1].size);
    if (text_count == 3 && !(code->qualified_name = read_str_from(dump, qualified, texts[2], pieces[2].size)))
        return -1;
    if (shared && code->name)
        code->qualified_name = strdup(code->name);
    return code->file && code->name && !read_lines(dump, code, lines, pieces[count - 1].size) ? 0 : -1;
}

static void free_code(struct code *code) {
    free(code->file);
    free(code->name);
    free(code->qualified_name);
    free(code->lines);
    free(code);
}

/* The code object at `address`; NULL if there is none. */
struct code *find_code(struct dump *dump, uint64_t address) {
    unsigned char fixed[FIXED_AT_MOST];
    if (!dump->codes && !(dump->codes = calloc(BUCKETS, sizeof *dump->codes)))
        return NULL;
    struct code **bucket = find_bucket(dump, address);
    for (struct code *code = *bucket; code; code = code->next)
        if (code->address == address)
            return code;
    size_t size = dump->layout.code_size;
    if (address % 8 || size > sizeof fixed || dump->code_count >= CODES_AT_MOST
        || read_memory(dump->memory, address, fixed, size)
        || !is_code_type(dump, get_pointer(fixed, dump->layout.object_type)))
        return NULL;
    struct code *code = calloc(1, sizeof *code);
    if (!code)
        return NULL;
    code->address = address;
    if (fill_code(dump, code, fixed)) {
        free_code(code);
        return NULL;
    }
    code->next = *bucket;
    *bucket = code;
    dump->code_count++;
    return code;
}

/* Are they all still what was read? Those that are not are marked stale. */
int codes_hold(struct dump *dump) {
    const struct layout *l = &dump->layout;
    int changed = 0;
    for (unsigned b = 0; dump->codes && b < BUCKETS; b++) {
        struct piece pieces[3 * 16];
        uint64_t now[16][3];
        int n = 0;
        for (struct code *code = dump->codes[b], *first = code; code; code = code->next) {
            pieces[3 * n] = (struct piece){code->address + l->code_file, &now[n][0], 8, 0};
            pieces[3 * n + 1] = (struct piece){code->address + l->code_name, &now[n][1], 8, 0};
            pieces[3 * n + 2] = (struct piece){code->address + l->code_lines, &now[n][2], 8, 0};
            if (++n < 16 && code->next)
                continue;
            int failed = read_pieces(dump->memory, pieces, 3 * n);
            for (int i = 0; i < n; i++, first = first->next) {
                first->stale = (failed && !(pieces[3 * i].done && pieces[3 * i + 1].done && pieces[3 * i + 2].done))
                               || now[i][0] != first->file_object || now[i][1] != first->name_object
                               || now[i][2] != first->lines_object;
                changed += first->stale;
            }
            n = 0;
        }
    }
    return changed ? -1 : 0;
}

void free_codes(struct dump *dump) {
    for (unsigned b = 0; dump->codes && b < BUCKETS; b++) {
        for (struct code *code = dump->codes[b], *next; code; code = next) {
            next = code->next;
            free_code(code);
        }
    }
    free(dump->codes);
    dump->codes = NULL;
}
