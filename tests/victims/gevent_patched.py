# gevent_patched.py - a program whose standard library gevent has replaced.
# SPDX-License-Identifier: MIT

from gevent import monkey

monkey.patch_all()

import gevent  # noqa: E402
import threading  # noqa: E402
import time  # noqa: E402

secret = 1024


def serve():
    threading.Thread(target=time.sleep, args=(3600,), daemon=True).start()
    print("ready", flush=True)
    gevent.sleep(3600)


serve()
