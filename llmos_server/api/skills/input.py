"""A skill's input, from a run's body or from a chat. Every field that has no effect is told, every wrong one named."""

from __future__ import annotations

from typing import Any

import msgspec

from llmos_server.api.bodies.body import WireBody, convert, decode_json, require_json
from llmos_server.api.bodies.unknown_fields import tell_unknown
from llmos_server.api.schemas.chat import ChatCompletionRequest, ChatMessage
from llmos_server.api.schemas.skills import SkillRunBody, SkillRunRequest
from llmos_server.errors import InvalidRequest
from llmos_server.plugins.loose import convert_loosely
from llmos_server.skills.skill import Skill

HONOURED = frozenset({"model", "messages", "stream", "stream_options", "metadata"})
"""Fields of a chat that a skill follows. Others have no effect, which is told; those that ask for another kind of
answer are refused."""
REFUSED = frozenset(
    {
        "n",
        "logprobs",
        "top_logprobs",
        "response_format",
        "structured_outputs",
        "continue_final_message",
        "tools",
        "adapter",
        "return_token_ids",
    }
)


class SkillBody(WireBody[SkillRunRequest]):
    table = {}

    def decode_bytes(self, value: bytes) -> SkillRunRequest:
        """Which fields there are depends on the skill, so they are checked by read_input."""
        require_json(self.asgi_connection.headers.get("content-type", ""))
        given = {name: field for name, field in decode_json(value).items() if field is not None}
        own: dict[str, Any] = {name: given.pop(name) for name in ("model", "stream") if name in given}
        wire = convert(own, SkillRunRequest)
        return SkillRunBody(model=wire.model, stream=wire.stream, input=given)


def read_input(connection: Any, skill: Skill[Any, Any], given: dict[str, Any]) -> Any:
    """An input_type. Raises InvalidRequest that names the field."""
    known = {field.encode_name for field in msgspec.structs.fields(skill.input_type)}
    if unknown := [name for name in given if name not in known]:
        tell_unknown(connection, unknown)
    return convert({name: value for name, value in given.items() if name in known}, skill.input_type)


def read_chat(connection: Any, skill: Skill[Any, Any], data: ChatCompletionRequest) -> tuple[Any, str | None]:
    """An input_type, and the model that metadata names: the last message is the text, metadata holds other fields.

    Raises InvalidRequest that names the message, or the field of metadata."""
    _check_fields(connection, data)
    metadata = {} if data.metadata is None else data.metadata
    if not isinstance(metadata, dict):
        raise InvalidRequest("metadata has to be an object.", param="metadata", code="invalid_value")
    fields = {name: value for name, value in metadata.items() if value is not None}
    model = fields.pop("model", None)
    if not isinstance(model, str | None):
        raise InvalidRequest("metadata.model has to be a string.", param="metadata.model", code="invalid_value")
    known = {field.encode_name for field in msgspec.structs.fields(skill.input_type)}
    if unknown := [f"metadata.{name}" for name in fields if name not in known]:
        tell_unknown(connection, unknown)
    given = {**skill.chat_defaults, **{name: value for name, value in fields.items() if name in known}}
    given[skill.text_field] = _last_text(data.messages)
    try:
        return convert_loosely(given, skill.input_type), model
    except msgspec.ValidationError:
        return _named(given, skill), model


def _named(given: dict[str, Any], skill: Skill[Any, Any]) -> Any:
    """The same again, for an error that names the field where the client wrote it."""
    try:
        return convert(given, skill.input_type)
    except InvalidRequest as error:
        is_text = (error.param or "").partition(".")[0] == skill.text_field
        where = "messages" if is_text else f"metadata.{error.param}" if error.param else "metadata"
        raise InvalidRequest(
            f"The skill {skill.name}: {error} A chat gives {skill.text_field} by its last message, other fields in "
            "metadata.",
            param=where,
            code=error.code,
        ) from None


def _check_fields(connection: Any, data: ChatCompletionRequest) -> None:
    sent = {name: value for name, value in msgspec.structs.asdict(data).items() if value is not None}
    for name in sorted(REFUSED & sent.keys()):
        value = sent[name]
        harmless = value is False or value == [] or (name == "n" and value == 1)
        harmless = harmless or getattr(value, "type", "") == "text"
        if not harmless:
            raise InvalidRequest(
                f"{name} can't be had of a skill: it answers once, in its own form. Leave {name} out.",
                param=name,
                code="unsupported_parameter",
            )
    without_effect = [name for name in sent if name not in HONOURED | REFUSED]
    if len(data.messages) > 1:
        without_effect.append(f"messages[0..{len(data.messages) - 2}]")
    if without_effect:
        tell_unknown(connection, without_effect)


def _last_text(messages: list[ChatMessage]) -> str:
    place = len(messages) - 1
    last = messages[place]
    if last.role != "user":
        raise InvalidRequest(
            f"messages[{place}] is the {last.role}'s; a skill takes its text from a user's message at the end.",
            param=f"messages[{place}].role",
            code="invalid_value",
        )
    if isinstance(last.content, str):
        return last.content
    return "\n".join(part.text or "" for part in last.content or [])
