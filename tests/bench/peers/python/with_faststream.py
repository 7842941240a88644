"""FastStream with its Confluent broker, a ClientSession shared by concurrent handlers.

Environment: BOOTSTRAP, TOPIC, GROUP, URL, IN_FLIGHT, and what work.py reads.
"""

import asyncio
import os

import aiohttp
from faststream import FastStream
from faststream.confluent import KafkaBroker
from work import URL, request

broker = KafkaBroker(os.environ["BOOTSTRAP"])
app = FastStream(broker)
sessions: list[aiohttp.ClientSession] = []


@broker.subscriber(
    os.environ["TOPIC"], group_id=os.environ["GROUP"], auto_offset_reset="earliest",
    max_workers=int(os.environ["IN_FLIGHT"]), decoder=lambda message: message.body,
)  # fmt: skip
async def handle(value: bytes) -> None:
    """Post one event."""
    wanted = request(value)
    if wanted is None:
        return
    if not sessions:
        connector = aiohttp.TCPConnector(limit=int(os.environ["IN_FLIGHT"]))
        sessions.append(aiohttp.ClientSession(connector=connector))
    body, headers = wanted
    async with sessions[0].post(URL, data=body, headers=headers) as answer:
        await answer.read()


asyncio.run(app.run())
