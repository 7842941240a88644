"""The loop most teams write: poll, decode, post, commit, one event after the other.

Environment: BOOTSTRAP, TOPIC, GROUP, URL, SECRET (base64), SCHEMA (the Avro schema's JSON).
"""

import asyncio
import base64
import hashlib
import hmac
import io
import json
import os
import time

import aiohttp
import fastavro
from confluent_kafka import Consumer

SINGLE_OBJECT_HEAD = 10


async def main() -> None:
    """Work until the process is ended."""
    schema = fastavro.parse_schema(json.loads(os.environ["SCHEMA"]))
    secret = base64.b64decode(os.environ["SECRET"])
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
            event = fastavro.schemaless_reader(io.BytesIO(message.value()[SINGLE_OBJECT_HEAD:]), schema, None)
            if event["properties"]["plan"] == "pro" and event["consent"].get("email") == "granted":
                await send(session, event, secret)
            consumer.commit(message, asynchronous=False)


async def send(session: aiohttp.ClientSession, event: dict, secret: bytes) -> None:
    """Post one event."""
    body = json.dumps(
        {
            "customer": event["customer"]["id"],
            "email": event["customer"]["email"],
            "plan": event["properties"]["plan"],
            "seats": event["properties"]["seats"],
            "at": event["time"].isoformat(timespec="milliseconds").replace("+00:00", "Z"),
            "source": "hookline",
        }
    ).encode()
    stamp = str(int(time.time()))
    signature = hmac.digest(secret, f"{event['id']}.{stamp}.".encode() + body, hashlib.sha256)
    headers = {
        "Content-Type": "application/json",
        "Authorization": "Bearer token-of-a-bench",
        "webhook-id": str(event["id"]),
        "webhook-timestamp": stamp,
        "webhook-signature": "v1," + base64.b64encode(signature).decode(),
    }
    async with session.post(os.environ["URL"] + "/v1/contacts", data=body, headers=headers) as answer:
        await answer.read()


asyncio.run(main())
