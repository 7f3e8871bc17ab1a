"""The request about settings."""

from __future__ import annotations

from llmos_tui.client import Client
from llmos_tui.wire.settings import SettingList


async def list_settings(client: Client) -> SettingList:
    """As the server was started with them; secrets are hidden by the server."""
    return await client.get("/admin/v1/settings", SettingList)
