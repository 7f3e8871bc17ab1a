"""Failures always have OpenAI's shape, an id and a fitting status."""

from __future__ import annotations

import pytest

from llmos_server.errors import EngineBusy, EngineFailed

BROKEN = [
    b"",
    b"{",
    b"[]",
    b"5",
    b"null",
    b'"x"',
    b"\xff\xfe",
    b'{"a": NaN}',
    b'{"a": 1e999}',
    b"[" * 10**5,
    b'{"a":' * 10**5,
]
JSON = {"content-type": "application/json"}


def check(reply, status: int, code: str) -> dict:
    assert reply.status_code == status, reply.text
    error = reply.json()["error"]
    assert set(reply.json()) == {"error"}
    assert set(error) == {"message", "type", "param", "code"}
    assert error["code"] == code
    assert reply.headers["X-Request-Id"]
    return error


async def test_unknown_routes_and_methods(api):
    error = check(await api.http.get("/v1/nothing"), 404, "unknown_url")
    assert "GET /v1/nothing" in error["message"]
    check(await api.post("/nothing"), 404, "unknown_url")
    check(await api.http.get("/v1/chat/completions"), 405, "method_not_allowed")
    check(await api.http.delete("/v1/models"), 405, "method_not_allowed")
    check(await api.http.get("/docs/nothing"), 404, "unknown_url")


@pytest.mark.parametrize("path", ["/v1/chat/completions", "/v1/completions", "/tokenize", "/detokenize"])
@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"[]",
        b"5",
        b"null",
        b'"x"',
        b"\xff\xfe",
        b'{"a": NaN}',
        b'{"a": 1e999}',
        b"[" * 100000,
        b'{"a":' * 50000,
    ],
)
async def test_bodies_that_are_no_json_object(api, path, body):
    check(await api.http.post(path, content=body, headers=JSON), 400, "invalid_json")


@pytest.mark.parametrize("half", [b"\\ud800", b"\\udc00", b"\\ud800x", b"\\ud83d\\ud83d"])
async def test_half_surrogates_are_refused(api, half):
    body = b'{"messages":[{"role":"user","content":"' + half + b'"}]}'
    reply = await api.http.post("/v1/chat/completions", content=body, headers=JSON)
    assert reply.status_code == 400


async def test_deeply_nested_values_are_no_crash(api):
    nested: list = []
    for _ in range(300):
        nested = [nested]
    for field in ("metadata", "chat_template_kwargs", "messages", "stop", "tools", "logit_bias", "strange"):
        assert (await api.chat(**{field: nested})).status_code in (200, 400)


async def test_bodies_that_are_too_large(make_api):
    api = make_api(settings={"max_body_bytes": 1000})
    check(await api.chat("x" * 2000), 413, "request_too_large")


async def test_an_error_does_not_repeat_a_long_value(api):
    for body in ({"messages": [{"role": "x" * 10**6}]}, {"messages": [{"role": "user", "x" * 10**6: 1}]}):
        reply = await api.post("/v1/chat/completions", body, headers={"X-LLMOS-Strict": "1"})
        assert reply.status_code == 400
        assert len(reply.content) < 4000


async def test_a_missing_field_is_named(api):
    assert check(await api.post("/v1/chat/completions", {}), 400, "missing_required_parameter")["param"] == "messages"
    assert check(await api.post("/v1/completions", {}), 400, "missing_required_parameter")["param"] == "prompt"


async def test_a_full_queue_is_429_and_a_busy_engine_503(api):
    api.generator.submit_error = EngineBusy("Too many requests wait.", retry_after=7)
    reply = await api.chat()
    check(reply, 429, "queue_full")
    assert reply.headers["Retry-After"] == "7"
    api.generator.state = "restarting"
    api.generator.loaded.set()
    api.generator.submit_error = None
    assert (await api.chat()).status_code == 200


async def test_a_load_that_fails(make_api):
    api = make_api(state="loading")
    api.generator.loaded.set()
    api.generator.load_error = EngineFailed("The weights are broken.")
    for stream in (False, True):
        assert check(await api.chat(stream=stream), 503, "engine_failed")["message"] == "The weights are broken."
    api.generator.load_error = EngineBusy("Still loading.")
    reply = await api.chat()
    check(reply, 503, "engine_busy")
    assert reply.headers["Retry-After"] == "1"


async def test_unexpected_errors_are_500_without_their_text(api):
    api.generator.submit_error = ValueError("secret")
    for stream in (False, True):
        reply = await api.chat(stream=stream)
        assert "secret" not in reply.text
        assert check(reply, 500, "internal_error")["type"] == "server_error"


async def test_request_ids_are_taken_or_made(api):
    for sent in ("abc-123", "a" * 128):
        reply = await api.chat(headers={"X-Request-Id": sent}, stream=True)
        assert reply.headers["X-Request-Id"] == sent
    for bad in ("a" * 129, "a b", "a\tb", ""):
        reply = await api.http.get("/nothing", headers={"X-Request-Id": bad})
        assert reply.headers["X-Request-Id"].startswith("req_")


async def test_no_web_page_may_read_without_the_setting(api, make_api):
    origin = {"Origin": "http://app.example"}
    refused = await api.http.get("/v1/models", headers=origin)
    assert refused.status_code == 403
    assert "access-control-allow-origin" not in refused.headers
    open_api = make_api(settings={"cors_origins": ("http://app.example",)})
    reply = await open_api.http.get("/v1/models", headers=origin)
    assert reply.headers["access-control-allow-origin"] == "http://app.example"
    assert "X-Request-Id" in reply.headers["access-control-expose-headers"]
    preflight = await open_api.http.options(
        "/v1/chat/completions",
        headers={**origin, "Access-Control-Request-Method": "POST", "Access-Control-Request-Headers": "authorization"},
    )
    assert preflight.status_code == 204
    stream = await open_api.chat(stream=True, headers=origin)
    assert stream.headers["access-control-allow-origin"] == "http://app.example"
    evil = await open_api.http.get("/v1/models", headers={"Origin": "http://app.example.evil.com"})
    assert "access-control-allow-origin" not in evil.headers
