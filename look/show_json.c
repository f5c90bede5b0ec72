/* SPDX-License-Identifier: MIT
 * show_json.c - a dump as an object of the document that doc/dump.schema.json describes.
 *
 * What the readers of it rely on: every key is always there, what is not known is null.
 */
#include <stdlib.h>
#include <string.h>

#include "mixed.h"

static void put_number(const char *name, double value) {
    if (value < 0)
        putf(", \"%s\": null", name);
    else
        putf(", \"%s\": %.6g", name, value < 1e6 ? value : (double)(long long)value);
}

static void put_text(const char *name, const char *text) {
    putf(", \"%s\": ", name);
    put_json(text);
}

static void put_command(const struct dump *dump) {
    const char *sign = "";
    put(", \"command\": [");
    for (const char *at = dump->command; at < dump->command + dump->command_size; at += strlen(at) + 1) {
        put(sign);
        put_json(at);
        sign = ", ";
    }
    put("]");
}

static void put_native_frame(const struct native_frame *frame) {
    put("{\"kind\": \"native\", \"function\": ");
    put_json(frame->function);
    put_text("file", frame->module);
    putf(", \"address\": %llu, \"offset\": %llu", (unsigned long long)frame->pc, (unsigned long long)frame->offset);
    put(", \"qualified_name\": null, \"line\": null, \"source\": null, \"source_changed\": false}");
}

static void put_frame(struct dump *dump, struct dump_frame *frame) {
    int changed;
    char *source = find_source_line(dump, frame, &changed);
    put(dump->options->native ? "{\"kind\": \"python\", \"function\": " : "{\"function\": ");
    put_json(frame->code->name);
    put_text("qualified_name", frame->code->qualified_name);
    put_text("file", frame->code->file);
    if (frame->line)
        putf(", \"line\": %d", frame->line);
    else
        put(", \"line\": null");
    put_text("source", source);
    putf(", \"source_changed\": %s", changed ? "true" : "false");
    if (dump->options->locals)
        show_locals_json(frame);
    put("}");
    free(source);
}

static void put_thread(struct dump *dump, struct dump_thread *thread) {
    const char *sign = "";
    putf("\n    {\"number\": %d", thread->number);
    put_text("name", thread->name);
    put_text("native_name", thread->native_name);
    putf(", \"native_id\": %d", thread->tid);
    if (thread->state_address)
        putf(", \"ident\": %llu, \"interpreter\": %lld", (unsigned long long)thread->ident,
             (long long)dump->interpreters[thread->interpreter].id);
    else
        put(", \"ident\": null, \"interpreter\": null");
    put_text("state", state_names[thread->state]);
    put_text("system_call", thread->system_call >= 0 ? say_call(thread->system_call) : NULL);
    put_number("cpu_seconds", thread->cpu_seconds);
    put_number("off_cpu_seconds", thread->off_cpu_seconds);
    const struct mixed *mixed = thread->native;
    if (dump->options->native)
        put_text("native_error", mixed ? mixed->trouble : "there are no C frames");
    putf(", \"complete\": %s,\n     \"frames\": [", thread->complete ? "true" : "false");
    for (int i = 0; mixed && i < mixed->count; i++) {
        put(sign);
        if (mixed->items[i].native)
            put_native_frame(mixed->items[i].native);
        else
            put_frame(dump, &thread->frames[mixed->items[i].frame]);
        sign = ",\n                ";
    }
    for (int i = 0; i < thread->frame_count && !mixed; i++) {
        if (thread->frames[i].hidden)
            continue;
        put(sign);
        put_frame(dump, &thread->frames[i]);
        sign = ",\n                ";
    }
    put("]}");
}

void show_json(struct dump *dump, const char *error) {
    const struct target *target = dump->target;
    putf("  {\"pid\": %d", target->pid);
    if (dump->options->core)
        put_text("core", dump->options->core);
    put_text("user", dump->user[0] ? dump->user : NULL);
    put_command(dump);
    put_text("executable", target->exe[0] ? target->exe : NULL);
    if (dump->version[0]) {
        putf(", \"python\": {\"version\": \"%s\", \"library\": ", dump->version);
        put_json(target->python.path);
        putf(", \"free_threaded\": %s}", dump->layout.free_threaded ? "true" : "false");
    } else {
        put(", \"python\": null");
    }
    put_text("error", error);
    putf(", \"complete\": %s, \"interpreters\": [", dump->complete && !error ? "true" : "false");
    for (int i = 0; i < dump->interpreter_count; i++)
        putf("%s{\"id\": %lld, \"main\": %s}", i ? ", " : "", (long long)dump->interpreters[i].id,
             dump->interpreters[i].is_main ? "true" : "false");
    put("],\n   \"threads\": [");
    for (int i = 0; i < dump->thread_count; i++) {
        if (i)
            put(",");
        put_thread(dump, &dump->threads[i]);
    }
    put("]}");
}
