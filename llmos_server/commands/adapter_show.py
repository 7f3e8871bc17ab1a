"""What `llmos show` tells of an adapter, from a server or from this machine's own files."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any
from urllib.parse import quote

from llmos_server.commands.shared import format_time, read_settings
from llmos_server.commands.where import on_server

ADAPTERS = "/admin/v1/adapters"


def find_adapter(server: str | None, name: str, owner: str | None, config: Path | None) -> dict[str, Any] | None:
    """As GET /admin/v1/adapters/{name} tells it; None where there is none."""
    if server is None:
        return _find_here(name, owner, config)
    if all(one["name"] != name for one in on_server(server, "GET", ADAPTERS)["data"]):
        return None
    params = None if owner is None else {"owner": owner}
    found: dict[str, Any] = on_server(server, "GET", f"{ADAPTERS}/{quote(name, safe='')}", params=params)
    return found


def in_lines(details: dict[str, Any]) -> dict[str, Any]:
    """By what each line is called."""
    from llmos_server.registry.progress import format_bytes

    adapter, content, training = details["adapter"], details["content"], details["training"]
    everybody = adapter["is_shared"] or not adapter["owner"]
    lines = {
        "name": adapter["name"],
        "base": adapter["base"],
        "digest": adapter["digest"],
        "owner": (adapter["owner"] or "everybody") + (" (shared)" if everybody and adapter["owner"] else ""),
        "created": format_time(adapter["created"]),
        "aliases": ", ".join(details["aliases"]) or "none",
        "loaded": format_bytes(adapter["loaded_bytes"]) if adapter["is_loaded"] else "no",
        "rank": adapter["rank"],
        "scale": ", ".join(f"{scale:g}" for scale in content["scales"]),
        "targets": f"{', '.join(content['targets'])} ({content['num_modules']} modules)",
        "folder": content["folder"],
        "files": ", ".join(f"{name} {format_bytes(size)}" for name, size in content["files"].items()) or "gone",
    }
    if training is None:
        return {**lines, "job": adapter["job_id"] or "none: it was added"}
    figures = ", ".join(f"{name} {value:.4g}" for name, value in training["metrics"].items())
    return {
        **lines,
        "job": training["job_id"],
        "method": training["method"],
        "trained": f"{training['num_examples']} examples, {training['total_steps']} steps, "
        f"{training['trained_tokens']} tokens",
        "figures": figures or "none",
        "verified": training["verified"] or "as a checkpoint",
        **({"gate": training["gate"]} if training["gate"] else {}),
    }


def _find_here(name: str, owner: str | None, config: Path | None) -> dict[str, Any] | None:
    import msgspec

    from llmos_server.api.adapters.details import read_details
    from llmos_server.api.adapters.finding import describe_version, find_version
    from llmos_server.store.database import DATABASE
    from llmos_server.store.store import open_store

    settings = read_settings(config)
    if not settings.database.url and not (settings.home / DATABASE).is_file():
        return None

    async def read() -> Any:
        async with open_store(settings) as store:
            if not await store.adapters.of_name(name):
                return None
            adapter = await find_version(store.adapters, name, owner)
            return msgspec.to_builtins(await read_details(store, adapter, describe_version(adapter, None)))

    found: dict[str, Any] | None = asyncio.run(read())
    return found
