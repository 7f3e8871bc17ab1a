"""The part of a URL behind the question mark: read under the rule for fields."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import Literal

from llmos_server.api.bodies.unknown_fields import tell_unknown
from llmos_server.api.generation.starting import AnyRequest
from llmos_server.errors import InvalidRequest

MAX_PAGE = 100
DEFAULT_PAGE = 20

PAGE = ("after", "limit", "order")


@dataclass(frozen=True)
class Page:
    after: str | None
    limit: int
    order: Literal["asc", "desc"]


def check_names(request: AnyRequest, known: Collection[str]) -> None:
    """Unknown parameters are told. known: lists may have their name with [] behind it, too."""
    found = dict.fromkeys(name.removesuffix("[]") for name in request.query_params)
    if unknown := [name for name in found if name not in known]:
        tell_unknown(request, unknown)


def read_page(
    request: AnyRequest, default: int = DEFAULT_PAGE, most: int = MAX_PAGE, order: Literal["asc", "desc"] = "desc"
) -> Page:
    """after, limit and order. default, most: of limit. order: without one. Raises InvalidRequest."""
    query = request.query_params
    limit = default if (text := query.get("limit")) is None else _read_limit(text, most)
    return Page(query.get("after"), limit, _read_order(query.get("order", order)))


def read_list(request: AnyRequest, name: str) -> list[str]:
    """As name=a&name=b, or name[]=a&name[]=b."""
    return [*request.query_params.getall(name, []), *request.query_params.getall(f"{name}[]", [])]


def read_bool(request: AnyRequest, name: str) -> bool:
    """False when it is absent. Raises InvalidRequest."""
    text = request.query_params.get(name, "false").lower()
    if text not in ("true", "false", "1", "0"):
        raise InvalidRequest(f"{name} is true or false.", param=name)
    return text in ("true", "1")


def read_int(request: AnyRequest, name: str) -> int | None:
    """None when it is absent. Raises InvalidRequest unless it is a number from 0 on."""
    text = request.query_params.get(name)
    if text is None:
        return None
    if not (text.isascii() and text.isdigit() and len(text) <= 15):
        raise InvalidRequest(f"{name} is a whole number, at least 0.", param=name)
    return int(text)


def _read_order(text: str) -> Literal["asc", "desc"]:
    if text == "asc":
        return "asc"
    if text == "desc":
        return "desc"
    raise InvalidRequest("order is asc or desc.", param="order")


def _read_limit(text: str, most: int) -> int:
    if not (text.isascii() and text.isdigit() and len(text) <= 9 and 1 <= int(text) <= most):
        raise InvalidRequest(f"limit is a whole number from 1 to {most}.", param="limit")
    return int(text)
