/* SPDX-License-Identifier: MIT
 * fuzz_frames.h - what fuzz_client.c and fuzz_library.c have in common: frames out of any input.
 */

/* The input, (kind, two bytes of length, payload)..., as frames of these kinds whose lengths are right. */
static char *make_frames(const uint8_t *data, size_t size, const char *kinds, size_t kind_count, size_t *total) {
    char *frames = malloc(3 * size + WIRE_HEADER), *end = frames;
    while (frames && size > 3) {
        uint32_t length = (data[1] | data[2] << 8) % (size - 2);
        *end++ = kinds[data[0] % kind_count];
        memcpy(end, &length, 4);
        memcpy(end + 4, data + 3, length);
        end += 4 + length;
        data += 3 + length;
        size -= 3 + length;
    }
    *total = (size_t)(end - frames);
    return frames;
}
