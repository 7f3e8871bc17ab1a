"""JSON bodies into wire structs, under the one rule for fields."""

from __future__ import annotations

import re
from collections.abc import Generator
from typing import Any, ClassVar, TypeVar

import msgspec
from litestar.dto import AbstractDTO
from litestar.typing import FieldDefinition

from llmos_server.api.bodies.broken_json import explain
from llmos_server.api.bodies.field_rules import Table, check_fields
from llmos_server.api.bodies.json_outline import Outline
from llmos_server.api.bodies.json_shape import check_shape
from llmos_server.api.bodies.unknown_fields import tell_unknown
from llmos_server.api.errors import UnsupportedMediaType
from llmos_server.errors import InvalidRequest

T = TypeVar("T")

_PLACE = re.compile(r" - at (?:`key` in )?`\$\.?(.*)`$")
_MISSING = re.compile(r"Object missing required field `(.+?)`")


def decode_json(raw: bytes) -> dict[str, Any]:
    """Raises InvalidRequest for anything that is not a JSON object."""
    outline = Outline(raw)
    outline.check()
    try:
        body = msgspec.json.decode(raw)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        param, message = explain(raw, error)
        raise InvalidRequest(message, param=param, code="invalid_json") from None
    except RecursionError:
        raise InvalidRequest("The body is nested too deeply.", code="invalid_json") from None
    if not isinstance(body, dict):
        raise InvalidRequest("The body must be a JSON object.", code="invalid_json")
    check_shape(raw, body, outline)
    return body


def convert(fields: dict[str, Any], struct: type[T]) -> T:
    """Check types and ranges. Raises InvalidRequest that names the field."""
    try:
        return msgspec.convert(fields, struct)
    except msgspec.ValidationError as error:
        text = str(error)
        place = _PLACE.search(text)
        param = place[1] if place else None
        if missing := _MISSING.search(text):
            param = f"{param}.{missing[1]}" if param else missing[1]
            raise InvalidRequest(f"{param} is missing.", param=param, code="missing_required_parameter") from None
        what = _PLACE.sub("", text)
        raise InvalidRequest(
            f"{param or 'body'}: {what[:1].lower()}{what[1:]}.", param=param, code="invalid_value"
        ) from None
    except RecursionError:
        raise InvalidRequest("The body is nested too deeply.", code="invalid_json") from None


class WireBody(AbstractDTO[T]):
    """A handler's `data`: decoded, checked against `table`, unknown fields told. Subclasses name struct and table."""

    table: ClassVar[Table]
    keeps_null: ClassVar[bool] = False
    """null is a value: of a body that says what to change."""

    def decode_bytes(self, value: bytes) -> T:
        self.check_type()
        body = decode_json(value)
        checked = check_fields(body, self.table)
        if self.keeps_null:
            checked.fields |= {name: None for name, given in body.items() if given is None and name in self.table}
        if checked.unknown:
            tell_unknown(self.asgi_connection, checked.unknown)
        return self.to_struct(checked.fields)

    def check_type(self) -> None:
        """Raises UnsupportedMediaType for a body that isn't declared as JSON."""
        require_json(self.asgi_connection.headers.get("content-type", ""))

    def to_struct(self, fields: dict[str, Any]) -> T:
        """fields: honoured ones only. Raises InvalidRequest."""
        struct: T = convert(fields, self.model_type)
        return struct

    @classmethod
    def create_for_field_definition(cls, *_: Any, **__: Any) -> None:
        """No transfer model: the wire struct is what the handler gets."""

    @classmethod
    def create_openapi_schema(cls, field_definition: FieldDefinition, handler_id: str, schema_creator: Any) -> Any:
        return schema_creator.for_field_definition(field_definition)

    @classmethod
    def generate_field_definitions(cls, model_type: type[Any]) -> Generator[Any, None, None]:
        yield from ()

    @classmethod
    def detect_nested_field(cls, field_definition: FieldDefinition) -> bool:
        return False


def require_json(content_type: str) -> None:
    """Refused without one, too: a web page may post forms, plain text and untyped bytes anywhere without asking."""
    kind, *parameters = (part.strip().lower() for part in content_type.split(";"))
    if kind != "application/json" and not (kind.startswith("application/") and kind.endswith("+json")):
        found = f"is {kind[:100]!r}" if kind else "is missing"
        raise UnsupportedMediaType(
            f"The body's content type {found}; send JSON with the header Content-Type: application/json "
            "(curl: -H 'Content-Type: application/json', or --json instead of -d).",
            code="unsupported_media_type",
        )
    charsets = [part for part in parameters if part.startswith("charset=")]
    if any(part.partition("=")[2].strip('"') not in ("utf-8", "utf8", "us-ascii") for part in charsets):
        raise UnsupportedMediaType(f"JSON is UTF-8 here; {charsets[0][:50]} isn't.", code="unsupported_media_type")
