"""What the skill takes and answers."""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import Meta, Struct

Style = Literal["paragraph", "bullets", "headline"]
Length = Literal["short", "medium", "long"]


class SummarizationInput(Struct, kw_only=True):
    text: Annotated[str, Meta(min_length=1, max_length=1_000_000)]
    length: Length | None = None
    """At most 50, 120 or 300 words; medium where max_words isn't given either."""
    max_words: Annotated[int, Meta(ge=5, le=1000)] | None = None
    style: Style = "paragraph"
    focus: Annotated[str, Meta(min_length=1, max_length=300)] | None = None
    """What the summary should be about."""
    language: Annotated[str, Meta(min_length=2, max_length=60)] | None = None
    """Of the summary: a tag or a name; the text's own where it isn't given."""


class Quote(Struct, kw_only=True):
    """What stood in quotation marks in the model's answer."""

    text: str
    is_verbatim: bool
    """It is in the text, word for word; others are taken out of the result."""


class Problem(Struct, kw_only=True):
    """Something in the result that a person should look at."""

    kind: Literal["empty", "cut", "shortened", "repeated", "chatter", "invented_quote", "language", "part_lost", "form"]
    message: str
    items: list[str] = []


class SummarizationOutput(Struct, kw_only=True):
    result: str
    num_words: int
    """At most as many as were asked for. A letter of Chinese, Japanese or Korean counts as a word."""
    language: str | None
    """None where the text's language was unclear, and left to the model."""
    num_parts: int
    """In which the text was read."""
    num_levels: int
    """How often notes were taken of notes, the parts' own included; 0 where the text was read as a whole."""
    quotes: list[Quote]
    problems: list[Problem]
