"""Clients that leave, over real sockets; and a server that is told to stop."""

from __future__ import annotations

import asyncio
import contextlib
import json
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import httpx2
import openai
import pytest
import uvicorn

WAIT = 20
USER = [{"role": "user", "content": "Hi"}]


@contextlib.contextmanager
def running(app) -> Iterator[str]:
    """The app on a free loopback port, in a thread."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        server = uvicorn.Server(uvicorn.Config(app, log_config=None, access_log=False, timeout_graceful_shutdown=5))
        thread = threading.Thread(target=lambda: asyncio.run(server.serve(sockets=[listener])))
        thread.start()
        try:
            yield f"http://127.0.0.1:{listener.getsockname()[1]}"
        finally:
            server.should_exit = True
            thread.join(WAIT)


def wait_for_generation(api):
    ready = threading.Event()
    for _ in range(WAIT * 100):
        if api.generator.generations:
            return api.generator.generations[0]
        ready.wait(0.01)
    raise AssertionError("nothing was submitted")


@pytest.fixture
def endless(make_api):
    return make_api(lambda request, index: b"x" * 10**6, max_model_len=10**7, step_seconds=0.005)


def test_the_sync_sdk_streams(make_api):
    api = make_api("Hello")
    with running(api.app) as url, openai.OpenAI(base_url=url + "/v1", api_key="x") as client:
        stream = client.chat.completions.create(model="tiny", messages=USER, stream=True)
        assert "".join(chunk.choices[0].delta.content or "" for chunk in stream) == "Hello"


SHORT = {"model": "tiny", "messages": USER, "stream": False}
ERROR_FORMS = {
    "/v1/chat/completions": {"error": {"message", "type", "param", "code"}},
    "/v1/messages": {"type": set(), "error": {"type", "message", "details"}, "request_id": set()},
    "/api/chat": {"error": set()},
}
"""Path -> fields of an error there, and theirs."""


@pytest.mark.parametrize("path", ERROR_FORMS)
async def test_an_unstreamed_request_that_outlasts_the_grace_time_is_told(endless, path):
    """The web server cancels it then, which must not look like a crash. In the form of its API."""
    body = SHORT if path.startswith("/api") else {**SHORT, "max_tokens": 10**6}
    asked = asyncio.create_task(endless.post(path, body))
    async with asyncio.timeout(WAIT):
        while not endless.generator.generations:
            await asyncio.sleep(0.005)
    asked.cancel()
    reply = await asked
    assert reply.status_code == 503
    assert reply.headers["Retry-After"] == "5"
    assert reply.headers["X-Request-Id"]
    assert "shutting down" in reply.text
    form = {name: set(part) if isinstance(part, dict) else set() for name, part in reply.json().items()}
    assert form == ERROR_FORMS[path]
    assert endless.generator.generations[0].aborted.is_set()


@pytest.mark.parametrize("path", ["/v1/chat/completions", "/v1/completions"])
def test_leaving_a_stream_aborts(endless, path):
    body = (
        {"messages": USER, "stream": True}
        if "chat" in path
        else {"prompt": ["a", "b"], "max_tokens": 10**6, "stream": True}
    )
    with running(endless.app) as url:
        with httpx2.stream("POST", url + path, json={**body, "stream": True}) as reply:
            next(reply.iter_text())
        for generation in endless.generator.generations:
            assert generation.aborted.wait(WAIT)
        assert 'finished_reason="abort"' in httpx2.get(url + "/metrics").text


@pytest.mark.parametrize("path", ["/v1/chat/completions", "/v1/completions"])
def test_leaving_an_unstreamed_request_aborts(endless, path):
    body = {"messages": USER} if "chat" in path else {"prompt": "a", "max_tokens": 10**6}
    with running(endless.app) as url:
        with httpx2.Client(timeout=httpx2.Timeout(5, read=0.3)) as client, pytest.raises(httpx2.ReadTimeout):
            client.post(url + path, json=body)
        assert wait_for_generation(endless).aborted.wait(WAIT)


@pytest.mark.parametrize("stream", [False, True])
def test_leaving_the_queue_aborts(endless, stream):
    """Nothing has been generated yet."""
    endless.generator.gate = asyncio.Event()
    with running(endless.app) as url:
        with httpx2.Client(timeout=httpx2.Timeout(5, read=0.3)) as client, pytest.raises(httpx2.ReadTimeout):
            client.post(url + "/v1/chat/completions", json={"messages": USER, "stream": stream})
        assert wait_for_generation(endless).aborted.wait(WAIT)


async def test_leaving_in_each_moment_of_a_stream_aborts(make_api):
    """The client's leaving is seen before the body begins, at its first write, and later."""
    for leave_after in range(4):
        api = make_api(lambda request, index: b"x" * 10**4, max_model_len=10**5)
        left = asyncio.Event()
        messages = [{"type": "http.request", "body": b'{"messages":[{"role":"user","content":"x"}],"stream":true}'}]
        num_writes = 0

        async def receive(messages=messages, left=left):
            if messages:
                return messages.pop()
            await left.wait()
            return {"type": "http.disconnect"}

        async def send(message, left=left, leave_after=leave_after):
            nonlocal num_writes
            if num_writes == leave_after:
                left.set()
            num_writes += 1
            await asyncio.sleep(0)

        scope = {
            "type": "http", "asgi": {"version": "3.0"}, "http_version": "1.1", "method": "POST", "scheme": "http",
            "path": "/v1/chat/completions", "raw_path": b"", "query_string": b"", "root_path": "",
            "headers": [(b"host", b"localhost"), (b"content-type", b"application/json")],
            "client": None, "server": None,
        }  # fmt: skip
        await asyncio.wait_for(api.app(scope, receive, send), WAIT)
        assert api.generator.generations[0].aborted.is_set()


SERVER = """
import sys
sys.path[:0] = [{tests!r}, {root!r}]
import uvicorn
from fakes import ByteRenderer, ScriptedGenerator
from llmos_server.api.app import create_api
from llmos_server.api.served import ModelDirectory, ServedModel
from llmos_server.settings import ApiSettings
generator = ScriptedGenerator(lambda request, index: b"x" * 10**6, max_model_len=10**7, step_seconds=0.02)
model = ServedModel(id="tiny", created=0, renderer=ByteRenderer(), engine=generator)
app = create_api(ModelDirectory([model]), ApiSettings(grace_seconds={grace}))
uvicorn.run(app, port={port}, log_config=None, timeout_graceful_shutdown={grace} + 5)
"""


@pytest.mark.parametrize(
    ("grace", "max_tokens", "path"),
    [(20, 60, "/v1/chat/completions"), (1, 10**6, "/v1/chat/completions"), (1, 10**6, "/api/chat")],
)
def test_sigterm_lets_a_stream_finish_within_the_grace_time(grace, max_tokens, path):
    root = Path(__file__).parents[2]
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    code = SERVER.format(tests=str(root / "tests"), root=str(root), grace=grace, port=port)
    process = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.DEVNULL)
    try:
        transport = httpx2.HTTPTransport(retries=0)
        with httpx2.Client(transport=transport, base_url=f"http://127.0.0.1:{port}", timeout=WAIT) as client:
            pause = threading.Event()
            for _ in range(WAIT * 20):
                with contextlib.suppress(httpx2.TransportError):
                    if client.get("/health").status_code == 200:
                        break
                pause.wait(0.05)
            body = {"model": "tiny", "messages": USER, "stream": True, "max_tokens": max_tokens}
            with client.stream("POST", path, json=body) as reply:
                lines = reply.iter_lines()
                next(lines)
                process.send_signal(signal.SIGTERM)
                *_, last = [line for line in lines if line]
        if max_tokens == 60:
            assert last == "data: [DONE]"
        else:
            assert "shutting down" in last
        if path == "/api/chat":
            assert list(json.loads(last)) == ["error"]
        process.wait(timeout=WAIT)
    finally:
        process.kill()
        process.wait()
