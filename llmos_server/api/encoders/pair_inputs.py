"""Texts of rerank and score as token ids that an encoder can take, or a refusal that names the text."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from llmos_server.chat.pairs import Pair
from llmos_server.chat.renderer import Renderer
from llmos_server.contracts import EncoderInfo
from llmos_server.errors import InvalidRequest

WHOLE_MODEL = -1


@dataclass(frozen=True, slots=True, kw_only=True)
class Judged:
    """Pairs of texts, and what their fields are called."""

    firsts: list[str]
    seconds: list[str]
    """As many."""
    first_names: list[str]
    second_names: list[str]
    truncate: int | None = None
    """truncate_prompt_tokens."""
    max_second: int | None = None
    """max_tokens_per_doc."""
    use_activation: bool | None = None

    @property
    def num_chars(self) -> int:
        return sum(map(len, self.firsts)) + sum(map(len, self.seconds))

    @property
    def may_cut(self) -> bool:
        return self.truncate is not None or self.max_second is not None


def encode_pairs(renderer: Renderer, info: EncoderInfo, judged: Judged) -> list[Pair]:
    """For a cross-encoder. Raises InvalidRequest for a pair that is too long and may not be cut."""
    limit = _limit(judged.truncate, info)
    encoder = renderer.pair_encoder()
    names = zip(judged.first_names, judged.second_names, strict=True)
    pairs = []
    for first, second, (first_name, second_name) in zip(judged.firsts, judged.seconds, names, strict=True):
        max_tokens = None if judged.truncate is None else limit
        pair = encoder.pair(first, second, max_tokens=max_tokens, max_second=judged.max_second)
        if len(pair.ids) > limit:
            alone = encoder.num_tokens(first) + encoder.num_special
            raise _too_long(first_name if alone >= limit else second_name, len(pair.ids), limit, "with its other text ")
        if not pair.ids:
            raise InvalidRequest(f"{second_name} is empty.", param=second_name, code="invalid_value")
        pairs.append(pair)
    return pairs


def encode_each(renderer: Renderer, info: EncoderInfo, judged: Judged) -> tuple[list[list[int]], dict[str, int], int]:
    """For an encoder without such a head: each text once. Returns their ids, the place of each text among them, and how
    many were cut. Raises InvalidRequest for one that is too long and may not be cut."""
    names = dict(zip(judged.seconds, judged.second_names, strict=True))
    names |= zip(judged.firsts, judged.first_names, strict=True)
    texts = list(names)
    limit = _limit(judged.truncate, info, least=sum(map(len, renderer.affixes)) + 1)
    seconds = set(judged.seconds) - set(judged.firsts)
    encoded, num_cut = [], 0
    for text, ids in zip(texts, renderer.encode_batch(texts, param="texts"), strict=True):
        kept = ids
        if judged.max_second is not None and text in seconds:
            kept = renderer.truncate(kept, judged.max_second + sum(map(len, renderer.affixes)))
        if len(kept) > limit:
            if judged.truncate is None:
                raise _too_long(names[text], len(kept), limit)
            kept = renderer.truncate(kept, limit)
        if not kept:
            raise InvalidRequest(
                f"{names[text]} is empty; an embedding needs at least one token of text.",
                param=names[text],
                code="invalid_value",
            )
        num_cut += len(kept) < len(ids)
        encoded.append(kept)
    return encoded, {text: place for place, text in enumerate(texts)}, num_cut


def spread(firsts: Sequence[str], seconds: Sequence[str], names: tuple[str, str]) -> tuple[list[str], list[str]]:
    """One against many, or as many of both. Raises InvalidRequest."""
    if len(firsts) == 1:
        firsts = [*firsts] * len(seconds)
    if len(firsts) != len(seconds):
        raise InvalidRequest(
            f"{names[0]} holds {len(firsts)} texts and {names[1]} {len(seconds)}; send one against any number, or as "
            "many of both.",
            param=names[0],
            code="invalid_value",
        )
    return list(firsts), list(seconds)


def _limit(truncate: int | None, info: EncoderInfo, *, least: int = 1) -> int:
    if truncate is None or truncate == WHOLE_MODEL:
        return info.max_input_tokens
    if not least <= truncate <= info.max_input_tokens:
        raise InvalidRequest(
            f"truncate_prompt_tokens is {truncate}; this model takes {least} to {info.max_input_tokens}, or -1.",
            param="truncate_prompt_tokens",
            code="invalid_value",
        )
    return truncate


def _too_long(name: str, num_tokens: int, limit: int, how: str = "") -> InvalidRequest:
    return InvalidRequest(
        f"{name} {how}has {num_tokens} tokens; this model takes {limit}, special tokens included. Split it, or send "
        "truncate_prompt_tokens: -1 to have its end cut.",
        param=name,
        code="context_length_exceeded",
    )
