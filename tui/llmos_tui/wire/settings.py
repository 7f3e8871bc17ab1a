"""The settings that hold: /admin/v1/settings."""

from __future__ import annotations

from typing import Any

from llmos_tui.wire.common import Wire


class Setting(Wire, frozen=True, kw_only=True):
    """source: "default", "file", "environment" or "flag". origin: the file's path, the variable's name, the flag."""

    section: str = ""
    key: str
    value: Any = None
    source: str = ""
    origin: str = ""
    doc: str = ""


class SettingList(Wire, frozen=True, kw_only=True):
    """In the order of the documentation."""

    data: list[Setting] = []
