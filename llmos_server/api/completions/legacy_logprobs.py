"""The log-probabilities of /v1/completions: parallel lists, with a place in the text for every token."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from llmos_server.api.completions.plan import Prompt
from llmos_server.api.schemas.completions import LegacyLogprobs
from llmos_server.chat.deltas import TokenText
from llmos_server.chat.renderer import Renderer
from llmos_server.contracts import TokenLogprob


def token_name(data: bytes) -> str:
    """A token as text; one that is no whole text is written as OpenAI does, so that different ones stay different."""
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError:
        return "bytes:" + "".join(f"\\x{byte:02x}" for byte in data)


@dataclass(slots=True)
class OffsetCounter:
    """Where tokens begin in a text that grows by their bytes; a character counts where its first byte is."""

    num_chars: int = 0
    offsets: list[int] = field(default_factory=list)

    def add(self, data: bytes) -> int:
        start = self.num_chars
        self.num_chars += sum((byte & 0xC0) != 0x80 for byte in data)
        return start


def of_tokens(
    tokens: Sequence[TokenText], counter: OffsetCounter, num_top: int, *, hidden_ids: frozenset[int] = frozenset()
) -> LegacyLogprobs:
    """A piece of the answer; the counter goes on from the piece before. hidden_ids: tokens that the text leaves out."""
    return LegacyLogprobs(
        tokens=[token_name(token.bytes) for token in tokens],
        token_logprobs=[token.logprob for token in tokens],
        top_logprobs=[
            _top(token.bytes, token.logprob, [(data, value) for _, _, data, value in token.top], num_top)
            for token in tokens
        ],
        text_offset=[counter.add(b"" if token.token_id in hidden_ids else token.bytes) for token in tokens],
    )


def of_prompt(
    renderer: Renderer,
    ids: Sequence[int],
    logprobs: Sequence[TokenLogprob | None],
    shown: str,
    counter: OffsetCounter,
    num_top: int,
) -> LegacyLogprobs:
    """The echoed prompt. shown: its text in the answer; a BOS that was put before it has no place there."""
    pieces = [renderer.token_bytes(token_id) for token_id in ids]
    hides_first = bool(ids) and ids[0] == renderer.bos_id and not shown.startswith(token_name(pieces[0]))
    offsets = [counter.add(b"" if place == 0 and hides_first else data) for place, data in enumerate(pieces)]
    top: list[dict[str, float] | None] = [
        None
        if entry is None
        else _top(
            data, entry.logprob, [(renderer.token_bytes(token_id), value) for token_id, value in entry.top], num_top
        )
        for data, entry in zip(pieces, logprobs, strict=True)
    ]
    return LegacyLogprobs(
        tokens=[token_name(data) for data in pieces],
        token_logprobs=[None if entry is None else entry.logprob for entry in logprobs],
        top_logprobs=top,
        text_offset=[min(offset, len(shown)) for offset in offsets],
    )


def join(pieces: Sequence[LegacyLogprobs]) -> LegacyLogprobs:
    return LegacyLogprobs(
        tokens=[value for piece in pieces for value in piece.tokens],
        token_logprobs=[value for piece in pieces for value in piece.token_logprobs],
        top_logprobs=[value for piece in pieces for value in piece.top_logprobs],
        text_offset=[value for piece in pieces for value in piece.text_offset],
    )


def shown_prompt(renderer: Renderer, prompt: Prompt, ids: Sequence[int]) -> str:
    """What echo puts before the answer: the client's own text, or the text of its ids, special tokens included."""
    return prompt if isinstance(prompt, str) else renderer.decode(ids, skip_special_tokens=False)


def _top(chosen: bytes, logprob: float, alternatives: Sequence[tuple[bytes, float]], num_top: int) -> dict[str, float]:
    """The best first; the token itself is among them, as at OpenAI, except where no alternatives were asked for."""
    if num_top == 0:
        return {}
    top: dict[str, float] = {}
    for data, value in alternatives:
        top.setdefault(token_name(data), value)
    top.setdefault(token_name(chosen), logprob)
    return top
