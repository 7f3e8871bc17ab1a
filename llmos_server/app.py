"""The one place that wires: settings in, a serving process out."""

from __future__ import annotations

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
from llmos_server.logs import configure_logging
from llmos_server.registry.progress import create_progress
from llmos_server.registry.registry import Registry
from llmos_server.settings import Settings

log = structlog.get_logger(__name__)


def serve(settings: Settings) -> None:
    """Pull the default model if need be, then serve until SIGTERM or SIGINT."""
    configure_logging(settings.log, rotates=True)
    listener = listen(settings.api.host, settings.api.port)
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
    return create_api(
        directory,
        settings.api,
        embedding_default=settings.models.embedding_default,
        gate=Gate(admin_token=ensure_admin_token(settings.home)),
        on_startup=[engine.start],
        on_shutdown=[engine.stop],
        server_version=__version__,
    )


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
