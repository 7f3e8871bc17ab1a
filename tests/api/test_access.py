"""Keys over HTTP: who gets in, and what they see."""

from __future__ import annotations

import httpx2
import pytest
from litestar import get

from llmos_server.access.gate import Gate
from llmos_server.access.keys import create_key
from llmos_server.api.app import create_api
from llmos_server.api.generation.starting import AnyRequest
from llmos_server.api.http.access import principal_of, require_admin
from llmos_server.api.served import ModelDirectory, ServedModel
from llmos_server.settings import ApiSettings

TOKEN = "llmos-admin-" + "t" * 43


@get("/admin/probe", guards=[require_admin])
async def probe(request: AnyRequest) -> dict[str, str]:
    return {"name": principal_of(request).name}


@pytest.fixture
def keys(fakes):
    return fakes.MemoryKeys()


@pytest.fixture
def connect(fakes, keys):
    """A client of an API over the models "tiny" (alias "gpt-4o-mini") and "other"."""
    models = [
        ServedModel(id=name, created=1, renderer=fakes.ByteRenderer(), engine=fakes.ScriptedGenerator())
        for name in ("tiny", "other")
    ]
    directory = ModelDirectory(models, aliases={"gpt-4o-mini": "tiny"})
    app = create_api(directory, ApiSettings(cors_origins=("http://page",)), gate=Gate(keys, admin_token=TOKEN))
    app.register(probe)

    def client(client: tuple[str, int] = ("127.0.0.1", 1), **headers: str) -> httpx2.AsyncClient:
        transport = httpx2.ASGITransport(app=app, client=client)
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        return httpx2.AsyncClient(transport=transport, base_url="http://127.0.0.1:8000", headers=named)

    return client


CHAT = {"messages": [{"role": "user", "content": "x"}]}
ASKED = [
    ("POST", "/v1/chat/completions"),
    ("POST", "/v1/completions"),
    ("POST", "/v1/chat/completions/render"),
    ("POST", "/tokenize"),
    ("POST", "/detokenize"),
    ("GET", "/v1/models"),
    ("GET", "/v1/models/tiny"),
    ("GET", "/metrics"),
]


@pytest.mark.parametrize(("method", "path"), ASKED)
async def test_once_there_is_a_key_it_is_asked_for(connect, keys, method, path):
    keys.add(revoked=3)
    reply = await connect().request(method, path, content=b"{not json")
    assert reply.status_code == 401
    error = reply.json()["error"]
    assert (error["type"], error["code"]) == ("invalid_request_error", "invalid_api_key")
    assert reply.headers["www-authenticate"] == "Bearer"


@pytest.mark.parametrize("path", ["/health", "/ready", "/version", "/docs", "/openapi.json", "/", "/api/version"])
async def test_what_tells_nothing_is_public(connect, keys, path):
    keys.add()
    assert (await connect().get(path)).status_code == 200
    assert (await connect(Authorization="Bearer sk-llmos-wrong").get(path)).status_code == 200


async def test_every_other_route_asks(connect, keys):
    """Also those that are added later: whoever makes one public says so here."""
    keys.add()
    app = connect()._transport.app
    public = {
        route.path
        for route in app.routes
        for handler in getattr(route, "route_handlers", ())
        if handler.opt.get("public") and "OPTIONS" not in handler.http_methods
    }
    known = {"/health", "/ready", "/version", "/openapi.json", "/docs", "/docs/{path:str}", "/", "/api/version"}
    assert public == known | ({"/docs/openapi.json"} & public)


@pytest.mark.parametrize(
    "headers",
    [
        {"Authorization": "Bearer {}"},
        {"Authorization": "bearer  {}"},
        {"x_api_key": "{}"},
        {"api_key": "{}"},
        {"Authorization": "Bearer none", "x_api_key": "{}"},
    ],
)
async def test_a_key_opens_wherever_clients_put_it(connect, keys, headers):
    text = keys.add()
    reply = await connect(**{name: value.format(text) for name, value in headers.items()}).post(
        "/v1/chat/completions", json=CHAT
    )
    assert reply.status_code == 200


async def test_an_open_server_takes_any_placeholder_but_no_wrong_key(connect):
    assert (await connect(Authorization="Bearer none").get("/v1/models")).status_code == 200
    assert (await connect(Authorization="Basic bm9uZQ==").get("/v1/models")).status_code == 200
    assert (await connect(Authorization=f"Bearer {create_key().text}").get("/v1/models")).status_code == 401


async def test_a_revoked_key_is_refused_by_the_next_request(connect, keys):
    client = connect(Authorization=f"Bearer {keys.add()}")
    assert (await client.get("/v1/models")).status_code == 200
    keys.revoke(*keys.stored)
    assert (await client.get("/v1/models")).status_code == 401


async def test_administrators_only(connect, keys):
    assert (await connect().get("/admin/probe")).status_code == 403
    assert (await connect(Authorization=f"Bearer {TOKEN}").get("/admin/probe")).json() == {"name": "admin.token"}
    far = connect(client=("192.0.2.7", 1), Authorization=f"Bearer {TOKEN}")
    assert (await far.get("/admin/probe")).status_code == 401
    assert (await connect(Authorization=f"Bearer {keys.add(is_admin=True)}").get("/admin/probe")).status_code == 200
    user = await connect(Authorization=f"Bearer {keys.add()}").get("/admin/probe")
    assert user.status_code == 403
    error = user.json()["error"]
    assert (error["type"], error["code"]) == ("permission_error", "admin_required")
    assert "--admin" in error["message"]
    assert (await connect().get("/admin/probe")).status_code == 401


async def test_a_key_for_some_models_sees_and_uses_only_those(connect, keys):
    client = connect(Authorization=f"Bearer {keys.add(models=('tiny',))}")
    assert [model["id"] for model in (await client.get("/v1/models")).json()["data"]] == ["tiny"]
    assert (await client.get("/v1/models/other")).status_code == 403
    for path, body in (
        ("/v1/chat/completions", CHAT),
        ("/v1/chat/completions/render", CHAT),
        ("/v1/completions", {"prompt": "x"}),
        ("/tokenize", {"prompt": "x"}),
        ("/detokenize", {"tokens": [1]}),
    ):
        assert (await client.post(path, json={**body, "model": "gpt-4o-mini"})).status_code == 200
        refused = await client.post(path, json={**body, "model": "other"})
        assert (refused.status_code, refused.json()["error"]["code"]) == (403, "model_not_allowed")
    unknown = await client.post("/v1/chat/completions", json={**CHAT, "model": "nothing"})
    assert (unknown.status_code, unknown.json()["error"]["code"]) == (404, "model_not_found")
    assert "may use: tiny" in unknown.json()["error"]["message"]
    assert "other" not in unknown.text
    by_alias = connect(Authorization=f"Bearer {keys.add(models=('gpt-4o-mini',))}")
    assert [model["id"] for model in (await by_alias.get("/v1/models")).json()["data"]] == ["tiny"]


async def test_pages_of_other_origins_can_ask_first_and_read_the_refusal(connect, keys):
    """A browser's preflight carries no key."""
    keys.add()
    preflight = {"Origin": "http://page", "Access-Control-Request-Method": "POST"}
    asked = await connect().options("/v1/chat/completions", headers=preflight)
    assert asked.status_code in (200, 204)
    refused = await connect().post("/v1/chat/completions", json=CHAT, headers={"Origin": "http://page"})
    assert refused.status_code == 401
    assert refused.headers["access-control-allow-origin"] == "http://page"
