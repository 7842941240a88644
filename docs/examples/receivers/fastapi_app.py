"""An endpoint on FastAPI: `SIGNING_SECRETS=whsec_... PORT=8082 python fastapi_app.py`."""

import logging
import os
from typing import Annotated

import uvicorn
from fastapi import Depends, FastAPI, Request
from pydantic import BaseModel
from redis.asyncio import Redis

from pipeline.receiver import Accepted, InMemory, InRedis, LogContext, Receiver, standard_webhooks
from pipeline.receiver.asgi import Middleware

redis_url = os.environ.get("REDIS_URL", "")
receiver = Receiver(
    standard_webhooks(os.environ["SIGNING_SECRETS"].split()),  # two while a secret is rotated
    seen=InRedis(Redis.from_url(redis_url)) if redis_url else InMemory(),
    open_paths=["/health"],
)
log = logging.getLogger("shop")
app = FastAPI()
app.add_middleware(Middleware, receiver=receiver)


class Order(BaseModel):
    """The body; FastAPI answers another one with 422."""

    customer: str
    total: int


def accepted(request: Request) -> Accepted:
    """Return what the middleware made sure of."""
    return request.state.webhook


@app.post("/hooks/order", status_code=204)
async def order(body: Order, webhook: Annotated[Accepted, Depends(accepted)]) -> None:
    """Handle one delivery; an answer of 2xx says that it never has to come again."""
    log.info("%s worth %d", webhook.event_type, body.total)


@app.get("/health")
async def health() -> str:
    """Answer whoever asks: the path is open."""
    return "ok"


if __name__ == "__main__":
    handler = logging.StreamHandler()
    handler.addFilter(LogContext())
    line = "%(levelname)s %(message)s event=%(event.id)s delivery=%(delivery.id)s trace=%(trace_id)s"
    logging.basicConfig(level=logging.INFO, handlers=[handler], format=line)
    uvicorn.run(app, host="127.0.0.1", port=int(os.environ["PORT"]), log_config=None)
