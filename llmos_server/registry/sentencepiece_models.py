"""SentencePiece's two algorithms, BPE by scores and Unigram, as objects of the `tokenizers` library.

Both cut a whole text, not word by word: a space is the character ▁ in its pieces. Methods: Kudo and Richardson,
"SentencePiece" (2018); Kudo, "Subword Regularization" (2018).
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

from tokenizers import Regex, Tokenizer, decoders, models, normalizers

from llmos_server.errors import UnsupportedModel

NORMAL, UNKNOWN, CONTROL, USER_DEFINED, UNUSED, BYTE = range(1, 7)
"""Types of pieces, as SentencePiece and GGUF number them."""

SPACE = "▁"
MAX_PIECES = 2**21
MAX_CUT_CHARS = 2**27
"""Characters that are looked at to find which pieces make up which: the sum of the squares of their lengths. 256,000
pieces of 6 characters are a tenth of it; a hostile file of 64 MB could ask for ten million times as much."""
RESERVED_SCORE = -1e6
"""Of pieces that no text may match: worse than any way around them, yet finite, as the library needs it."""


@dataclass(frozen=True, kw_only=True)
class Pieces:
    """A vocabulary: three columns, by id."""

    texts: list[str]
    scores: list[float]
    types: list[int]
    unknown_id: int | None


@dataclass(frozen=True, kw_only=True)
class Spelling:
    """What happens to a text before it is cut."""

    adds_space: bool
    """A space is put before it (add_dummy_prefix)."""
    merges_spaces: bool = False
    """Runs of spaces become one, those at both ends none (remove_extra_whitespaces)."""
    charsmap: bytes = b""
    """SentencePiece's compiled table of replacements; empty for none."""

    def build_normalizer(self) -> normalizers.Normalizer:
        """Replaces as SentencePiece does, but for a mark (as an accent) that follows a character of the charsmap: there
        the library drops the mark, for Transformers' tokenizers just the same.
        """
        merge = [normalizers.Replace(Regex(r"\A +"), ""), normalizers.Replace(Regex(" {2,}"), " ")]
        steps: list[normalizers.Normalizer] = [
            *([_precompiled(self.charsmap)] if self.charsmap else []),
            *(merge if self.merges_spaces else []),
            *([normalizers.Prepend(SPACE)] if self.adds_space else []),
            normalizers.Replace(" ", SPACE),
            *([normalizers.Replace(Regex(rf"{SPACE}+\z"), "")] if self.merges_spaces else []),
        ]
        return normalizers.Sequence(steps)

    def build_decoder(self) -> decoders.Decoder:
        strip = [decoders.Strip(" ", 1, 0)] if self.adds_space else []
        return decoders.Sequence([decoders.Replace(SPACE, " "), decoders.ByteFallback(), decoders.Fuse(), *strip])


def build_bpe(pieces: Pieces, spelling: Spelling) -> Tokenizer:
    """Neighbours are joined to the piece of the best score, again and again, the leftmost first among equals.

    Raises UnsupportedModel for a vocabulary that no text could have been the origin of.
    """
    _check(pieces)
    if sum(len(text) ** 2 for text in pieces.texts) > MAX_CUT_CHARS:
        longest = max(map(len, pieces.texts))
        raise UnsupportedModel(f"The tokenizer's pieces are too long for BPE: up to {longest} characters.")
    unknown = None if pieces.unknown_id is None else pieces.texts[pieces.unknown_id]
    model = models.BPE(
        vocab={text: i for i, text in enumerate(pieces.texts)},
        merges=list(_merges(pieces)),
        unk_token=unknown,
        fuse_unk=True,
        byte_fallback=BYTE in pieces.types,
    )
    return _finish(Tokenizer(model), spelling)


def build_unigram(pieces: Pieces, spelling: Spelling) -> Tokenizer:
    """The cut whose scores have the largest sum. Raises UnsupportedModel as build_bpe does."""
    _check(pieces)
    scores = [
        score if kind in (NORMAL, USER_DEFINED) else RESERVED_SCORE
        for score, kind in zip(pieces.scores, pieces.types, strict=True)
    ]
    vocab = list(zip(pieces.texts, scores, strict=True))
    model = models.Unigram(vocab, unk_id=pieces.unknown_id, byte_fallback=BYTE in pieces.types)
    return _finish(Tokenizer(model), spelling)


def _check(pieces: Pieces) -> None:
    if len(pieces.texts) > MAX_PIECES:
        raise UnsupportedModel(f"The tokenizer has {len(pieces.texts)} pieces; known ones have at most {MAX_PIECES}.")
    if not all(map(math.isfinite, pieces.scores)):
        raise UnsupportedModel("The tokenizer has pieces whose score is no finite number.")


def spell_user_defined(texts: list[str], types: list[int]) -> list[str]:
    """User-defined pieces as they stand in a text, with real spaces: they are found before anything is replaced."""
    known = set(texts)
    spelled = list(texts)
    for i, (text, kind) in enumerate(zip(texts, types, strict=True)):
        plain = text.replace(SPACE, " ")
        if kind == USER_DEFINED and plain not in known:
            spelled[i] = plain
    return spelled


def _merges(pieces: Pieces) -> Iterator[tuple[str, str]]:
    """Every pair of pieces that makes up a third, best score first."""
    joined = {text for text, kind in zip(pieces.texts, pieces.types, strict=True) if kind in (NORMAL, USER_DEFINED)}
    found = [
        (-pieces.scores[i], i, cut)
        for i, text in enumerate(pieces.texts)
        if text in joined
        for cut in range(1, len(text))
        if text[:cut] in joined and text[cut:] in joined
    ]
    for _, i, cut in sorted(found):
        yield pieces.texts[i][:cut], pieces.texts[i][cut:]


def _precompiled(charsmap: bytes) -> normalizers.Normalizer:
    try:
        return normalizers.Precompiled(charsmap)
    except Exception as error:  # the library raises nothing narrower
        raise UnsupportedModel(f"The tokenizer's precompiled charsmap can't be read: {error}.") from None


def _finish(tokenizer: Tokenizer, spelling: Spelling) -> Tokenizer:
    tokenizer.normalizer = spelling.build_normalizer()
    tokenizer.decoder = spelling.build_decoder()
    return tokenizer
