"""Examples to token ids and labels, by the renderer that serves: what is learned after a prompt is what the engine
would have to generate after the same prompt. Torch-free.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from llmos_server.chat.renderer import Renderer
from llmos_server.data.examples import ChatExample, Message, PreferenceExample, TextExample
from llmos_server.errors import InvalidRequest

IGNORED = -100
"""The label of a token that isn't learned."""

Tools = list[dict[str, Any]] | None


@dataclass(frozen=True, slots=True)
class Tokens:
    """One sequence. labels: ids of the tokens that are learned, else IGNORED; not shifted."""

    input_ids: list[int]
    labels: list[int]


@dataclass(frozen=True, slots=True)
class Preference:
    """A prompt and its two answers, each with the token that ends it."""

    prompt_ids: list[int]
    chosen_ids: list[int]
    rejected_ids: list[int]


@dataclass(frozen=True, slots=True)
class Rated:
    """A prompt and one answer, with the token that ends it."""

    prompt_ids: list[int]
    answer_ids: list[int]
    is_good: bool


@dataclass(frozen=True, slots=True)
class Prompt:
    """What the model is asked, and what its answer is judged by."""

    ids: list[int]
    messages: list[Message]
    item: dict[str, Any]


@dataclass(frozen=True)
class Rendering:
    """How one model's chats are written; tool_format and turns as its models.options have them."""

    renderer: Renderer
    tool_format: str = "auto"
    turns: str = "auto"

    def conversation(self, example: ChatExample) -> list[Tokens]:
        """Sequences in which each trained answer is learned once: one for the whole chat where the template writes
        earlier turns the same when more follow; else (it drops their reasoning, say) one for each answer.

        Raises InvalidRequest for what the template can't write.
        """
        found: list[Tokens] = []
        for place, is_trained in enumerate(example.trained):
            if not is_trained:
                continue
            prompt = self.prompt(example.messages[:place], example.tools)
            answer = self.answer(prompt, example.messages[: place + 1], example.tools)
            if found and found[-1].input_ids == prompt[: len(found[-1].input_ids)]:
                before = found.pop()
                labels = [*before.labels, *[IGNORED] * (len(prompt) - len(before.labels)), *answer]
            else:
                labels = [IGNORED] * len(prompt) + answer
            found.append(Tokens(prompt + answer, labels))
        return found

    def preference(self, example: PreferenceExample) -> Preference:
        """Raises InvalidRequest for what the template can't write."""
        prompt = self.prompt(example.messages, example.tools)
        chosen, rejected = (
            self.answer(prompt, [*example.messages, answer], example.tools)
            for answer in (example.preferred, example.rejected)
        )
        return Preference(prompt, chosen, rejected)

    def text(self, example: TextExample) -> Tokens:
        """With the tokens around it that the tokenizer adds, and an end of text behind it; all of it is learned."""
        ids = self.renderer.encode(example.text, parse_special=False, param="text")
        end = self._end()
        ids = ids if ids and ids[-1] == end else [*ids, end]
        return Tokens(ids, list(ids))

    def prompt(self, messages: Sequence[Message], tools: Tools) -> list[int]:
        """As a request for the next answer has it."""
        return self.renderer.encode_chat(
            messages, add_generation_prompt=True, tools=tools, tool_format=self.tool_format, turns=self.turns
        )

    def answer(self, prompt: Sequence[int], messages: Sequence[Message], tools: Tools) -> list[int]:
        """What the model has to generate after the prompt to say the last message: with the token that ends a turn,
        and nothing of what the template writes behind that."""
        whole = self.renderer.encode_chat(
            messages, add_generation_prompt=False, tools=tools, tool_format=self.tool_format, turns=self.turns
        )
        if whole[: len(prompt)] == list(prompt):
            ids = list(_until_end(whole[len(prompt) :], self.renderer.eos_ids))
        else:
            ids = self._written_out(prompt, messages[-1])
        return ids if ids and ids[-1] in self.renderer.eos_ids else [*ids, self._end()]

    def _written_out(self, prompt: Sequence[int], message: Message) -> list[int]:
        """Where the template writes an answer otherwise once it is there than it asks for it: the text by itself."""
        content = message.get("content")
        if message.get("tool_calls") or not isinstance(content, str):
            raise InvalidRequest(
                "The model's chat template doesn't write such a message behind the prompt that asks for it, so what "
                "the model should generate can't be told. Leave the example out, or write its content as one text.",
                param="messages",
                code="template_error",
            )
        return self.renderer.encode_continuation(prompt, content, param="messages")

    def _end(self) -> int:
        ends = sorted(self.renderer.eos_ids)
        if not ends:
            raise InvalidRequest("The model has no token that ends a turn, so it can't learn to stop.", param="model")
        return ends[0]


def _until_end(ids: Sequence[int], ends: frozenset[int]) -> Iterator[int]:
    for token in ids:
        yield token
        if token in ends:
            return
