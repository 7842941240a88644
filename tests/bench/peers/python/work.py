"""What both Python peers do with one event: decode, decide, build the body, sign, name the headers.

Environment: SCHEMA (the Avro schema's JSON), SECRET (base64).
"""

import base64
import hashlib
import hmac
import io
import json
import os
import time

import fastavro

SINGLE_OBJECT_HEAD = 10
SCHEMA = fastavro.parse_schema(json.loads(os.environ["SCHEMA"]))
SECRET = base64.b64decode(os.environ["SECRET"])
URL = os.environ["URL"] + "/v1/contacts"


def request(value: bytes) -> tuple[bytes, dict[str, str]] | None:
    """Return body and headers of the request an event asks for, or None."""
    event = fastavro.schemaless_reader(io.BytesIO(value[SINGLE_OBJECT_HEAD:]), SCHEMA, None)
    if event["properties"]["plan"] != "pro" or event["consent"].get("email") != "granted":
        return None
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
    return body, {
        "Content-Type": "application/json",
        "Authorization": "Bearer token-of-a-bench",
        "webhook-id": str(event["id"]),
        "webhook-timestamp": stamp,
        "webhook-signature": "v1," + base64.b64encode(signature).decode(),
    }
