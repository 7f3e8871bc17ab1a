"""The items of a run, from its body or from a file of JSON lines: all are checked before the first one is asked."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec

from llmos_server.chat.answer_check import explain_within_bounds
from llmos_server.data.lines import read_lines
from llmos_server.errors import InvalidRequest
from llmos_server.evaluation.sources import MAX_ROWS, Row

MAX_LINE_BYTES = 4 * 2**20


class Rows:
    """Iterable again and again: place and item, from 0 on."""

    def __init__(self, source: Sequence[Row] | Path) -> None:
        """source: a file of JSON lines, or what a body brought."""
        self._source = source

    def __iter__(self) -> Iterator[tuple[int, Row]]:
        """Raises InvalidRequest for a line that is no item."""
        if isinstance(self._source, Path):
            return _read_file(self._source)
        return enumerate(self._source)

    def check(self, schema: Mapping[str, Any], look: Callable[[], None]) -> int:
        """How many there are. schema: of each item. look: called between items, and may raise. Raises InvalidRequest
        that names the first wrong one."""
        number = 0
        for place, row in self:
            look()
            wrong = explain_within_bounds(dict(schema), msgspec.json.encode(row.item).decode()) if schema else None
            if wrong is not None:
                raise _refusal(place, f"its item doesn't match the eval's item_schema: {wrong}")
            number += 1
        if not number:
            raise InvalidRequest("The file holds no items.", param="data_source.source", code="no_items")
        return number


def _read_file(path: Path) -> Iterator[tuple[int, Row]]:
    place = -1
    with path.open("rb") as file:
        for line in read_lines(file, MAX_LINE_BYTES):
            if line.data is None:
                raise _refusal(line.number - 1, f"it has more than {MAX_LINE_BYTES} bytes")
            if not line.data.strip():
                continue
            place += 1
            if place >= MAX_ROWS:
                raise InvalidRequest(
                    f"The file holds more than {MAX_ROWS} items; make several runs.", param="data_source.source"
                )
            yield place, _read_line(line.number, line.data)


def _read_line(number: int, data: bytes) -> Row:
    try:
        return msgspec.json.decode(data, type=Row)
    except (msgspec.DecodeError, msgspec.ValidationError, UnicodeDecodeError, RecursionError) as error:
        told = f'{error}. A line is {{"item": {{...}}}}, and may hold "sample": {{"output_text": ...}}, too'
        raise _refusal(number - 1, told) from None


def _refusal(place: int, what: str) -> InvalidRequest:
    return InvalidRequest(f"Line {place + 1} of the items: {what}.", param="data_source.source", code="invalid_item")
