"""One formatter for our events and those of the libraries."""

from __future__ import annotations

import io
import json
import logging
from collections.abc import Iterator
from typing import Any

import pytest
import structlog

from llmos_server.logs import QUIET, ROUTED, SILENT, configure_logging
from llmos_server.settings import LogSettings


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.fixture(autouse=True)
def restored() -> Iterator[None]:
    """Logging is the process's: put back what the other tests of this process had."""
    loggers = [logging.getLogger(name) for name in (None, *ROUTED, *QUIET, *SILENT)]
    before = [(logger.handlers, logger.level, logger.propagate) for logger in loggers]
    yield
    for logger, (handlers, level, propagate) in zip(loggers, before, strict=True):
        logger.handlers, logger.propagate = handlers, propagate
        logger.setLevel(level)
    structlog.reset_defaults()


def lines(stream: io.StringIO) -> list[dict[str, Any]]:
    return [json.loads(line) for line in stream.getvalue().splitlines()]


def test_json_lines_where_no_one_looks() -> None:
    stream = io.StringIO()
    configure_logging(LogSettings(), stream)
    with structlog.contextvars.bound_contextvars(request_id="req-1"):
        structlog.get_logger("llmos_server.api").info("answered", status=200)
    (event,) = lines(stream)
    assert event.pop("timestamp").endswith("Z")
    assert event == {
        "event": "answered",
        "status": 200,
        "request_id": "req-1",
        "level": "info",
        "logger": "llmos_server.api",
    }


def test_a_library_that_logs_what_people_write_logs_nothing() -> None:
    stream = io.StringIO()
    configure_logging(LogSettings(level="debug"), stream)
    logging.getLogger("mcp.client.stdio").error("Failed to parse: %s", "a prompt")
    assert stream.getvalue() == ""


def test_a_library_logs_the_same_way_and_once() -> None:
    stream = io.StringIO()
    logging.getLogger("uvicorn.error").addHandler(logging.StreamHandler(stream))
    configure_logging(LogSettings(), stream)
    logging.getLogger("uvicorn.error").info("Started %s", "it")
    (event,) = lines(stream)
    assert (event["event"], event["logger"], event["level"]) == ("Started it", "uvicorn.error", "info")


@pytest.mark.parametrize(("level", "count"), [("debug", 4), ("info", 3), ("warning", 2), ("error", 1)])
def test_the_level_holds(level: Any, count: int) -> None:
    stream = io.StringIO()
    configure_logging(LogSettings(level=level), stream)
    log = structlog.get_logger("x")
    for name in ("debug", "info", "warning", "error"):
        getattr(log, name)("e")
    assert len(lines(stream)) == count


def test_chatty_libraries_are_quiet() -> None:
    stream = io.StringIO()
    configure_logging(LogSettings(level="debug"), stream)
    for name in QUIET:
        logging.getLogger(name).info("a request was sent")
        logging.getLogger(name).warning("trouble")
    assert [event["event"] for event in lines(stream)] == ["trouble"] * len(QUIET)


def test_a_traceback_is_one_json_line() -> None:
    stream = io.StringIO()
    configure_logging(LogSettings(), stream)
    try:
        raise ValueError("broken")
    except ValueError:
        structlog.get_logger("x").exception("failed")
    (event,) = lines(stream)
    assert "ValueError: broken" in event["exception"]


@pytest.mark.parametrize("format", ["console", "json"])
def test_a_traceback_shows_no_local_variables(format: Any) -> None:
    """They hold prompts."""
    stream = io.StringIO()
    configure_logging(LogSettings(format=format), stream)
    prompt = "".join(reversed("terces"))
    try:
        raise ValueError(f"broken after {len(prompt)} characters")
    except ValueError:
        structlog.get_logger("x").exception("failed")
        logging.getLogger("y").exception("failed, too")
    assert stream.getvalue().count("broken after 6 characters") == 2
    assert "secret" not in stream.getvalue()


@pytest.mark.parametrize(
    ("format", "stream", "is_json"),
    [
        ("auto", Terminal(), False),
        ("auto", io.StringIO(), True),
        ("json", Terminal(), True),
        ("console", io.StringIO(), False),
    ],
)
def test_the_format_follows_the_setting_and_the_terminal(format: Any, stream: io.StringIO, is_json: bool) -> None:
    configure_logging(LogSettings(format=format), stream)
    structlog.get_logger("x").info("hello", what="world")
    text = stream.getvalue()
    assert text.startswith("{") == is_json
    assert ("\x1b[" in text) == (stream.isatty() and not is_json)
    assert "hello" in text
