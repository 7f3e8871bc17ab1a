"""Chats, conversations and feedback for the fake server, in the server's own structs.

chats = ChatFake(server)                       # answers with `chats.words`, at once
answer = chats.hold()                          # the next answer is written by the test:
answer.say("Hel"); answer.say("lo"); answer.end()
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from math import log
from typing import Any

import msgspec
from tui_fake_server import Asked, FakeServer, Refusal, Stream, frame

from llmos_server.api.schemas.chat import (
    CalledFunction,
    ChatCompletionChunk,
    ChatCompletionRequest,
    ChoiceLogprobs,
    ChunkChoice,
    ChunkDelta,
    TokenLogprobEntry,
    ToolCall,
    TopLogprob,
)
from llmos_server.api.schemas.common import CompletionTokensDetails, PromptTokensDetails, Usage
from llmos_server.api.schemas.feedback import CreateFeedbackRequest, DeletedFeedback, Feedback
from llmos_server.api.schemas.models import Model, ModelList
from llmos_server.api.schemas.stored import (
    Conversation,
    ConversationList,
    CreateConversationRequest,
    CreateItemsRequest,
    DeletedConversation,
    ListedConversation,
    item_list,
)

MODEL = "smollm2:135m"
OTHER = "qwen3:0.6b"
SKILL = "skill:translation"


def model(id: str, *capabilities: str, state: str = "ready", max_model_len: int | None = 8192) -> Model:
    return Model(
        root=id,
        parent=None,
        id=id,
        created=1,
        display_name=id,
        created_at="2026-09-21T00:00:00Z",
        max_model_len=max_model_len,
        capabilities=list(capabilities),
        aliases=[],
        state=state,
    )


def model_list() -> ModelList:
    models = [
        model(MODEL, "chat", "logprobs"),
        model(OTHER, "chat", "logprobs", state="unloaded", max_model_len=32768),
        model("all-minilm-l6-v2", "embeddings"),
        model(SKILL, "chat", "skill", max_model_len=None),
    ]
    return ModelList(data=models, first_id=models[0].id, last_id=models[-1].id)


class FakeAnswer(Stream):
    """One streamed answer; nothing is sent twice."""

    def __init__(self, model: str, num_prompt_tokens: int) -> None:
        super().__init__()
        self._model = model
        self._num_prompt_tokens = num_prompt_tokens
        self._num_tokens = 0
        self._frames: list[bytes | None] = []
        self._news = asyncio.Event()
        self.is_closed = False
        """The client has gone, or has read all of it."""

    def say(self, text: str = "", *, reasoning: str = "", probability: float | None = None, **others: Any) -> None:
        """A token. probability: its own, then log-probabilities come along; others: {" the": 0.2} could stand there."""
        self._num_tokens += 1
        delta = ChunkDelta()
        if text:
            delta.content = text
        if reasoning:
            delta.reasoning_content = delta.reasoning = reasoning
        logprobs = None
        if probability is not None:
            entries = {text: probability, **others.get("others", {})}
            top = [TopLogprob(token=each, logprob=log(p), bytes=list(each.encode())) for each, p in entries.items()]
            entry = TokenLogprobEntry(token=text, logprob=log(probability), bytes=list(text.encode()), top_logprobs=top)
            logprobs = ChoiceLogprobs(content=[entry])
        self._choice(ChunkChoice(index=0, delta=delta, logprobs=logprobs))

    def call(self, index: int, name: str, *arguments: str) -> None:
        """arguments: pieces of JSON."""
        pieces = [ToolCall(index=index, id=f"call_{index}", type="function", function=CalledFunction(name=name))]
        pieces += [ToolCall(index=index, function=CalledFunction(arguments=piece)) for piece in arguments]
        for piece in pieces:
            self._num_tokens += 1
            self._choice(ChunkChoice(index=0, delta=ChunkDelta(tool_calls=[piece])))

    def _choice(self, choice: ChunkChoice) -> None:
        self._send([choice])

    def _send(self, choices: list[ChunkChoice]) -> None:
        chunk = ChatCompletionChunk(
            id="chatcmpl-1", created=1, model=self._model, system_fingerprint="fp", choices=choices, usage=self._usage()
        )
        self._put(frame("", chunk))

    def _put(self, data: bytes | None) -> None:
        self._frames.append(data)
        self._news.set()

    def _usage(self) -> Usage:
        prompt, written = self._num_prompt_tokens, self._num_tokens
        return Usage(
            prompt_tokens=prompt,
            completion_tokens=written,
            total_tokens=prompt + written,
            prompt_tokens_details=PromptTokensDetails(cached_tokens=2),
            completion_tokens_details=CompletionTokensDetails(),
        )

    def end(self, reason: str = "stop") -> None:
        self._choice(ChunkChoice(index=0, delta=ChunkDelta(), finish_reason=reason, stop_reason=None))  # type: ignore[arg-type]
        self._send([])
        self._put(frame("", "[DONE]"))
        self._put(None)

    def fail(self, message: str, code: str) -> None:
        error = {"message": message, "type": "server_error", "param": None, "code": code}
        self._put(frame("", {"error": error}))
        self._put(None)

    def cut(self) -> None:
        """The connection ends in the middle."""
        self._put(None)

    async def read(self) -> AsyncIterator[bytes]:
        try:
            yield b": ping\n\n"
            place = 0
            while True:
                while place < len(self._frames):
                    data = self._frames[place]
                    place += 1
                    if data is None:
                        return
                    yield data
                self._news.clear()
                await self._news.wait()
        finally:
            self.is_closed = True


class ChatFake:
    """All routes that the chat's screen asks for."""

    def __init__(self, server: FakeServer) -> None:
        self.server = server
        self.words = ["Hello", " there", "."]
        self._held: list[FakeAnswer] = []
        self._holds = 0
        self.answers: list[FakeAnswer] = []
        self.kept: dict[str, Conversation] = {}
        self.items: dict[str, list[dict[str, Any]]] = {}
        self.feedback: dict[str, dict[str, Any]] = {}
        self._count = 0
        server.on("GET", "/v1/models", lambda asked: model_list())
        server.on("POST", "/v1/chat/completions", self._answer)
        server.on("GET", "/v1/conversations", self._list)
        server.on("POST", "/v1/conversations", self._create)
        server.on("POST", "/v1/conversations/{}", self._update)
        server.on("DELETE", "/v1/conversations/{}", self._delete)
        server.on("GET", "/v1/conversations/{}/items", self._list_items)
        server.on("POST", "/v1/conversations/{}/items", self._add_items)
        server.on("DELETE", "/v1/conversations/{}/items/{}", self._delete_item)
        server.on("POST", "/v1/llmos/feedback", self._give_feedback)
        server.on("DELETE", "/v1/llmos/feedback/{}", self._take_back)

    @property
    def requests(self) -> list[dict[str, Any]]:
        """Bodies of the chats that were asked for."""
        return [asked.body for asked in self.server.requests("POST", "/v1/chat/completions")]

    def hold(self) -> None:
        """From now on answers wait for the test: see `answers`."""
        self._holds = 1

    def _answer(self, asked: Asked) -> Any:
        fields = {name: value for name, value in asked.body.items() if name != "response_format"}  # It may hold hints.
        msgspec.convert(fields, ChatCompletionRequest)
        answer = FakeAnswer(asked.body["model"], 7 * len(asked.body["messages"]))
        self.answers.append(answer)
        if not self._holds:
            for word in self.words:
                has_tokens = asked.body.get("logprobs")
                answer.say(word, probability=0.7 if has_tokens else None, others={" world": 0.2})
            answer.end()
        return answer

    # Conversations

    def _id(self, kind: str) -> str:
        self._count += 1
        return f"{kind}_{self._count}"

    def _list(self, asked: Asked) -> Any:
        rows = list(reversed(self.kept.values()))
        first, last = (rows[0].id, rows[-1].id) if rows else (None, None)
        listed = [
            ListedConversation(
                **msgspec.structs.asdict(row), changed_at=row.created_at, num_items=len(self.items[row.id])
            )
            for row in rows
        ]
        return ConversationList(data=listed, first_id=first, last_id=last, has_more=False)

    def _create(self, asked: Asked) -> Any:
        msgspec.convert(asked.body, CreateConversationRequest)
        made = Conversation(id=self._id("conv"), created_at=1_790_000_000, metadata=asked.body.get("metadata") or {})
        self.kept[made.id], self.items[made.id] = made, []
        return made

    def keep(self, metadata: dict[str, str], *items: dict[str, Any]) -> str:
        """One that is there already; its id."""
        made = Conversation(id=self._id("conv"), created_at=1_790_000_000, metadata=metadata)
        self.kept[made.id] = made
        self.items[made.id] = [{**item, "id": self._id("item")} for item in items]
        return made.id

    def _missing(self, id: str) -> Refusal:
        return Refusal(404, f"No conversation of yours has the id {id!r}.", "conversation_not_found")

    def _update(self, asked: Asked) -> Any:
        id = asked.parts[0]
        if id not in self.kept:
            return self._missing(id)
        self.kept[id].metadata = asked.body["metadata"]
        return self.kept[id]

    def _delete(self, asked: Asked) -> Any:
        id = asked.parts[0]
        if self.kept.pop(id, None) is None:
            return self._missing(id)
        return DeletedConversation(id=id)

    def _list_items(self, asked: Asked) -> Any:
        id = asked.parts[0]
        return item_list(self.items[id], has_more=False) if id in self.kept else self._missing(id)

    def _add_items(self, asked: Asked) -> Any:
        id = asked.parts[0]
        if id not in self.kept:
            return self._missing(id)
        msgspec.convert(asked.body, CreateItemsRequest)
        added = [{**item, "id": self._id("item"), "status": "completed"} for item in asked.body["items"]]
        self.items[id] += added
        return item_list(added, has_more=False)

    def _delete_item(self, asked: Asked) -> Any:
        id, item = asked.parts
        if id not in self.kept:
            return self._missing(id)
        self.items[id] = [each for each in self.items[id] if each["id"] != item]
        return self.kept[id]

    def said(self, id: str) -> list[tuple[str, str]]:
        """(role or type, text) of a kept conversation's items."""
        return [(item.get("role") or item["type"], text_of(item)) for item in self.items[id]]

    # Feedback

    def _give_feedback(self, asked: Asked) -> Any:
        id = self._id("fb")
        msgspec.convert(asked.body, CreateFeedbackRequest)
        self.feedback[id] = asked.body
        return msgspec.convert({"id": id, "created_at": 1, "key": "", **asked.body}, Feedback)

    def _take_back(self, asked: Asked) -> Any:
        if self.feedback.pop(asked.parts[0], None) is None:
            return Refusal(404, "There is no such feedback.", "feedback_not_found")
        return DeletedFeedback(id=asked.parts[0])


def text_of(item: dict[str, Any]) -> str:
    content = item.get("content") or item.get("output") or item.get("arguments") or ""
    return content if isinstance(content, str) else "".join(part["text"] for part in content)
