"""A model's text side without a model: one byte a token."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from tokenizers.processors import TemplateProcessing

from llmos_server.chat.pairs import PairEncoder
from llmos_server.chat.reasoning import Markers, choose_reasoning
from llmos_server.chat.tools.formats import Style, choose_style
from llmos_server.chat.tools.history import write_history
from llmos_server.errors import InvalidRequest

EOS, BOS, TURN = 256, 257, 258
SPECIAL = {EOS: "<eos>", BOS: "<bos>", TURN: "<turn>"}


class ByteRenderer:
    """A tokenizer whose tokens are bytes, so that characters are torn; and a chat template of one line a message."""

    vocab_size = 300
    eos_ids = frozenset({EOS})
    bos_id: int | None = BOS
    strips_first_space = False

    def __init__(
        self, *, has_template: bool = True, adds_bos: bool = False, template: str = "", markers: Sequence[str] = ()
    ) -> None:
        """template: stands for a chat template that reads `tools`; it is only looked at, for markers. markers: further
        special tokens, from 280 on."""
        self._markers = {marker: 280 + place for place, marker in enumerate(markers)}
        self.special_ids = frozenset([*SPECIAL, *self._markers.values()])
        self.has_template = has_template
        self.template_variables = frozenset({"messages", "add_generation_prompt", "enable_thinking"})
        self.template_variables |= {"tools"} if template else set()
        self._template = template
        self._adds_bos = adds_bos

    def tool_style(self, name: str = "auto") -> Style:
        return choose_style(self._template, self.template_variables, name)

    def reasoning_markers(self, name: str = "auto") -> Markers | None:
        return choose_reasoning(self._template, name)

    def marker_tokens(self, markers: Iterable[str]) -> dict[str, int]:
        return {marker: self._markers[marker] for marker in markers if marker in self._markers}

    def render(self, messages: Sequence[Mapping[str, Any]], **options: Any) -> str:
        return self.decode(self.encode_chat(messages, **options), skip_special_tokens=False)

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
        messages, tools = write_history(messages, tools, self.tool_style(tool_format), in_system=True)
        ids: list[int] = []
        for tool in tools or []:
            ids += [TURN, *f"tool:{tool}\n".encode()]
        for message in messages:
            content = message["content"]
            if not isinstance(content, str):
                content = "\n".join(part["text"] for part in content)
            if "REFUSE" in content:
                raise InvalidRequest("The model's chat template refuses these messages: no", code="template_error")
            calls = "".join(repr(call) for call in message.get("tool_calls", ()))
            ids += [TURN, *f"{message['role']}:{content}{calls}\n".encode()]
        if template_kwargs:
            ids = [*repr(sorted(template_kwargs.items())).encode(), *ids]
        if continue_final_message:
            return ids[:-1]
        return [*ids, TURN, *b"assistant:"] if add_generation_prompt else ids

    def encode(
        self, text: str, *, add_special_tokens: bool = True, parse_special: bool = True, param: str = "prompt"
    ) -> list[int]:
        return [*([BOS] if self._adds_bos and add_special_tokens else []), *text.encode()]

    def encode_continuation(self, prompt_ids: Sequence[int], text: str, *, param: str) -> list[int]:
        return list(text.encode())

    def encode_batch(self, texts: Sequence[str], *, param: str) -> list[list[int]]:
        return [self.encode(text) for text in texts]

    def pair_encoder(self) -> PairEncoder:
        """[TURN, first, EOS, second, EOS]; tokens are of the second kind from the second text on."""
        tokenizer = Tokenizer(WordLevel({"a": 97, **{text: i for i, text in SPECIAL.items()}}, unk_token="a"))
        tokenizer.post_processor = TemplateProcessing(
            single="<turn> $A <eos>",
            pair="<turn>:0 $A:0 <eos>:0 $B:1 <eos>:1",
            special_tokens=[("<turn>", TURN), ("<eos>", EOS)],
        )
        return PairEncoder(tokenizer, lambda text: list(text.encode()))

    @property
    def affixes(self) -> tuple[list[int], list[int]]:
        return ([BOS] if self._adds_bos else []), []

    def truncate(self, ids: list[int], limit: int, *, side: str = "right") -> list[int]:
        before = self.affixes[0]
        inner = ids[len(before) :]
        room = limit - len(before)
        return [*before, *(inner[:room] if side == "right" else inner[len(inner) - room :])]

    def decode(self, ids: Sequence[int], *, skip_special_tokens: bool = True) -> str:
        kept = [i for i in ids if not (skip_special_tokens and i in self.special_ids)]
        return b"".join(self.token_bytes(i) for i in kept).decode("utf-8", "replace")

    def token_bytes(self, token_id: int) -> bytes:
        literal = next((marker for marker, found in self._markers.items() if found == token_id), SPECIAL.get(token_id))
        if literal is not None:
            return literal.encode()
        return bytes([token_id]) if token_id < 256 else b""

    def token_text(self, token_id: int) -> str:
        return self.token_bytes(token_id).decode("utf-8", "replace")

    def drop_oldest(
        self, messages: Sequence[Mapping[str, Any]], limit: int, **options: Any
    ) -> tuple[list[Mapping[str, Any]], int]:
        for dropped in range(len(messages)):
            if len(self.encode_chat(messages[dropped:], **options)) <= limit:
                return list(messages[dropped:]), dropped
        raise InvalidRequest("still too long", param="messages", code="context_length_exceeded")
