"""The one place that wires: settings in, a serving process out."""

from __future__ import annotations

import asyncio
import signal
import socket
from collections.abc import Mapping
from pathlib import Path

import structlog
import uvicorn
from litestar import Litestar

from llmos_server import __version__
from llmos_server.access.admin_token import ensure_admin_token
from llmos_server.access.gate import Gate
from llmos_server.api.app import create_api
from llmos_server.api.connections import BoundedProtocol
from llmos_server.api.served import ModelDirectory, ServedModel
from llmos_server.chat.renderer import Renderer
from llmos_server.contracts import ModelVersion
from llmos_server.engine.client import EngineClient
from llmos_server.errors import SettingsError
from llmos_server.hosts import is_loopback
from llmos_server.logs import configure_logging
from llmos_server.registry.progress import create_progress
from llmos_server.registry.registry import Registry
from llmos_server.settings import Settings
from llmos_server.store.ledger import Ledger
from llmos_server.store.locks import serving
from llmos_server.store.store import create_store, open_store

log = structlog.get_logger(__name__)


def serve(settings: Settings) -> None:
    """Pull the default model if need be, then serve until SIGTERM or SIGINT."""
    with serving(settings.home):
        _serve(settings)


def _serve(settings: Settings) -> None:
    configure_logging(settings.log, rotates=True)
    listener = listen(settings.api.host, settings.api.port)
    asyncio.run(_bring_up_to_date(settings))
    registry = Registry(settings.home, settings.models.aliases, settings.models.hub_timeout_seconds)
    version = registry.pull(settings.models.default, create_progress())
    aliases = {alias: registry.resolve(alias) for alias in settings.models.aliases}
    api = create_app(settings, version, aliases)
    config = uvicorn.Config(
        api,
        http=BoundedProtocol,
        log_config=None,
        access_log=False,
        server_header=False,
        timeout_graceful_shutdown=int(settings.api.grace_seconds) + 5,  # After the streams' own last words.
        timeout_keep_alive=60,
    )
    host, port = listener.getsockname()[:2]
    log.info("serving", url=f"http://{host}:{port}/v1", model=version.name, docs=f"http://{host}:{port}/docs")
    server = uvicorn.Server(config)
    # For a signal before uvicorn has handlers of its own, and for the one that stopped it, which it raises once more.
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: setattr(server, "should_exit", True))
    server.run(sockets=[listener])


def create_app(settings: Settings, version: ModelVersion, aliases: Mapping[str, str]) -> Litestar:
    """The API over one model, with the engine worker started and stopped with it. aliases: name -> canonical name."""
    engine = EngineClient(version, settings.engine, settings.log)
    model = ServedModel(
        id=version.name,
        created=version.created,
        renderer=Renderer.load(Path(version.folder)),
        engine=engine,
        kind=version.kind,
        version=version,
    )
    directory = ModelDirectory([model], aliases=aliases)
    store = create_store(settings)
    ledger = Ledger(store.usage.write, store.keys.touch)
    gate = Gate(
        store.keys,
        admin_token=ensure_admin_token(settings.home),
        always_asks=not settings.api.insecure and not is_loopback(settings.api.host),
        on_use=ledger.note_use,
    )
    return create_api(
        directory,
        settings.api,
        embedding_default=settings.models.embedding_default,
        gate=gate,
        store=store,
        usage=ledger,
        on_startup=[ledger.start, engine.start],
        on_shutdown=[engine.stop, ledger.stop, store.close],
        server_version=__version__,
    )


async def _bring_up_to_date(settings: Settings) -> None:
    async with open_store(settings):
        pass


def listen(host: str, port: int) -> socket.socket:
    """Bind before anything slow, so that a port in use is told at once."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((host, port))
    except OSError as error:
        listener.close()
        raise SettingsError(
            f"Can't listen on {host}:{port} ({error.strerror}). Is another server running? "
            "Choose another port with --port."
        ) from None
    return listener
