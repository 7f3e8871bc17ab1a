"""The HTTP face: all endpoints over a directory of served models."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import TYPE_CHECKING

from litestar import Litestar
from litestar.config.cors import CORSConfig
from litestar.datastructures import State
from litestar.types import LifespanHook

from llmos_server.access.gate import Gate
from llmos_server.access.limits import Limiter
from llmos_server.agents.mcp.servers import McpServers
from llmos_server.agents.mcp.source import McpProvider
from llmos_server.agents.tool_source import ToolProvider
from llmos_server.api.accounting.no_store import NoLedger
from llmos_server.api.admin.adapter_loading import LOADING_HANDLERS
from llmos_server.api.admin.adapters import ADAPTER_HANDLERS
from llmos_server.api.admin.doctor import doctor
from llmos_server.api.admin.jobs import cancel_job, get_job, list_jobs, pause_job, resume_job
from llmos_server.api.admin.keys import change_key, create_key, list_keys, revoke_key
from llmos_server.api.admin.live import follow_overview, get_overview
from llmos_server.api.admin.logs import read_logs
from llmos_server.api.admin.mcp import list_mcp_servers
from llmos_server.api.admin.model_handlers import MODEL_HANDLERS
from llmos_server.api.admin.pages import get_pages
from llmos_server.api.admin.plugins import list_plugins
from llmos_server.api.admin.promotions import PROMOTION_HANDLERS
from llmos_server.api.admin.prune import prune_objects
from llmos_server.api.admin.requests import abort_request, get_request, list_requests
from llmos_server.api.admin.settings import list_settings
from llmos_server.api.admin.skills import admin_list_skills, disable_skill, enable_skill
from llmos_server.api.agents.plugin_tools import PluginToolProvider
from llmos_server.api.agents.skill_tools import SkillProvider
from llmos_server.api.anthropic.handlers import count_message_tokens, create_message
from llmos_server.api.background import BackgroundJobs
from llmos_server.api.batches.handlers import BATCH_HANDLERS
from llmos_server.api.docs_page import create_openapi_config, openapi_json
from llmos_server.api.endpoints.chat_completions import create_chat_completion, render_chat_completion
from llmos_server.api.endpoints.classify import classify, classify_elsewhere
from llmos_server.api.endpoints.completions import create_completion
from llmos_server.api.endpoints.embeddings import create_embeddings
from llmos_server.api.endpoints.health import health, metrics, ready, version
from llmos_server.api.endpoints.models import delete_model, list_models, retrieve_model
from llmos_server.api.endpoints.plugin_routes import get_from_plugin, post_to_plugin
from llmos_server.api.endpoints.rerank import rerank, rerank_elsewhere
from llmos_server.api.endpoints.score import score, score_elsewhere
from llmos_server.api.endpoints.systemone import decide
from llmos_server.api.endpoints.tokenize import detokenize, tokenize
from llmos_server.api.endpoints.tool_list import list_tools
from llmos_server.api.endpoints.usage import all_usage, own_usage, usage_of_request
from llmos_server.api.error_response import error_body, to_response
from llmos_server.api.evals.comparing import COMPARING_HANDLERS
from llmos_server.api.evals.evals import EVAL_HANDLERS
from llmos_server.api.evals.graders import GRADER_HANDLERS
from llmos_server.api.evals.items import ITEM_HANDLERS
from llmos_server.api.evals.reports import REPORT_HANDLERS
from llmos_server.api.evals.runs import RUN_HANDLERS
from llmos_server.api.files.handlers import FILE_HANDLERS
from llmos_server.api.fine_tuning.handlers import FINE_TUNING_HANDLERS
from llmos_server.api.flights import Flights
from llmos_server.api.guard import Guard
from llmos_server.api.http.access import identify
from llmos_server.api.http.context import EXPOSED_HEADERS, RequestContext
from llmos_server.api.jobs.jobs import Jobs
from llmos_server.api.jobs.pull_jobs import PullJobs
from llmos_server.api.jobs.response_jobs import ResponseJobs
from llmos_server.api.jobs.source import JobSource
from llmos_server.api.jobs.stored_jobs import StoredJobs
from llmos_server.api.live.live import Live
from llmos_server.api.live.overview import OverviewMaker
from llmos_server.api.mcp_serving.handler import serve_mcp
from llmos_server.api.metrics.fleet_metrics import FleetCollector
from llmos_server.api.metrics.mcp_metrics import McpCollector
from llmos_server.api.metrics.plugin_metrics import PluginCollector
from llmos_server.api.metrics.server_metrics import PREFIX, Metrics
from llmos_server.api.ollama.handlers import OLLAMA_HANDLERS
from llmos_server.api.responding.creating import create_response
from llmos_server.api.responding.input_tokens import count_input_tokens
from llmos_server.api.served import Directory
from llmos_server.api.services import STATE_KEY, Services
from llmos_server.api.skills.evaluations import list_scores, store_score
from llmos_server.api.skills.handlers import get_skill, get_skills, run_skill
from llmos_server.api.stored.conversation_items import create_items, delete_item, get_item, list_items
from llmos_server.api.stored.conversations import (
    create_conversation,
    delete_conversation,
    get_conversation,
    list_conversations,
    update_conversation,
)
from llmos_server.api.stored.feedback import create_feedback, delete_feedback, get_feedback, list_feedback
from llmos_server.api.stored.responses import cancel_response, delete_response, get_response, list_input_items
from llmos_server.calibration.file import CalibrationFile
from llmos_server.chat.pool import TextPool
from llmos_server.evaluation.sandboxing import GraderSandbox
from llmos_server.files.folder import FileFolder
from llmos_server.finding import Finding
from llmos_server.fleet_contracts import EngineFleet
from llmos_server.key_contracts import UsageBook
from llmos_server.logbook.lines import LogBook
from llmos_server.plugins.host import PluginHost
from llmos_server.settings import AgentsSettings, ApiSettings, EvalsSettings, PluginsSettings
from llmos_server.settings_rows import SettingRow
from llmos_server.skills.runner import SkillRunner

if TYPE_CHECKING:
    from llmos_server.api.model_admin import ModelAdmin
    from llmos_server.store.store import Store

HANDLERS = [
    *MODEL_HANDLERS,
    create_chat_completion,
    render_chat_completion,
    create_completion,
    create_response,
    create_message,
    count_message_tokens,
    count_input_tokens,
    get_response,
    delete_response,
    cancel_response,
    list_input_items,
    create_conversation,
    list_conversations,
    get_conversation,
    update_conversation,
    delete_conversation,
    create_items,
    list_items,
    get_item,
    delete_item,
    create_feedback,
    list_feedback,
    get_feedback,
    delete_feedback,
    create_embeddings,
    run_skill,
    get_skills,
    get_skill,
    decide,
    list_scores,
    store_score,
    list_tools,
    get_from_plugin,
    post_to_plugin,
    rerank,
    rerank_elsewhere,
    score,
    score_elsewhere,
    classify,
    classify_elsewhere,
    list_models,
    retrieve_model,
    delete_model,
    tokenize,
    detokenize,
    health,
    ready,
    version,
    metrics,
    openapi_json,
    create_key,
    list_keys,
    change_key,
    revoke_key,
    doctor,
    list_plugins,
    list_mcp_servers,
    get_overview,
    list_requests,
    get_request,
    abort_request,
    get_pages,
    follow_overview,
    prune_objects,
    list_settings,
    read_logs,
    list_jobs,
    get_job,
    cancel_job,
    pause_job,
    resume_job,
    admin_list_skills,
    disable_skill,
    enable_skill,
    own_usage,
    usage_of_request,
    all_usage,
    *FILE_HANDLERS,
    *ADAPTER_HANDLERS,
    *LOADING_HANDLERS,
    *PROMOTION_HANDLERS,
    *BATCH_HANDLERS,
    *EVAL_HANDLERS,
    *RUN_HANDLERS,
    *ITEM_HANDLERS,
    *COMPARING_HANDLERS,
    *REPORT_HANDLERS,
    *GRADER_HANDLERS,
    *FINE_TUNING_HANDLERS,
    *OLLAMA_HANDLERS,
]


def create_api(
    directory: Directory,
    settings: ApiSettings,
    *,
    gate: Gate | None = None,
    embedding_default: str | None = None,
    store: Store | None = None,
    usage: UsageBook | None = None,
    fleet: EngineFleet | None = None,
    examine: Callable[[], Awaitable[list[Finding]]] | None = None,
    model_admin: ModelAdmin | None = None,
    plugins: PluginHost | None = None,
    calibrations: CalibrationFile | None = None,
    mcp: McpServers | None = None,
    serves_mcp: bool = True,
    agents: AgentsSettings | None = None,
    evals: EvalsSettings | None = None,
    tool_providers: Mapping[str, ToolProvider] | None = None,
    configuration: Sequence[SettingRow] = (),
    files: FileFolder | None = None,
    logbook: LogBook | None = None,
    job_sources: Sequence[JobSource] = (),
    before_shutdown: Callable[[], None] = lambda: None,
    on_startup: Sequence[LifespanHook] = (),
    on_shutdown: Sequence[LifespanHook] = (),
    server_version: str = "0",
) -> Litestar:
    """gate: None asks nobody for a key, and knows no administrator. store, usage: None keeps neither keys nor usage.
    embedding_default: a model's name. fleet: whose figures are among the metrics.
    examine: looks the machine over for /admin/v1/doctor.
    model_admin: None for a fixed set of models. plugins: None has none. calibrations: of
    typed decisions; None for none. mcp: servers whose tools are used; started and stopped elsewhere.
    serves_mcp: answers MCP clients at /mcp. tool_providers: of tools that the server runs, by the type of an entry of
    `tools`, beside or instead of the usual ones. configuration: what /admin/v1/settings tells. logbook:
    where /admin/v1/logs reads; None for nowhere. job_sources: of further kinds of jobs. before_shutdown: called while
    connections are still open.
    files: where what clients upload lies.

    on_startup, on_shutdown: called without arguments, in order; the engines' own start and stop belong here."""
    pool = TextPool()
    usage = usage or NoLedger()
    metrics_of_all = Metrics(directory, settings.metrics_prefix, usage)
    if fleet is not None:
        metrics_of_all.registry.register(FleetCollector(fleet, PREFIX))
    flights = Flights()
    plugins = plugins or PluginHost(PluginsSettings())
    metrics_of_all.registry.register(PluginCollector(plugins, PREFIX))
    mcp = mcp or McpServers()
    metrics_of_all.registry.register(McpCollector(mcp, PREFIX))
    background = BackgroundJobs()
    kinds: list[JobSource] = [PullJobs(model_admin.pulls)] if model_admin is not None else []
    kinds += [ResponseJobs(background), *job_sources]
    if store is not None:
        kinds.append(StoredJobs(store.jobs, store.job_events))
    services = Services(
        jobs=background,
        all_jobs=Jobs(kinds),
        directory=directory,
        settings=settings,
        pool=pool,
        metrics=metrics_of_all,
        gate=gate or Gate(),
        embedding_default=embedding_default,
        limiter=Limiter(),
        usage=usage,
        store=store,
        examine=examine or _find_nothing,
        model_admin=model_admin,
        plugins=plugins,
        runner=SkillRunner(plugins.settings.max_runs),
        version=server_version,
        flights=flights,
        live=Live(directory, OverviewMaker(directory, metrics_of_all, fleet, flights, server_version), flights),
        calibrations=calibrations or CalibrationFile(None),
        mcp=mcp,
        agents=agents or AgentsSettings(),
        grader_sandbox=GraderSandbox(evals or EvalsSettings()),
        configuration=configuration,
        files=files,
        before_shutdown=before_shutdown,
        logbook=logbook,
        tool_providers={
            "skill": SkillProvider(),
            "plugin_tool": PluginToolProvider(),
            "mcp": McpProvider(mcp),
            **(tool_providers or {}),
        },
    )
    cors = _create_cors(settings.cors_origins)
    app = Litestar(
        route_handlers=[*HANDLERS, *([serve_mcp] if serves_mcp else [])],
        guards=[identify],
        state=State({STATE_KEY: services}),
        on_startup=list(on_startup),
        on_shutdown=[services.jobs.stop, *on_shutdown, pool.close],
        exception_handlers={Exception: to_response},
        cors_config=cors,
        openapi_config=create_openapi_config(server_version),
        request_max_body_size=settings.max_body_bytes,
        logging_config=None,
        debug=False,
    )
    app.asgi_handler = services.metrics.count_requests(
        RequestContext(Guard(app.asgi_handler, settings, cors), error_body)
    )
    return app


async def _find_nothing() -> list[Finding]:
    return []


def _create_cors(origins: Sequence[str]) -> CORSConfig | None:
    """Without the setting, no web page of another origin may read answers."""
    if not origins:
        return None
    return CORSConfig(allow_origins=list(origins), expose_headers=EXPOSED_HEADERS, max_age=3600)
