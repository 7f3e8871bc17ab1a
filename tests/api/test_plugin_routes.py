"""URLs that plugins bring."""

from __future__ import annotations

import threading
from typing import Any

import pytest

from llmos_server import Route, RouteAnswer, RouteRequest, hookimpl
from llmos_server.access.gate import Gate
from llmos_server.plugins.host import PluginHost
from llmos_server.plugins.sources import Candidate
from llmos_server.settings import PluginsSettings

GATE = threading.Event()


def echo(asked: RouteRequest) -> RouteAnswer:
    match asked.query.get("do"):
        case "raise":
            raise ValueError("a secret")
        case "wrong":
            return {"x": 1}  # type: ignore[return-value]
        case "odd":
            return RouteAnswer(content=object())
        case "status":
            return RouteAnswer(content={}, status=500)
        case "missing":
            return RouteAnswer(content={"error": "no such term"}, status=404)
        case "block":
            GATE.wait(60)
    return RouteAnswer(content={"query": dict(asked.query), "body": asked.body.decode(), "key": asked.key_id})


class Plugin:
    hook_api = "1.0"

    @hookimpl
    def register_routes(self) -> list[Route]:
        return [
            Route(path="a/b", handle=echo, deadline_seconds=30),
            Route(path="a/b", method="POST", handle=echo),
            Route(path="quick", handle=echo, deadline_seconds=0.02),
            Route(path="admin", handle=echo, needs_admin=True),
        ]


@pytest.fixture
def host() -> PluginHost:
    host = PluginHost(PluginsSettings(max_failures=2, rest_seconds=3600))
    host.add(Candidate(name="terms", source="built-in", load=Plugin), {})
    return host


@pytest.fixture
def api(make_api, host):
    return make_api(plugins=host)


async def test_a_route_answers_get_and_post(api):
    reply = await api.http.get("/v1/llmos/plugins/terms/a/b?x=1")
    assert (reply.status_code, reply.json()) == (200, {"query": {"x": "1"}, "body": "", "key": ""})
    assert (await api.post("/v1/llmos/plugins/terms/a/b", {"y": 2})).json()["body"] == '{"y":2}'
    reply = await api.http.get("/v1/llmos/plugins/terms/a/b?do=missing")
    assert (reply.status_code, reply.json()) == (404, {"error": "no such term"})


async def test_what_isnt_there(api):
    reply = await api.http.get("/v1/llmos/plugins/terms/c")
    assert reply.status_code == 404
    assert "it has: GET a/b, POST a/b, GET quick, GET admin" in reply.json()["error"]["message"]
    assert (await api.http.get("/v1/llmos/plugins/none/a")).status_code == 404
    reply = await api.http.post("/v1/llmos/plugins/terms/a/b", content=b"x", headers={"content-type": "text/plain"})
    assert reply.status_code == 415


@pytest.mark.parametrize(
    ("do", "kind"), [("raise", "raised"), ("wrong", "invalid"), ("odd", "invalid"), ("status", "invalid")]
)
async def test_one_that_fails_is_named_and_counted(api, host, do, kind):
    reply = await api.http.get(f"/v1/llmos/plugins/terms/a/b?do={do}")
    assert (reply.status_code, reply.json()["error"]["code"]) == (500, "plugin_failed")
    assert "GET a/b of the plugin terms" in reply.json()["error"]["message"]
    assert "secret" not in reply.text
    assert host.failures.counts == {("terms", "register_routes", kind): 1}


async def test_one_that_blocks_is_given_up_and_switched_off(api, host):
    for _ in range(2):
        reply = await api.http.get("/v1/llmos/plugins/terms/quick?do=block")
        assert reply.status_code == 500
        assert "took longer than its 0.02 s" in reply.json()["error"]["message"]
    reply = await api.http.get("/v1/llmos/plugins/terms/quick")
    assert reply.status_code == 503
    assert int(reply.headers["Retry-After"]) > 0
    GATE.set()


async def test_keys_hold_for_routes(make_api, host, fakes):
    keys = fakes.MemoryKeys()
    user, boss = ({"Authorization": f"Bearer {keys.add(is_admin=admin)}"} for admin in (False, True))
    api: Any = make_api(plugins=host, gate=Gate(keys))
    assert (await api.http.get("/v1/llmos/plugins/terms/a/b")).status_code == 401
    assert (await api.http.get("/v1/llmos/plugins/terms/a/b", headers=user)).json()["key"] in keys.stored
    assert (await api.http.get("/v1/llmos/plugins/terms/admin", headers=user)).status_code == 403
    assert (await api.http.get("/v1/llmos/plugins/terms/admin", headers=boss)).status_code == 200
