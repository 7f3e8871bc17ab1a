"""The verb serve."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Annotated, Literal

from cyclopts import Parameter

from llmos_server.commands.shared import ConfigFlag, Switch, end_in_order_on_sigterm
from llmos_server.errors import SettingsError

if TYPE_CHECKING:
    from llmos_server.settings import ApiSettings, Settings


def serve(
    *,
    host: Annotated[str | None, Parameter(help="Address to listen on.")] = None,
    port: Annotated[int | None, Parameter(help="Port to listen on; 0 takes a free one.")] = None,
    model: Annotated[str | None, Parameter(help="Model to serve, e.g. smollm2:135m or file:/path/model.gguf.")] = None,
    device: Annotated[Literal["cpu", "cuda"] | None, Parameter(help="Where the model computes.")] = None,
    threads: Annotated[int | None, Parameter(help="CPU threads of the engine; 0 takes all usable cores.")] = None,
    insecure: Annotated[
        bool | None, Switch, Parameter(help="Allow a host that others can reach, without keys.")
    ] = None,
    strict: Annotated[bool | None, Switch, Parameter(help="Refuse unknown request fields with a 400.")] = None,
    log_level: Annotated[Literal["debug", "info", "warning", "error"] | None, Parameter(help="Least level.")] = None,
    config: ConfigFlag = None,
) -> None:
    """Serve a model over the OpenAI API. It is pulled first if it isn't here.

    Example: llmos serve --port 8001 --model smollm2:135m
    """
    from llmos_server.settings import load_settings

    settings = load_settings(
        config,
        flags={
            "api": {"host": host, "port": port, "insecure": insecure, "strict": strict},
            "models": {"default": model},
            "engine": {"device": device, "threads": threads},
            "log": {"level": log_level},
        },
    )
    check_exposure(settings.api, lambda: _has_valid_key(settings))
    end_in_order_on_sigterm()
    from llmos_server.app import serve as run_server

    run_server(settings)


def check_exposure(api: ApiSettings, has_valid_key: Callable[[], bool] = lambda: False) -> None:
    """Refuse to listen where others could reach a server, before there is a key that opens it."""
    from llmos_server.hosts import is_loopback

    if not api.insecure and not is_loopback(api.host) and not has_valid_key():
        raise SettingsError(
            f"Host {api.host!r} can be reached by others, so a key comes first. Run: llmos keys create NAME, and then: "
            f"llmos serve --host {api.host or '0.0.0.0'}. Or listen on 127.0.0.1, or say --insecure if everybody who "
            "can reach it may use it."
        )


def _has_valid_key(settings: Settings) -> bool:
    import asyncio

    from llmos_server.store.store import open_store

    async def ask() -> bool:
        async with open_store(settings) as store:
            return await store.keys.any_is_valid()

    return asyncio.run(ask())
