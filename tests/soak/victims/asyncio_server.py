# asyncio_server.py - an asyncio server under load; its client is a process of its own.
# SPDX-License-Identifier: MIT

import asyncio
import os
import subprocess
import sys

import ledger

main = ledger.Lane()


async def serve(reader, writer):
    while True:
        line = await reader.readline()
        if not line:
            main.check(False)
            return
        writer.write(b"%d\n" % (int(line) * 2))
        await writer.drain()
        main.item()


async def run():
    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    subprocess.Popen([sys.executable, "client.py", str(port), str(os.getpid())])
    while not main.expected:
        await asyncio.sleep(0.01)
    ledger.ready()
    await asyncio.sleep(1e6)


asyncio.run(run())
