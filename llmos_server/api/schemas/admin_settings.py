"""Wire structs of /admin/v1/settings."""

from __future__ import annotations

from typing import Literal

from msgspec import Struct

from llmos_server.settings_rows import SettingRow


class SettingList(Struct, kw_only=True):
    object: Literal["list"] = "list"
    data: list[SettingRow]
