/* SPDX-License-Identifier: MIT
 * show_locals.c - the variables of a frame, for people and as JSON.
 *
 * The texts of values.c are safe already but for those of form STRING, which only JSON gets; names are not.
 */
#include "values.h"

static const char *const states[] = {
    [LOCALS_TRUE] = "complete", [LOCALS_CHANGING] = "changing", [LOCALS_GONE] = "gone", [LOCALS_LIMIT] = "limit",
};

static const char *const remarks[] = {
    [LOCALS_CHANGING] = "(these have changed while they were read)",
    [LOCALS_GONE] = "(the frame has gone on before its variables were read)",
    [LOCALS_LIMIT] = "(the limit for all variables of a process is reached)",
};

void show_locals_text(const struct dump_frame *frame, const char *dim, const char *plain) {
    const struct frame_locals *locals = frame->variables;
    for (int i = 0; locals && i < locals->count; i++) {
        const struct local *local = &locals->local[i];
        put("          ");
        put(dim);
        put_safely(local->name);
        put(" = ");
        put(plain);
        put_bytes(local->text, local->size);
        put_char('\n');
    }
    if (locals && locals->state != LOCALS_TRUE)
        putf("          %s%s%s\n", dim, remarks[locals->state], plain);
}

static void put_value(const struct local *local) {
    switch (local->form) {
    case NOTHING: put("null"); break;
    case TRUTH: put(local->text[0] == 'T' ? "true" : "false"); break;
    case NUMBER: put_bytes(local->text, local->size); break;
    default: put_json_bytes(local->text, local->size); break;
    }
}

void show_locals_json(const struct dump_frame *frame) {
    const struct frame_locals *locals = frame->variables;
    const char *sign = "";
    put(", \"locals\": {");
    for (int i = 0; locals && i < locals->count; i++) {
        const struct local *local = &locals->local[i];
        put(sign);
        put_json(local->name);
        put(": {\"type\": ");
        put_json(local->type);
        put(", \"value\": ");
        put_value(local);
        putf(", \"truncated\": %s}", local->truncated ? "true" : "false");
        sign = ", ";
    }
    putf("}, \"locals_state\": \"%s\"", states[locals ? locals->state : LOCALS_GONE]);
}
