"""Requests about tuning runs and what comes of them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from llmos_tui.client import Client
from llmos_tui.wire.common import Anything
from llmos_tui.wire.tuning import AdapterList, Promotion, TuningRun, TuningRunList, UploadedFile

RUNS = "/v1/fine_tuning/jobs"
ADAPTERS = "/admin/v1/adapters"
MOST = 100
"""Runs that are asked for."""


async def list_runs(client: Client) -> TuningRunList:
    """Those of the key that this program uses, the newest first."""
    return await client.get(RUNS, TuningRunList, {"limit": MOST})


async def create_run(client: Client, order: dict[str, Any]) -> TuningRun:
    return await client.send("POST", RUNS, TuningRun, body=order)


async def upload_training_file(client: Client, path: Path) -> UploadedFile:
    """Of this machine. Raises OSError, too."""
    return await client.upload("/v1/files", UploadedFile, path, {"purpose": "fine-tune"})


async def list_adapters(client: Client) -> AdapterList:
    """Everybody's."""
    return await client.get(ADAPTERS, AdapterList)


async def put_alias(client: Client, alias: str, model: str, owner: str | None) -> Promotion:
    """Has that model answer to the alias from now on. owner: of an adapter."""
    body = {"alias": alias, "model": model, **({} if owner is None else {"owner": owner})}
    return await client.send("POST", "/admin/v1/promotions", Promotion, body=body)


async def share_adapter(client: Client, name: str, owner: str, *, is_shared: bool) -> Anything:
    """Promotes it: everybody may use it from now on, or its owner alone again."""
    verb = "share" if is_shared else "unshare"
    return await client.send("POST", f"{ADAPTERS}/{verb}", Anything, body={"name": name, "owner": owner})
