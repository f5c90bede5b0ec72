# traces.py - sets and removes the trace of whatever thread there is, TIMES times, by the product's own code.
# SPDX-License-Identifier: MIT
#
# Runs in a target, evaluated at our prompt: exec(open("traces.py").read()). The modules of the session are found
# in the frames below.

import sys as _sys


def find_module():
    frame = _sys._getframe()
    while frame is not None:
        if "pythreadhacks" in frame.f_globals:
            return frame.f_globals["pythreadhacks"]
        frame = frame.f_back
    raise RuntimeError("no session below")


def set_and_remove(times):
    module = find_module()
    tracer, hands = module.new_tracer(), module.hands
    tracer.prepare()
    tracer.TOOL = "pydbattach test"     # beside the session's own
    own = set(module.own_idents()) | {hands.ident()}
    reached = events = turns = 0

    def handler(frame, event, arg):
        nonlocal events
        events += 1

    while reached < times and turns < 50 * times:
        for ident in hands.idents():
            turns += 1
            if ident in own:
                continue
            # half of them step, half run past a breakpoint that is nowhere
            if turns % 2:
                reached += bool(tracer.arm(ident, handler))
                tracer.disarm(ident)
            else:
                tracer.set_breaks(["nowhere.py"], lambda code: {}, lambda frame, points: None)
                tracer.set_breaks(None)
                reached += 1
    tracer.close()
    return "set and removed %d, events %s" % (reached, "yes" if events else "no")


print(set_and_remove(TIMES))        # noqa: F821
