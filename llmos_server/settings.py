"""config.toml < LLMOS_SECTION__KEY < flags, into one frozen dataclass a folder.

An unknown key is an error that names the nearest known one.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Literal

import msgspec

from llmos_server.mcp_settings import McpSettings
from llmos_server.settings_sources import Origin, Sources, build

Port = Annotated[int, msgspec.Meta(ge=0, le=65535)]
AtLeastZero = Annotated[int, msgspec.Meta(ge=0)]
AtLeastOne = Annotated[int, msgspec.Meta(ge=1)]
NumDrafts = Annotated[int, msgspec.Meta(ge=1, le=32)]
Factor = Annotated[float, msgspec.Meta(ge=0)]
Seconds = Annotated[float, msgspec.Meta(ge=0)]
SomeSeconds = Annotated[float, msgspec.Meta(ge=0.1)]

Quantization = Literal["none", "int8", "int4"]
ToolFormatName = Literal["auto", "json", "hermes", "granite", "mistral", "mistral_args", "llama3"]
ReasoningName = Literal["auto", "none", "think", "mistral"]


@dataclass(frozen=True, kw_only=True)
class ApiSettings:
    """The [api] section: HTTP in, HTTP out."""

    host: str = "127.0.0.1"
    """Address to listen on; one that others can reach is refused unless there is a key."""
    port: Port = 8000
    """Port to listen on; 0 takes a free one."""
    insecure: bool = False
    """Allow a non-loopback host although nothing asks for a key yet."""
    cors_origins: tuple[str, ...] = ()
    """Web origins whose pages may call the API; ["*"] for any."""
    allowed_hosts: tuple[str, ...] = ()
    """Names in the Host header that the server answers to, beside its own; ["*"] for any."""
    strict: bool = False
    """Refuse unknown request fields with a 400 instead of ignoring and naming them."""
    on_overflow: Literal["error", "drop_oldest"] = "error"
    """What happens to a chat that is longer than the context: a 400, or the oldest turns are dropped, and told."""
    ping_seconds: SomeSeconds = 15.0
    """Comment pings on an idle stream."""
    grace_seconds: Seconds = 30.0
    """How long running streams may go on after SIGTERM."""
    load_timeout_seconds: Seconds = 300.0
    """How long a request waits for a model that is still loading."""
    max_body_bytes: AtLeastOne = 16 * 2**20
    """Longest request body."""
    body_timeout_seconds: SomeSeconds = 60.0
    """How long a client may take to send a body."""
    max_n: AtLeastOne = 64
    """Most choices for one prompt (n, best_of)."""
    max_tools: AtLeastOne = 128
    """Most tools in one request."""
    max_tool_output: AtLeastOne = 2**20
    """Characters in one message of a tool."""
    max_prompts: AtLeastOne = 256
    """Most prompts in one /v1/completions request."""
    isolate_keys: bool = True
    """Cached prefixes are shared among the requests of one key only."""
    attention_seconds: SomeSeconds = 120.0
    """How long the attention of one prompt may be computed, which administrators ask for."""
    metrics_prefix: Literal["llmos", "vllm", "both"] = "llmos"
    """Prefix of the Prometheus names; "vllm" makes vLLM's dashboards work."""


@dataclass(frozen=True, kw_only=True)
class ModelOptions:
    """A table [models.options."name"]: what holds for one model."""

    quantization: Quantization = "none"
    """Float weights are rounded when they are loaded; int4 keeps more bits where they matter most."""
    tool_format: ToolFormatName = "auto"
    """How tool calls are written; auto: as the chat template tells."""
    turns: Literal["auto", "merge", "as_sent"] = "auto"
    """Messages that chat templates may refuse, such as two of one role in a row: auto joins them where it does."""
    reasoning: ReasoningName = "auto"
    """What reasoning stands between; auto: as the chat template tells; none: it is part of the answer."""


@dataclass(frozen=True, kw_only=True)
class ModelsSettings:
    """The [models] section: which models are served, under which names."""

    default: str = "smollm2:135m"
    """What answers requests that name no model; pulled and loaded at the start."""
    embedding_default: str = "all-minilm-l6-v2"
    """What /v1/embeddings takes where a request names no model. Pulled when you ask for it, not at the start."""
    load: tuple[str, ...] = ()
    """Models loaded at the start, beside the default one."""
    pinned: tuple[str, ...] = ()
    """Models that are never evicted once they are loaded."""
    idle_seconds: Seconds = 0.0
    """A model that nobody has used for so long is unloaded; 0: only when its memory is needed."""
    aliases: dict[str, str] = field(default_factory=dict)
    """Other names for served models, e.g. "gpt-4o-mini" = "smollm2:135m"."""
    drafts: dict[str, str] = field(default_factory=dict)
    """Draft models, by the model that they guess for: "big" = "small", of the same vocabulary."""
    options: dict[str, ModelOptions] = field(default_factory=dict)
    """Settings of one model, by its name or alias."""
    remote_code: tuple[str, ...] = ()
    """Repositories (hf:owner/name, or with @revision) and folders whose own Python code may be fetched and run."""
    hub_timeout_seconds: SomeSeconds = 5.0
    """Connect time-out for model hubs, so that an unreachable one fails soon."""


@dataclass(frozen=True, kw_only=True)
class EngineSettings:
    """The [engine] section: one worker process per base model."""

    device: Literal["cpu", "cuda"] = "cpu"
    """Where models compute."""
    numerics: Literal["fast", "exact"] = "fast"
    """fast: packed weights on compiled kernels, where they can compute the model; exact: float32 in plain torch."""
    activations: Literal["auto", "int8", "int16"] = "auto"
    """Integers that fast numerics round activations to; auto: 8 bits where a text shows it does little, else 16."""
    threads: AtLeastZero = 0
    """CPU threads of a worker; 0 takes the cores this process may use for a decoder, fewer for an encoder."""
    memory_bytes: AtLeastZero = 0
    """Budget of all workers together; 0 takes three quarters of the memory limit."""
    page_size: AtLeastOne = 16
    """Tokens per page of the KV cache."""
    cache_bytes: AtLeastZero = 0
    """Budget of one model's KV cache; 0 shares a quarter of the memory limit, at most 4 GiB, among the decoders."""
    cache_dtype: Literal["auto", "int8"] = "auto"
    """Of keys and values. auto: float16 on the compiled kernels, float32 on exact ones; int8: on the former only."""
    max_adapters: AtLeastOne = 32
    """Adapters of one model that are loaded at a time; the least recently used makes room for another."""
    adapter_bytes: AtLeastZero = 0
    """Budget of one model's loaded adapters; 0 takes a sixteenth of its KV cache's budget, out of that."""
    max_num_seqs: AtLeastOne = 64
    """Sequences in one step."""
    max_num_batched_tokens: AtLeastOne = 512
    """Tokens in one step, prefill chunks and decodes together."""
    max_encode_tokens: AtLeastOne = 1024
    """Tokens in one batch of an encoder, padding included; an input that is longer runs alone."""
    max_step_ms: AtLeastZero = 300
    """What one step should take while answers are being written, by the costs of the steps before it; 0: no bound."""
    max_stall: Factor = 1.5
    """So many times as long as without it may the steps of running answers be while a prompt is computed that has more
    tokens than one step; 0: no bound of its own."""
    stream_interval_ms: AtLeastZero = 8
    """Shorter steps tell together what they brought, so that a stream has fewer, longer pieces; 0: each by itself."""
    prefix_caching: bool = True
    """Prompts that begin alike are computed once."""
    speculation: Literal["off", "ngram"] = "ngram"
    """ngram: guess what follows from what followed before, and compute guesses along with a step where that pays."""
    num_speculative_tokens: NumDrafts = 8
    """Most guesses for one sequence in a step."""
    max_waiting: AtLeastOne = 4096
    """Requests that wait for their first token; one more gets 429, unless its owner has less than an even share."""
    max_wait_seconds: Seconds = 7200.0
    """A request that would have to wait longer, by the speed so far, gets 429 at once; 0 for no such bound."""
    heartbeat_timeout_seconds: SomeSeconds = 60.0
    """A loaded worker that is silent for longer is killed and started again."""
    step_timeout_seconds: Seconds = 300.0
    """A worker whose one step, or batch, runs for longer is killed and started again; 0: no such bound."""
    load_timeout_seconds: Seconds = 1800.0
    """A worker that loads for longer is killed; 0: no such bound."""


@dataclass(frozen=True, kw_only=True)
class DatabaseSettings:
    """The [database] section."""

    url: str = ""
    """ "" is SQLite at LLMOS_HOME/llmos.db; else postgresql://user:password@host/name."""
    usage_days: AtLeastZero = 0
    """Rows of the usage ledger that are older are removed; 0 keeps all."""


@dataclass(frozen=True, kw_only=True)
class StorageSettings:
    """The [storage] section: responses, conversations and feedback that clients have stored."""

    enabled: bool = True
    """False: no response, no conversation and no feedback is kept; what was kept before can be read and deleted."""
    response_days: AtLeastZero = 30
    """Responses that are older are removed; 0 keeps all. One that a younger one goes on from stays as long as that."""
    conversation_days: AtLeastZero = 0
    """Conversations that were not changed for longer are removed; 0 keeps all."""
    feedback_days: AtLeastZero = 0
    """Feedback that is older is removed; 0 keeps all."""
    file_days: AtLeastZero = 0
    """Uploaded files that are older are removed; 0 keeps all but those that were sent with an expiry."""
    max_object_bytes: AtLeastOne = 16 * 2**20
    """Of one response with its input, of one conversation with its items, of one feedback, and of a chain of responses
    that a request goes on from; as JSON."""
    max_key_bytes: AtLeastZero = 4 * 2**30
    """Of all responses, conversations, feedback and files that one key has stored; 0 sets no limit."""
    max_file_bytes: AtLeastOne = 512 * 2**20
    """Of one file that a client uploads to /v1/files."""


@dataclass(frozen=True, kw_only=True)
class JobsSettings:
    """The [jobs] section: what outlives requests, each in a process of its own: tuning, batches, evaluations."""

    enabled: bool = True
    """False: this server begins no jobs; they wait until it does, or for another server of the same database."""
    max_tunes: AtLeastZero = 1
    """Tuning jobs that run at a time on this server."""
    max_batches: AtLeastZero = 2
    """The same for batches."""
    max_evals: AtLeastZero = 1
    """The same for evaluations."""
    batch_requests: AtLeastOne = 8
    """Requests of one batch that are asked at a time."""
    max_per_key: AtLeastZero = 100
    """Jobs of one key that haven't ended; 0 sets no limit."""
    threads: AtLeastZero = 0
    """CPU threads of a job's process; 0 takes half of the cores that the server may use."""
    memory_bytes: AtLeastZero = 0
    """What one job's processes may take together; 0: a quarter of the memory limit. Pools give it back for tuning."""
    lease_seconds: Annotated[float, msgspec.Meta(ge=5)] = 30.0
    """A job whose process hasn't been heard of for so long is given to another."""
    stop_seconds: Seconds = 30.0
    """How long a job may take to stop when it is asked to; then its process is killed."""
    max_attempts: AtLeastOne = 5
    """A job whose process has died so often, without a checkpoint in between, has failed."""
    days: AtLeastZero = 90
    """Jobs that ended longer ago are removed, with their folders; 0 keeps all."""


@dataclass(frozen=True, kw_only=True)
class LogSettings:
    """The [log] section."""

    level: Literal["debug", "info", "warning", "error"] = "info"
    """The least that is logged."""
    format: Literal["auto", "console", "json"] = "auto"
    """auto: console on a terminal, JSON lines otherwise."""
    file: str = ""
    """Where lines go instead of stderr. It and the rotated ones get mode 0600, whatever they had."""
    max_bytes: AtLeastZero = 64 * 2**20
    """The file is rotated before it grows beyond; 0 leaves that to others."""
    backups: AtLeastOne = 5
    """Rotated files that are kept."""


@dataclass(frozen=True, kw_only=True)
class PluginsSettings:
    """The [plugins] section; a table [plugins.NAME] below it is that plugin's own."""

    folders: tuple[str, ...] = ()
    """Folders that are plugins (with a plugin.py), or hold such folders. Their code runs in the server."""
    enabled: tuple[str, ...] = ()
    """If there are any, only these plugins are loaded."""
    disabled: tuple[str, ...] = ()
    """Plugins that are not loaded."""
    options: dict[str, dict[str, Any]] = field(default_factory=dict)
    """Plugins' own settings, by plugin; written as tables [plugins.NAME]."""
    load_seconds: SomeSeconds = 30.0
    """How long a plugin's import and its hooks may take, together."""
    max_runs: AtLeastOne = 64
    """Runs of skills at a time, each in a thread of its own; one more gets 429."""
    max_threads: AtLeastOne = 16
    """Threads for the synchronous code of one plugin."""
    max_failures: AtLeastOne = 5
    """Failures in a row after which a filter, a route or a skill is switched off."""
    rest_seconds: SomeSeconds = 30.0
    """After so long, what was switched off is tried once."""


@dataclass(frozen=True, kw_only=True)
class EvalsSettings:
    """The [evals] section: how models are measured."""

    concurrency: AtLeastOne = 4
    """Items of one run that are asked and graded at a time."""
    python_graders: bool = False
    """Graders may be programs of clients: they run in a sandbox, which needs bubblewrap."""
    python_seconds: Annotated[float, msgspec.Meta(gt=0, le=600)] = 10.0
    """How long one such program may run."""


@dataclass(frozen=True, kw_only=True)
class AgentsSettings:
    """The [agents] section: how far the loop goes that runs the server's own tools for a model."""

    max_turns: AtLeastOne = 16
    """Answers of the model in one response; the last one can't call the server's tools."""
    max_seconds: Seconds = 600.0
    """All turns and tools of one response; 0: no bound."""
    max_tokens: AtLeastZero = 32768
    """Tokens that the model may write in all turns of one response; 0: no bound."""
    max_parallel_calls: AtLeastOne = 8
    """Calls of one turn that run at a time; others wait."""
    max_tool_output: AtLeastOne = 65536
    """Characters of what one call returned; the rest is cut, and told."""


@dataclass(frozen=True, kw_only=True)
class Settings:
    """Everything that can be configured. `home` is LLMOS_HOME, not a key of config.toml."""

    home: Path = field(default_factory=lambda: Path.home() / ".llmos")
    api: ApiSettings = field(default_factory=ApiSettings)
    models: ModelsSettings = field(default_factory=ModelsSettings)
    engine: EngineSettings = field(default_factory=EngineSettings)
    log: LogSettings = field(default_factory=LogSettings)
    database: DatabaseSettings = field(default_factory=DatabaseSettings)
    storage: StorageSettings = field(default_factory=StorageSettings)
    jobs: JobsSettings = field(default_factory=JobsSettings)
    plugins: PluginsSettings = field(default_factory=PluginsSettings)
    mcp: McpSettings = field(default_factory=McpSettings)
    agents: AgentsSettings = field(default_factory=AgentsSettings)
    evals: EvalsSettings = field(default_factory=EvalsSettings)
    origins: Mapping[tuple[str, str], Origin] = field(default_factory=dict, compare=False, repr=False)
    """Where values come from that aren't defaults: settings_sources.py tells the keys."""


SECTIONS: dict[str, type[Any]] = {
    "api": ApiSettings,
    "models": ModelsSettings,
    "engine": EngineSettings,
    "log": LogSettings,
    "database": DatabaseSettings,
    "storage": StorageSettings,
    "jobs": JobsSettings,
    "plugins": PluginsSettings,
    "mcp": McpSettings,
    "agents": AgentsSettings,
    "evals": EvalsSettings,
}


def find_home(env: Mapping[str, str] | None = None) -> Path:
    """LLMOS_HOME, absolute; ~/.llmos where that isn't set."""
    env = os.environ if env is None else env
    return Path(env.get("LLMOS_HOME") or Path.home() / ".llmos").expanduser().absolute()


def load_settings(
    config: Path | None = None,
    env: Mapping[str, str] | None = None,
    flags: Mapping[str, Mapping[str, Any]] | None = None,
) -> Settings:
    """Merge the three sources.

    config: the one file to read; None reads LLMOS_CONFIG's if that is set, else LLMOS_HOME/config.toml and, over it,
    ./config.toml, where they exist.
    flags: section -> key -> value, from the command line; None values are skipped.
    Raises SettingsError with the place and the remedy.
    """
    env = os.environ if env is None else env
    home = find_home(env)
    sources = Sources(SECTIONS)
    if env.get("LLMOS_HOME"):
        sources.origins["", "home"] = Origin("environment", "LLMOS_HOME")
    for path in [config] if config else _find_configs(env, home):
        sources.add_file(path)
    sources.add_environment(env)
    sources.add_flags(flags or {})
    sections = {name: build(cls, sources.values[name], name) for name, cls in SECTIONS.items()}
    return Settings(home=home, origins=sources.origins, **sections)


def _find_configs(env: Mapping[str, str], home: Path) -> list[Path]:
    if env.get("LLMOS_CONFIG"):
        return [Path(env["LLMOS_CONFIG"]).expanduser()]
    return [path for path in (home / "config.toml", Path("config.toml")) if path.is_file()]
