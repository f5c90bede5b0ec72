# asyncio_wait.py - an asyncio program whose loop waits for ever.
# SPDX-License-Identifier: MIT

import asyncio


async def serve():
    secret = 1007
    print("ready", flush=True)
    await asyncio.get_running_loop().create_future()
    return secret


def main():
    secret = 10070
    asyncio.new_event_loop().run_until_complete(serve())
    return secret


main()
