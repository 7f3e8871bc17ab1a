"""Messages and text to token ids, and back: the one code path of serving, training and evaluation."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

from llmos_server.chat.content import require_encodable
from llmos_server.chat.guarded_encoder import GuardedEncoder
from llmos_server.chat.model_files import ModelFiles, load_model_files
from llmos_server.chat.overflow import drop_oldest
from llmos_server.chat.pairs import PairEncoder
from llmos_server.chat.reasoning import Markers, choose_reasoning
from llmos_server.chat.template import ChatTemplate
from llmos_server.chat.tools.formats import PLAIN, Style, choose_style
from llmos_server.chat.tools.history import Written, write_history
from llmos_server.chat.turns import needs_rules, settle_turns, strict
from llmos_server.chat.vocabulary import Vocabulary
from llmos_server.errors import InvalidRequest

MAX_TAIL_TOKENS = 8
"""Of a prompt, that how a continuation is encoded may depend on."""


class Renderer:
    """A model's tokenizer and chat template. Safe to use from several threads.

    vocab_size: one more than the largest token id. eos_ids: tokens that end a turn. bos_id: the token that begins a
    text, if the model has one. template_variables: the names that the chat template reads, so that a caller can tell
    which chat_template_kwargs have an effect.
    """

    def __init__(self, files: ModelFiles) -> None:
        self._tokenizer = files.tokenizer
        self._vocabulary = Vocabulary(files.tokenizer)
        self._encoder = GuardedEncoder(files.tokenizer)
        self._template = None if files.template is None else ChatTemplate(files.template, files.named_tokens)
        self.vocab_size = self._vocabulary.size
        self.special_ids = self._vocabulary.special_ids
        self.strips_first_space = self._vocabulary.strips_first_space
        self.eos_ids = files.eos_ids
        self.bos_id = files.bos_id

    @classmethod
    def load(cls, folder: Path) -> Renderer:
        """folder: as the registry writes it. Raises UnsupportedModel that names the missing or unusable file."""
        return cls(load_model_files(Path(folder)))

    @property
    def has_template(self) -> bool:
        return self._template is not None

    @property
    def template_variables(self) -> frozenset[str]:
        return frozenset() if self._template is None else self._template.variables

    def tool_style(self, name: str = "auto") -> Style:
        """How this model is told of tools. name: a format's, "json" or "auto"; see choose_style."""
        return PLAIN if self._template is None else choose_style(self._template.source, self.template_variables, name)

    def reasoning_markers(self, name: str = "auto") -> Markers | None:
        """What the model's reasoning stands between, if it writes any. name: see choose_reasoning."""
        return choose_reasoning("" if self._template is None else self._template.source, name)

    def marker_tokens(self, markers: Iterable[str]) -> dict[str, int]:
        """Those that are tokens of their own, and their ids."""
        found = {marker: self._tokenizer.token_to_id(marker) for marker in markers}
        return {marker: token_id for marker, token_id in found.items() if token_id is not None}

    def render(
        self,
        messages: Sequence[Mapping[str, Any]],
        *,
        add_generation_prompt: bool = True,
        continue_final_message: bool = False,
        template_kwargs: Mapping[str, Any] | None = None,
        tools: list[dict[str, Any]] | None = None,
        tool_format: str = "auto",
        turns: str = "auto",
    ) -> str:
        """The prompt's text, the same that Transformers renders where the template knows tools, or none are there.

        tools: as OpenAI has them; tool_format: see tool_style. turns: "auto" joins those that the template can't write
        (see chat.turns), "merge" all that could be too much for one, "as_sent" none.
        Raises InvalidRequest: code "no_chat_template"; code "template_error" with the template's own words; or without
        a code, naming the field that can't be used.
        """
        template = self._require_template()
        written = self._write(template, messages, tools, tool_format, turns)
        inputs = template.prepare(
            written.messages,
            add_generation_prompt=add_generation_prompt,
            continue_final_message=continue_final_message,
            template_kwargs=template_kwargs,
            tools=written.tools,
        )
        return template.render(inputs)

    def encode_chat(
        self,
        messages: Sequence[Mapping[str, Any]],
        *,
        add_generation_prompt: bool = True,
        continue_final_message: bool = False,
        template_kwargs: Mapping[str, Any] | None = None,
        tools: list[dict[str, Any]] | None = None,
        tool_format: str = "auto",
        turns: str = "auto",
    ) -> list[int]:
        """The prompt's token ids. What stands for a special token in messages or tools stays text. Raises as render
        does.

        Nothing is added to what the template writes: no second BOS.
        """
        template = self._require_template()
        written = self._write(template, messages, tools, tool_format, turns)
        inputs = template.prepare(
            written.messages,
            add_generation_prompt=add_generation_prompt,
            continue_final_message=continue_final_message,
            template_kwargs=template_kwargs,
            tools=written.tools,
        )
        literals = self._encoder.literals
        marked = inputs.with_strings(lambda text: literals.mark(text, inputs.markers))
        if marked == inputs:
            return self.encode(template.render(inputs), add_special_tokens=False, param="messages")
        text, spans = literals.unmark(template.render(marked), inputs.markers)
        return self._encoder.encode(require_encodable(text, "messages"), spans)

    def _write(
        self,
        template: ChatTemplate,
        messages: Sequence[Mapping[str, Any]],
        tools: list[dict[str, Any]] | None,
        tool_format: str,
        turns: str,
    ) -> Written:
        style = self.tool_style(tool_format)
        in_system = style.is_native or not tools or template.turn_rules.system
        written = write_history(messages, tools, style, in_system=in_system)
        if turns == "as_sent" or not (turns == "merge" or needs_rules(written.messages)):
            return written
        rules = template.turn_rules
        return written._replace(messages=settle_turns(written.messages, strict(rules) if turns == "merge" else rules))

    def encode(
        self, text: str, *, add_special_tokens: bool = True, parse_special: bool = True, param: str = "prompt"
    ) -> list[int]:
        """parse_special: special-token literals become their tokens. param: the field that an InvalidRequest names."""
        require_encodable(text, param)
        if not parse_special:
            return self._encoder.encode_plain(text, add_special_tokens=add_special_tokens)
        ids: list[int] = self._tokenizer.encode(text, add_special_tokens=add_special_tokens).ids
        return ids

    def encode_continuation(self, prompt_ids: Sequence[int], text: str, *, param: str) -> list[int]:
        """What text is behind a prompt: the tokens that the model would have to write, so that the tokenizer's own
        space before a text is there only if the prompt ends where a text begins. Literals of special tokens are text.

        Where the tokenizer would join the prompt's last token with the text, both keep tokens of their own.
        """
        require_encodable(text, param)
        last = prompt_ids[-MAX_TAIL_TOKENS:]
        begin = next((place for place in range(len(last), 0, -1) if last[place - 1] in self.special_ids), 0)
        tail = self._vocabulary.joined(last[begin:], skip_special_tokens=False).decode("utf-8", "ignore")
        before = self._encoder.encode_plain(tail, add_special_tokens=False) if tail else []
        ids = self._encoder.encode_plain(tail + text, add_special_tokens=False)
        if ids[: len(before)] == before:
            return ids[len(before) :]
        return self._encoder.encode_plain(text, add_special_tokens=False)

    def encode_batch(self, texts: Sequence[str], *, param: str) -> list[list[int]]:
        """Of texts to embed: with the special tokens that the tokenizer adds, and without any that a text spells out:
        its literals stay text, so that nobody's text ends its own segment or masks a word."""
        for place, text in enumerate(texts):
            require_encodable(text, param if len(texts) == 1 else f"{param}[{place}]")
        before, after = map(len, self.affixes)
        batch: list[list[int]] = [encoding.ids for encoding in self._tokenizer.encode_batch_fast(list(texts))]
        return [
            self._encoder.encode_plain(text, add_special_tokens=True)
            if self._encoder.holds_special(ids[before : len(ids) - after])
            else ids
            for text, ids in zip(texts, batch, strict=True)
        ]

    def pair_encoder(self) -> PairEncoder:
        """For the pairs of one request. Raises UnsupportedModel where the tokenizer makes none."""
        return PairEncoder(self._tokenizer, lambda text: self._encoder.encode_plain(text, add_special_tokens=False))

    @cached_property
    def affixes(self) -> tuple[list[int], list[int]]:
        """The special tokens that are put before a text, and behind it."""
        encoding = self._tokenizer.encode("a", add_special_tokens=True)
        inner = [place for place, mark in enumerate(encoding.special_tokens_mask) if not mark]
        if not inner:  # No token for "a", so it can't be told what is before it.
            return encoding.ids, []
        return encoding.ids[: inner[0]], encoding.ids[inner[-1] + 1 :]

    def truncate(self, ids: list[int], limit: int, *, side: Literal["left", "right"] = "right") -> list[int]:
        """At most `limit` ids: the begin (right is cut) or the end of the text, between the special tokens around it.

        limit: larger than the number of those.
        """
        before, after = self.affixes
        before = before if ids[: len(before)] == before else []
        after = after if after and ids[-len(after) :] == after else []
        inner = ids[len(before) : len(ids) - len(after)]
        room = limit - len(before) - len(after)
        return [*before, *(inner[:room] if side == "right" else inner[max(len(inner) - room, 0) :]), *after]

    def decode(self, ids: Sequence[int], *, skip_special_tokens: bool = True) -> str:
        """Bytes that are no UTF-8 become U+FFFD. No "clean-up" of spaces before punctuation."""
        text = self._vocabulary.joined(ids, skip_special_tokens=skip_special_tokens).decode("utf-8", "replace")
        return text[1:] if self.strips_first_space and text.startswith(" ") else text

    def token_bytes(self, token_id: int) -> bytes:
        """Exactly this token's; a special token's are its literal, an id outside the vocabulary has none."""
        return self._vocabulary.token_bytes(token_id)

    def token_text(self, token_id: int) -> str:
        """token_bytes as UTF-8, with U+FFFD for what is only part of a character."""
        return self._vocabulary.token_bytes(token_id).decode("utf-8", "replace")

    def drop_oldest(
        self,
        messages: Sequence[Mapping[str, Any]],
        limit: int,
        *,
        add_generation_prompt: bool = True,
        continue_final_message: bool = False,
        template_kwargs: Mapping[str, Any] | None = None,
        tools: list[dict[str, Any]] | None = None,
        tool_format: str = "auto",
        turns: str = "auto",
    ) -> tuple[list[Mapping[str, Any]], int]:
        """The messages without the fewest oldest turns, so that encode_chat gives at most `limit` ids, and how many
        messages were dropped. Raises InvalidRequest (code "context_length_exceeded") if that is not enough."""

        def count_tokens(some: Sequence[Mapping[str, Any]]) -> int:
            ids = self.encode_chat(
                some,
                add_generation_prompt=add_generation_prompt,
                continue_final_message=continue_final_message,
                template_kwargs=template_kwargs,
                tools=tools,
                tool_format=tool_format,
                turns=turns,
            )
            return len(ids)

        return drop_oldest(messages, limit, count_tokens)

    def _require_template(self) -> ChatTemplate:
        if self._template is None:
            raise InvalidRequest(
                "This model has no chat template; send its prompt as text to /v1/completions.",
                param="model",
                code="no_chat_template",
            )
        return self._template
