"""What `lookups` in hookline.yaml may say: topics of other systems that know of customers; read by config/rows."""

from __future__ import annotations

from collections.abc import Mapping  # noqa: TC003 - pydantic reads annotations at run time
from typing import Annotated, Final

from pydantic import Field

from pipeline.config.batch import Pointer  # noqa: TC001 - as above
from pipeline.config.operation import ResponseField
from pipeline.config.section import Name, Section, Topic

LOOKUPS_MAX: Final = 8
"""Each is a file on every machine, and two threads of the worker that follows it."""
FIELDS_MAX: Final = 50


class LookupField(ResponseField):
    """One value of a row that steps may read; everything else is dropped."""

    at: Pointer = Field(description="Where it is in the record.")


class Lookup(Section):
    """A compacted topic with a record for each customer: its key is the customer ID, its value any Avro record."""

    topic: Topic = Field(description="The topic. It is another system's, which keeps it up to date.")
    fields: Annotated[Mapping[Name, LookupField], Field(min_length=1, max_length=FIELDS_MAX)] = Field(
        description="What is read of a record, by name: `tables.NAME.FIELD` in steps."
    )
