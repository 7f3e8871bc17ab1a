"""Wire structs of /admin/v1/plugins."""

from __future__ import annotations

from typing import Any, Literal

from msgspec import Struct


class PluginInfo(Struct, kw_only=True):
    name: str
    source: str
    """built-in, folder PATH, package NAME."""
    version: str
    hook_api: str
    """The version of the hooks that it was written for."""
    state: Literal["on", "disabled", "refused"]
    reason: str
    """Why it isn't on, and what to do; "" if it is."""
    offers: dict[str, list[str]]
    """Hook -> names of what it registered."""
    switched_off: list[str]
    """What failed too often in a row, until it is tried again."""
    num_failures: int
    """Since the server's start."""


class PluginList(Struct, kw_only=True):
    data: list[PluginInfo]


class PluginToolInfo(Struct, kw_only=True):
    name: str
    description: str
    plugin: str
    parameters: dict[str, Any]
    """The JSON Schema of its arguments."""
    timeout_seconds: float
    needs_approval: bool


class PluginToolList(Struct, kw_only=True):
    object: Literal["list"] = "list"
    data: list[PluginToolInfo]
