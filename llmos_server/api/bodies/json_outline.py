"""How many values a JSON text will make, told before any is made: to decode 16 MiB of tiny ones takes a second."""

from __future__ import annotations

from functools import cached_property

from llmos_server.errors import InvalidRequest

MAX_PIECES = 500_000
"""Values and field names in one body. The longest prompts of token ids have some 200,000, a batch of texts to embed
300,000."""
MAX_CONTAINERS = 100_000
"""Objects and lists in one body."""


class Outline:
    """What stands in a JSON text outside of strings. For any bytes: of a broken text it is right up to the fault, and
    that is as far as a decoder gets."""

    def __init__(self, raw: bytes) -> None:
        self._raw = raw

    def check(self) -> None:
        """Raises InvalidRequest. Counting goes through a text at several bytes a nanosecond; only one that holds many
        of JSON's own characters in its strings is taken apart."""
        if len(self._raw) <= MAX_CONTAINERS or _fault(self._raw) is None:
            return
        if fault := _fault(self._bare):
            raise InvalidRequest(
                f"The body holds more than {fault}; send less in one request, e.g. a prompt as text instead of token "
                "ids, or fewer prompts.",
                code="invalid_json",
            )

    @property
    def num_names(self) -> int:
        """Fields of all objects, those with equal names, too. Of valid JSON."""
        return self._bare.count(b":")

    @cached_property
    def _bare(self) -> bytes:
        """Each string is one quote here."""
        text = self._raw
        if b"\\" in text:
            # Pairs first: then a backslash that is left stands before what it escapes.
            text = text.replace(b"\\\\", b"").replace(b'\\"', b"")
        if text.count(b'"') > 2 * MAX_PIECES + 2:  # Each string is a piece; this many need not be told apart.
            return b"," * (MAX_PIECES + 1)
        return b'"'.join(text.split(b'"')[::2])


def _fault(text: bytes) -> str | None:
    """Every value but the outermost is the first in its object or list, or stands behind a comma."""
    num_containers = text.count(b"[") + text.count(b"{")
    if num_containers + text.count(b",") + text.count(b":") > MAX_PIECES:
        return f"{MAX_PIECES} values and field names"
    return f"{MAX_CONTAINERS} objects and lists" if num_containers > MAX_CONTAINERS else None
