"""An endpoint on aiohttp: `SIGNING_SECRETS=whsec_... PORT=8081 python aiohttp_app.py`."""

import logging
import os

from aiohttp import web

from pipeline.receiver import LogContext, Receiver, standard_webhooks
from pipeline.receiver.aiohttp import WEBHOOK, middleware

receiver = Receiver(
    standard_webhooks(os.environ["SIGNING_SECRETS"].split()),  # two while a secret is rotated
    schema={
        "type": "object",
        "required": ["customer", "total"],
        "properties": {"customer": {"type": "string"}, "total": {"type": "integer"}},
    },
    open_paths=["/health"],
)
log = logging.getLogger("shop")


async def order(request: web.Request) -> web.Response:
    """Handle one delivery; an answer of 2xx says that it never has to come again."""
    webhook = request[WEBHOOK]
    log.info("%s worth %d", webhook.event_type, webhook.json()["total"])
    return web.Response(status=204)


async def health(_request: web.Request) -> web.Response:
    """Answer whoever asks: the path is open."""
    return web.Response(text="ok")


app = web.Application(middlewares=[middleware(receiver)])
app.add_routes([web.post("/hooks/order", order), web.get("/health", health)])

if __name__ == "__main__":
    handler = logging.StreamHandler()
    handler.addFilter(LogContext())
    line = "%(levelname)s %(message)s event=%(event.id)s delivery=%(delivery.id)s trace=%(trace_id)s"
    logging.basicConfig(level=logging.INFO, handlers=[handler], format=line)
    web.run_app(app, host="127.0.0.1", port=int(os.environ["PORT"]), print=None)
