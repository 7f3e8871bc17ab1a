"""Logging: structlog and the standard library's loggers through one formatter, to stderr or a file.

What is logged is metadata: ids, counts, times, names. Prompts, answers and keys are never passed to a logger.
"""

from __future__ import annotations

import logging
import sys
from pathlib import Path
from typing import TextIO

import structlog
from structlog.typing import EventDict, Processor, WrappedLogger

from llmos_server.log_file import LogFile
from llmos_server.settings import LogSettings

ROUTED = ("uvicorn", "uvicorn.error", "uvicorn.access", "uvicorn.asgi", "litestar")
"""Loggers that bring handlers of their own; those are removed, so that each event is written once, in our format."""

QUIET = ("httpx2", "httpcore2", "huggingface_hub", "filelock", "asyncio", "aiosqlite")
"""Libraries whose info lines tell the operator nothing."""

SILENT = ("mcp",)
"""Libraries that log what people and models have written. What goes wrong in them is told where it is caught."""


def configure_logging(
    settings: LogSettings,
    stream: TextIO | None = None,
    *,
    rotates: bool = False,
    beside: logging.Handler | None = None,
) -> None:
    """Route every logger of this process. Call once, at start; a second call replaces the first.

    stream: None is settings.file, else stderr. Format "auto" is console on a terminal and JSON lines otherwise.
    rotates: whether this is the one process that rotates the file. beside: gets all lines, too, as JSON. Raises
    SettingsError when the file can't be opened.
    """
    handler = _create_handler(settings, stream, rotates)
    is_terminal = isinstance(handler, logging.StreamHandler) and handler.stream.isatty()
    as_console = settings.format == "console" or (settings.format == "auto" and is_terminal)
    level = logging.getLevelNamesMapping()[settings.level.upper()]
    shared = _shared_processors()
    structlog.configure(
        processors=[
            structlog.stdlib.filter_by_level,
            *shared,
            structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
        ],
        wrapper_class=structlog.stdlib.BoundLogger,
        logger_factory=structlog.stdlib.LoggerFactory(),
        cache_logger_on_first_use=False,
    )
    handler.setFormatter(_formatter(shared, as_console, colors=as_console and is_terminal))
    root = logging.getLogger()
    for old in root.handlers:
        if isinstance(old, LogFile):
            old.close()
    root.handlers = [handler]
    if beside is not None:
        beside.setFormatter(_formatter(shared, as_console=False, colors=False))
        root.addHandler(beside)
    root.setLevel(level)
    for name in ROUTED:
        logger = logging.getLogger(name)
        logger.handlers, logger.propagate = [], True
    for name in QUIET:
        logging.getLogger(name).setLevel(max(level, logging.WARNING))
    for name in SILENT:
        logging.getLogger(name).setLevel(logging.CRITICAL + 1)


def _create_handler(settings: LogSettings, stream: TextIO | None, rotates: bool) -> logging.Handler:
    if stream is None and settings.file:
        path = Path(settings.file).expanduser()
        return LogFile(path, settings.max_bytes, settings.backups) if rotates else LogFile(path)
    return logging.StreamHandler(stream or sys.stderr)


def _shared_processors() -> list[Processor]:
    """Run on our events and on those of the libraries alike."""
    return [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.stdlib.PositionalArgumentsFormatter(),
    ]


def _formatter(shared: list[Processor], as_console: bool, colors: bool) -> logging.Formatter:
    last: list[Processor]
    if as_console:  # Plain tracebacks: the default ones show local variables, and so prompts.
        last = [structlog.dev.ConsoleRenderer(colors=colors, exception_formatter=structlog.dev.plain_traceback)]
    else:
        last = [structlog.processors.format_exc_info, _event_first, structlog.processors.JSONRenderer()]
    return structlog.stdlib.ProcessorFormatter(
        foreign_pre_chain=shared,
        processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *last],
    )


def _event_first(logger: WrappedLogger, method: str, event: EventDict) -> EventDict:
    """What a person looks for stands at the start of each line."""
    first = {key: event[key] for key in ("timestamp", "level", "event") if key in event}
    return {**first, **event}
