"""A model's chat template: messages in, the text of the prompt out, the same text that Transformers renders."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from functools import cached_property
from typing import Any

import jinja2
from jinja2 import meta

from llmos_server.chat.content import (
    detect_content_form,
    map_strings,
    require_encodable,
    shape_messages,
)
from llmos_server.chat.environment import create_environment, render_bounded
from llmos_server.chat.literals import Markers
from llmos_server.chat.template_work import TemplateLimit
from llmos_server.chat.turns import TurnRules, find_rules
from llmos_server.errors import InvalidRequest, UnsupportedModel

RESERVED_KWARGS = frozenset({"messages", "tools", "add_generation_prompt", "continue_final_message", "chat_template"})
"""What a request says in fields of its own (the template is the model's)."""

CHARS_PER_TEXT = 50
WORD = re.compile(r"[\w-]+")


@dataclass(frozen=True)
class ChatInputs:
    """Everything of a request that the template sees, as plain values, with markers that occur in none of it."""

    messages: list[dict[str, Any]]
    tools: list[Any] | None
    kwargs: dict[str, Any]
    add_generation_prompt: bool
    continue_final_message: bool
    markers: Markers
    num_chars: int
    """Of all texts, the short ones counted as longer, for what the template does with each."""

    def with_strings(self, change: Callable[[str], str]) -> ChatInputs:
        """The same with every string changed: values, and keys unless they are words, which templates ask for."""

        def apply(text: str, _: str) -> str:
            return change(text)

        def apply_to_key(key: str) -> str:
            return key if WORD.fullmatch(key) else change(key)

        return replace(
            self,
            messages=map_strings(self.messages, apply, "", change_key=apply_to_key),
            tools=map_strings(self.tools, apply, "", change_key=apply_to_key),
            kwargs=map_strings(self.kwargs, apply, "", change_key=apply_to_key),
        )


class ChatTemplate:
    """variables: the names that the template reads from outside; kwargs of other names have no effect."""

    def __init__(
        self, source: str, special_tokens: Mapping[str, str], *, now: Callable[[], datetime] = datetime.now
    ) -> None:
        """special_tokens: bos_token, eos_token … -> literal, which templates print. Raises UnsupportedModel."""
        self.source = source
        environment = create_environment(now)
        try:
            tree = environment.parse(source)
            self._template = environment.from_string(source)
        except jinja2.TemplateSyntaxError as error:
            raise UnsupportedModel(
                f"The model's chat template has an error in line {error.lineno}: {str(error.message).rstrip('.')}."
            ) from error
        self._special_tokens = dict(special_tokens)
        self.content_form = detect_content_form(tree)
        self.variables = frozenset(meta.find_undeclared_variables(tree))

    @cached_property
    def turn_rules(self) -> TurnRules:
        """Found out by a few short chats; some templates refuse messages, or leave them out."""
        return find_rules(self._can_write)

    def _can_write(self, messages: Sequence[Mapping[str, Any]]) -> bool:
        try:
            text = self.render(self.prepare(messages))
        except InvalidRequest:
            return False
        return all(message["content"] in text for message in messages)

    def prepare(
        self,
        messages: Sequence[Mapping[str, Any]],
        *,
        add_generation_prompt: bool = True,
        continue_final_message: bool = False,
        template_kwargs: Mapping[str, Any] | None = None,
        tools: list[dict[str, Any]] | None = None,
    ) -> ChatInputs:
        """Check a request and copy it into plain values. Raises InvalidRequest that names the field."""
        if continue_final_message and add_generation_prompt:
            raise InvalidRequest(
                "continue_final_message and add_generation_prompt exclude each other; "
                "send add_generation_prompt: false to let the model continue the final message.",
                param="continue_final_message",
            )
        _refuse_reserved(template_kwargs or {})
        texts: list[str] = []

        def check(text: str, where: str) -> str:
            texts.append(text)
            return require_encodable(text, where)

        def check_key(key: str) -> str:
            return check(key, "a property's name")

        shaped = map_strings(shape_messages(messages, self.content_form), check, "messages", change_key=check_key)
        return ChatInputs(
            messages=shaped,
            tools=map_strings(tools, check, "tools", change_key=check_key),
            kwargs=map_strings(dict(template_kwargs or {}), check, "chat_template_kwargs", change_key=check_key),
            add_generation_prompt=add_generation_prompt,
            continue_final_message=continue_final_message,
            markers=Markers.unused_in(texts),
            num_chars=sum(map(len, texts)) + CHARS_PER_TEXT * len(texts),
        )

    def render(self, inputs: ChatInputs) -> str:
        """Raises InvalidRequest with the template's own words when it refuses the messages."""
        messages, final = _open_final(inputs) if inputs.continue_final_message else (inputs.messages, "")
        context = {
            **self._special_tokens,
            "documents": None,
            **inputs.kwargs,
            "messages": messages,
            "tools": inputs.tools,
            "add_generation_prompt": inputs.add_generation_prompt,
        }
        try:
            text = render_bounded(self._template, context, inputs.num_chars)
        except TemplateLimit as error:
            raise InvalidRequest(
                f"The model's chat template asks for too much: {error}. It is one of the model's files; mend it there, "
                "or use another model.",
                param="messages",
                code="template_error",
            ) from error
        except Exception as error:  # whatever the template's code raises is about these messages
            raise InvalidRequest(
                f"The model's chat template refuses these messages: {error}", param="messages", code="template_error"
            ) from error
        return _cut_at_resume(text, final, inputs.markers.resume) if inputs.continue_final_message else text


def _refuse_reserved(kwargs: Mapping[str, Any]) -> None:
    reserved = sorted(RESERVED_KWARGS & set(kwargs))
    if reserved:
        raise InvalidRequest(
            f"chat_template_kwargs can't set {', '.join(reserved)}; use the request's own fields.",
            param="chat_template_kwargs",
        )


def _open_final(inputs: ChatInputs) -> tuple[list[dict[str, Any]], str]:
    """Append the resume marker and a space to the last text of the last message. Returns that text too.

    The space tells whether the template trims: then it is gone from behind the marker.
    """
    *before, last = inputs.messages
    content = last.get("content")
    tail = inputs.markers.resume + " "
    if isinstance(content, str):
        return [*before, {**last, "content": content + tail}], content
    parts = list(content) if isinstance(content, list) else []
    for i in reversed(range(len(parts))):
        if isinstance(parts[i], dict) and isinstance(parts[i].get("text"), str):
            text = parts[i]["text"]
            parts[i] = {**parts[i], "text": text + tail}
            return [*before, {**last, "content": parts}], text
    raise InvalidRequest(
        "continue_final_message is set, but the final message has no text to continue.", param="continue_final_message"
    )


def _cut_at_resume(text: str, final: str, resume: str) -> str:
    place = text.rfind(resume)
    if place < 0 or final.strip() not in text:
        raise InvalidRequest(
            "continue_final_message is set, but the model's chat template changes the final message, "
            "so there is no place to continue from.",
            param="continue_final_message",
            code="template_error",
        )
    return text[:place] if text.startswith(resume + " ", place) else text[:place].rstrip()
