"""The Python SDK over the end of its token; started by run.ts."""

import asyncio
import os
import sys
import urllib.request

from centrifuge import CentrifugeError, Client, ClientEventHandler, ReplyError


class Events(ClientEventHandler):
    def __init__(self) -> None:
        self.connections: asyncio.Queue[None] = asyncio.Queue()

    async def on_connecting(self, ctx) -> None:
        print("connecting", ctx.code, ctx.reason)

    async def on_connected(self, ctx) -> None:
        print("connected")
        self.connections.put_nowait(None)

    async def on_disconnected(self, ctx) -> None:
        print("ended for good:", ctx.code, ctx.reason)
        os._exit(1)


def fetch_token() -> str:
    with urllib.request.urlopen(os.environ["TOKEN_URL"]) as response:
        return response.read().decode()


async def get_token(*_) -> str:
    return await asyncio.to_thread(fetch_token)


async def refuse(client: Client, code: int, value) -> None:
    try:
        await client.rpc("echo", value)
    except ReplyError as error:
        assert error.code == code, error
    else:
        raise AssertionError(f"not refused with {code}")


async def main() -> None:
    events = Events()
    client = Client(
        os.environ["LOCKSTEP_URL"], get_token=get_token, events=events, min_reconnect_delay=0.05
    )
    await client.connect()
    await events.connections.get()
    deep: list = []
    for _ in range(64):
        deep = [deep]
    await refuse(client, 400, deep)
    await refuse(client, 106, "x" * 70_000)
    keys = {"__proto__": {"a": 1}, "constructor": 2}
    assert (await client.rpc("echo", keys)).data == keys
    await events.connections.get()
    assert (await client.rpc("echo", "after the refresh")).data == "after the refresh"


try:
    asyncio.run(asyncio.wait_for(main(), 50))
except (AssertionError, CentrifugeError, TimeoutError) as error:
    print("failed:", repr(error))
    sys.exit(1)
os._exit(0)
