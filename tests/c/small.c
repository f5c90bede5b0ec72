/* SPDX-License-Identifier: MIT
 * small.c - a library to load and unload.
 */
static int value;

__attribute__((constructor)) static void begin(void) {
    value = 42;
}

int answer(void) {
    return value;
}
