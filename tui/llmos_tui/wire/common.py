"""What all structs share: fields that are missing have a default, and unknown ones are passed over, so that a server
that is a little older or newer can be shown, too."""

from __future__ import annotations

from typing import Generic, TypeVar

import msgspec

T = TypeVar("T")


class Wire(msgspec.Struct, frozen=True, kw_only=True):
    """Base of all."""


class Listed(Wire, Generic[T], frozen=True, kw_only=True):
    """A list as the admin API gives it."""

    data: list[T]
    has_more: bool = False


class Anything(Wire, frozen=True, kw_only=True):
    """An answer of which nothing is needed."""
