"""An example's messages: checked one by one, and written as the server writes a request's."""

from __future__ import annotations

from typing import Any, NamedTuple

from llmos_server.data.content import is_empty, read_content
from llmos_server.data.examples import Message
from llmos_server.data.findings import Finder, kind_of, shown
from llmos_server.data.tools import read_calls

ROLES = ("system", "developer", "user", "assistant", "tool", "function")
_MEANT = {"human": "user", "prompter": "user", "gpt": "assistant", "bot": "assistant", "model": "assistant"}
_MEANT |= {"ai": "assistant", "instruction": "system", "observation": "tool"}
_TEXTS = ("name", "refusal", "reasoning_content", "reasoning", "tool_call_id")
_FIELDS = {"role", "content", "weight", "tool_calls", "function_call", "audio", *_TEXTS}


class Turns(NamedTuple):
    messages: list[Message]
    trained: list[bool]
    """An assistant's, unless its weight is 0."""


def read_messages(value: Any, field: str, tool_names: set[str], finder: Finder) -> Turns:
    """Only those that could be read: finder tells of the others."""
    turns = Turns([], [])
    if not isinstance(value, list) or not value:
        what = "It is an empty list" if value == [] else f"It is {kind_of(value)}"
        finder.refuse(field, "missing_field" if value is None else "wrong_type", f"{what}; it is a list of messages.")
        return turns
    calls: set[str] = set()
    for place, sent in enumerate(value):
        message = read_message(sent, f"{field}[{place}]", tool_names, finder)
        if message is None:
            continue
        _check_result(message, f"{field}[{place}]", calls, finder)
        calls.update(str(call["id"]) for call in message.get("tool_calls", ()) if "id" in call)
        turns.messages.append(message)
        turns.trained.append(message["role"] == "assistant" and sent.get("weight") != 0)
    return turns


def read_message(sent: Any, field: str, tool_names: set[str], finder: Finder) -> Message | None:
    """tool_names: of the functions that may be called."""
    if not isinstance(sent, dict):
        finder.refuse(field, "wrong_type", f"It is {kind_of(sent)}; it is an object with role and content.")
        return None
    role = sent.get("role")
    if not isinstance(role, str) or role not in ROLES:
        finder.refuse(f"{field}.role", "wrong_role" if "role" in sent else "missing_field", _about_role(sent))
        return None
    for name in sent.keys() - _FIELDS:
        finder.warn(f"{field}.{name[:64]}", "unknown_field", "Nothing reads this field; leave it out.")
    _check_weight(sent, role, field, finder)
    _check_texts(sent, field, finder)
    message: Message = {"role": "system" if role == "developer" else role}
    calls = read_calls(sent, field, tool_names, finder) if role == "assistant" else []
    message["content"] = read_content(sent, role, field, finder)
    if not calls and is_empty(message["content"]) and role not in ("tool", "function"):
        _refuse_empty(sent, role, field, finder)
    if isinstance(sent.get("name"), str):
        message["name"] = sent["name"]
    if isinstance(sent.get("tool_call_id"), str):
        message["tool_call_id"] = sent["tool_call_id"]
    if calls:
        message["tool_calls"] = calls
    if reasoning := sent.get("reasoning_content") or sent.get("reasoning"):
        message["reasoning_content"] = reasoning
    return message


def _about_role(sent: dict[str, Any]) -> str:
    role = sent.get("role")
    if role is None and "from" in sent:
        return "It is missing. Write {from, value} as {role, content}, with the roles user and assistant."
    meant = _MEANT.get(role.strip().lower(), role.strip().lower()) if isinstance(role, str) else None
    remedy = f"write {meant}" if meant in ROLES else f"a role is one of {', '.join(ROLES)}"
    return f"It is missing; {remedy}." if role is None else f"It is {shown(role)}; {remedy}."


def _check_weight(sent: dict[str, Any], role: str, field: str, finder: Finder) -> None:
    weight = sent.get("weight")
    if weight is None:
        return
    if role != "assistant":
        finder.refuse(f"{field}.weight", "bad_weight", f"Only an assistant's message has one; this is {role}'s.")
    elif isinstance(weight, bool) or weight not in (0, 1):
        finder.refuse(f"{field}.weight", "bad_weight", f"It is {shown(weight)}; it is 1 (learned) or 0 (only read).")


def _check_texts(sent: dict[str, Any], field: str, finder: Finder) -> None:
    """What may be there, and is a string then."""
    for name in _TEXTS:
        if sent.get(name) is not None and not isinstance(sent[name], str):
            finder.refuse(f"{field}.{name}", "wrong_type", f"It is {kind_of(sent[name])}; it is a string.")
    if sent.get("tool_calls") and sent["role"] != "assistant":
        finder.refuse(f"{field}.tool_calls", "wrong_role", "Only the assistant makes calls.")
    if sent.get("audio") is not None:
        finder.refuse(f"{field}.audio", "unsupported_content", "Models here read text only; leave the example out.")


def _refuse_empty(sent: dict[str, Any], role: str, field: str, finder: Finder) -> None:
    if any(finding.field.startswith(f"{field}.content") for finding in finder.findings):
        return  # That it couldn't be read has been told.
    if sent.get("content") is None and role != "assistant":
        finder.refuse(f"{field}.content", "missing_field", "It is missing; it is a string.")
    else:
        remedy = "write the answer, or leave the example out" if role == "assistant" else "leave the message out"
        finder.refuse(f"{field}.content", "empty_content", f"There is no text in it; {remedy}.")


def _check_result(message: Message, field: str, calls: set[str], finder: Finder) -> None:
    """A tool's message answers a call that was made before it."""
    if message["role"] != "tool":
        return
    if "tool_call_id" not in message:
        finder.refuse(f"{field}.tool_call_id", "missing_field", "It is missing; it is the id of the call answered.")
    elif message["tool_call_id"] not in calls:
        found = shown(message["tool_call_id"])
        finder.refuse(f"{field}.tool_call_id", "bad_tool_call", f"No message before it has a call with the id {found}.")
