"""The closed lists among the words of the glossary: kinds, outcomes, failure classes and reasons.

`pipeline.model` has them too, and is where the rest of the code takes them from.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Final


class Kind(StrEnum):
    """What a step is for. A `mark` calls nobody: it writes to our own tables of consent and suppressions."""

    UPDATE = "update"
    ENRICH = "enrich"
    DECIDE = "decide"
    RECORD = "record"
    MARK = "mark"


class Outcome(StrEnum):
    """How a delivery was settled; RETRYING until then."""

    DELIVERED = "delivered"
    REJECTED = "rejected"
    DEFAULTED = "defaulted"
    SKIPPED = "skipped"
    DEAD = "dead"
    RETRYING = "retrying"


class FailureClass(StrEnum):
    """Why an attempt or a delivery failed. One list everywhere: outcomes, dead letters, spans, metrics, docs."""

    AUTH = "auth"
    SCHEMA = "schema"
    TIMEOUT = "timeout"
    RATE_LIMITED = "rate_limited"
    MISSING_FIELD = "missing_field"
    INVALID_IDENTIFIER = "invalid_identifier"
    CONNECTION = "connection"
    TLS = "tls"
    SERVER_ERROR = "server_error"
    CLIENT_ERROR = "client_error"
    BLOCKED_ADDRESS = "blocked_address"
    EXPIRED = "expired"
    CONTRACT = "contract"
    UNDECODABLE = "undecodable"
    CONDITION_ERROR = "condition_error"
    CONFIG = "config"
    BUG = "bug"


class SkipReason(StrEnum):
    """Why a delivery was skipped; the text after `skipped` in an outcome."""

    CONSENT = "consent"
    STALE = "stale"
    CONDITION_FALSE = "condition_false"
    CONDITION_ERROR = "condition_error"
    DROPPED = "dropped"  # by hand, while it waited: `hookline waiting drop`
    UPSTREAM = "upstream"  # the steps it comes after ended otherwise
    EXPIRED = "expired"  # past its deadline
    CANCELLED = "cancelled"  # an event of `cancel_on` came since the trigger
    SUPPRESSION = "suppression"
    CAP = "cap"
    QUIET_HOURS = "quiet_hours"
    HOLDOUT = "holdout"
    ROLLOUT = "rollout"
    ONCE = "once"
    DUPLICATE = "duplicate"  # another record had this event ID
    STATUS = "status"  # the journey is not live any more
    SHADOW = "shadow"  # all was done but sending: the journey is in shadow
    DRY = "dry"  # likewise: the environment's mode is dry
    ERASED = "erased"


UNSENT: Final = (SkipReason.SHADOW, SkipReason.DRY)
"""How deliveries end where nothing is sent: there a run goes on as if each had been delivered."""


class LedgerReason(StrEnum):
    """Why a committed position had no delivery at all."""

    NO_JOURNEY = "no_journey"  # no live journey is triggered by this event type
    CONDITION_FALSE = "condition_false"  # journeys were, but each one's trigger condition was false
    UNDECODABLE = "undecodable"  # the record is on the dead topic
    TOMBSTONE = "tombstone"  # an empty value carries no event
    UNMAPPED = "unmapped"  # an Avro record that no `events:` entry maps
    REKEYED = "rekeyed"  # copied under the customer's ID: what became of it is told of the copy
    COPIED_TWICE = "copied_twice"  # the same record was copied before
    GAP = "gap"  # the broker never handed this offset out: compaction, transaction marker
