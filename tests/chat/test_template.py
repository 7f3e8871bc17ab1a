"""Rendered text equals Transformers', for templates in the manner of the common families."""

from __future__ import annotations

import json
from datetime import datetime
from typing import Any

import pytest
from chat_templates import NAMED, TEMPLATES, our_text, transformers_text

from llmos_server.chat.template import ChatTemplate
from llmos_server.errors import InvalidRequest, UnsupportedModel

USER = {"role": "user", "content": '  What\'s <b>1 & 2</b>? "Grüße" 🙂\n'}
CHATS: dict[str, list[dict[str, Any]]] = {
    "one": [USER],
    "system": [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Hi"}],
    "turns": [
        USER,
        {"role": "assistant", "content": "<think>\nhm\n</think>\n\nThree. ", "refusal": None, "tool_calls": None},
        {"role": "user", "content": "Why?"},
    ],
    "answered": [
        {"role": "user", "content": "Hi"},
        {"role": "assistant", "content": "Hello {{ you }}", "reasoning": "greet", "name": None},
    ],
    "tools": [
        {"role": "user", "content": "Weather?"},
        {
            "role": "assistant",
            "content": "",
            "tool_calls": [{"type": "function", "function": {"name": "w", "arguments": {"city": "Zürich <x>"}}}],
        },
    ],
}
TOOL = {"type": "function", "function": {"name": "w", "description": "Ünï <&>", "parameters": {"type": "object"}}}


@pytest.mark.parametrize("family", list(TEMPLATES))
@pytest.mark.parametrize("chat", list(CHATS))
@pytest.mark.parametrize("add_generation_prompt", [True, False])
def test_renders_as_transformers(family: str, chat: str, add_generation_prompt: bool) -> None:
    source, messages = TEMPLATES[family], CHATS[chat]
    expected_messages = messages
    if family == "parts_only":  # a template that knows no strings gets parts
        expected_messages = [{**m, "content": [{"type": "text", "text": m["content"]}]} for m in messages]
    for tools in (None, [TOOL]):
        expected = transformers_text(
            source, expected_messages, tools=tools, add_generation_prompt=add_generation_prompt
        )
        assert our_text(source, messages, tools=tools, add_generation_prompt=add_generation_prompt) == expected


@pytest.mark.parametrize("kwargs", [{"enable_thinking": False}, {"date_string": "today"}, {"bos_token": "<x>"}])
@pytest.mark.parametrize("family", ["qwen", "llama3"])
def test_template_kwargs_reach_the_template(family: str, kwargs: dict[str, Any]) -> None:
    utils = pytest.importorskip("transformers.utils.chat_template_utils")
    source = TEMPLATES[family]
    expected, _ = utils.render_jinja_template(
        [CHATS["one"]], chat_template=source, add_generation_prompt=True, **{**NAMED, **kwargs}
    )
    assert our_text(source, CHATS["one"], template_kwargs=kwargs) == expected[0]


@pytest.mark.parametrize("family", sorted(set(TEMPLATES) - {"json", "loop_controls", "parts_only"}))
@pytest.mark.parametrize("ending", ["", " ", "\n\n", ":"])
def test_continues_the_final_message_as_transformers(family: str, ending: str) -> None:
    chat = [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "The answer is" + ending}]
    source = TEMPLATES[family]
    expected = transformers_text(source, chat, continue_final_message=True)
    text = our_text(source, chat, add_generation_prompt=False, continue_final_message=True)
    assert text == expected
    assert text.endswith(("The answer is" + ending, "The answer is"))


def test_strftime_now_tells_the_time() -> None:
    template = ChatTemplate("{{ strftime_now('%Y-%m-%d %H:%M') }}", {}, now=lambda: datetime(2024, 2, 29, 23, 5))
    assert template.render(template.prepare([USER])) == "2024-02-29 23:05"


def test_text_parts_become_a_string_for_a_template_that_expects_one() -> None:
    parts = [{"type": "text", "text": "one"}, {"type": "text", "text": "two"}]
    assert "user\none\ntwo<|im_end|>" in our_text(TEMPLATES["smollm2"], [{"role": "user", "content": parts}])


@pytest.mark.parametrize("family", ["llama3", "parts_only"])
def test_text_parts_stay_parts_for_a_template_that_loops_over_them(family: str) -> None:
    messages = [{"role": "user", "content": [{"type": "text", "text": "one"}, {"type": "text", "text": "two"}]}]
    assert our_text(TEMPLATES[family], messages) == transformers_text(
        TEMPLATES[family], messages, add_generation_prompt=True
    )


@pytest.mark.parametrize(
    ("source", "form"),
    [
        ("{{ messages[0].content }}", "string"),
        ("{% for message in messages %}{{ message.content }}{% endfor %}", "string"),
        ("{% for m in messages %}{% for p in m.content %}{{ p.text }}{% endfor %}{% endfor %}", "parts"),
        ("{% set c = messages[0]['content'] %}{% for p in c | list %}{{ p }}{% endfor %}", "parts"),
        (
            "{% macro m(content) %}{% if content is string %}{% else %}{% for p in content %}{% endfor %}{% endif %}"
            "{% endmacro %}",
            "either",
        ),
    ],
)
def test_detects_what_content_a_template_expects(source: str, form: str) -> None:
    assert ChatTemplate(source, {}).content_form == form


def test_a_part_that_is_no_text_is_refused_by_name() -> None:
    image = {"role": "user", "content": [{"type": "image_url", "image_url": {"url": "x"}}]}
    with pytest.raises(InvalidRequest) as caught:
        our_text(TEMPLATES["smollm2"], [USER, image])
    assert caught.value.param == "messages[1].content[0]"


@pytest.mark.parametrize(
    ("source", "words"),
    [
        ("{{ raise_exception('Only user and assistant roles!') }}", "Only user and assistant roles!"),
        ("{{ messages[0].content + messages[0].nothing }}", "has no attribute 'nothing'"),
        ("{{ 1 + 'a' }}", "unsupported operand"),
        ("{{ messages[7].role.x }}", "no element 7"),
        ("{{ messages.append(1) }}", "append"),
        ("{{ ''.__class__.__mro__ }}", "__class__"),
        ("{% set ns = namespace(__x=1) %}", "underscore"),
        ("{% set ns = namespace() %}{% set ns._x = 1 %}", "underscore"),
    ],
)
def test_a_template_that_fails_is_the_requests_error_in_its_own_words(source: str, words: str) -> None:
    with pytest.raises(InvalidRequest, match=words) as caught:
        our_text(source, [USER])
    assert caught.value.code == "template_error"


def test_namespaces_hold_names_and_may_store_self() -> None:
    assert our_text("{% set ns = namespace(self=1, b=2) %}{% set ns.b = 3 %}{{ ns.self }}{{ ns.b }}", [USER]) == "13"


def test_a_broken_template_is_told_at_load() -> None:
    with pytest.raises(UnsupportedModel, match="line 2"):
        ChatTemplate("ok\n{% if %}", {})


@pytest.mark.parametrize(
    "name", ["messages", "tools", "add_generation_prompt", "continue_final_message", "chat_template"]
)
def test_template_kwargs_cannot_replace_the_requests_fields(name: str) -> None:
    with pytest.raises(InvalidRequest, match=name) as caught:
        our_text(TEMPLATES["smollm2"], [USER], template_kwargs={name: []})
    assert caught.value.param == "chat_template_kwargs"


def test_continuing_excludes_a_generation_prompt() -> None:
    with pytest.raises(InvalidRequest, match="add_generation_prompt: false") as caught:
        our_text(TEMPLATES["smollm2"], [USER], continue_final_message=True)
    assert caught.value.param == "continue_final_message"


@pytest.mark.parametrize(
    ("source", "message"),
    [
        (TEMPLATES["qwen"], {"role": "assistant", "content": "<think>a</think>b"}),  # the template cuts the message
        ("{% for m in messages %}{{ m.role }}{% endfor %}", {"role": "assistant", "content": "x"}),
        (TEMPLATES["smollm2"], {"role": "assistant"}),
    ],
)
def test_a_final_message_that_cannot_be_continued_is_refused(source: str, message: dict[str, Any]) -> None:
    with pytest.raises(InvalidRequest) as caught:
        our_text(source, [USER, message], add_generation_prompt=False, continue_final_message=True)
    assert caught.value.param == "continue_final_message"


def test_continues_the_last_text_part() -> None:
    messages = [{"role": "assistant", "content": [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]}]
    text = our_text(TEMPLATES["parts_only"], messages, add_generation_prompt=False, continue_final_message=True)
    assert text.endswith("ab")


def test_no_messages_are_refused() -> None:
    with pytest.raises(InvalidRequest, match="at least one message"):
        our_text(TEMPLATES["smollm2"], [])


@pytest.mark.parametrize(
    ("options", "param"),
    [
        ({"messages": [USER, {"role": "user", "content": "a\ud83d"}]}, "messages[1].content"),
        ({"messages": [{"role": "user", "content": [{"type": "text", "text": "\ude00"}]}]}, "messages[0].content"),
        ({"messages": [USER], "tools": [{"name": "\ud83d"}]}, "tools[0].name"),
        ({"messages": [USER], "template_kwargs": {"x": ["\ud83d"]}}, "chat_template_kwargs.x[0]"),
    ],
)
def test_half_a_surrogate_pair_is_refused_by_field(options: dict[str, Any], param: str) -> None:
    messages = options.pop("messages")
    with pytest.raises(InvalidRequest, match="surrogate") as caught:
        our_text(TEMPLATES["smollm2"], messages, **options)
    assert caught.value.param == param


def test_the_callers_messages_stay_as_they_are() -> None:
    before = json.dumps(CHATS)
    for messages in CHATS.values():
        our_text(TEMPLATES["qwen"], messages)
    assert json.dumps(CHATS) == before


def test_names_that_the_template_reads() -> None:
    assert "enable_thinking" in ChatTemplate(TEMPLATES["qwen"], NAMED).variables
    assert "enable_thinking" not in ChatTemplate(TEMPLATES["smollm2"], NAMED).variables
