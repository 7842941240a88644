"""The loop most teams write: poll, decode, post, commit, one event after the other.

Environment: BOOTSTRAP, TOPIC, GROUP, URL, and what work.py reads.
"""

import asyncio
import os

import aiohttp
from confluent_kafka import Consumer
from work import URL, request


async def main() -> None:
    """Work until the process is ended."""
    consumer = Consumer(
        {
            "bootstrap.servers": os.environ["BOOTSTRAP"],
            "group.id": os.environ["GROUP"],
            "auto.offset.reset": "earliest",
            "enable.auto.commit": False,
        }
    )
    consumer.subscribe([os.environ["TOPIC"]])
    async with aiohttp.ClientSession() as session:
        while True:
            message = consumer.poll(1.0)
            if message is None or message.error():
                continue
            wanted = request(message.value())
            if wanted is not None:
                body, headers = wanted
                async with session.post(URL, data=body, headers=headers) as answer:
                    await answer.read()
            consumer.commit(message, asynchronous=False)


asyncio.run(main())
