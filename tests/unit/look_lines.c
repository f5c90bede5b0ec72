/* SPDX-License-Identifier: MIT
 * look_lines.c - look/lines.c alone: reads line tables from stdin, with the line that Python gives to each instruction.
 *
 * argv[1]: version as 0x030c. A record: first line, size of the table, number of instructions (three int32),
 * the table, a line for each instruction (int32, -1: none). Prints the number of instructions that agree.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "look/dump.h"

int main(int argc, char **argv) {
    struct dump dump = {.layout.version = argc > 1 ? strtol(argv[1], NULL, 0) : 0};
    int32_t head[3];
    long agreed = 0;
    while (fread(head, sizeof head, 1, stdin) == 1) {
        struct code code = {.first_line = head[0], .lines_size = head[1], .lines = malloc(head[1] + 1)};
        int32_t *lines = malloc((head[2] + 1) * sizeof *lines);
        if (fread(code.lines, 1, head[1], stdin) != (size_t)head[1]
            || fread(lines, sizeof *lines, head[2], stdin) != (size_t)head[2])
            return 2;
        for (int i = 0; i < head[2]; i++) {
            int line = find_line(&dump, &code, 2 * i);
            if ((lines[i] < 0 ? 0 : lines[i]) != line) {
                printf("first line %d, instruction %d: line %d, Python says %d\n", head[0], i, line, lines[i]);
                return 1;
            }
            agreed++;
        }
        free(code.lines);
        free(lines);
    }
    printf("%ld\n", agreed);
    return 0;
}
