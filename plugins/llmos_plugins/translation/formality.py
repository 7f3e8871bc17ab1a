"""How languages address a reader, for the prompt. Others are told "formally" or "informally" alone."""

from __future__ import annotations

from typing import Literal

FORMS = {
    "bg": ("Вие", "ти"),
    "cs": ("vykání", "tykání"),
    "da": ("De", "du"),
    "de": ("Sie", "du"),
    "el": ("εσείς", "εσύ"),
    "es": ("usted", "tú"),
    "fi": ("teitittely", "sinuttelu"),
    "fr": ("vous", "tu"),
    "hi": ("आप", "तुम"),
    "hr": ("Vi", "ti"),
    "hu": ("Ön", "te"),
    "it": ("Lei", "tu"),
    "ja": ("です・ます", "だ・である"),
    "ko": ("합쇼체", "해체"),
    "nl": ("u", "je"),
    "no": ("De", "du"),
    "pl": ("Pan, Pani", "ty"),
    "pt": ("o senhor, a senhora", "tu, você"),
    "ro": ("dumneavoastră", "tu"),
    "ru": ("Вы", "ты"),
    "sk": ("vykanie", "tykanie"),
    "sl": ("vikanje", "tikanje"),
    "sv": ("Ni", "du"),
    "tr": ("siz", "sen"),
    "uk": ("Ви", "ти"),
    "zh": ("您", "你"),
}


def address_of(tag: str, formality: Literal["formal", "informal"] | None) -> str:
    """ "" where nothing is known."""
    if formality is None or tag not in FORMS:
        return ""
    formal, informal = FORMS[tag]
    return formal if formality == "formal" else informal
