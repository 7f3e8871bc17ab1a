"""Turns that templates refuse, in the manner of Mistral's and Gemma's."""

from __future__ import annotations

from typing import Any

import pytest
from chat_templates import NAMED, TEMPLATES

from llmos_server.chat.template import ChatTemplate
from llmos_server.chat.turns import FREE, TurnRules, find_rules, needs_rules, settle_turns, strict

GEMMA_2 = """{{ bos_token }}{% if messages[0].role == 'system' %}{{ raise_exception('No system role') }}{% endif %}
{%- for message in messages %}
{%- if (message.role == 'user') != (loop.index0 % 2 == 0) %}{{ raise_exception('Roles must alternate') }}{% endif %}
{{- '<start_of_turn>' ~ ('model' if message.role == 'assistant' else message.role) }}
{{ message.content | trim }}<end_of_turn>
{% endfor %}"""
"""It has no system role."""
GEMMA_3 = """{%- set first = '' -%}{%- set rest = messages -%}
{%- if messages[0].role == 'system' %}
{%- set first = messages[0].content ~ '\\n' %}{% set rest = messages[1:] %}{% endif %}
{%- for message in rest %}
{%- if (message.role == 'user') != (loop.index0 % 2 == 0) %}{{ raise_exception('Roles must alternate') }}{% endif %}
{{- '<start_of_turn>' ~ ('model' if message.role == 'assistant' else message.role) }}
{{ (first if loop.first else '') ~ message.content }}<end_of_turn>
{% endfor %}"""
"""It writes the system message into the first turn."""
MISTRAL = """{%- set rest = messages[1:] if messages[0].role == 'system' else messages %}
{%- if messages[0].role == 'system' %}[SYSTEM_PROMPT]{{ messages[0].content }}[/SYSTEM_PROMPT]{% endif %}
{%- set turn = namespace(number=0) %}
{%- for message in rest %}
{%- if message.role == 'user' or (message.role == 'assistant' and not message.tool_calls) %}
{%- if (message.role == 'user') != (turn.number % 2 == 0) %}{{ raise_exception('Roles must alternate') }}{% endif %}
{%- set turn.number = turn.number + 1 %}{% endif %}{% endfor %}
{%- for message in rest %}
{%- if message.role == 'user' %}[INST]{{ message.content }}[/INST]
{%- elif message.role == 'tool' %}[TOOL_RESULTS]{{ message.content }}[/TOOL_RESULTS]
{%- elif message.role == 'assistant' %}{{ message.content }}
{%- for call in message.tool_calls or [] %}[TOOL_CALLS]{{ call.function.name }}{% endfor %}</s>
{%- else %}{{ raise_exception('Only user, assistant and tool') }}{% endif %}{% endfor %}"""
"""Calls and results are not counted among the turns, so that no user may follow a result at once."""


def said(text: str) -> list[dict[str, Any]]:
    """ "s:a u:b" -> messages."""
    roles = {"s": "system", "u": "user", "a": "assistant", "t": "tool"}
    return [{"role": roles[word[0]], "content": word[2:]} for word in text.split()]


RULES = {
    "gemma 2": (GEMMA_2, TurnRules(False, False, False, False, False, True)),
    "gemma 3": (GEMMA_3, TurnRules(True, False, False, False, False, True)),
    "mistral": (MISTRAL, TurnRules(True, False, False, False, False, False)),
    "chatml": (TEMPLATES["smollm2"], FREE),
    "qwen": (TEMPLATES["qwen"], FREE),
}


@pytest.mark.parametrize("name", RULES)
def test_a_template_is_asked_what_it_takes(name: str) -> None:
    source, rules = RULES[name]
    assert ChatTemplate(source, NAMED).turn_rules == rules


@pytest.mark.parametrize("name", RULES)
@pytest.mark.parametrize(
    "text",
    [
        "s:q1 u:q2",
        "s:q1 s:q2 u:q3",
        "u:q1 u:q2",
        "u:q1 a:q2 a:q3 u:q4",
        "s:q1 u:q2 a:q3 s:q4 u:q5",
        "u:q1 a:q2 u:q3 s:q4",
        "s:q1 u:q2 s:q3 u:q4",
    ],
)
def test_whatever_is_said_gets_into_the_prompt_in_its_order(name: str, text: str) -> None:
    template = ChatTemplate(RULES[name][0], NAMED)
    settled = settle_turns(said(text), template.turn_rules)
    prompt = template.render(template.prepare(settled))
    places = [prompt.find(message["content"]) for message in said(text)]
    assert -1 not in places
    assert places == sorted(places)


def test_a_users_words_behind_a_result_are_put_behind_it() -> None:
    call = {"id": "abcdefghi", "function": {"name": "look", "arguments": {}}}
    messages = [*said("u:a"), {"role": "assistant", "content": "", "tool_calls": [call]}, *said("t:b u:c")]
    template = ChatTemplate(MISTRAL, NAMED)
    settled = settle_turns(messages, template.turn_rules)
    assert template.render(template.prepare(settled)).endswith("[TOOL_RESULTS]b\n\nc[/TOOL_RESULTS]")


@pytest.mark.parametrize(
    ("text", "rules", "expected"),
    [
        ("s:a s:b u:c", TurnRules(two_systems=False), "s:a\n\nb|u:c"),
        ("s:a u:b", TurnRules(system=False), "u:a|u:b"),
        ("s:a u:b", TurnRules(system=False, two_users=False), "u:a\n\nb"),
        ("u:a a:b s:c u:d", TurnRules(late_system=False, two_users=False), "u:a|a:b|u:c\n\nd"),
        ("u:a a:b a:c", TurnRules(two_assistants=False), "u:a|a:b\n\nc"),
        ("u:a u:b", FREE, "u:a|u:b"),
        ("s:a s:b u:c u:d", strict(FREE), "s:a\n\nb|u:c\n\nd"),
    ],
)
def test_what_becomes_of_them(text: str, rules: TurnRules, expected: str) -> None:
    settled = settle_turns(said(text), rules)
    assert "|".join(f"{message['role'][0]}:{message['content']}" for message in settled) == expected


def test_calls_reasoning_and_parts_are_kept() -> None:
    parts = [{"type": "text", "text": "b"}]
    before = {"role": "assistant", "content": "a", "reasoning_content": "x", "tool_calls": [{"id": "1"}]}
    after = {"role": "assistant", "content": parts, "reasoning_content": "y", "tool_calls": [{"id": "2"}]}
    [joined] = settle_turns([before, after], TurnRules(two_assistants=False))
    assert joined == {
        "role": "assistant",
        "content": [{"type": "text", "text": "a"}, *parts],
        "reasoning_content": "x\n\ny",
        "tool_calls": [{"id": "1"}, {"id": "2"}],
    }


def test_a_template_that_writes_nothing_is_left_alone() -> None:
    assert find_rules(lambda messages: False) == FREE


@pytest.mark.parametrize(
    ("text", "needed"), [("u:a a:b u:c", False), ("u:a u:b", True), ("s:a u:b", True), ("t:a u:b", True)]
)
def test_plain_chats_ask_nothing(text: str, needed: bool) -> None:
    assert needs_rules(said(text)) == needed
