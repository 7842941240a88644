"""What a consumer on a real Kafka hands out, kept in order."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pipeline.core.progress import encode
from pipeline.ports import Assigned, Fatal, Revoked

if TYPE_CHECKING:
    from pipeline.adapters.kafka.source import KafkaSource
    from pipeline.model import Record


class Inbox:
    """Keeps notices in order; takes records and lets revoked partitions go at once, unless told not to."""

    def __init__(self, source: KafkaSource) -> None:
        self.source = source
        self.records: list[Record] = []
        self.owned: set[tuple[str, int]] = set()
        self.stored: dict[tuple[str, int], tuple[bytes, str, int]] = {}
        """Place, commit metadata and log end of each partition that is owned."""
        self.starts: dict[tuple[str, int], int] = {}
        self.fatal: list[Exception] = []
        self.revocations: list[Revoked] = []
        self.taking = True
        self.letting_go = True
        source.start(self)

    def __call__(self, notice) -> None:
        match notice:
            case list():
                assert all((each.topic, each.partition) in self.owned for each in notice)
                self.records += notice
                if self.taking:
                    self.source.taken(len(notice))
            case Assigned():
                self.owned |= {(topic, partition) for topic, partition, _ in notice.partitions}
                self.starts |= {(topic, partition): start for topic, partition, start in notice.partitions}
                self.stored |= notice.stored
            case Revoked():
                self.owned -= set(notice.partitions)
                self.stored = {key: each for key, each in self.stored.items() if key in self.owned}
                self.revocations.append(notice)
                if self.letting_go:
                    notice.done()
            case Fatal():
                self.fatal.append(notice.error)

    def offsets(self, partition: int = 0) -> list[int]:
        return [each.offset for each in self.records if each.partition == partition]

    def metadata(self) -> dict[tuple[str, int], str]:
        """The commit metadata of each partition that is owned."""
        return {key: text for key, (_, text, _) in self.stored.items()}

    def finish(self, first: int, end: int) -> dict[tuple[str, int], str]:
        """Commit what is finished, `first` (one later in each further partition) to `end`; return what is stored so."""
        texts = {key: encode(place, 0, [(first + key[1], end)]) for key, (place, _, _) in self.stored.items()}
        self.source.commit([(*key, 0, text) for key, text in texts.items()])
        return texts
