# async_server.py - an asyncio server that answers lines, and clients of its own that count the answers.
# SPDX-License-Identifier: MIT

import asyncio
import os

asked = answered = 0
waiting = set(range(4))


async def look_up(word):
    await asyncio.sleep(0)
    found = word[::-1]
    return found


async def serve(reader, writer):
    while True:
        line = await reader.readline()
        if not line:
            break
        word = line.strip()
        answer = await look_up(word)
        writer.write(answer + b"\n")
        await writer.drain()
    writer.close()


async def ask(name, port):
    global asked, answered
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    number = 0
    waiting.discard(name)
    if not waiting:
        print("ready", flush=True)
    while not os.access("stop", os.F_OK):
        number += 1
        word = b"%d" % number
        asked += 1
        writer.write(word + b"\n")
        right = await reader.readline() == word[::-1] + b"\n"
        answered += right
        await asyncio.sleep(0.002)
    writer.close()


async def main():
    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    await asyncio.gather(*[ask(name, port) for name in range(4)])
    server.close()


asyncio.run(main())
print("answers", "complete" if asked == answered and asked else "%d of %d" % (answered, asked), flush=True)
