/* SPDX-License-Identifier: MIT
 * lines.c - the line that an instruction belongs to.
 *
 * CPython has had three tables of it (Objects/lnotab_notes.txt, Objects/locations.md):
 *   to 3.9  co_lnotab: pairs of bytes, the step of the address and the signed step of the line
 *   3.10    co_linetable: pairs, length of a run of code and the signed step of the line; -128: no line
 *   3.11+   co_linetable: entries that begin with a byte that has bit 7 set: kind in bits 3-6, length - 1 in
 *           code units in bits 0-2; the step of the line as a signed varint for the kinds 13 and 14
 */
#include "dump.h"

static int find_in_lnotab(const struct code *code, int instruction) {
    uint32_t line = code->first_line;
    int address = 0;
    for (uint32_t i = 0; i + 1 < code->lines_size; i += 2) {
        address += code->lines[i];
        if (address > instruction)
            break;
        line += (signed char)code->lines[i + 1];
    }
    return (int)line;
}

static int find_in_runs(const struct code *code, int instruction) {
    uint32_t line = code->first_line;
    int end = 0;
    for (uint32_t i = 0; i + 1 < code->lines_size; i += 2) {
        int step = (signed char)code->lines[i + 1];
        end += code->lines[i];
        if (step != -128)
            line += step;
        if (end > instruction)
            return step == -128 ? 0 : (int)line;
    }
    return 0;
}

/* A varint: six bits in each byte, least first, bit 6 set if more follow. */
static uint32_t read_varint(const struct code *code, uint32_t *at) {
    uint32_t value = 0, byte = 0x40;
    for (int shift = 0; byte & 0x40 && *at < code->lines_size && shift < 32; shift += 6) {
        byte = code->lines[(*at)++];
        value |= (byte & 0x3f) << shift;
    }
    return value;
}

enum {ONE_LINE_0 = 10, ONE_LINE_2 = 12, NO_COLUMNS = 13, LONG = 14, NO_LOCATION = 15};

static int find_in_locations(const struct code *code, int instruction) {
    uint32_t line = code->first_line, at = 0;
    int end = 0;
    while (at < code->lines_size) {
        int head = code->lines[at++], kind = head >> 3 & 15;
        end += 2 * ((head & 7) + 1);
        if (kind == NO_COLUMNS || kind == LONG) {
            uint32_t step = read_varint(code, &at);
            line += step & 1 ? -(step >> 1) : step >> 1;
        } else if (kind >= ONE_LINE_0 && kind <= ONE_LINE_2) {
            line += kind - ONE_LINE_0;
        }
        if (end > instruction)
            return kind == NO_LOCATION ? 0 : (int)line;
        while (at < code->lines_size && !(code->lines[at] & 0x80))
            at++;
    }
    return 0;
}

/* 0: the instruction has no line. */
int find_line(const struct dump *dump, const struct code *code, int instruction) {
    int line;
    if (instruction < 0)
        line = code->first_line;
    else if (dump->layout.version <= 0x0309)
        line = find_in_lnotab(code, instruction);
    else if (dump->layout.version == 0x030a)
        line = find_in_runs(code, instruction);
    else
        line = find_in_locations(code, instruction);
    return line > 0 ? line : 0;
}
