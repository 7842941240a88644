"""Decides whether a step's payload fits the operation it calls: path parameters, forms, metadata, the contract."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pipeline.config.conformance import Conformance
from pipeline.config.operation import METADATA_KEY
from pipeline.core import payload as bodies
from pipeline.core import urltext

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from pipeline.config.contracts import Contracts
    from pipeline.config.journey import StepConfig
    from pipeline.config.operation import Operation
    from pipeline.config.places import Path, Places
    from pipeline.model import Problem


class Call:
    """One step's payload, its fragments expanded, and the operation it calls. `path` is the step's."""

    def __init__(
        self, journey: str, step: StepConfig, operation: Operation, path: Path, contracts: Contracts, places: Places
    ) -> None:
        self._journey = journey
        self._step = step
        self._operation = operation
        self._path = path
        self._contracts = contracts
        self._places = places
        self._file = f"journeys/{journey}.yaml"

    def problems(self) -> Iterator[Problem]:
        """Yield what does not fit."""
        operation, call = self._operation, self._step.call
        given = self._step.payload
        if given is None:
            if operation.body != "none":
                yield self._problem((), f"needs a `payload`: {call} sends a body")
            elif operation.parameters:
                yield self._problem((), f"needs a `payload`: {call} has parameters in its path")
            return
        for name in operation.parameters:
            yield from self._parameter(name, given)
        body = {key: part for key, part in given.items() if key not in operation.parameters}
        if operation.body == "none":
            yield from self._unsent(body)
        elif operation.body == "form":
            yield from self._form(body)
        if operation.metadata == "headers_and_body":
            for key in (METADATA_KEY, f"{METADATA_KEY}?"):
                if key in body:
                    yield self._at_key(key, f"is the key of {call}'s metadata", "choose another")
        yield from self._contract(body)

    def _parameter(self, name: str, given: Mapping[str, Any]) -> Iterator[Problem]:
        what = f"a parameter of {self._step.call}'s path"
        if f"{name}?" in given:
            yield self._at_key(f"{name}?", f"cannot be left out: it is {what}", f"write {name}")
        elif name not in given:
            yield self._problem(("payload",), f"needs `{name}`, {what}")
        elif given[name] is None or isinstance(given[name], (dict, list, tuple)):
            yield self._problem(("payload", name), f"must be one value: it is {what}")
        elif given[name] == "" or (isinstance(given[name], str) and urltext.is_dots(given[name])):
            yield self._problem(("payload", name), f"must not be empty, . or ..: it is {what}")

    def _unsent(self, body: Mapping[str, Any]) -> Iterator[Problem]:
        if body and not self._operation.parameters:
            yield self._problem(("payload",), f"{self._step.call} sends no body")
            return
        for key in body:
            hint = "only the parameters of its path are sent"
            yield self._at_key(key, f"is sent nowhere: {self._step.call} sends no body", hint)

    def _form(self, body: Mapping[str, Any]) -> Iterator[Problem]:
        for key, part in body.items():
            if part is None or isinstance(part, (dict, list, tuple)):
                what = "null" if part is None else "nested"
                yield self._problem(
                    ("payload", key), f"is {what}, which a form cannot say: {self._step.call} sends one"
                )

    def _contract(self, body: Mapping[str, Any]) -> Iterator[Problem]:
        name = self._operation.request_schema
        contract = self._contracts.get(name) if name is not None else None
        if name is None or contract is None:
            return
        if self._operation.metadata == "headers_and_body":
            body = {**body, METADATA_KEY: bodies.sample(self._journey, self._step.name)}
        yield from Conformance(contract, name, self._file, self._places).problems(body, (*self._path, "payload"))

    def _problem(self, below: Path, message: str, hint: str = "") -> Problem:
        return self._places.problem(self._file, (*self._path, *below), message, hint)

    def _at_key(self, key: str, message: str, hint: str) -> Problem:
        return self._places.problem(self._file, (*self._path, "payload", key), message, hint, at_key=True)
