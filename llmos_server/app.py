"""The one place that wires: settings in, a serving process out."""

from __future__ import annotations

import asyncio
import dataclasses
import functools
import os
import signal
import socket
from collections.abc import Sequence

import structlog
from litestar import Litestar

from llmos_server import __version__
from llmos_server.access.admin_token import ensure_admin_token
from llmos_server.access.gate import Gate
from llmos_server.access.job_badges import JobBadges
from llmos_server.agents.mcp.declared import declare_all
from llmos_server.agents.mcp.servers import McpServers
from llmos_server.agents.mcp.source import McpProvider
from llmos_server.api.app import create_api
from llmos_server.api.http.web_server import WebServer, create_config, raise_file_limit
from llmos_server.api.model_admin import ModelAdmin
from llmos_server.api.pins import Pins
from llmos_server.api.registry_directory import RegistryDirectory
from llmos_server.api.renderers import RendererCache
from llmos_server.api.services import STATE_KEY, Services
from llmos_server.calibration.file import CALIBRATIONS, CalibrationFile
from llmos_server.contracts import ModelVersion
from llmos_server.doctor import examine
from llmos_server.engine.attention_client import AttentionReader
from llmos_server.engine.client import EngineClient
from llmos_server.engine.encoder_client import EncoderClient
from llmos_server.engine.fleet_engine import EngineFleet
from llmos_server.engine.fleet_member import Worker
from llmos_server.engine.footprint import Footprint, MemoryBudget
from llmos_server.engine.memory import available_memory, default_job_bytes, memory_limit
from llmos_server.engine.quantization import check_quantization
from llmos_server.errors import LLMOSError, SettingsError
from llmos_server.files.folder import FileFolder
from llmos_server.files.job_folders import JobFolders
from llmos_server.files.sweeping import FileSweeping
from llmos_server.fleet_contracts import FleetStatus
from llmos_server.garbage import exempt_loaded
from llmos_server.hosts import is_loopback, own_url
from llmos_server.jobs.memory_bound import with_bound
from llmos_server.jobs.supervisor import JobSupervisor
from llmos_server.jobs.sweeping import JobSweeping
from llmos_server.logbook.book import create_logbook
from llmos_server.logbook.lines import LogBook
from llmos_server.logbook.ring import RingLog
from llmos_server.logs import configure_logging
from llmos_server.plugins.crash_note import FILE
from llmos_server.plugins.host import PluginHost, load_plugins
from llmos_server.plugins.model_names import with_model_names
from llmos_server.registry.adapter_sweeping import AdapterSweeping
from llmos_server.registry.home import home_id
from llmos_server.registry.parameters import with_elements
from llmos_server.registry.progress import create_progress
from llmos_server.registry.registry import Registry, create_registry
from llmos_server.settings import Settings
from llmos_server.settings_rows import list_settings
from llmos_server.store.ledger import Ledger
from llmos_server.store.locks import serving
from llmos_server.store.store import create_store, open_store
from llmos_server.store.tidying import Tidying

Sweeping = Tidying | FileSweeping | JobSweeping | AdapterSweeping

log = structlog.get_logger(__name__)


def serve(settings: Settings) -> None:
    """Pull what is to be loaded at the start if need be, then serve until SIGTERM or SIGINT."""
    with serving(settings.home):
        _serve(settings)


def _serve(settings: Settings) -> None:
    logbook = create_logbook(settings.log)
    configure_logging(settings.log, rotates=True, beside=logbook if isinstance(logbook, RingLog) else None)
    raise_file_limit()
    listener = listen(settings.api.host, settings.api.port)
    asyncio.run(_bring_up_to_date(settings))
    plugins = load_plugins(settings.plugins, crash_note=settings.home / FILE)
    settings = with_model_names(settings, plugins)
    registry = create_registry(settings)
    progress = create_progress()
    versions = [registry.pull(name, progress) for name in (settings.models.default, *settings.models.load)]
    if settings.engine.speculation != "off":
        for name in settings.models.drafts.values():
            registry.pull(name, progress)
    host, port = listener.getsockname()[:2]
    api = create_app(settings, registry, versions, plugins, logbook, own_url(host, port))
    log.info("serving", url=f"http://{host}:{port}/v1", model=versions[0].name, docs=f"http://{host}:{port}/docs")
    services: Services = api.state[STATE_KEY]
    server = WebServer(create_config(api, settings.api), services.before_shutdown)
    # For a signal before uvicorn has handlers of its own, and for the one that stopped it, which it raises once more.
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: setattr(server, "should_exit", True))
    exempt_loaded()
    server.run(sockets=[listener])


def create_app(
    settings: Settings,
    registry: Registry,
    started: Sequence[ModelVersion],
    plugins: PluginHost | None = None,
    logbook: LogBook | None = None,
    base_url: str | None = None,
) -> Litestar:
    """The API over all that the registry has. started: what is loaded at the start, the default model first. logbook:
    where the log is read back. base_url: where jobs reach it; None runs none."""
    fleet = create_fleet(settings, registry)
    check_options(settings, registry)
    directory = RegistryDirectory(
        registry,
        fleet,
        RendererCache(),
        default=started[0].name,
        aliases={alias: registry.resolve(alias) for alias in settings.models.aliases},
        options={registry.resolve(name): options for name, options in settings.models.options.items()},
    )
    directory.list()  # How many models share the memory is known from here on.
    names = list(dict.fromkeys(version.name for version in started))
    require_room(fleet.status(), names)
    attention = AttentionReader(settings.api.attention_seconds)
    mcp = McpServers(declare_all(settings.mcp, os.environ))
    store = create_store(settings)
    files = FileFolder(settings.home)
    sweeping = FileSweeping(store.files, files, settings.storage.file_days)
    job_sweeping = JobSweeping(store.jobs, JobFolders(settings.home), settings.jobs.days)
    adapter_sweeping = AdapterSweeping(store.adapters, settings.home)
    tidying: list[Sweeping] = [Tidying(store, settings), sweeping, job_sweeping, adapter_sweeping]
    ledger = Ledger(store.usage.write, store.keys.touch, tidy=functools.partial(_take_turns, tidying))
    pins = Pins(fleet, store.pinned_models, {registry.resolve(name) for name in settings.models.pinned})
    badges = JobBadges()
    jobs = JobSupervisor(
        store.job_leases,
        store.presence,
        with_bound(settings, default_job_bytes(memory_limit())),
        base_url,
        badges,
        lender=fleet.lending if settings.engine.device == "cpu" else None,
    )
    store.jobs.listen(jobs.wake)
    gate = Gate(
        store.keys,
        badges=badges,
        admin_token=ensure_admin_token(settings.home),
        always_asks=not settings.api.insecure and not is_loopback(settings.api.host),
        on_use=ledger.note_use,
    )
    return create_api(
        directory,
        settings.api,
        embedding_default=settings.models.embedding_default,
        fleet=fleet,
        model_admin=ModelAdmin(registry, fleet, directory, home_id(settings.home), pins, attention.read),
        gate=gate,
        plugins=plugins,
        calibrations=CalibrationFile(settings.home / CALIBRATIONS),
        agents=settings.agents,
        evals=settings.evals,
        store=store,
        usage=ledger,
        examine=functools.partial(examine, settings),
        mcp=mcp,
        tool_providers={"mcp": McpProvider(mcp, settings.mcp.client_hosts)},
        serves_mcp=settings.mcp.serve,
        configuration=list_settings(settings),
        files=files,
        before_shutdown=jobs.stop_soon,
        logbook=logbook,
        on_startup=[
            store.serve,
            pins.restore,
            mcp.start,
            ledger.start,
            functools.partial(fleet.preload, names),
            jobs.start,
        ],
        on_shutdown=[
            jobs.stop,
            attention.stop,
            mcp.stop,
            fleet.stop,
            ledger.stop,
            store.close,
        ],
        server_version=__version__,
    )


async def _take_turns(tidying: Sequence[Sweeping]) -> None:
    for one in tidying:
        await one.take_turn()


async def _bring_up_to_date(settings: Settings) -> None:
    async with open_store(settings):
        pass


def create_fleet(settings: Settings, registry: Registry) -> EngineFleet:
    """Workers of either kind, under the memory budget."""
    memory = MemoryBudget(settings.engine, memory_limit())
    drafts = find_drafts(settings, registry)

    def measure(version: ModelVersion, num_decoders: int) -> Footprint:
        return memory.measure(version, num_decoders, drafts.get(version.name))

    def create_worker(version: ModelVersion, footprint: Footprint) -> Worker:
        engine = dataclasses.replace(settings.engine, cache_bytes=footprint.cache, adapter_bytes=footprint.adapters)
        if version.kind != "decoder":
            return EncoderClient(version, engine, settings.log)
        return EngineClient(version, engine, settings.log, draft=drafts.get(version.name))

    return EngineFleet(
        memory.num_bytes,
        measure,
        create_worker,
        pinned={registry.resolve(name) for name in settings.models.pinned},
        idle_seconds=settings.models.idle_seconds,
        available=available_memory,
    )


def find_drafts(settings: Settings, registry: Registry) -> dict[str, ModelVersion]:
    """Draft models, by the name of the model that they guess for. Raises SettingsError for what can't be one."""
    names = settings.models.drafts if settings.engine.speculation != "off" else {}
    drafts = {registry.resolve(name): registry.get(draft) for name, draft in names.items()}
    for name, draft in drafts.items():
        if draft.kind != "decoder" or draft.code:
            raise SettingsError(
                f"models.drafts: {draft.name!r} can't guess for {name!r}; name a decoder without code of its own."
            )
    return drafts


def check_options(settings: Settings, registry: Registry) -> None:
    """Raises SettingsError for a table below [models.options] that names no model or can't be honoured."""
    for name in settings.models.options:
        try:
            version = with_elements(registry.get(name))
            check_quantization(version, version.quantization, settings.engine)
        except LLMOSError as error:
            raise SettingsError(f'models.options."{name}": {error}') from None


def require_room(fleet: FleetStatus, names: Sequence[str]) -> None:
    """Raises SettingsError when what is to be loaded at the start doesn't fit the memory budget together."""
    needed = {model.name: model.num_bytes for model in fleet.models if model.name in names}
    if sum(needed.values()) > fleet.budget_bytes:
        raise SettingsError(
            f"models.default and models.load need {sum(needed.values())} bytes together ("
            + ", ".join(f"{name}: {num_bytes}" for name, num_bytes in needed.items())
            + f"), and the budget is {fleet.budget_bytes}. Load fewer, lower engine.cache_bytes, or raise "
            "engine.memory_bytes."
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
