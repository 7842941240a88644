"""Exports the JSON Schema of each kind of configuration file, for editors' completion and checks.

The schema follows the models. Editors know fewer rules than `hookline validate`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from pydantic.json_schema import GenerateJsonSchema

from pipeline.config.models import CaseFile, DestinationConfig, EnvFile, HooklineFile, JourneyConfig, SharedFile

if TYPE_CHECKING:
    from pipeline.config.section import Section

DIALECT: Final = "https://json-schema.org/draft/2020-12/schema"

FILES: Final[dict[str, tuple[str, type[Section]]]] = {
    "hookline": ("hookline.yaml", HooklineFile),
    "journey": ("journeys/NAME.yaml", JourneyConfig),
    "destination": ("destinations/NAME.yaml", DestinationConfig),
    "shared": ("shared/NAME.yaml", SharedFile),
    "env": ("env/NAME.yaml", EnvFile),
    "test": ("tests/NAME.yaml", CaseFile),
}
"""By the name `hookline validate --schema` takes: where the file stands, and its model."""


class _AsWritten(GenerateJsonSchema):
    """Describes what users write: defaults are left out, because models keep them parsed (10000, not 10s)."""

    def field_title_should_be_set(self, schema: Any) -> bool:
        """Keys are their own titles."""
        del schema
        return False

    def nullable_schema(self, schema: Any) -> dict[str, Any]:
        """Leave null out: a key without a value is refused."""
        return self.generate_inner(schema["schema"])

    def default_schema(self, schema: Any) -> dict[str, Any]:
        """Leave the default out."""
        return self.generate_inner(schema["schema"])


def schema(name: str) -> dict[str, Any]:
    """Return the JSON Schema (draft 2020-12) of one of FILES."""
    file, model = FILES[name]
    described = model.model_json_schema(by_alias=True, schema_generator=_AsWritten)
    for title, section in described.get("$defs", {}).items():
        if title.startswith("Kafka"):
            section["properties"].pop("settings", None)
            section["additionalProperties"] = {"type": ["string", "number", "boolean"]}
        if title == "Plugin":
            section["properties"].pop("options")
            section["additionalProperties"] = {"type": "string"}
    return {"$schema": DIALECT, **described, "title": file}
