"""The lines of each method's file, as OpenAI has them: one object to one example."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from llmos_server.data.content import check_text
from llmos_server.data.examples import (
    ChatExample,
    Example,
    Format,
    Message,
    PreferenceExample,
    PromptExample,
    TextExample,
)
from llmos_server.data.findings import Finder, kind_of
from llmos_server.data.labels import read_label, read_rating
from llmos_server.data.messages import Turns, read_message, read_messages
from llmos_server.data.tools import read_tools
from llmos_server.data.trl_lines import with_messages, with_outputs

_CHAT = {"messages", "tools", "functions", "parallel_tool_calls"}
_PREFERENCE = {"input", "preferred_output", "non_preferred_output"}


def _read_supervised(line: dict[str, Any], finder: Finder) -> Example | None:
    _warn_of_unknown(line, _CHAT, finder)
    tools = read_tools(line, "", finder)
    turns = read_messages(line.get("messages"), "messages", _names(tools), finder)
    _check_parallel(line, "", [*turns.messages], finder)
    if turns.messages and turns.messages[-1]["role"] != "assistant":
        place = len(line["messages"]) - 1
        finder.refuse(
            f"messages[{place}].role",
            "no_answer",
            f"The last message is {turns.messages[-1]['role']}'s; it has to be the assistant's, which is learned.",
        )
    elif turns.messages and not any(turns.trained):
        finder.refuse("messages", "nothing_to_learn", "Every answer has the weight 0; leave the example out.")
    if finder.has_errors:
        return None
    return ChatExample(line=finder.line, messages=turns.messages, trained=turns.trained, tools=tools)


def _read_preference(line: dict[str, Any], finder: Finder) -> Example | None:
    _warn_of_unknown(line, _PREFERENCE, finder)
    asked = line.get("input")
    if not isinstance(asked, dict):
        code = "missing_field" if asked is None else "wrong_type"
        finder.refuse("input", code, f"It is {kind_of(asked)}; it is an object with messages.")
        asked = {"messages": None}
    tools = read_tools(asked, "input.", finder)
    turns = Turns([], [])
    if isinstance(line.get("input"), dict):
        turns = read_messages(asked.get("messages"), "input.messages", _names(tools), finder)
        _check_is_asked(turns, "input.messages", finder)
    preferred, rejected = (
        _read_output(line.get(name), name, _names(tools), finder)
        for name in ("preferred_output", "non_preferred_output")
    )
    _check_parallel(asked, "input.", [*turns.messages, preferred or {}, rejected or {}], finder)
    if preferred is not None and preferred == rejected:
        finder.refuse("non_preferred_output", "same_outputs", "It is the preferred one; there is nothing to learn.")
    if finder.has_errors or preferred is None or rejected is None:
        return None
    return PreferenceExample(
        line=finder.line, messages=turns.messages, preferred=preferred, rejected=rejected, tools=tools
    )


def _read_reinforcement(line: dict[str, Any], finder: Finder) -> Example | None:
    tools = read_tools(line, "", finder)
    turns = read_messages(line.get("messages"), "messages", _names(tools), finder)
    _check_is_asked(turns, "messages", finder)
    _check_parallel(line, "", turns.messages, finder)
    if finder.has_errors:
        return None
    item = {name: value for name, value in line.items() if name not in _CHAT}
    return PromptExample(line=finder.line, messages=turns.messages, item=item, tools=tools)


def _read_text(line: dict[str, Any], finder: Finder) -> Example | None:
    _warn_of_unknown(line, {"text"}, finder)
    text = line.get("text")
    if not isinstance(text, str):
        finder.refuse("text", "missing_field" if text is None else "wrong_type", "It is a string, and has to be there.")
        return None
    if not text.strip():
        finder.refuse("text", "empty_content", "There is no text in it; leave the line out.")
        return None
    check_text(text, "text", finder)
    return TextExample(line=finder.line, text=text)


_TRL: Mapping[Format, Callable[[dict[str, Any]], dict[str, Any]]] = {
    "supervised": with_messages,
    "preference": with_outputs,
    "reinforcement": with_messages,
    "text": lambda line: line,
    "rating": lambda line: line,
    "label": lambda line: line,
}
_READERS: Mapping[Format, Callable[[dict[str, Any], Finder], Example | None]] = {
    "supervised": _read_supervised,
    "preference": _read_preference,
    "reinforcement": _read_reinforcement,
    "text": _read_text,
    "rating": read_rating,
    "label": read_label,
}

_KNOWN_BY = {
    "preferred_output": "It looks like preference data: choose the method dpo",
    "messages": "It looks like a chat: choose the method supervised",
    "conversations": "Write conversations of {from, value} as messages of {role, content}",
    "instruction": "Write instruction and output as messages: one of the user, one of the assistant",
    "prompt": "Write prompt and completion as messages: one of the user, one of the assistant",
    "chosen": "Write prompt, chosen and rejected as input.messages, preferred_output and non_preferred_output",
    "text": "It looks like plain text: choose a recipe that trains on text",
}
_NEEDED = {
    "supervised": "messages",
    "preference": "input",
    "reinforcement": "messages",
    "text": "text",
    "rating": "prompt",
    "label": "text",
}


def read_example(line: dict[str, Any], format: Format, finder: Finder) -> Example | None:
    """None where it can't be trained on, which finder knows then."""
    line = _TRL[format](line)
    return None if _is_other_format(line, format, finder) else _READERS[format](line, finder)


def _is_other_format(line: dict[str, Any], format: Format, finder: Finder) -> bool:
    """A line that has nothing of its format is told once, by what it looks like."""
    needed = _NEEDED[format]
    if needed in line or (format == "preference" and line.keys() & _PREFERENCE):
        return False
    looks = next((remedy for name, remedy in _KNOWN_BY.items() if name in line), "")
    if looks:
        finder.refuse(needed, "wrong_format", f"It is missing. {looks}.")
    return bool(looks)


def _read_output(value: Any, field: str, names: set[str], finder: Finder) -> Message | None:
    if not isinstance(value, list) or len(value) != 1:
        found = f"It has {len(value)} messages" if isinstance(value, list) else f"It is {kind_of(value)}"
        code = "missing_field" if value is None else "wrong_type"
        finder.refuse(field, code, f"{found}; it is a list of one message of the assistant.")
        return None
    message = read_message(value[0], f"{field}[0]", names, finder)
    if message is not None and message["role"] != "assistant":
        finder.refuse(f"{field}[0].role", "wrong_role", f"It is {message['role']}; an output is the assistant's.")
        return None
    return message


def _check_is_asked(turns: Turns, field: str, finder: Finder) -> None:
    if turns.messages and turns.messages[-1]["role"] == "assistant":
        finder.refuse(
            field, "no_question", "The last message is the assistant's; the model has to be asked something after it."
        )


def _check_parallel(line: dict[str, Any], prefix: str, messages: list[Message], finder: Finder) -> None:
    value, field = line.get("parallel_tool_calls"), f"{prefix}parallel_tool_calls"
    if value is not None and not isinstance(value, bool):
        finder.refuse(field, "wrong_type", f"It is {kind_of(value)}; it is true or false.")
    elif value is False and any(len(message.get("tool_calls", ())) > 1 for message in messages):
        finder.refuse(field, "bad_tool_call", "It is false, and a message makes several calls; make one at a time.")


def _warn_of_unknown(line: dict[str, Any], known: set[str], finder: Finder) -> None:
    for name in sorted(line.keys() - known):
        finder.warn(name[:64], "unknown_field", "Nothing reads this field; leave it out.")


def _names(tools: list[dict[str, Any]] | None) -> set[str]:
    return {tool["function"]["name"] for tool in tools or ()}
