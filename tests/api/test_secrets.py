"""A canary in every place where a client can put a secret or a prompt; no log line may hold it, at any level."""

from __future__ import annotations

import io
import json
import logging
import socket
from collections.abc import Iterator, Sequence
from typing import Any, Literal
from urllib.parse import urlsplit

import httpx2
import pytest
import structlog

from llmos_server.access.gate import Gate
from llmos_server.api.app import create_api
from llmos_server.api.served import ModelDirectory, ServedModel
from llmos_server.errors import EngineFailed
from llmos_server.logs import QUIET, ROUTED, configure_logging
from llmos_server.settings import ApiSettings, LogSettings

CANARY = "canary-8f3a91"
JSON = {"Content-Type": "application/json"}
CALL = {"id": CANARY, "type": "function", "function": {"name": CANARY, "arguments": f'{{"a": "{CANARY}"}}'}}
USER = {"role": "user", "content": CANARY, "name": CANARY}
BODIES: list[Any] = [
    {"messages": [USER, {"role": "assistant", "tool_calls": [CALL]}, {"role": "tool", "content": CANARY}]},
    {"messages": [USER], "stream": True},
    {"messages": [USER], "chat_template_kwargs": {"a": CANARY}, "metadata": {"a": CANARY}, "user": CANARY},
    {"messages": [{"role": CANARY, "content": "x"}]},
    {"messages": [{"role": "user", "content": f"REFUSE {CANARY}"}]},
    {"messages": CANARY},
    {"messages": [USER], "model": CANARY},
    {"messages": [USER], "temperature": CANARY},
    {"messages": [USER], "tool_choice": CANARY},
    {"messages": [USER], "tools": [{"name": CANARY}]},
    {"messages": [USER], "unknown_field": CANARY},
    {"messages": [USER], "logit_bias": {CANARY: 1}},
    {"messages": [USER], "stop": CANARY * 100},
    {"messages": [USER], "cache_salt": CANARY},
    {"messages": [{**USER, "content": CANARY * 1000}]},
    {"prompt": CANARY, "suffix": CANARY},
    {"prompt": [CANARY, 1]},
]
ANSWERABLE = [{"messages": [USER]}, {"messages": [USER], "stream": True}, {"prompt": CANARY}]
"""What reaches an engine, which may then fail."""
RAW = [
    b'{"messages": [{"role": "user", "content": "%b',
    b'{"messages": %b}',
    b'{"prompt": "%b\xff"}',
    b'{"prompt": "%b\\ud800"}',
    b"%b",
]
HEADERS = {
    "Authorization": f"Bearer {CANARY}",
    "Cookie": f"a={CANARY}",
    "User-Agent": CANARY,
    "X-Api-Key": CANARY,
    "X-Request-Id": f"{CANARY} with a space",
    "Referer": f"http://x.example/{CANARY}",
}
PATHS = ("/v1/chat/completions", "/v1/completions", "/v1/chat/completions/render", "/tokenize", "/detokenize")


@pytest.fixture
def restored() -> Iterator[None]:
    loggers = [logging.getLogger(name) for name in (None, *ROUTED, *QUIET)]
    before = [(logger.handlers, logger.level, logger.propagate) for logger in loggers]
    yield
    for logger, (handlers, level, propagate) in zip(loggers, before, strict=True):
        logger.handlers, logger.propagate = handlers, propagate
        logger.setLevel(level)
    structlog.reset_defaults()


def send_everything(url: str, bodies: Sequence[Any] = BODIES) -> set[int]:
    statuses = set()
    with httpx2.Client(base_url=url, headers=HEADERS, timeout=20, trust_env=False) as client:
        for path in PATHS:
            for body in bodies:
                statuses.add(client.post(f"{path}?secret={CANARY}", json=body).status_code)
            for raw in RAW:
                content = raw.replace(b"%b", CANARY.encode())
                statuses.add(client.post(path, content=content, headers=JSON).status_code)
            statuses.add(client.post(path, content=CANARY, headers={"Content-Type": CANARY}).status_code)
        for headers in ({"Host": f"{CANARY}.example"}, {"Host": f"{CANARY} x"}, {"Origin": f"x {CANARY}"}):
            statuses.add(client.get("/v1/models", headers=headers).status_code)
        statuses.add(client.get(f"/nothing?key={CANARY}").status_code)
    parts = urlsplit(url)
    garbage = (
        f"{CANARY}\r\n\r\n",
        f"GET /?{CANARY} HTTP/1.1\r\n{CANARY}\r\n\r\n",
        f"GET /\xff{CANARY} HTTP/1.1\r\n\r\n",
    )
    for text in garbage:
        with socket.create_connection((parts.hostname, parts.port), timeout=20) as connection:
            connection.sendall(text.encode("latin-1"))
            connection.shutdown(socket.SHUT_WR)
            while connection.recv(65536):
                pass
    return statuses


@pytest.mark.parametrize("format", ["console", "json"])
def test_no_log_line_holds_what_clients_sent(make_api, run_app, restored, format: Literal["console", "json"]) -> None:
    written = io.StringIO()
    configure_logging(LogSettings(level="debug", format=format), written)
    healthy = make_api("Hello")
    failing = make_api("Hello")
    failing.generator.fail_after, failing.generator.failure = 1, EngineFailed("It died.")
    crashing = make_api("Hello")
    crashing.generator.fail_after = 1
    refusing = make_api("Hello")
    refusing.generator.submit_error = ValueError("broken")
    statuses = set()
    with run_app(healthy.app) as url:
        statuses |= send_everything(url)
    for api in (failing, crashing, refusing):
        with run_app(api.app) as url:
            statuses |= send_everything(url, ANSWERABLE)
    assert {200, 400, 403, 404, 415, 421, 500, 503} <= statuses
    text = written.getvalue()
    assert text.count("POST") > 100
    assert "Traceback" in text
    assert [line for line in text.splitlines() if CANARY in line] == []


async def test_the_request_line_has_the_id_of_the_key_and_never_its_secret(fakes, restored) -> None:
    written = io.StringIO()
    configure_logging(LogSettings(level="debug", format="json"), written)
    keys = fakes.MemoryKeys()
    text = keys.add()
    [key_id] = keys.stored
    model = ServedModel(id="tiny", created=1, renderer=fakes.ByteRenderer(), engine=fakes.ScriptedGenerator())
    app = create_api(ModelDirectory([model], aliases={}), ApiSettings(), gate=Gate(keys))
    transport = httpx2.ASGITransport(app=app)
    secret = text.removeprefix(f"sk-llmos-{key_id}-")
    async with httpx2.AsyncClient(transport=transport, base_url="http://127.0.0.1:8000") as client:
        for sent, status in ((text, 200), (f"sk-llmos-{key_id}-{secret[::-1]}", 401)):
            reply = await client.get("/v1/models", headers={"Authorization": f"Bearer {sent}"})
            assert reply.status_code == status
    lines = [json.loads(line) for line in written.getvalue().splitlines()]
    assert [line.get("key_id") for line in lines if line["event"] == "request"] == [key_id, None]
    assert secret not in written.getvalue()
    assert secret[::-1] not in written.getvalue()
