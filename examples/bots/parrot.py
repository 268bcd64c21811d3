#!/usr/bin/env python3
"""A bot of Offhook's lean protocol (docs/bridge.md): says what the caller says, one second later.

pip install websockets; python3 parrot.py [PORT]; then an agent file like examples/bridge.yaml.
The key # ends the call, 0 asks for the desk.
"""
import asyncio, json, sys
from websockets.asyncio.server import serve

PORT = int(sys.argv[1]) if len(sys.argv) > 1 else 8765
DELAY_FRAMES = 50  # of 20 ms


async def call(socket):
    waiting = []
    async for message in socket:
        if isinstance(message, bytes):  # 8 octets of header, then samples: to be sent back as they are
            waiting.append(message)
            if len(waiting) > DELAY_FRAMES:
                await socket.send(waiting.pop(0))
            continue
        event = json.loads(message)
        print(event, flush=True)
        if event["type"] == "dtmf" and event["digits"] == "#":
            await socket.send(json.dumps({"type": "hangup", "reason": "the caller is done"}))
        elif event["type"] == "dtmf" and event["digits"] == "0":
            await socket.send(json.dumps({"type": "transfer", "destination": "desk", "reason": "asked by key"}))


async def main():
    async with serve(call, "127.0.0.1", PORT, subprotocols=["offhook.bridge.v1"]) as server:
        print("listening on", server.sockets[0].getsockname()[1], flush=True)
        await asyncio.get_running_loop().create_future()


asyncio.run(main())
