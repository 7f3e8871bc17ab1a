"""What an answer consists of: a grammar over reasoning, content and tool calls, and the parser that parts them."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import NamedTuple

import msgspec

from llmos_server.api.chats.tools import ToolPlan
from llmos_server.api.schemas.chat import ChatCompletionRequest
from llmos_server.api.served import ServedModel
from llmos_server.chat.answer_parser import AnswerParser
from llmos_server.chat.grammars import Grammar
from llmos_server.chat.reasoning import Markers, ReasoningSplitter, after_reasoning, is_open
from llmos_server.chat.schema_paths import Schema
from llmos_server.chat.tools.format import MAX_CALLS
from llmos_server.chat.tools.formats import Style
from llmos_server.chat.tools.grammar import CallsWanted, calls_grammar
from llmos_server.chat.tools.parser import ToolParser
from llmos_server.chat.tools.tool import Tool
from llmos_server.errors import InvalidRequest

TAIL = 64
"""Tokens at a prompt's end that tell whether reasoning is open there."""


class AnswerForm(NamedTuple):
    grammar: str
    check: Schema | None
    call_checks: dict[str, Schema]
    create_parser: Callable[[], AnswerParser] | None
    shown_ids: frozenset[int]


class FormPlan:
    """Of one request: what holds before its prompt is known."""

    def __init__(self, served: ServedModel, tools: ToolPlan | None, form: Grammar | None) -> None:
        """form: what response_format or structured_outputs ask for. Raises InvalidRequest."""
        self._renderer = served.renderer
        self._tools = tools
        self._form = form
        self._style: Style = served.renderer.tool_style(served.tool_format)
        self._markers: Markers | None = served.renderer.reasoning_markers(served.reasoning)
        markers: list[str] = [*(self._markers or ())]
        if tools is not None:
            markers += [*self._style.format.begins, *self._style.format.others]
        self._tokens = served.renderer.marker_tokens(markers)
        self._grammar = form if tools is None else self._with_calls(tools, form)

    @property
    def told(self) -> list[Tool]:
        """The tools that are in the prompt."""
        return [] if self._tools is None else self._tools.told

    def _with_calls(self, tools: ToolPlan, form: Grammar | None) -> Grammar:
        return calls_grammar(
            CallsWanted(
                format=self._style.format.name,
                tools=tuple((tool.name, tool.lark) for tool in tools.callable),
                is_required=tools.is_required,
                max_calls=MAX_CALLS if tools.is_parallel else 1,
                tokens=tuple(self._tokens.items()),
                form="" if form is None or tools.is_required else _json_form(form),
                text_begins_no="" if self._markers is None else self._markers.begin,
            ),
            "tools",
        )

    def finish(self, prompt: list[int], *, is_continued: bool) -> AnswerForm:
        """prompt: its token ids. is_continued: it ends with text of the answer."""
        text = "" if self._grammar is None else self._grammar.text
        opened = self._markers is not None and self._is_open(self._markers, prompt, is_continued)
        if text and self._markers is not None:
            text = after_reasoning(text, self._markers, is_open=opened, tokens=self._tokens)
        parses = self._tools is not None or self._markers is not None
        return AnswerForm(
            grammar=text,
            check=None if self._form is None else self._form.check,
            call_checks={tool.name: tool.check for tool in self._tools.callable if tool.check} if self._tools else {},
            create_parser=functools.partial(self._create_parser, opened) if parses else None,
            shown_ids=frozenset(self._tokens.values()) if parses else frozenset(),
        )

    def _is_open(self, markers: Markers, prompt: list[int], is_continued: bool) -> bool:
        tail = prompt if is_continued else prompt[-TAIL:]
        text = self._renderer.decode(tail, skip_special_tokens=False)
        return is_open(markers, text, is_continued=is_continued)

    def _create_parser(self, opened: bool) -> AnswerParser:
        can_be_bare = self._form is None or (self._tools is not None and self._tools.is_required)
        return AnswerParser(
            None if self._markers is None else ReasoningSplitter(self._markers, is_open=opened),
            None if self._tools is None else ToolParser(self._style.format, can_be_bare=can_be_bare),
        )


def refuse_together(data: ChatCompletionRequest) -> None:
    """What contradicts tools. Raises InvalidRequest."""
    if data.ignore_eos:
        raise InvalidRequest(
            "ignore_eos: an answer with tools ends where its calls do; leave it out, or send tool_choice: none.",
            param="ignore_eos",
            code="invalid_value",
        )


def _json_form(form: Grammar) -> str:
    """Raises InvalidRequest for a form whose text could be taken for a call's begin."""
    if form.text.startswith("{"):
        [grammar, *others] = msgspec.json.decode(form.text)["grammars"]
        if not others and grammar.get("json_schema") is not None:
            return msgspec.json.encode(grammar["json_schema"]).decode()
    raise InvalidRequest(
        "structured_outputs: regex, choice and grammar don't go with tools; send a JSON form, or tool_choice: none.",
        param="structured_outputs",
        code="invalid_value",
    )
