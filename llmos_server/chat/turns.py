"""Turns that a chat template can't write: a system message without a place, or two messages of one role in a row."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

Message = Mapping[str, Any]
CanWrite = Callable[[Sequence[Message]], bool]

SEPARATOR = "\n\n"
"""Between texts that become one."""


class TurnRules(NamedTuple):
    """What a template has a place for."""

    system: bool = True
    """A system message at the begin."""
    two_systems: bool = True
    """One more behind it."""
    late_system: bool = True
    """One behind a user's message."""
    two_users: bool = True
    two_assistants: bool = True
    user_after_tool: bool = True


FREE = TurnRules()

_SYSTEM, _RULE = {"role": "system", "content": "be brief"}, {"role": "system", "content": "be kind"}
_USER, _MORE = {"role": "user", "content": "hello"}, {"role": "user", "content": "anybody"}
_ANSWER, _REST = {"role": "assistant", "content": "yes"}, {"role": "assistant", "content": "here"}
_CALL = {"id": "abcdefghi", "type": "function", "function": {"name": "look", "arguments": {}}}
_CALLED: list[Message] = [_USER, {"role": "assistant", "content": "", "tool_calls": [_CALL]}]
_RESULT = {"role": "tool", "tool_call_id": "abcdefghi", "name": "look", "content": "nothing"}


def find_rules(can_write: CanWrite) -> TurnRules:
    """can_write: whether a template takes messages, and writes the text of each. Where it can't write the plainest
    ones, nothing is known of it."""
    if not can_write([_USER]) or not can_write([_USER, _ANSWER, _MORE]):
        return FREE
    has_system = can_write([_SYSTEM, _USER])
    begin = [_SYSTEM] if has_system else []
    takes_tools = can_write([*_CALLED, _RESULT])
    return TurnRules(
        system=has_system,
        two_systems=has_system and can_write([_SYSTEM, _RULE, _USER]),
        late_system=has_system and can_write([*begin, _USER, _ANSWER, _RULE, _MORE]),
        two_users=can_write([_USER, _MORE]),
        two_assistants=can_write([_USER, _ANSWER, _REST, _MORE]),
        user_after_tool=not takes_tools or can_write([*_CALLED, _RESULT, _MORE]),
    )


def needs_rules(messages: Sequence[Message]) -> bool:
    """Whether there is anything that some template has no place for; most chats are plain, and ask nothing."""
    roles = [message.get("role") for message in messages]
    return "system" in roles or any(
        before == role or (before == "tool" and role == "user") for before, role in itertools.pairwise(roles)
    )


def strict(rules: TurnRules) -> TurnRules:
    """Of a template that is asked for as little as can be."""
    return TurnRules(rules.system, False, False, False, False, rules.user_after_tool)


def settle_turns(messages: Sequence[Message], rules: TurnRules) -> Sequence[Message]:
    """Messages that break no rule. A system message without a place becomes a user's, where it stands; one that may not
    stand behind another is joined with it, and nothing is left out or changes its order."""
    if rules == FREE:
        return messages
    settled: list[Message] = []
    for message in messages:
        if message.get("role") == "system" and not _has_place(settled, rules):
            message = {"role": "user", "content": message.get("content")}
        if settled and _is_joined(settled[-1], message, rules):
            settled[-1] = _join(settled[-1], message)
        else:
            settled.append(message)
    return settled


def _has_place(before: list[Message], rules: TurnRules) -> bool:
    """Of a system message."""
    is_at_begin = all(message.get("role") == "system" for message in before)
    return rules.system if is_at_begin else rules.late_system


def _is_joined(before: Message, message: Message, rules: TurnRules) -> bool:
    match before.get("role"), message.get("role"):
        case "system", "system":
            return not rules.two_systems
        case "user", "user":
            return not rules.two_users
        case "assistant", "assistant":
            return not rules.two_assistants
        case "tool", "user":
            return not rules.user_after_tool
        case _:
            return False


def _join(before: Message, message: Message) -> Message:
    joined = {**message, **before}
    for name in ("content", "reasoning_content"):
        if name in joined:
            joined[name] = _joined_content(before.get(name), message.get(name))
    if calls := [*(before.get("tool_calls") or ()), *(message.get("tool_calls") or ())]:
        joined["tool_calls"] = calls
    return joined


def _joined_content(before: Any, after: Any) -> Any:
    if not before or not after:
        return before or after or ""
    if isinstance(before, str) and isinstance(after, str):
        return before + SEPARATOR + after
    return [*_parts(before), *_parts(after)]


def _parts(content: Any) -> list[Any]:
    return [{"type": "text", "text": content}] if isinstance(content, str) else list(content)
