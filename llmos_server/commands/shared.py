"""What several verbs share: flags, settings, output."""

from __future__ import annotations

import signal
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import Parameter

from llmos_server.errors import SettingsError

if TYPE_CHECKING:
    from llmos_server.registry.registry import Registry
    from llmos_server.settings import Settings

ConfigFlag = Annotated[Path | None, Parameter(help="A config.toml; without it, the usual places are tried.")]
UrlFlag = Annotated[str | None, Parameter(help="The server's base URL; else LLMOS_URL, else http://127.0.0.1:8000/v1.")]
Switch = Parameter(negative="")


def end_in_order_on_sigterm() -> None:
    """As Ctrl-C does: a pull then ends its download and leaves nothing lying. Serving has handlers of its own."""
    signal.signal(signal.SIGTERM, lambda number, _: sys.exit(128 + number))


def read_settings(config: Path | None) -> Settings:
    from llmos_server.settings import load_settings

    return load_settings(config)


def open_registry(config: Path | None) -> Registry:
    from llmos_server.registry.registry import create_registry

    settings = read_settings(config)
    return create_registry(settings)


def _json(value: Any) -> bytes:
    import msgspec

    return msgspec.json.format(msgspec.json.encode(value), indent=2)


def print_json(value: Any) -> None:
    print(_json(value).decode())


def write_json(path: Path, value: Any) -> None:
    try:
        path.write_bytes(_json(value) + b"\n")
    except OSError as error:
        raise SettingsError(f"{path}: can't be written ({error.strerror}).") from None


def print_table(rows: Sequence[Sequence[str]]) -> None:
    """The first row is the heads'."""
    widths = [max(len(row[place]) for row in rows) for place in range(len(rows[0]))]
    for row in rows:
        print("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())


def format_time(seconds: int | None) -> str:
    """Of Unix seconds, in UTC."""
    from datetime import UTC, datetime

    return "never" if seconds is None else datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d %H:%M")
