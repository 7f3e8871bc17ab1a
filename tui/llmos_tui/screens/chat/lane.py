"""One chat with one model: what was said, the answer that is being written, its figures."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from contextlib import aclosing
from functools import partial
from time import monotonic, perf_counter
from typing import Any

from textual.app import ComposeResult
from textual.containers import Vertical
from textual.message import Message
from textual.worker import Worker

from llmos_tui.calls.chat import stream_chat
from llmos_tui.client import Client, ClientError, Unauthorised, Unreachable
from llmos_tui.screens.chat.answer_view import AnswerView
from llmos_tui.screens.chat.keeping import Keeper
from llmos_tui.screens.chat.notes import figures_of
from llmos_tui.screens.chat.thread import Answer, Question, Thread
from llmos_tui.screens.chat.transcript import Transcript
from llmos_tui.screens.chat.trouble import remedy
from llmos_tui.widgets.told import Told
from llmos_tui.wire.chat import ServedModel

PAINT_SECONDS = 0.05
"""Between two looks at what has come, at least: text faster than that is drawn together."""
REST = 4.0
"""Times as long as the last drawing took nothing is drawn: a long list or piece of code is laid out anew as a whole."""


class Lane(Vertical):
    """Two of them beside each other compare two models."""

    DEFAULT_CSS = """
    Lane { width: 1fr; height: 1fr; }
    Lane #lane-head { background: $surface; padding: 0 1; max-height: 1; }
    Lane #lane-status { color: $text-muted; padding: 0 1; max-height: 2; }
    Lane:focus-within #lane-head { text-style: bold; }
    """

    class Ended(Message):
        """Its answer is over, however."""

        def __init__(self, lane: Lane, answer: Answer, error: ClientError | None) -> None:
            self.lane, self.answer, self.error = lane, answer, error
            super().__init__()

    def __init__(self, client: Client) -> None:
        super().__init__()
        self._client = client
        self.model: ServedModel | None = None
        self.thread = Thread()
        self.keeper = Keeper()
        self.transcript = Transcript()
        self._head = Told(id="lane-head")
        self._status = Told(id="lane-status")
        self._worker: Worker[None] | None = None

    def compose(self) -> ComposeResult:
        yield self._head
        yield self.transcript
        yield self._status

    def on_mount(self) -> None:
        self.show_head()

    @property
    def is_busy(self) -> bool:
        return self._worker is not None

    def choose(self, model: ServedModel | None) -> None:
        self.model = model
        self.show_head()

    def show_head(self) -> None:
        """The model, and where the chat is kept."""
        model = self.model
        parts = ["no model: m chooses one"] if model is None else [model.id, model.state]
        if model is not None and model.max_model_len:
            parts.append(f"{model.max_model_len} tokens")
        if self.keeper.conversation is not None:
            parts.append(f"kept as {self.keeper.title!r}")
        self._head.say(" · ".join(part for part in parts if part))

    def tell(self, text: str) -> None:
        self._status.say(text)

    async def show(self, thread: Thread) -> None:
        """Another chat."""
        self.thread = thread
        await self.transcript.show(thread.entries)
        self._status.say("")
        self.show_head()

    # Asking

    async def ask(self, text: str, system: str, fields: Mapping[str, Any]) -> None:
        """A question, or the result of a tool that the last answer waits for. Not while it is busy."""
        if (call := self.thread.open_call) is not None:
            call.output = text
            await self._repaint_last()
            if self.thread.open_call is not None:
                return
        else:
            self._drop_failure()
            question = Question(text)
            self.thread.entries.append(question)
            await self.transcript.keep(self.thread.entries)
            await self.transcript.add(question)
        await self._begin(system, fields)

    async def ask_again(self, answer: Answer, system: str, fields: Mapping[str, Any]) -> None:
        """For another answer in the place of one, and of what follows it."""
        self.thread.cut(answer)
        await self.transcript.keep(self.thread.entries)
        await self._begin(system, fields)

    async def answer_last(self, system: str, fields: Mapping[str, Any]) -> None:
        """Another answer in the place of the last one; the first, where the last question has none."""
        last = self.thread.entries[-1] if self.thread.entries else None
        if isinstance(last, Answer):
            await self.ask_again(last, system, fields)
        elif last is not None:
            await self._begin(system, fields)

    async def cut(self, question: Question) -> None:
        self.thread.cut(question)
        await self.transcript.keep(self.thread.entries)

    def _drop_failure(self) -> None:
        """An answer that failed without a word is no part of the chat when it goes on."""
        last = self.thread.entries[-1] if self.thread.entries else None
        if isinstance(last, Answer) and last.state == "failed" and last.is_empty:
            self.thread.cut(last)

    async def _repaint_last(self) -> None:
        answer = self.thread.last_answer
        view = self.transcript.view_of(answer) if answer else None
        if isinstance(view, AnswerView):
            await view.paint()

    async def _begin(self, system: str, fields: Mapping[str, Any]) -> None:
        assert self.model is not None
        assert not self.is_busy
        request = {**fields, "model": self.model.id, "messages": self.thread.messages(system)}
        answer = Answer(self.model.id, state="waiting", asked=request, begun=monotonic())
        self.thread.entries.append(answer)
        await self.transcript.add(answer)
        self.transcript.anchor()
        view = self.transcript.view_of(answer)
        assert isinstance(view, AnswerView)
        self._worker = self.run_worker(partial(self._write, answer, view, request), exit_on_error=True)
        await asyncio.sleep(0)  # It has begun, so that whoever stops it now reaches its end.

    async def _write(self, answer: Answer, view: AnswerView, request: Mapping[str, Any]) -> None:
        painter: Worker[None] = self.run_worker(partial(self._paint, answer, view))
        failure: ClientError | None = None
        try:
            async with aclosing(stream_chat(self._client, request)) as chunks:
                async for chunk in chunks:
                    answer.take(chunk, monotonic())
            answer.state = "done"
        except ClientError as error:
            failure, answer.state = error, "failed"
            answer.error, answer.remedy = str(error), remedy(error)
        except asyncio.CancelledError:
            answer.state = "stopped"
        finally:
            painter.cancel()
            self._worker = None
            self.post_message(self.Ended(self, answer, failure))

    async def _paint(self, answer: Answer, view: AnswerView) -> None:
        """Again and again, until it is cancelled."""
        pause = PAINT_SECONDS
        while True:
            await asyncio.sleep(pause)
            begun = perf_counter()
            await view.paint(monotonic())
            self._status.say(figures_of(answer))
            is_drawn = asyncio.Event()
            self.call_after_refresh(is_drawn.set)
            await is_drawn.wait()
            pause = max(PAINT_SECONDS, REST * (perf_counter() - begun))

    async def on_lane_ended(self, message: Ended) -> None:
        """It goes on to the screen afterwards."""
        view = self.transcript.view_of(message.answer)
        if isinstance(view, AnswerView):
            await view.paint()
        self._status.say(figures_of(message.answer))

    def stop(self) -> None:
        """Close the stream: the server frees what it holds for it."""
        if self._worker is not None:
            self._worker.cancel()


def is_about_the_connection(error: ClientError | None) -> bool:
    return isinstance(error, Unreachable | Unauthorised)
