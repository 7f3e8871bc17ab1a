"""The verb prune: remove stored responses, conversations, feedback, files, jobs and evals."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from cyclopts import Parameter

from llmos_server.commands.shared import ConfigFlag, Switch, print_json, print_table, read_settings
from llmos_server.commands.where import NamedUrl, on_server, say_where


def prune(
    *,
    kind: Annotated[
        list[Literal["responses", "conversations", "feedback", "files", "jobs", "evals", "adapters"]] | None,
        Parameter(help="Only these; again for more.", negative=""),
    ] = None,
    older_than: Annotated[
        str | None,
        Parameter(help="30m, 24h, 7d, 4w, or a day such as 2026-11-24; else as the settings keep them."),
    ] = None,
    key: Annotated[
        str | None,
        Parameter(help="Only of the key with this id or name; all of them without --older-than."),
    ] = None,
    dry_run: Annotated[bool, Switch, Parameter(help="Only say what would go.")] = False,
    json: Annotated[bool, Switch, Parameter(help="Print JSON.")] = False,
    url: NamedUrl = None,
    config: ConfigFlag = None,
) -> None:
    """Remove stored responses, conversations, feedback, files, ended jobs and evals that are too old.

    Example: llmos prune --older-than 7d --dry-run
    """
    from llmos_server.access.keys import id_of

    key = None if key is None else id_of(key)
    wanted = {"kinds": kind, "older_than": older_than, "key": key, "dry_run": dry_run}
    show(remove({name: value for name, value in wanted.items() if value is not None}, url, config), as_json=json)


def remove(wanted: dict[str, Any], url: str | None, config: Any) -> dict[str, Any]:
    """As /admin/v1/prune takes and answers it, there or on the database here."""
    server = say_where(url, config)
    done: dict[str, Any] = on_server(server, "POST", "/admin/v1/prune", wanted) if server else _here(wanted, config)
    return done


def show(done: dict[str, Any], *, as_json: bool) -> None:
    if as_json:
        print_json(done)
        return
    rows = [("KIND", "WOULD GO" if done["dry_run"] else "REMOVED", "BYTES")]
    print_table([*rows, *((one["kind"], str(one["num_objects"]), str(one["num_bytes"])) for one in done["data"])])


def _here(wanted: dict[str, Any], config: Any) -> dict[str, Any]:
    import asyncio
    import time

    import msgspec

    from llmos_server.store.pruning import Wanted, prune
    from llmos_server.store.store import open_store

    async def run() -> Any:
        async with open_store(read_settings(config)) as store:
            return await prune(store, msgspec.convert(wanted, Wanted), time.time())

    done: dict[str, Any] = msgspec.to_builtins(asyncio.run(run()))
    return done
