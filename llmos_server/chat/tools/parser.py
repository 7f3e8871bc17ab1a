"""An answer's text to content and calls, piece by piece; put together, they don't depend on how it was cut."""

from __future__ import annotations

from llmos_server.chat.tools.format import ToolFormat, bare
from llmos_server.chat.tools.sink import CallSink, Parsed, Scanner


class ToolParser:
    """Text up to a begin marker is content; what follows are calls. White space just before a marker belongs to it.

    can_be_bare: false where content may look like a call without a marker."""

    def __init__(self, form: ToolFormat, *, can_be_bare: bool = True) -> None:
        self._format = form
        self._sink = CallSink(form.create_id)
        self._scanner: Scanner | None = None
        self._held = ""
        self._is_undecided = form.is_bare and can_be_bare

    @property
    def num_calls(self) -> int:
        """That have begun."""
        return self._sink.num_calls

    @property
    def is_whole(self) -> bool:
        return self._sink.num_whole == self._sink.num_calls

    def feed(self, text: str) -> Parsed:
        if self._scanner is not None:
            self._scanner.feed(text)
        else:
            self._held += text
            self._look()
        return self._sink.take()

    def finish(self) -> Parsed:
        """Nothing follows."""
        if self._scanner is not None:
            self._scanner.finish()
        else:
            self._sink.text(self._held)
        return self._sink.take()

    def _look(self) -> None:
        if self._is_undecided:
            is_call = bare(self._held)
            if is_call is None:
                return
            self._is_undecided = False
            if is_call:
                self._begin(0, "")
                return
        found = [(place, begin) for begin in self._format.begins if (place := self._held.find(begin)) >= 0]
        if found:
            self._begin(*min(found))
            return
        sure = self._held[: len(self._held) - self._num_begun].rstrip()
        self._sink.text(sure)
        self._held = self._held[len(sure) :]

    @property
    def _num_begun(self) -> int:
        """Characters at the end that may be the begin of a marker."""
        return max(
            (n for begin in self._format.begins for n in range(1, len(begin)) if self._held.endswith(begin[:n])),
            default=0,
        )

    def _begin(self, place: int, marker: str) -> None:
        content = self._held[:place].rstrip()
        self._sink.text(content)
        end = place + len(marker)
        self._scanner = self._format.create_scanner(self._sink, self._held[len(content) : end])
        self._scanner.feed(self._held[end:])
        self._held = ""
