"""What handlers share: one object in the app's state."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from llmos_server.access.gate import Gate
from llmos_server.access.limits import Limiter
from llmos_server.agents.mcp.servers import McpServers
from llmos_server.agents.tool_source import ToolProvider
from llmos_server.api.background import BackgroundJobs
from llmos_server.api.flights import Flights
from llmos_server.api.jobs.jobs import Jobs
from llmos_server.api.live.live import Live
from llmos_server.api.metrics.server_metrics import Metrics
from llmos_server.api.served import Directory
from llmos_server.api.skill_history import SkillHistory
from llmos_server.api.watchers import Watchers
from llmos_server.calibration.file import CalibrationFile
from llmos_server.errors import ModelNotFound, StoreUnavailable
from llmos_server.evaluation.sandboxing import GraderSandbox
from llmos_server.files.folder import FileFolder
from llmos_server.finding import Finding
from llmos_server.key_contracts import UsageBook
from llmos_server.logbook.lines import LogBook
from llmos_server.plugins.host import PluginHost
from llmos_server.settings import AgentsSettings, ApiSettings, EvalsSettings
from llmos_server.settings_rows import SettingRow
from llmos_server.skills.runner import SkillRunner

if TYPE_CHECKING:
    from llmos_server.api.model_admin import ModelAdmin
    from llmos_server.chat.pool import TextPool
    from llmos_server.store.store import Store

STATE_KEY = "services"


@dataclass(frozen=True, slots=True, kw_only=True)
class Services:
    directory: Directory
    settings: ApiSettings
    pool: TextPool
    metrics: Metrics
    gate: Gate
    embedding_default: str | None
    """What /v1/embeddings takes where a request names no model; None: the default model."""
    limiter: Limiter
    usage: UsageBook
    store: Store | None
    examine: Callable[[], Awaitable[list[Finding]]]
    """What `llmos doctor` finds about the server's machine."""
    model_admin: ModelAdmin | None
    plugins: PluginHost
    runner: SkillRunner
    version: str
    flights: Flights
    live: Live
    mcp: McpServers = field(default_factory=McpServers)
    calibrations: CalibrationFile = field(default_factory=lambda: CalibrationFile(None))
    jobs: BackgroundJobs = field(default_factory=BackgroundJobs)
    all_jobs: Jobs = field(default_factory=Jobs)
    """Of all kinds, for administrators."""
    agents: AgentsSettings = field(default_factory=AgentsSettings)
    tool_providers: Mapping[str, ToolProvider] = field(default_factory=dict)
    """Of tools that the server runs, by the `type` of an entry of `tools`."""
    grader_sandbox: GraderSandbox = field(default_factory=lambda: GraderSandbox(EvalsSettings()))
    """Where graders run that are programs."""
    adapter_names: set[str] = field(default_factory=set)
    """Some that were found to be adapters': see adapters/names.py."""
    configuration: Sequence[SettingRow] = ()
    """All settings that hold, without secrets."""
    files: FileFolder | None = None
    """Where the content of uploaded files lies."""
    before_shutdown: Callable[[], None] = lambda: None
    """Called while connections are still open, and waited for."""
    logbook: LogBook | None = None
    """Where the log is read back."""
    skill_history: SkillHistory = field(default_factory=SkillHistory)
    watchers: Watchers = field(default_factory=Watchers)


def services_of(connection: Any) -> Services:
    services: Services = connection.app.state[STATE_KEY]
    return services


def store_of(connection: Any) -> Store:
    """Raises StoreUnavailable on a server without a database."""
    store = services_of(connection).store
    if store is None:
        raise StoreUnavailable("This server has no database.")
    return store


def files_of(connection: Any) -> FileFolder:
    """Raises StoreUnavailable on a server that has no place for files."""
    files = services_of(connection).files
    if files is None:
        raise StoreUnavailable("This server keeps no files.")
    return files


def model_admin_of(connection: Any) -> ModelAdmin:
    """Raises ModelNotFound on a server over a fixed set of models."""
    admin = services_of(connection).model_admin
    if admin is None:
        raise ModelNotFound("This server's models are fixed; it has no registry.")
    return admin
