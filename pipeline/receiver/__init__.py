"""The other half, for people who write endpoints that Hookline calls: verify, handle once, continue the trace.

    from pipeline.receiver import Receiver, standard_webhooks
    from pipeline.receiver.asgi import Middleware            # or: from pipeline.receiver.aiohttp import middleware

    receiver = Receiver(standard_webhooks([secret]))

Read `check` (what is asked of a request), then `receive` (what happens to one that is accepted), then `seen`. Importing
this needs neither Kafka nor CEL nor a web framework. How to use it: docs/howto/write-an-endpoint.md.
"""

from pipeline.receiver.context import LogContext, current
from pipeline.receiver.receive import Receiver
from pipeline.receiver.seen import InMemory, InRedis, NoMemory
from pipeline.receiver.signatures import github, standard_webhooks, stripe
from pipeline.receiver.values import Accepted, Reason, Refused, Violation

__all__ = [
    "Accepted",
    "InMemory",
    "InRedis",
    "LogContext",
    "NoMemory",
    "Reason",
    "Receiver",
    "Refused",
    "Violation",
    "current",
    "github",
    "standard_webhooks",
    "stripe",
]
