"""Requests about keys."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from llmos_tui.client import Client, in_path
from llmos_tui.wire.keys import Key, KeyList

PATH = "/admin/v1/keys"


async def list_keys(client: Client) -> KeyList:
    return await client.get(PATH, KeyList)


async def create_key(client: Client, fields: Mapping[str, Any]) -> Key:
    """The answer alone has the key itself."""
    return await client.send("POST", PATH, Key, body=fields)


async def change_key(client: Client, id: str, fields: Mapping[str, Any]) -> Key:
    """What isn't among the fields stays."""
    return await client.send("PATCH", f"{PATH}/{in_path(id)}", Key, body=fields)


async def revoke_key(client: Client, id: str) -> Key:
    return await client.send("DELETE", f"{PATH}/{in_path(id)}", Key)
