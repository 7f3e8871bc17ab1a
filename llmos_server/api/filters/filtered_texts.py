"""Requests that have texts judged or embedded, and nothing generated, as plugins' filters see them: their texts are
prompts, one after the other."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal, TypeVar

import msgspec

from llmos_server.api.bodies.body import convert
from llmos_server.api.decisions.decision_prompts import as_text
from llmos_server.api.filters.filtering import REQUESTS, Form, pass_filters
from llmos_server.api.flights import flight_of
from llmos_server.api.http.access import principal_of
from llmos_server.api.schemas.embeddings import EmbeddingRequest
from llmos_server.api.schemas.relevance import ClassifyRequest, RerankRequest, ScoreRequest
from llmos_server.api.schemas.systemone import SystemOneRequest
from llmos_server.api.services import services_of
from llmos_server.errors import InvalidRequest
from llmos_server.plugins.filters import FilteredRequest
from llmos_server.plugins.guards import Guard

TEXT_FIELDS = (
    *("input", "query", "text_1", "text_2", "queries", "documents", "items", "data_1", "data_2", "state", "questions"),
)
"""Of all these requests, in the order in which filters see them."""

TextRequest = EmbeddingRequest | RerankRequest | ScoreRequest | ClassifyRequest | SystemOneRequest
R = TypeVar("R", EmbeddingRequest, RerankRequest, ScoreRequest, ClassifyRequest, SystemOneRequest)


@dataclass(frozen=True, slots=True)
class _Slot:
    """A text in a request's fields, as JSON has them."""

    place: Any
    """Of the dict or list that holds it."""
    key: Any
    is_name: bool = False
    """The key is the text: a name that the answer repeats, so it can't be changed."""

    @property
    def text(self) -> str:
        return str(self.key) if self.is_name else as_text(self.place[self.key])


async def filter_texts(
    connection: Any,
    data: R,
    endpoint: Literal["embeddings", "rerank", "score", "classify", "systemone", "skill"],
) -> R:
    """The request as its filters leave it. Raises as pass_filters."""
    host = services_of(connection).plugins
    flight_of(connection).board(services_of(connection).flights)
    if not host.offers(REQUESTS):
        return data
    fields = _fields_of(data)
    seen = FilteredRequest(
        endpoint=endpoint,
        model=data.model or "",
        key_id=principal_of(connection).key_id,
        prompts=[slot.text for slot in _slots(fields)],
        params={name: value for name, value in fields.items() if name not in (*TEXT_FIELDS, "model")},
    )
    form: Form[Any] = _Texts()
    data, _ = await pass_filters(host, form, data, seen)
    return data


class _Texts:
    """A Form."""

    def check_readable(self, data: TextRequest, guard: Guard) -> None:
        given = getattr(data, "input", "")
        if not isinstance(given, str) and not all(isinstance(part, str) for part in given):
            raise InvalidRequest(
                f"input: {guard.label} reads text; send text instead of token ids.", param="input", code="invalid_value"
            )

    def to_wire(self, seen: FilteredRequest, data: TextRequest) -> TextRequest:
        fields = _fields_of(data)
        slots = list(_slots(fields))
        if len(seen.prompts) != len(slots):
            raise InvalidRequest("another number of texts", param="prompts")
        for slot, text in zip(slots, seen.prompts, strict=True):
            if text == slot.text:
                continue
            if slot.is_name:
                raise InvalidRequest("an option's name was changed", param="prompts")
            slot.place[slot.key] = text
        texts = {name: fields[name] for name in TEXT_FIELDS if name in fields}
        return convert({**seen.params, **texts, "model": seen.model or None}, type(data))

    def param(self, data: TextRequest) -> str:
        return next(name for name in TEXT_FIELDS if getattr(data, name, None) is not None)


def _fields_of(data: TextRequest) -> dict[str, Any]:
    return {name: value for name, value in msgspec.to_builtins(data).items() if value is not None}


def _slots(fields: dict[str, Any]) -> Iterator[_Slot]:
    for name in TEXT_FIELDS:
        if name == "questions":
            for question in fields.get(name, {}).values():
                yield from _slots_of_question(question)
        elif name == "state" or not isinstance(fields.get(name), list):
            yield from _slots_of_text(fields, name)
        else:
            for place in range(len(fields[name])):
                yield from _slots_of_text(fields[name], place)


def _slots_of_text(place: Any, key: Any) -> Iterator[_Slot]:
    """A string, {"text": string}, or what is read as JSON; nothing where there is none."""
    if isinstance(place, dict) and key not in place:
        return
    value = place[key]
    is_document = key != "state" and isinstance(value, dict)
    yield _Slot(value, "text") if is_document else _Slot(place, key)


def _slots_of_question(question: dict[str, Any]) -> Iterator[_Slot]:
    yield _Slot(question, "instructions")
    criteria = question.get("criteria")
    for key in range(len(criteria)) if isinstance(criteria, list) else criteria or {}:
        if isinstance(key, str) and question["type"] == "choice":
            yield _Slot(criteria, key, is_name=True)
        if criteria is not None and criteria[key] is not None:
            yield _Slot(criteria, key)
