# exceptions.py - C++ exceptions in a loop, in the main thread and three others: each looks into the linker's lists.
# SPDX-License-Identifier: MIT

import ctypes

import ledger

library = ctypes.CDLL("./throws.so")
library.start_throwers(*ledger.lanes_for_c(library, 3))
main = ledger.Lane()
ledger.ready()
main.run(lambda: main.check(library.throw_and_catch(50) == 50))
