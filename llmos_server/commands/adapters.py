"""The verbs about adapters: add, list, remove. On this machine's LLMOS_HOME; servers that run notice at once."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Annotated, Any

from cyclopts import App, Parameter

from llmos_server.commands.shared import ConfigFlag, Switch, print_json, print_table, read_settings

adapters = App(
    name="adapters",
    help="Serve LoRA adapters beside their base, each under a name of its own.\n\nExample: llmos adapters list",
    help_format="plaintext",
)

HEADS = ("NAME", "RANK", "SIZE", "OWNER", "DIGEST")
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
def list_adapters(*, json: JsonFlag = False, config: ConfigFlag = None) -> None:
    """List all adapters, whoever made them.

    Example: llmos adapters list
    """
    import msgspec

    from llmos_server.registry.progress import format_bytes
    from llmos_server.store.owners import EVERYBODY
    from llmos_server.store.store import open_store

    settings = read_settings(config)

    async def read() -> list[Any]:
        async with open_store(settings) as store:
            return list(await store.adapters.list(EVERYBODY))

    found = asyncio.run(read())
    if json:
        print_json(msgspec.to_builtins(found))
        return
    owners = ["everybody" if one.is_shared else one.owner or "everybody" for one in found]
    rows = [
        (one.name, str(one.rank), format_bytes(one.num_bytes), owner, one.digest[7:19])
        for one, owner in zip(found, owners, strict=True)
    ]
    print_table([HEADS, *rows])


@adapters.command
def rm(
    name: Annotated[str, Parameter(help="As `llmos adapters list` shows it.")],
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

    asyncio.run(remove())
    print(f"{name} was removed.")
