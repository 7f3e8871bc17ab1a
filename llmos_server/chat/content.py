"""Messages as a template wants to see them: plain values, and content as a string or as a list of parts."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal

from jinja2 import nodes

from llmos_server.errors import InvalidRequest

ContentForm = Literal["string", "parts", "either"]

PART_SEPARATOR = "\n"
"""Between the text parts of one message where a template knows strings only: what other servers put there."""

REASONING_FIELDS = ("reasoning_content", "thinking", "reasoning")
"""Names that clients send a turn's reasoning under, the one that templates read first."""


def detect_content_form(tree: nodes.Template) -> ContentForm:
    """What the template expects in message.content, read from its syntax tree.

    A loop over the content means parts; a test of its type beside the loop means that both will do.
    """
    names = {"content"}
    for assign in tree.find_all(nodes.Assign):
        if isinstance(assign.target, nodes.Name) and _is_content(assign.node, names):
            names.add(assign.target.name)
    if not any(_is_content(loop.iter, names) for loop in tree.find_all(nodes.For)):
        return "string"
    kinds = ("string", "iterable", "mapping", "sequence")
    asks = any(test.name in kinds and _is_content(test.node, names) for test in tree.find_all(nodes.Test))
    return "either" if asks else "parts"


def _is_content(node: nodes.Node, names: set[str]) -> bool:
    """message.content, message['content'], a name that holds it, or one of these through filters."""
    while isinstance(node, nodes.Filter) and node.node is not None:
        node = node.node
    if isinstance(node, nodes.Getattr):
        return node.attr == "content"
    if isinstance(node, nodes.Getitem):
        return isinstance(node.arg, nodes.Const) and node.arg.value == "content"
    return isinstance(node, nodes.Name) and node.name in names


def shape_messages(messages: Sequence[Mapping[str, Any]], form: ContentForm) -> list[dict[str, Any]]:
    """Fresh messages; null fields are left out, as Transformers does, because many templates would print "None"."""
    if not messages:
        raise InvalidRequest("messages is empty; send at least one message.", param="messages")
    return [_shape_message(message, form, f"messages[{i}]") for i, message in enumerate(messages)]


def _shape_message(message: Mapping[str, Any], form: ContentForm, where: str) -> dict[str, Any]:
    shaped = {key: value for key, value in message.items() if value is not None}
    content = shaped.get("content")
    if form == "parts" and isinstance(content, str):
        shaped["content"] = [{"type": "text", "text": content}]
    elif form == "string" and isinstance(content, (list, tuple)):
        texts = (_part_text(part, f"{where}.content[{i}]") for i, part in enumerate(content))
        shaped["content"] = PART_SEPARATOR.join(texts)
    reasoning = next((shaped[name] for name in REASONING_FIELDS if name in shaped), None)
    if reasoning is not None:
        shaped = {"thinking": reasoning, **shaped, "reasoning_content": reasoning}
    return shaped


def _part_text(part: Any, where: str) -> str:
    if isinstance(part, str):
        return part
    if isinstance(part, Mapping) and isinstance(part.get("text"), str):
        return str(part["text"])
    raise InvalidRequest(f"{where} is not a text part; this model's template takes text only.", param=where)


def map_strings(
    value: Any, change: Callable[[str, str], str], where: str, *, change_key: Callable[[str], str] = str
) -> Any:
    """A copy of a JSON value with every string passed through `change(text, where)`, and keys through change_key.

    Only plain JSON types pass, so that a template never meets an object with methods of its own.
    """
    if isinstance(value, str):
        return change(str(value), where)
    if value is None or isinstance(value, (bool, int, float)):
        return value
    if isinstance(value, Mapping):
        return {
            change_key(str(key)): map_strings(item, change, f"{where}.{key}", change_key=change_key)
            for key, item in value.items()
        }
    if isinstance(value, (list, tuple)):
        return [map_strings(item, change, f"{where}[{i}]", change_key=change_key) for i, item in enumerate(value)]
    raise TypeError(f"{where}: {type(value).__name__} is not a JSON value")


def require_encodable(text: str, where: str) -> str:
    """Lone surrogates (half of an emoji, cut by a client) are no Unicode text and have no tokens."""
    try:
        text.encode("utf-8")
    except UnicodeEncodeError as error:
        raise InvalidRequest(
            f"{where} holds half of a surrogate pair at character {error.start}; send whole Unicode characters.",
            param=where,
        ) from None
    return text
