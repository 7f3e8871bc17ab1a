"""The verbs about keys: create, list, change, revoke, erase. On this machine's database, or over HTTP on a server."""

from __future__ import annotations

from typing import Annotated, Any, Literal
from urllib.parse import quote

from cyclopts import App, Parameter

from llmos_server.commands.shared import ConfigFlag, Switch, print_json, print_table, read_settings
from llmos_server.commands.where import NamedUrl, on_server, say_where

keys = App(
    name="keys",
    help="Make, list and revoke the keys that clients send. The first one closes the server to everybody without a key."
    "\n\nExample: llmos keys create laptop",
    help_format="plaintext",
)

HEADS = ("ID", "NAME", "SCOPE", "MODELS", "LIMITS", "LAST USED", "STATE")
Limit = Literal["models", "skills", "tools", "max-in-flight", "tokens-per-minute"]

JsonFlag = Annotated[bool, Switch, Parameter(help="Print JSON.")]


@keys.command
def create(
    name: Annotated[str, Parameter(help="Whose key it is, or what for.")],
    /,
    *,
    admin: Annotated[bool, Switch, Parameter(help="It may use /admin.")] = False,
    model: Annotated[
        list[str] | None,
        Parameter(help="A model that it may use; again for more. All without it.", negative=""),
    ] = None,
    skill: Annotated[
        list[str] | None,
        Parameter(help="A skill that it may run; again for more. All without it.", negative=""),
    ] = None,
    tool: Annotated[
        list[str] | None,
        Parameter(help="A tool of the server that it may have run; again for more. All without it.", negative=""),
    ] = None,
    max_in_flight: Annotated[int | None, Parameter(help="Most requests at once.")] = None,
    tokens_per_minute: Annotated[int | None, Parameter(help="Most tokens, of prompts and answers, a minute.")] = None,
    json: JsonFlag = False,
    url: NamedUrl = None,
    config: ConfigFlag = None,
) -> None:
    """Make a key, and show it: this once, for only a hash of it is kept.

    Example: llmos keys create laptop --tokens-per-minute 20000
    """
    wanted = {
        "name": name,
        "is_admin": admin,
        "models": model or None,
        "skills": skill or None,
        "tools": tool or None,
        "max_in_flight": max_in_flight,
        "tokens_per_minute": tokens_per_minute,
    }
    server = say_where(url, config)
    made = on_server(server, "POST", "/admin/v1/keys", wanted) if server else _create_here(wanted, config)
    if json:
        print_json(made)
    else:
        print(f"{made['key']}\n\nKey {made['id']} ({made['name']}). It isn't shown again.")


@keys.command(name="list")
def list_keys(*, json: JsonFlag = False, url: NamedUrl = None, config: ConfigFlag = None) -> None:
    """List all keys, revoked ones, too.

    Example: llmos keys list
    """
    server = say_where(url, config)
    found = on_server(server, "GET", "/admin/v1/keys")["data"] if server else _list_here(config)
    if json:
        print_json(found)
        return
    if not found:
        print("There is no key, so a server on this machine asks nobody. Make one with: llmos keys create NAME")
        return
    print_table([HEADS, *map(_row, found)])


@keys.command
def change(
    key: Annotated[str, Parameter(help="Its id or name, or the key itself.")],
    /,
    *,
    name: Annotated[str | None, Parameter(help="Another name.")] = None,
    model: Annotated[list[str] | None, Parameter(help="A model that it may use; again for more.", negative="")] = None,
    skill: Annotated[list[str] | None, Parameter(help="A skill that it may run; again for more.", negative="")] = None,
    tool: Annotated[
        list[str] | None, Parameter(help="A tool of the server that it may have run; again for more.", negative="")
    ] = None,
    max_in_flight: Annotated[int | None, Parameter(help="Most requests at once.")] = None,
    tokens_per_minute: Annotated[int | None, Parameter(help="Most tokens, of prompts and answers, a minute.")] = None,
    unlimited: Annotated[
        list[Limit] | None, Parameter(help="A limit to take away; again for more.", negative="")
    ] = None,
    url: NamedUrl = None,
    config: ConfigFlag = None,
) -> None:
    """Change a key's name or limits. They hold from its next request on.

    Example: llmos keys change laptop --tokens-per-minute 50000 --unlimited max-in-flight
    """
    from llmos_server.access.keys import id_of
    from llmos_server.errors import InvalidRequest

    given = {
        "name": name,
        "models": model or None,
        "skills": skill or None,
        "tools": tool or None,
        "max_in_flight": max_in_flight,
        "tokens_per_minute": tokens_per_minute,
    }
    changes: dict[str, Any] = {field: value for field, value in given.items() if value is not None}
    for limit in unlimited or ():
        if (field := limit.replace("-", "_")) in changes:
            raise InvalidRequest(f"--unlimited {limit} takes away what another flag sets.")
        changes[field] = None
    if not changes:
        raise InvalidRequest("Say what to change: `llmos keys change --help` lists the flags.")
    key = id_of(key)
    server = say_where(url, config)
    path = f"/admin/v1/keys/{quote(key, safe='')}"
    changed = on_server(server, "PATCH", path, changes) if server else _change_here(key, changes, config)
    print_table([HEADS, _row(changed)])


@keys.command
def revoke(
    key: Annotated[str, Parameter(help="Its id or name, or the key itself.")],
    /,
    *,
    url: NamedUrl = None,
    config: ConfigFlag = None,
) -> None:
    """Revoke a key. The next request with it is refused.

    Example: llmos keys revoke laptop
    """
    from llmos_server.access.keys import id_of

    key = id_of(key)
    server = say_where(url, config)
    path = f"/admin/v1/keys/{quote(key, safe='')}"
    revoked = on_server(server, "DELETE", path) if server else _revoke_here(key, config)
    print(f"Key {revoked['id']} ({revoked['name']}): revoked")


@keys.command
def erase(
    key: Annotated[str, Parameter(help="Its id or name, or the key itself; revoked ones, too.")],
    /,
    *,
    dry_run: Annotated[bool, Switch, Parameter(help="Only say what would go.")] = False,
    json: JsonFlag = False,
    url: NamedUrl = None,
    config: ConfigFlag = None,
) -> None:
    """Remove all that a key has stored: responses, feedback, files, jobs, adapters ... The key and its usage stay.

    Example: llmos keys erase laptop
    """
    from llmos_server.access.keys import id_of
    from llmos_server.commands.prune import remove, show

    show(remove({"key": id_of(key), "dry_run": dry_run}, url, config), as_json=json)


def _row(key: dict[str, Any]) -> tuple[str, ...]:
    from llmos_server.commands.shared import format_time

    limits = [f"{name}: {','.join(key[name])}" for name in ("skills", "tools") if key[name] is not None]
    if key["max_in_flight"] is not None:
        limits.append(f"{key['max_in_flight']} at once")
    if key["tokens_per_minute"] is not None:
        limits.append(f"{key['tokens_per_minute']} tokens/min")
    return (
        key["id"],
        key["name"],
        "admin" if key["is_admin"] else "user",
        ",".join(key["models"]) if key["models"] is not None else "all",
        ", ".join(limits) or "none",
        format_time(key["last_used"]),
        "valid" if key["revoked"] is None else f"revoked {format_time(key['revoked'])}",
    )


def _create_here(wanted: dict[str, Any], config: Any) -> dict[str, Any]:
    import asyncio
    import time

    from llmos_server.access.keys import make_key
    from llmos_server.store.store import open_store

    stored, text = make_key(now=int(time.time()), **wanted)

    async def add() -> None:
        async with open_store(read_settings(config)) as store:
            await store.keys.add(stored)

    asyncio.run(add())
    return {**_described(stored), "key": text}


def _list_here(config: Any) -> list[dict[str, Any]]:
    import asyncio

    from llmos_server.store.store import open_store

    async def read() -> list[dict[str, Any]]:
        async with open_store(read_settings(config)) as store:
            return [_described(key) for key in await store.keys.list()]

    return asyncio.run(read())


def _change_here(key: str, changes: dict[str, Any], config: Any) -> dict[str, Any]:
    import asyncio

    from llmos_server.access.keys import change_key
    from llmos_server.errors import InvalidRequest
    from llmos_server.store.store import open_store

    fields = {name: tuple(value) if isinstance(value, list) else value for name, value in changes.items()}

    async def run() -> dict[str, Any]:
        async with open_store(read_settings(config)) as store:
            found = await store.keys.find_living(key)
            changed = found and await store.keys.change(found.id, lambda stored: change_key(stored, fields))
        if not changed:
            raise InvalidRequest(f"No living key has the id or name {key!r}. `llmos keys list` shows them.")
        return _described(changed)

    return asyncio.run(run())


def _revoke_here(key: str, config: Any) -> dict[str, Any]:
    import asyncio
    import time

    from llmos_server.errors import InvalidRequest
    from llmos_server.store.store import open_store

    async def run() -> dict[str, Any]:
        async with open_store(read_settings(config)) as store:
            revoked = await store.keys.revoke(key, int(time.time()))
        if revoked is None:
            raise InvalidRequest(f"No living key has the id or name {key!r}. `llmos keys list` shows them.")
        return _described(revoked)

    return asyncio.run(run())


def _described(key: Any) -> dict[str, Any]:
    """As /admin/v1/keys shows it: without the hash."""
    import msgspec

    fields: dict[str, Any] = msgspec.to_builtins(key)
    del fields["secret_hash"]
    return fields
