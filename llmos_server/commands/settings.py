"""The verb settings: what holds, and why."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

from cyclopts import Parameter

from llmos_server.commands.shared import ConfigFlag, Switch, print_json, print_table, read_settings
from llmos_server.commands.where import ServerUrl, find_server, on_server
from llmos_server.errors import InvalidRequest

MAX_SHOWN = 60
"""Characters of a value in the table."""


def settings(
    section: Annotated[str | None, Parameter(help="Only this section, such as api.")] = None,
    /,
    *,
    changed: Annotated[bool, Switch, Parameter(help="Only what isn't a default.")] = False,
    json: Annotated[bool, Switch, Parameter(help="Print JSON, with what each setting means.")] = False,
    url: ServerUrl = None,
    config: ConfigFlag = None,
) -> None:
    """Show the settings of the running server, or those that one started here would have, and where each comes from.

    Secrets are shown as ***.

    Example: llmos settings --changed
    """
    root = find_server(url, config)
    found = on_server(root, "GET", "/admin/v1/settings")["data"] if root else _list_here(config)
    rows = [row for row in found if section in (None, row["section"])]
    if not rows:
        known = ", ".join(sorted({row["section"] for row in found} - {""}))
        raise InvalidRequest(f"There is no section {section!r}; there are: {known}.")
    rows = [row for row in rows if not changed or (row["source"], row["origin"]) != ("default", "")]
    if json:
        print_json(rows)
    elif not rows:
        print("Everything is as by default.")
    else:
        print_table([("SETTING", "VALUE", "FROM"), *map(_row, rows)])


def _list_here(config: Path | None) -> list[dict[str, Any]]:
    import msgspec

    from llmos_server.settings_rows import list_settings

    listed: list[dict[str, Any]] = msgspec.to_builtins(list_settings(read_settings(config)))
    return listed


def _row(row: dict[str, Any]) -> tuple[str, ...]:
    import msgspec

    value = msgspec.json.encode(row["value"]).decode()
    shown = value if len(value) <= MAX_SHOWN else f"{value[: MAX_SHOWN - 3]}..."
    name = f"{row['section']}.{row['key']}" if row["section"] else row["key"]
    return (name, shown, f"{row['source']}: {row['origin']}" if row["origin"] else row["source"])
