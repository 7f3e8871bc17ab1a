"""The verbs about promotions, on a running server: promote, rollback, demote, promotions."""

from __future__ import annotations

from typing import Annotated, Any
from urllib.parse import quote

from cyclopts import Parameter

from llmos_server.commands.shared import Switch, UrlFlag, format_time, print_json, print_table
from llmos_server.commands.where import on_server

PROMOTIONS = "/admin/v1/promotions"
HEADS = ("ALIAS", "NUMBER", "ACTION", "MODEL", "DIGEST", "BACK TO", "AT")

Alias = Annotated[str, Parameter(help="The name that applications ask for.")]


def promote(
    name: Annotated[str, Parameter(help="A model, an adapter (BASE:SUFFIX), or another alias.")],
    alias: Alias,
    /,
    *,
    owner: Annotated[
        str | None, Parameter(help="The id of the key that made the adapter, where several have one of that name.")
    ] = None,
    url: UrlFlag = None,
) -> None:
    """Have a version answer to an alias from now on, for everybody. Requests that run end on what they began with.

    Example: llmos promote smollm2:135m:tidy-4f2a orders
    """
    body = {"model": name, "alias": alias, **({} if owner is None else {"owner": owner})}
    _tell(_ask(url, "POST", PROMOTIONS, body))


def rollback(alias: Alias, /, *, url: UrlFlag = None) -> None:
    """Have what answered to an alias before the last promotion answer again.

    Example: llmos rollback orders
    """
    _tell(_ask(url, "POST", f"{PROMOTIONS}/rollback", {"alias": alias}))


def demote(alias: Alias, /, *, url: UrlFlag = None) -> None:
    """Take an alias away, with its history. What it led to stays.

    Example: llmos demote orders
    """
    _ask(url, "DELETE", f"{PROMOTIONS}/{quote(alias, safe='')}")
    print(f"{alias}: nothing answers to it any more")


def promotions(
    alias: Annotated[str | None, Parameter(help="Tell its history; without it, what answers to each alias.")] = None,
    /,
    *,
    json: Annotated[bool, Switch, Parameter(help="Print JSON.")] = False,
    url: UrlFlag = None,
) -> None:
    """Show which version answers to each alias, or what answered to one, the newest first.

    Example: llmos promotions orders
    """
    path = PROMOTIONS if alias is None else f"{PROMOTIONS}/{quote(alias, safe='')}"
    found = _ask(url, "GET", path)["data"]
    if json:
        print_json(found)
        return
    print_table([HEADS, *map(_row, found)])


def _row(one: dict[str, Any]) -> tuple[str, ...]:
    back = "" if one["previous"] is None else str(one["previous"])
    digest = one["digest"].removeprefix("sha256:")[:12]
    at = format_time(one["created"])
    return one["alias"], str(one["number"]), one["action"], one["model"], digest, back, at


def _tell(made: dict[str, Any]) -> None:
    print(f"{made['alias']}: {made['model']} ({made['digest'][:19]}) answers now")


def _ask(url: str | None, method: str, path: str, body: Any = None) -> Any:
    from llmos_server.http_client import base_url

    return on_server(base_url(url).removesuffix("/v1"), method, path, body)
