"""The verb usage: what keys have used."""

from __future__ import annotations

import sys
from typing import Annotated, Any, Literal

from cyclopts import Parameter

from llmos_server.commands.shared import ConfigFlag, Switch, print_json, print_table, read_settings
from llmos_server.commands.where import NamedUrl, on_server, say_where


def usage(
    *,
    since: Annotated[str | None, Parameter(help="30m, 24h, 7d, 4w, or a day such as 2026-11-24; else all.")] = None,
    key: Annotated[str | None, Parameter(help="Only of the key with this id.")] = None,
    by: Annotated[Literal["key", "model", "day"], Parameter(help="One line for each.")] = "key",
    json: Annotated[bool, Switch, Parameter(help="Print JSON.")] = False,
    url: NamedUrl = None,
    config: ConfigFlag = None,
) -> None:
    """Show what was used: requests, tokens, seconds.

    Example: llmos usage --since 7d --by day
    """
    server = say_where(url, config)
    if server:
        params = {name: value for name, value in (("since", since), ("key", key), ("by", by)) if value is not None}
        report = on_server(server, "GET", "/admin/v1/usage", params=params)
        totals, removed = report["data"], report.get("removed_before")
    else:
        totals, removed = _totals_here(since, key, by, config)
    if removed:
        _say_removed(removed)
    if json:
        print_json(totals)
        return
    if not totals:
        print("Nothing was used.")
        return
    rows: list[tuple[str, ...]] = [(by.upper(), "REQUESTS", "PROMPT", "CACHED", "COMPLETION", "SECONDS")]
    for total in totals:
        numbers = (total[name] for name in ("requests", "prompt_tokens", "cached_tokens", "completion_tokens"))
        rows.append((total["group"] or "(no key)", *map(str, numbers), f"{total['seconds']:.1f}"))
    print_table(rows)


def _say_removed(before: int) -> None:
    from datetime import UTC, datetime

    moment = datetime.fromtimestamp(before / 1000, UTC)
    print(f"Rows from before {moment:%Y-%m-%d %H:%M} UTC were removed (database.usage_days).", file=sys.stderr)


def _totals_here(since: str | None, key: str | None, by: Any, config: Any) -> tuple[list[dict[str, Any]], int | None]:
    """And since when there are all rows, if that is later than asked for."""
    import asyncio
    import time

    import msgspec

    from llmos_server.store.owners import EVERYBODY
    from llmos_server.store.periods import parse_since
    from llmos_server.store.store import open_store

    start = parse_since(since, time.time())

    async def read() -> tuple[list[dict[str, Any]], int | None]:
        async with open_store(read_settings(config)) as store:
            totals = await store.usage.totals(EVERYBODY if key is None else key, since=start, by=by)
            removed = await store.removals.removed_before()
        return [msgspec.to_builtins(total) for total in totals], removed if removed > start else None

    return asyncio.run(read())
