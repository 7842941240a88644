"""How librdkafka is told to read topics whole: in no group, nothing committed, only what is committed by others."""

from __future__ import annotations

from typing import Any, Final

UNGROUPED: Final[dict[str, Any]] = {
    "group.id": "hookline-ungrouped",  # librdkafka wants one; it is never joined and nothing is committed
    "enable.auto.commit": False,
    "enable.auto.offset.store": False,
    "enable.partition.eof": True,
    "auto.offset.reset": "earliest",  # what compaction or retention took while we read is passed over
    "isolation.level": "read_committed",
    "fetch.queue.backoff.ms": 5,
    "log_level": 0,  # what goes wrong is raised or logged, once, instead of printed
}
"""`auto.offset.reset` and the sizes of the prefetch are each reader's to say otherwise."""
