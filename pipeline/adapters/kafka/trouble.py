"""Keeps why librdkafka could not connect: a question that fails says only that nobody answered."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from confluent_kafka import KafkaError

if TYPE_CHECKING:
    from collections.abc import Callable


class _Client(Protocol):
    """A producer, consumer or admin client."""

    @property
    def poll(self) -> Callable[[float], object]: ...


class Trouble:
    """`said` is the reason for the latest failure to connect, "" for none; `note` is a client's `error_cb`.

    librdkafka's reasons name brokers, mechanisms and certificates, never a user or a password.
    """

    def __init__(self) -> None:
        self.said = ""

    def note(self, error: KafkaError) -> None:
        """Keep what was said; that all brokers are down only follows from it."""
        if error.code() != KafkaError._ALL_BROKERS_DOWN or not self.said:  # noqa: SLF001 - public in librdkafka
            self.said = " ".join(error.str().split())

    def why(self, client: _Client, otherwise: KafkaError) -> str:
        """Return the reason, else the failed question's own words. Does not block.

        Polls the client, since callbacks run only then and a question does not poll; a consumer is of no use after it.
        """
        client.poll(0)
        return self.said or otherwise.str()
