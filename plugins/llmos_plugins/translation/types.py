"""What the skill takes and answers."""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import Meta, Struct

LanguageText = Annotated[
    str, Meta(min_length=2, max_length=60, description='A tag ("de", "pt-BR") or a name ("German", "Deutsch").')
]
Term = Annotated[str, Meta(min_length=1, max_length=100)]
Glossary = Annotated[
    dict[Term, Term],
    Meta(max_length=200, description="Term -> its translation. A term that is its own translation is kept exactly."),
]


class TranslationInput(Struct, kw_only=True):
    text: Annotated[
        str, Meta(min_length=1, max_length=200_000, description="Plain text, Markdown, HTML or a program's messages.")
    ]
    target: LanguageText
    source: LanguageText | None = None
    """Detected where it isn't given."""
    glossary: Glossary = {}
    formality: Literal["formal", "informal"] | None = None


class Problem(Struct, kw_only=True):
    """Something in the result that a person should look at."""

    kind: Literal[
        "lost",
        "invented",
        "order",
        "form",
        "empty",
        "short",
        "in_pieces",
        "untranslated",
        "glossary",
        "lines",
        "chatter",
        "emphasis",
        "source_unclear",
        "same_language",
    ]
    message: str
    source: str = ""
    """Where: the text's begin in the source."""
    items: list[str] = []
    """Placeholders, or terms."""


class TranslationOutput(Struct, kw_only=True):
    result: str
    """Has every placeholder, tag and address of the source as often as that, whatever the model did."""
    source: str | None
    """The source's language; None where it was unclear."""
    source_probability: float | None
    """Of the detection; None where the source's language was given."""
    target: str
    num_parts: int
    num_kept: int
    """Places of placeholders, markup, code and addresses."""
    problems: list[Problem]
