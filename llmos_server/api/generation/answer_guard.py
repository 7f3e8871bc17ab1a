"""Plugins' filters of one answer: every part of every choice has its own, from its first text to its end."""

from __future__ import annotations

import msgspec

from llmos_server.chat.deltas import CallDelta, TextDelta
from llmos_server.errors import PluginFailed
from llmos_server.plugins.filters import EndAnswer, FilteredRequest, Part
from llmos_server.plugins.guards import ChoiceGuard, FilterFailed, open_part
from llmos_server.plugins.host import PluginHost

PartKey = tuple[Part, int]
"""The place is that of a tool call, else 0."""


class AnswerGuard:
    def __init__(self, host: PluginHost, request: FilteredRequest) -> None:
        """request: as the filters of requests have left it."""
        self._host = host
        self._request = request
        self._choices: dict[int, ChoiceParts] = {}

    async def apply(self, texts: list[TextDelta]) -> list[TextDelta]:
        """The texts as filters leave them; one that ends its choice is the choice's last. Raises PluginFailed."""
        found: list[TextDelta] = []
        try:
            for text in texts:
                choice = self._choices.setdefault(text.index, ChoiceParts(self._host, self._request))
                if not choice.has_ended:
                    found.append(await choice.apply(text))
        except FilterFailed as failure:
            raise PluginFailed(str(failure), retry_after=failure.retry_after) from None
        return found


class ChoiceParts:
    """One choice: reasoning comes before content, a call's arguments one call after the other. A part has ended when
    another one begins, or the choice ends."""

    def __init__(self, host: PluginHost, request: FilteredRequest) -> None:
        self.has_ended = False
        """A filter ended it."""
        self._host = host
        self._request = request
        self._open: dict[PartKey, list[ChoiceGuard]] = {}

    async def apply(self, text: TextDelta) -> TextDelta:
        """Raises FilterFailed."""
        is_last = text.finish_reason is not None
        reasoning = await self._feed(("reasoning", 0), text.reasoning, is_last or bool(text.text or text.calls))
        content = await self._feed(("content", 0), text.text, is_last)
        calls: list[CallDelta] = []
        for place, call in enumerate(text.calls):
            ends = place + 1 < len(text.calls) and text.calls[place + 1].index != call.index
            calls += await self._feed_call(call, ends)
        if is_last:
            for _, index in [key for key in self._open if key[0] == "arguments"]:
                calls += await self._feed_call(CallDelta(index=index), True)
        changed = msgspec.structs.replace(text, reasoning=reasoning, text=content, calls=calls)
        if not self.has_ended:
            return changed
        return msgspec.structs.replace(
            changed, finish_reason="content_filter", stop=None, format_error=None, has_calls=False
        )

    async def _feed_call(self, call: CallDelta, ends: bool) -> list[CallDelta]:
        """The delta that begins a call names it and has no arguments."""
        found = [call] if call.name and not self.has_ended else []
        if call.name:
            call = CallDelta(index=call.index, arguments=call.arguments)
        arguments = await self._feed(("arguments", call.index), call.arguments, ends)
        return [*found, CallDelta(index=call.index, arguments=arguments)] if arguments else found

    async def _feed(self, key: PartKey, text: str, is_last: bool) -> str:
        """Through all filters. A part without any text is never opened; one that comes behind the end isn't shown."""
        if self.has_ended or (not text and key not in self._open):
            return ""
        if key not in self._open:
            self._open[key] = await open_part(self._host, self._request, key[0])
        guards = self._open[key]
        if is_last:
            del self._open[key]
        for guard in guards:
            try:
                text = await guard.feed(text, is_last=is_last or self.has_ended)
            except EndAnswer as end:
                text, self.has_ended = end.last, True
        return text
