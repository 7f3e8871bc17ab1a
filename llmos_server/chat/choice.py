"""One choice's tokens to text, as they come: whole characters, cut at stop strings, log-probabilities alongside."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from typing import NamedTuple

from llmos_server.chat.characters import CharacterStream
from llmos_server.chat.deltas import TextDelta, TokenText
from llmos_server.chat.renderer import Renderer
from llmos_server.chat.stops import StopMatch, StopMatcher
from llmos_server.contracts import ChoiceDelta, FinishReason, TokenLogprob
from llmos_server.errors import InvalidRequest

TAIL_TOKENS = 16
"""Enough of the prompt's end to see whether text comes before, and an unfinished character (at most 3 bytes)."""


class _HeldToken(NamedTuple):
    """Its text is characters start .. end of the whole; both count a character that the token holds only a part of."""

    token_id: int
    start: int
    end: int
    logprob: TokenLogprob | None


class ChoiceDecoder:
    """Feed it every delta of one choice, in order; what it returns, put together, doesn't depend on how they were cut.

    stop: strings that end the text; a match counts if it is completed by a token after the first `min_tokens`, and the
    text ends where it begins. shown_ids: special tokens whose literals are text nevertheless. prompt_tail: the prompt's
    last token ids (a few are enough): text that goes on from a prompt keeps its first space and completes the prompt's
    last character; without one, the text is renderer.decode's.
    Log-probabilities and counts cover the tokens whose text is released, a token that is cut inside included.
    """

    def __init__(
        self,
        renderer: Renderer,
        *,
        index: int,
        stop: Sequence[str] = (),
        min_tokens: int = 0,
        skip_special_tokens: bool = True,
        shown_ids: frozenset[int] = frozenset(),
        prompt_tail: Sequence[int] = (),
    ) -> None:
        if not all(stop):
            raise InvalidRequest("A stop string can't be empty.", param="stop")
        self._renderer = renderer
        self._index = index
        self._min_tokens = min_tokens
        self._skipped = renderer.special_ids - shown_ids if skip_special_tokens else frozenset()
        self._matcher = StopMatcher(stop)
        before = b"".join(renderer.token_bytes(i) for i in prompt_tail[-TAIL_TOKENS:] if i not in self._skipped)
        self._characters = CharacterStream(before)
        self._drops_first_space = renderer.strips_first_space and not before
        self._has_logprobs = False
        self._held: deque[_HeldToken] = deque()
        self._text = ""
        """Decoded, not released; its first character is number `_num_released` of the whole text."""
        self._num_released = 0
        self._num_fed = 0
        self.stopped = False
        """A stop string matched or a finish_reason came; further deltas are ignored."""
        self.stopped_by_string = False
        """The engine doesn't know that this choice has ended: abort it there."""

    def feed(self, delta: ChoiceDelta) -> TextDelta | None:
        """None while nothing can be released; always a TextDelta at the end."""
        if self.stopped:
            return None
        self._has_logprobs |= delta.logprobs is not None
        logprobs: Sequence[TokenLogprob | None] = delta.logprobs or [None] * len(delta.token_ids)
        for token_id, logprob in zip(delta.token_ids, logprobs, strict=True):
            match = self._take(token_id, logprob)
            if match is not None:
                return self._cut(match)
        if delta.finish_reason is not None:
            return self._finish(delta)
        return self._release(self._num_decoded - self._matcher.num_held)

    @property
    def _num_decoded(self) -> int:
        return self._num_released + len(self._text)

    def _take(self, token_id: int, logprob: TokenLogprob | None) -> StopMatch | None:
        start = self._num_decoded
        self._num_fed += 1
        data = b"" if token_id in self._skipped else self._renderer.token_bytes(token_id)
        match = self._add_text(self._characters.feed(data))
        start += self._characters.broke_open  # U+FFFD comes from earlier tokens alone
        is_open = self._characters.num_open_bytes > 0
        self._held.append(_HeldToken(token_id, start, self._num_decoded + is_open, logprob))
        return match

    def _add_text(self, text: str) -> StopMatch | None:
        if self._drops_first_space and text:
            self._drops_first_space = False
            text = text.removeprefix(" ")
        self._text += text
        return self._matcher.feed(text, can_stop=self._num_fed > self._min_tokens)

    def _release(self, limit: int) -> TextDelta | None:
        """Whole tokens whose text ends at or before character `limit`."""
        tokens: list[_HeldToken] = []
        while self._held and self._held[0].end <= limit:
            tokens.append(self._held.popleft())
        if not tokens:
            return None
        return self._create_delta(tokens, tokens[-1].end)

    def _cut(self, match: StopMatch) -> TextDelta:
        self.stopped = self.stopped_by_string = True
        tokens = [token for token in self._held if token.end <= match.start or token.start < match.start]
        return self._create_delta(tokens, match.start, finish_reason="stop", stop=match.stop)

    def _finish(self, delta: ChoiceDelta) -> TextDelta:
        """Nothing more will come: bytes of an unfinished character become U+FFFD, and what was held back goes out."""
        self.stopped = True
        match = self._add_text(self._characters.finish())
        if match is not None:
            return self._cut(match)
        return self._create_delta(
            list(self._held),
            self._num_decoded,
            finish_reason=delta.finish_reason,
            stop=delta.stop_token_id,
            stop_token=None if delta.stop_logprob is None else self._describe(delta.stop_logprob),
        )

    def _create_delta(
        self,
        tokens: list[_HeldToken],
        end: int,
        *,
        finish_reason: FinishReason | None = None,
        stop: str | int | None = None,
        stop_token: TokenText | None = None,
    ) -> TextDelta:
        released = self._num_released
        num_chars = end - released
        text, self._text = self._text[:num_chars], self._text[num_chars:]
        self._num_released = end
        return TextDelta(
            index=self._index,
            text=text,
            tokens=[self._describe(token.logprob) for token in tokens if token.logprob] if self._has_logprobs else None,
            token_ids=[token.token_id for token in tokens],
            finish_reason=finish_reason,
            num_tokens=len(tokens),
            stop=stop,
            stop_token=stop_token,
            ends=[min(token.end, end) - released for token in tokens],
        )

    def _describe(self, logprob: TokenLogprob) -> TokenText:
        text, data = self._renderer.token_text, self._renderer.token_bytes
        return TokenText(
            token_id=logprob.token_id,
            text=text(logprob.token_id),
            bytes=data(logprob.token_id),
            logprob=logprob.logprob,
            top=[(token_id, text(token_id), data(token_id), value) for token_id, value in logprob.top],
        )
