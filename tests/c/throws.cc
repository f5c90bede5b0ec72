// SPDX-License-Identifier: MIT
// throws.cc - C++ exceptions in a loop: each throw walks the linker's list of libraries and allocates.
#include <string>

#include "unlucky.h"

static int descend(int depth, const std::string &text) {
    std::string copy = text + "x";
    if (depth == 0)
        throw copy;
    return descend(depth - 1, copy) + 1;
}

extern "C" int throw_and_catch(int depth) {
    try {
        return descend(depth - 1, "");
    } catch (const std::string &text) {
        return text.size();
    }
}

static void *run(void *argument) {
    lane *own = static_cast<lane *>(argument);
    for (;;) {
        for (int depth = 1; depth < 40; depth++)
            if (throw_and_catch(depth) != depth)
                own->errors++;
        count_item(own, -1);
    }
    return nullptr;
}

extern "C" int start_throwers(lane *lanes, int count) {
    return start_lanes(lanes, count, run);
}
