# asyncio_blocked.py - an asyncio task that blocks its loop.
# SPDX-License-Identifier: MIT

import asyncio
import time


async def fetch():
    secret = 1015
    print("ready", flush=True)
    time.sleep(3600)
    return secret


async def main():
    await asyncio.ensure_future(fetch())


asyncio.new_event_loop().run_until_complete(main())
