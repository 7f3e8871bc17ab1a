"""The verbs about adapters: add, list, remove, on this machine's LLMOS_HOME, which servers that run notice at once; and
of a running server load and unload."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Annotated, Any

from cyclopts import App, Parameter

from llmos_server.commands.shared import (
    ConfigFlag,
    Switch,
    UrlFlag,
    format_time,
    print_json,
    print_table,
    read_settings,
)
from llmos_server.commands.where import ServerUrl, find_server, on_server

adapters = App(
    name="adapters",
    help="Serve LoRA adapters beside their base, each under a name of its own.\n\nExample: llmos adapters list",
    help_format="plaintext",
)

HEADS = ("NAME", "RANK", "SIZE", "OWNER", "DIGEST", "LOADED", "LAST USED")
NameArgument = Annotated[str, Parameter(help="As `llmos adapters list` shows it.")]
OwnerFlag = Annotated[
    str | None, Parameter(help="The id of the key that made it; not needed where only one adapter has the name.")
]
JsonFlag = Annotated[bool, Switch, Parameter(help="Print JSON.")]


@adapters.command
def add(
    base: Annotated[str, Parameter(help="The model that it was trained on, as `llmos list` names it.")],
    folder: Annotated[Path, Parameter(help="What PEFT has saved: adapter_config.json, adapter_model.safetensors.")],
    /,
    *,
    name: Annotated[str, Parameter(help="What follows the base's name, behind a colon.")],
    config: ConfigFlag = None,
) -> None:
    """Copy an adapter into LLMOS_HOME, and serve it to everybody who may use its base.

    Example: llmos adapters add smollm2:135m ./tidy-json --name tidy
    """
    from llmos_server.errors import InvalidRequest
    from llmos_server.registry.adapter_folders import adapter_name, import_adapter
    from llmos_server.registry.registry import create_registry
    from llmos_server.store.store import open_store

    settings = read_settings(config)
    registry = create_registry(settings)
    version = registry.get(base)
    if any(model.name == adapter_name(version.name, name) for model in registry.list()):
        raise InvalidRequest(f"{version.name}:{name} is a model that was pulled. Choose another name.")
    adapter = import_adapter(settings.home, folder, version, name)

    async def register() -> None:
        async with open_store(settings) as store:
            await store.adapters.register(adapter)

    asyncio.run(register())
    print(f"{adapter.name} is served now ({adapter.digest[:19]}, rank {adapter.rank}).")


@adapters.command(name="list")
def list_adapters(*, json: JsonFlag = False, url: ServerUrl = None, config: ConfigFlag = None) -> None:
    """List all adapters, whoever made them; a server tells, too, which of them are loaded.

    Example: llmos adapters list
    """
    from llmos_server.registry.progress import format_bytes

    server = find_server(url, config)
    found = on_server(server, "GET", "/admin/v1/adapters")["data"] if server else _read_here(config)
    if json:
        print_json(found)
        return
    rows = []
    for one in found:
        owner = "everybody" if one["is_shared"] else one["owner"] or "everybody"
        loaded = format_bytes(one["loaded_bytes"]) if one.get("is_loaded") else ""
        last_used = format_time(int(one["last_used"])) if one.get("last_used") else ""
        size = format_bytes(one["num_bytes"])
        rows.append((one["name"], str(one["rank"]), size, owner, one["digest"][7:19], loaded, last_used))
    print_table([HEADS, *rows])


@adapters.command
def rm(
    name: NameArgument,
    /,
    *,
    owner: Annotated[str, Parameter(help="The id of the key that made it; without it, one that was added here.")] = "",
    config: ConfigFlag = None,
) -> None:
    """Forget an adapter, and delete its files when no other name leads to them. Requests that run on it end on it.

    Example: llmos adapters rm smollm2:135m:tidy
    """
    from llmos_server.errors import ModelNotFound
    from llmos_server.registry.adapter_folders import remove_adapter
    from llmos_server.store.store import open_store

    settings = read_settings(config)

    async def remove() -> None:
        async with open_store(settings) as store:
            gone = await store.adapters.delete(owner, name)
            if gone is None:
                raise ModelNotFound(f"There is no adapter {name!r} of that owner. `llmos adapters list` shows all.")
            if gone.digest not in await store.adapters.digests():
                remove_adapter(settings.home, gone.digest)
            for promoted in await store.promotions.list():
                if promoted.digest == gone.digest:
                    print(f"{promoted.alias} still leads to it. `llmos demote {promoted.alias}` ends that.")

    asyncio.run(remove())
    print(f"{name} was removed.")


@adapters.command
def load(name: NameArgument, /, *, owner: OwnerFlag = None, url: UrlFlag = None) -> None:
    """Have a running server load an adapter, and its base, before somebody asks for it.

    Example: llmos adapters load smollm2:135m:tidy
    """
    from llmos_server.registry.progress import format_bytes

    loaded = _act(url, "load", name, owner)
    print(f"{loaded['name']}: loaded ({format_bytes(loaded['loaded_bytes'])})")


@adapters.command
def unload(name: NameArgument, /, *, owner: OwnerFlag = None, url: UrlFlag = None) -> None:
    """Have a running server free an adapter's memory as soon as nobody uses it. The next request loads it again.

    Example: llmos adapters unload smollm2:135m:tidy
    """
    print(f"{_act(url, 'unload', name, owner)['name']}: unloaded")


def _act(url: str | None, verb: str, name: str, owner: str | None) -> Any:
    from llmos_server.http_client import base_url

    body = {"name": name} if owner is None else {"name": name, "owner": owner}
    return on_server(base_url(url).removesuffix("/v1"), "POST", f"/admin/v1/adapters/{verb}", body)


def _read_here(config: Path | None) -> Any:
    import msgspec

    from llmos_server.store.owners import EVERYBODY
    from llmos_server.store.store import open_store

    settings = read_settings(config)

    async def read() -> Any:
        async with open_store(settings) as store:
            return msgspec.to_builtins(list(await store.adapters.list(EVERYBODY)))

    return asyncio.run(read())
