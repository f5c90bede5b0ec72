# idle.py - sleeps; the target that is attached to a thousand times.
# SPDX-License-Identifier: MIT

import time

import ledger

lane = ledger.Lane()
ledger.ready()
lane.run(lambda: time.sleep(0.005))
