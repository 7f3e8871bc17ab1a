"""The SkillContext of a run, on the skill's side: in its thread, on its event loop."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Mapping, Sequence
from typing import Any, TypeVar

import msgspec

from llmos_server.api.skills.events import RunEvents
from llmos_server.api.skills.session import MisusedContext, SkillSession
from llmos_server.calibration.calibration import Calibration
from llmos_server.contracts import EncoderInfo, ModelKind
from llmos_server.skills.context import AnswerScore, Classified, Messages, Reply, ReplyCut

T = TypeVar("T")


class RunContext:
    """Implements SkillContext. Every call crosses to the API's event loop and back."""

    def __init__(self, session: SkillSession, events: RunEvents, loop: asyncio.AbstractEventLoop, digest: str) -> None:
        """loop: the API's, to which session and events belong."""
        self._session = session
        self._events = events
        self._loop = loop
        self._digest = digest

    @property
    def model(self) -> str:
        """See SkillContext, as for all the others."""
        return self._session.served.id

    @property
    def model_digest(self) -> str:
        return self._digest

    @property
    def model_kind(self) -> ModelKind:
        return self._session.served.kind

    @property
    def max_model_len(self) -> int:
        info = self._session.info
        return info.max_input_tokens if isinstance(info, EncoderInfo) else info.max_model_len

    async def chat(
        self,
        messages: Messages,
        *,
        model: str | None = None,
        max_tokens: int | None = None,
        temperature: float = 0.0,
        top_p: float | None = None,
        seed: int | None = None,
        stop: Sequence[str] = (),
        schema: Mapping[str, Any] | None = None,
        regex: str | None = None,
        choice: Sequence[str] | None = None,
        grammar: str | None = None,
        on_text: Callable[[str], None] | None = None,
    ) -> Reply:
        forms = {"json": schema, "regex": regex, "choice": choice, "grammar": grammar}
        wanted = {name: form for name, form in forms.items() if form is not None}
        if len(wanted) > 1:
            raise MisusedContext(f"an answer has one form; this call has {', '.join(wanted)}")
        body = {
            "model": model,
            "messages": [dict(message) for message in messages],
            "max_completion_tokens": max_tokens,
            "temperature": temperature,
            "top_p": top_p,
            "seed": seed,
            "stop": list(stop) or None,
            "structured_outputs": wanted or None,
        }
        relay = None if on_text is None else _Relay(on_text)
        reply = await self._ask(self._session.chat(_given(body), relay))
        if relay is not None and relay.error is not None:
            raise relay.error
        return reply

    async def ask(self, messages: Messages, type: type[T], **options: Any) -> T:
        reply = await self.chat(messages, schema=msgspec.json.schema(type), **options)
        if reply.finish_reason != "stop":
            raise ReplyCut(f"the answer ended with {reply.finish_reason} before it was complete")
        return msgspec.json.decode(reply.text, type=type)

    async def score(self, messages: Messages, answers: Sequence[str], *, model: str | None = None) -> list[AnswerScore]:
        body = _given({"model": model, "messages": [dict(message) for message in messages]})
        return await self._ask(self._session.score(body, list(answers)))

    async def classify(self, texts: Sequence[str], *, model: str | None = None) -> list[Classified]:
        return await self._ask(self._session.classify(list(texts), model))

    async def count_tokens(self, text: str, *, model: str | None = None) -> int:
        return await self._ask(self._session.count_tokens(text, model))

    def calibration(self, name: str) -> Calibration | None:
        return self._session.find_calibration(name, self._digest)

    def progress(self, done: float, total: float | None = None, note: str = "") -> None:
        self._loop.call_soon_threadsafe(self._events.progress, done, total, note)

    def write(self, text: str) -> None:
        if text:
            self._loop.call_soon_threadsafe(self._events.write, text)

    async def _ask(self, work: Coroutine[Any, Any, T]) -> T:
        return await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(self._session.ask(work), self._loop))


class _Relay:
    """Called on the API's loop, calls on the skill's. Its calls come before the reply: both loops keep their order."""

    def __init__(self, on_text: Callable[[str], None]) -> None:
        self.error: Exception | None = None
        self._on_text = on_text
        self._loop = asyncio.get_running_loop()

    def __call__(self, text: str) -> None:
        self._loop.call_soon_threadsafe(self._tell, text)

    def _tell(self, text: str) -> None:
        try:
            self._on_text(text)
        except Exception as error:
            self.error = self.error or error


def _given(body: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in body.items() if value is not None}
