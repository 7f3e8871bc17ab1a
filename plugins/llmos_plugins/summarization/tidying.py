"""A model's answer made a summary: without words about it, repeated sentences and a torn end, and not too long."""

from __future__ import annotations

import re

from llmos_plugins.text.parts import split_sentences
from llmos_plugins.text.words import count_words, first_words

PREFACE = re.compile(
    r"(?:(?:sure|certainly|of course|okay|ok)[!,.]?\s+)?"
    r"(?:(?:here(?:'s|’s| is| are)|(?:the|this|my|a) (?:short |brief |concise )?summary)\b[^:\n]{0,80}:\s*"
    r"|(?:\*\*|#{1,6} )?(?:summary|headline|zusammenfassung|résumé|resumen)(?:\*\*)?:(?:\*\*)?\s*)",
    re.IGNORECASE,
)
SENTENCE_END = re.compile(r"[.!?…。！？][\"'”’»)\]」』]*$")


def tidy(answer: str) -> str:
    """White space in order: paragraphs stay."""
    return "\n\n".join(" ".join(paragraph.split()) for paragraph in re.split(r"\n\s*\n", answer) if paragraph.strip())


def without_preface(answer: str) -> str:
    match = PREFACE.match(answer)
    return answer[match.end() :].strip() if match else answer


def without_repeats(text: str) -> str:
    """Of each sentence the first."""
    seen: set[str] = set()
    kept = []
    for sentence in split_sentences(text):
        plain = " ".join(sentence.split()).casefold()
        if plain not in seen:
            kept.append(sentence)
            seen.add(plain)
    return "".join(kept).strip()


def without_torn_end(text: str) -> str:
    """Up to the last sentence that ends; a single one that doesn't gets an ellipsis."""
    sentences = split_sentences(text)
    while len(sentences) > 1 and not SENTENCE_END.search(sentences[-1].strip()):
        sentences.pop()
    whole = "".join(sentences).strip()
    return whole if SENTENCE_END.search(whole) else f"{whole.rstrip(' ,;:-')} …"


def within(text: str, max_words: int) -> str:
    """The first whole sentences that fit, else the first words."""
    kept = ""
    for sentence in split_sentences(text):
        if count_words(kept + sentence) > max_words:
            break
        kept += sentence
    kept = kept.strip()
    return kept if count_words(kept) else f"{first_words(text, max_words)} …"
