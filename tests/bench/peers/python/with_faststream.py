"""FastStream with its Confluent broker, a ClientSession shared by concurrent handlers.

Environment: BOOTSTRAP, TOPIC, GROUP, URL, IN_FLIGHT, SECRET (base64), SCHEMA (the Avro schema's JSON).
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
from faststream import FastStream
from faststream.confluent import KafkaBroker

SINGLE_OBJECT_HEAD = 10
SCHEMA = fastavro.parse_schema(json.loads(os.environ["SCHEMA"]))
SECRET = base64.b64decode(os.environ["SECRET"])

broker = KafkaBroker(os.environ["BOOTSTRAP"])
app = FastStream(broker)
sessions: list[aiohttp.ClientSession] = []


@broker.subscriber(
    os.environ["TOPIC"], group_id=os.environ["GROUP"], auto_offset_reset="earliest",
    max_workers=int(os.environ["IN_FLIGHT"]), decoder=lambda message: message.body,
)  # fmt: skip
async def handle(value: bytes) -> None:
    """Post one event."""
    event = fastavro.schemaless_reader(io.BytesIO(value[SINGLE_OBJECT_HEAD:]), SCHEMA, None)
    if event["properties"]["plan"] != "pro" or event["consent"].get("email") != "granted":
        return
    if not sessions:
        connector = aiohttp.TCPConnector(limit=int(os.environ["IN_FLIGHT"]))
        sessions.append(aiohttp.ClientSession(connector=connector))
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
    signature = hmac.digest(SECRET, f"{event['id']}.{stamp}.".encode() + body, hashlib.sha256)
    headers = {
        "Content-Type": "application/json",
        "Authorization": "Bearer token-of-a-bench",
        "webhook-id": str(event["id"]),
        "webhook-timestamp": stamp,
        "webhook-signature": "v1," + base64.b64encode(signature).decode(),
    }
    async with sessions[0].post(os.environ["URL"] + "/v1/contacts", data=body, headers=headers) as answer:
        await answer.read()


asyncio.run(app.run())
