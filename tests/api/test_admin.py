"""Keys, limits and usage over HTTP, with a real database behind."""

from __future__ import annotations

import asyncio
import functools

import httpx2
import pytest
from migrated import migrate

from llmos_server.access.gate import Gate
from llmos_server.api.app import create_api
from llmos_server.api.served import ModelDirectory, ServedModel
from llmos_server.errors import EngineBusy
from llmos_server.key_contracts import UsageRow
from llmos_server.settings import ApiSettings
from llmos_server.store.database import Database
from llmos_server.store.ledger import Ledger
from llmos_server.store.owners import EVERYBODY
from llmos_server.store.store import Store

TOKEN = "llmos-admin-" + "t" * 43
CHAT = {"messages": [{"role": "user", "content": "x"}]}


def usage_row(**fields) -> UsageRow:
    given = {"request_id": "r", "owner": "x", "model": "tiny", "endpoint": "/", "seconds": 1.0, "status": "stop"}
    return UsageRow(**given, prompt_tokens=1, completion_tokens=1, **fields)


class Server:
    """An API over the model "tiny", its database and its administrator."""

    def __init__(self, store: Store, generator, renderer, encoder=None, **settings) -> None:
        self.store, self.generator = store, generator
        self.ledger = Ledger(store.usage.write, store.keys.touch)
        models = [ServedModel(id="tiny", created=1, renderer=renderer, engine=generator)]
        if encoder is not None:
            models.append(ServedModel(id="small", created=1, renderer=renderer, engine=encoder, kind="encoder"))
        gate = Gate(store.keys, admin_token=TOKEN, on_use=self.ledger.note_use)
        directory = ModelDirectory(models, aliases={"gpt-4o-mini": "tiny"})
        self.app = create_api(directory, ApiSettings(**settings), gate=gate, store=store, usage=self.ledger)
        self.admin = self.client(TOKEN)

    def client(self, key: str | None) -> httpx2.AsyncClient:
        headers = {} if key is None else {"Authorization": f"Bearer {key}"}
        transport = httpx2.ASGITransport(app=self.app)
        return httpx2.AsyncClient(transport=transport, base_url="http://127.0.0.1:8000", headers=headers)

    async def create(self, name: str, **fields) -> tuple[str, httpx2.AsyncClient]:
        reply = await self.admin.post("/admin/v1/keys", json={"name": name, **fields})
        assert reply.status_code == 200, reply.text
        return reply.json()["id"], self.client(reply.json()["key"])

    async def rows(self, owner=EVERYBODY) -> int:
        await self.ledger.flush()
        return (await self.store.usage.totals(owner))[0].requests


@pytest.fixture
async def make(tmp_path, fakes):
    store = Store(Database(tmp_path))
    await migrate(store.database)
    yield lambda script="Hello", **settings: Server(
        store, fakes.ScriptedGenerator(script), fakes.ByteRenderer(), **settings
    )
    await store.close()


@pytest.fixture
def server(make) -> Server:
    return make()


class TestKeys:
    async def test_a_key_is_made_listed_and_revoked(self, server):
        key_id, user = await server.create(
            "laptop", models=["tiny"], skills=["code"], tools=["clock"], max_in_flight=2, tokens_per_minute=100
        )
        [listed] = (await server.admin.get("/admin/v1/keys")).json()["data"]
        assert (listed["id"], listed["name"], listed["models"]) == (key_id, "laptop", ["tiny"])
        assert (listed["skills"], listed["tools"]) == (["code"], ["clock"])
        assert listed["key"] is None
        assert "secret" not in str(listed)
        assert (await user.get("/v1/models")).status_code == 200
        assert (await server.client(None).get("/v1/models")).status_code == 401
        assert (await user.get("/admin/v1/keys")).status_code == 403
        revoked = await server.admin.delete("/admin/v1/keys/laptop")
        assert revoked.json()["revoked"] is not None
        assert (await user.get("/v1/models")).status_code == 401
        again = await server.admin.delete(f"/admin/v1/keys/{key_id}")
        assert (again.status_code, again.json()["error"]["code"]) == (404, "key_not_found")
        assert (await server.client(None).get("/v1/models")).status_code == 401  # Revoking the last opens nothing.

    async def test_a_leaked_key_is_revoked_by_itself_and_not_logged(self, server, capsys):
        _, user = await server.create("leaked")
        key = user.headers["Authorization"].removeprefix("Bearer ")
        capsys.readouterr()
        revoked = await server.admin.delete(f"/admin/v1/keys/{key}")
        assert (revoked.status_code, revoked.json()["name"]) == (200, "leaked")
        again = await server.admin.delete(f"/admin/v1/keys/{key}")
        assert again.status_code == 404
        logged = "".join(capsys.readouterr())
        assert "/admin/v1/keys/sk-llmos-" in logged
        assert key[-43:] not in logged + again.text

    async def test_what_is_changed_holds_at_once(self, server):
        key_id, user = await server.create("laptop", tokens_per_minute=20, max_in_flight=1)
        body = {"prompt": "x" * 18, "max_tokens": 5}
        assert (await user.post("/v1/completions", json=body)).status_code == 200
        assert (await user.post("/v1/completions", json=body)).status_code == 429
        changed = await server.admin.patch(
            f"/admin/v1/keys/{key_id}", json={"name": "desk", "tokens_per_minute": None, "models": ["tiny"]}
        )
        expected = {"name": "desk", "tokens_per_minute": None, "models": ["tiny"], "max_in_flight": 1, "skills": None}
        assert {name: changed.json()[name] for name in expected} == expected
        [listed] = (await server.admin.get("/admin/v1/keys")).json()["data"]
        assert listed | {"last_used": None} == changed.json() | {"last_used": None}
        reply = await user.post("/v1/completions", json=body)
        assert reply.status_code == 200
        assert "x-ratelimit-limit-tokens" not in reply.headers
        await server.admin.patch("/admin/v1/keys/desk", json={"models": ["other"]})
        assert (await user.post("/v1/completions", json=body)).status_code == 403
        await server.admin.patch("/admin/v1/keys/desk", json={"models": None})
        assert (await user.post("/v1/completions", json=body)).status_code == 200
        assert (await user.patch("/admin/v1/keys/desk", json={"models": None})).status_code == 403

    @pytest.mark.parametrize(
        ("body", "param"),
        [
            ({"name": None}, "name"),
            ({"name": " a"}, "name"),
            ({"name": "other"}, "name"),
            ({"models": []}, "models"),
            ({"tools": ["\x00"]}, "tools"),
            ({"max_in_flight": 0}, "max_in_flight"),
            ({"is_admin": True}, "is_admin"),
            ({"is_admin": False}, "is_admin"),
        ],
    )
    async def test_what_can_not_be_changed_changes_nothing(self, server, body, param):
        await server.create("other")
        await server.create("laptop", max_in_flight=3)
        before = (await server.admin.get("/admin/v1/keys")).json()
        reply = await server.admin.patch("/admin/v1/keys/laptop", json={"max_in_flight": 5, **body})
        assert (reply.status_code, reply.json()["error"]["param"]) == (400, param)
        assert (await server.admin.get("/admin/v1/keys")).json() == before

    @pytest.mark.parametrize("name", ["none", "gone"])
    async def test_only_living_keys_are_changed(self, server, name):
        await server.create("gone")
        await server.admin.delete("/admin/v1/keys/gone")
        reply = await server.admin.patch(f"/admin/v1/keys/{name}", json={"max_in_flight": 5})
        assert (reply.status_code, reply.json()["error"]["code"]) == (404, "key_not_found")

    async def test_an_admin_key_administers(self, server):
        _, boss = await server.create("boss", is_admin=True)
        assert (await boss.post("/admin/v1/keys", json={"name": "other"})).status_code == 200

    @pytest.mark.parametrize(
        ("body", "param"),
        [
            ({}, "name"),
            ({"name": ""}, "name"),
            ({"name": "x" * 65}, "name"),
            ({"name": "a\x00b"}, "name"),
            ({"name": " a"}, "name"),
            ({"name": "a", "max_in_flight": 0}, "max_in_flight"),
            ({"name": "a", "tokens_per_minute": 2**31}, "tokens_per_minute"),
            ({"name": "a", "models": ["\x00"]}, "models"),
            ({"name": "a", "models": "tiny"}, "models"),
            ({"name": "a", "skills": [""]}, "skills"),
            ({"name": "a", "tools": ["\x00"]}, "tools"),
        ],
    )
    async def test_what_can_not_be_is_refused_by_name(self, server, body, param):
        reply = await server.admin.post("/admin/v1/keys", json=body)
        assert (reply.status_code, reply.json()["error"]["param"]) == (400, param)

    async def test_a_name_that_is_taken(self, server):
        await server.create("laptop")
        reply = await server.admin.post("/admin/v1/keys", json={"name": "laptop"})
        assert (reply.status_code, reply.json()["error"]["code"]) == (400, "name_taken")

    async def test_without_a_database_the_server_says_so(self, make_api):
        reply = await make_api().http.get("/v1/usage")
        assert (reply.status_code, reply.json()["error"]["code"]) == (503, "database_unavailable")


class TestLimits:
    async def test_requests_in_flight(self, server):
        _, user = await server.create("a", max_in_flight=1)
        _, other = await server.create("b", max_in_flight=1)
        server.generator.gate = asyncio.Event()
        first = asyncio.ensure_future(user.post("/v1/chat/completions", json=CHAT))
        while not server.generator.generations:
            await asyncio.sleep(0)
        refused = await user.post("/v1/chat/completions", json=CHAT)
        assert (refused.status_code, refused.json()["error"]["code"]) == (429, "rate_limit_exceeded")
        assert refused.headers["retry-after"] == "1"
        assert refused.headers["x-ratelimit-limit-requests"] == "1"
        assert (await user.get("/v1/models")).status_code == 200
        second = asyncio.ensure_future(other.post("/v1/chat/completions", json=CHAT))
        server.generator.gate.set()
        assert (await first).status_code == (await second).status_code == 200
        assert (await user.post("/v1/chat/completions", json=CHAT)).status_code == 200

    async def test_a_refused_request_gives_its_place_back(self, server):
        _, user = await server.create("a", max_in_flight=1)
        for _ in range(3):
            assert (await user.post("/v1/chat/completions", json={**CHAT, "max_tokens": 0})).status_code == 400
        assert (await user.post("/v1/chat/completions", json=CHAT)).status_code == 200

    @pytest.mark.parametrize("stream", [True, False])
    async def test_tokens_a_minute(self, server, stream):
        _, user = await server.create("a", tokens_per_minute=20)
        body = {"prompt": "x" * 18, "max_tokens": 5, "stream": stream}
        reply = await user.post("/v1/completions", json=body)
        assert reply.status_code == 200
        assert reply.headers["x-ratelimit-limit-tokens"] == "20"
        assert int(reply.headers["x-ratelimit-remaining-tokens"]) <= 2
        refused = await user.post("/v1/completions", json=body)
        assert (refused.status_code, refused.json()["error"]["code"]) == (429, "rate_limit_exceeded")
        # 23 of 20 tokens were used: the bucket holds one again when 4 have flowed in, a third of one a second.
        assert 10 <= int(refused.headers["retry-after"]) <= 12
        assert refused.headers["x-ratelimit-remaining-tokens"] == "0"

    async def test_what_the_engine_does_not_admit_costs_nothing(self, make, fakes):
        encoder = fakes.ScriptedEncoder()
        server = make(encoder=encoder)
        _, user = await server.create("a", tokens_per_minute=20)
        server.generator.submit_error = EngineBusy("full", retry_after=1.0)
        for _ in range(3):
            refused = await user.post("/v1/completions", json={"prompt": "x" * 18, "max_tokens": 5})
            assert refused.json()["error"]["code"] == "queue_full"
            assert int(refused.headers["x-ratelimit-remaining-tokens"]) == 20
        encoder.error = EngineBusy("full", retry_after=1.0)
        for _ in range(3):
            refused = await user.post("/v1/embeddings", json={"model": "small", "input": "x" * 18})
            assert refused.json()["error"]["code"] == "queue_full"
            assert int(refused.headers["x-ratelimit-remaining-tokens"]) == 20
        assert await server.rows() == 0


class TestUsage:
    @pytest.mark.parametrize("stream", [True, False])
    async def test_each_answer_is_a_row(self, server, stream):
        server.generator.num_cached_tokens = 3
        key_id, user = await server.create("a")
        reply = await user.post("/v1/completions", json={"prompt": "abcdef", "stream": stream})
        await server.ledger.flush()
        entry = (await user.get(f"/v1/usage/{reply.headers['x-request-id']}")).json()["usage"]
        assert entry["seconds"] > 0
        kept = ("owner", "model", "endpoint", "prompt_tokens", "cached_tokens", "completion_tokens", "status")
        assert [entry[name] for name in kept] == [key_id, "tiny", "/v1/completions", 6, 3, 5, "stop"]
        assert entry["queue_seconds"] == 0.001

    async def test_another_keys_row_is_not_found(self, server):
        _, user = await server.create("a")
        _, other = await server.create("b")
        reply = await user.post("/v1/chat/completions", json=CHAT, headers={"X-Request-Id": "mine/1"})
        assert reply.status_code == 200
        await server.ledger.flush()
        assert (await user.get("/v1/usage/mine/1")).status_code == 200
        for client in (other, server.admin):
            missing = await client.get("/v1/usage/mine/1")
            assert (missing.status_code, missing.json()["error"]["code"]) == (404, "usage_not_found")
        assert (await other.get("/v1/usage")).json()["data"][0]["requests"] == 0
        assert (await user.get("/v1/usage?since=1h&by=model")).json()["data"][0]["group"] == "tiny"
        assert (await user.get("/admin/v1/usage")).status_code == 403
        everybody = (await server.admin.get("/admin/v1/usage?by=key")).json()["data"]
        assert [total["requests"] for total in everybody] == [1]
        assert (await server.admin.get("/admin/v1/usage?key=none")).json()["data"][0]["requests"] == 0

    async def test_sums_that_lack_removed_rows_say_so(self, server):
        _, user = await server.create("a")
        await server.store.usage.write([usage_row(created=1000), usage_row(created=5000)])
        for client, path in ((user, "/v1/usage"), (server.admin, "/admin/v1/usage")):
            assert (await client.get(path)).json()["removed_before"] is None
        assert await server.store.removals.remove_before(2000, 10) == 1
        for client, path in ((user, "/v1/usage"), (server.admin, "/admin/v1/usage")):
            assert (await client.get(path)).json()["removed_before"] == 2000
            assert (await client.get(path + "?since=7d")).json()["removed_before"] is None

    async def test_a_failure_is_booked_with_what_was_generated(self, server):
        key_id, user = await server.create("a")
        server.generator.fail_after = 2
        assert (await user.post("/v1/completions", json={"prompt": "abc"})).status_code == 500
        await server.ledger.flush()
        [total] = await server.store.usage.totals(key_id)
        assert (total.requests, total.prompt_tokens, total.completion_tokens) == (1, 3, 2)

    async def test_a_client_that_leaves_is_booked(self, server):
        key_id, user = await server.create("a")
        server.generator.gate = asyncio.Event()
        left = asyncio.Event()
        scope_of = functools.partial(self.scope, user)

        async def receive(messages=[{"type": "http.request", "body": b'{"prompt": "abc"}'}]):  # noqa: B006
            if messages:
                return messages.pop()
            await left.wait()
            return {"type": "http.disconnect"}

        async def send(message):
            pass

        task = asyncio.ensure_future(server.app(scope_of(), receive, send))
        while not server.generator.generations:
            await asyncio.sleep(0.001)
        left.set()
        await task
        await server.ledger.flush()
        row = await server.store.usage.find(key_id, "leaver")
        assert (row.status, row.prompt_tokens, row.completion_tokens) == ("abort", 3, 0)

    @staticmethod
    def scope(user):
        headers = {**user.headers, "content-type": "application/json", "x-request-id": "leaver", "host": "127.0.0.1"}
        return {
            "type": "http",
            "asgi": {"version": "3.0"},
            "http_version": "1.1",
            "method": "POST",
            "path": "/v1/completions",
            "raw_path": b"/v1/completions",
            "query_string": b"",
            "root_path": "",
            "scheme": "http",
            "client": ("127.0.0.1", 1),
            "server": ("127.0.0.1", 8000),
            "headers": [(k.lower().encode(), v.encode()) for k, v in headers.items()],
        }

    async def test_embeddings_are_booked(self, make, fakes):
        server = make(encoder=fakes.ScriptedEncoder())
        key_id, user = await server.create("a", tokens_per_minute=10)
        body = {"model": "small", "input": ["abcdef", "ghijkl"]}
        reply = await user.post("/v1/embeddings", json=body)
        assert reply.status_code == 200, reply.text
        await server.ledger.flush()
        [total] = await server.store.usage.totals(key_id, by="model")
        tokens = reply.json()["usage"]["prompt_tokens"]
        assert (total.group, total.requests, total.prompt_tokens) == ("small", 1, tokens)
        assert (await user.post("/v1/embeddings", json=body)).status_code == 429

    async def test_a_request_that_was_refused_is_no_row(self, server):
        _, user = await server.create("a")
        assert (await user.post("/v1/completions", json={"prompt": "abc", "max_tokens": -5})).status_code == 400
        assert await server.rows() == 0

    @pytest.mark.parametrize("query", ["since=soon", "by=colour"])
    async def test_what_can_not_be_asked(self, server, query):
        reply = await server.admin.get(f"/admin/v1/usage?{query}")
        assert (reply.status_code, reply.json()["error"]["param"]) == (400, query.partition("=")[0])

    async def test_the_ledger_is_in_the_metrics(self, server):
        _, user = await server.create("a")
        await user.post("/v1/completions", json={"prompt": "abc"})
        assert "llmos:usage_rows_pending 1.0" in (await user.get("/metrics")).text
        await server.ledger.flush()
        assert "llmos:usage_rows_written_total 1.0" in (await user.get("/metrics")).text


class TestOwners:
    async def test_requests_tell_the_engine_whose_they_are(self, server):
        key_id, user = await server.create("a")
        await user.post("/v1/completions", json={"prompt": "abc", "cache_salt": "s"})
        [request] = server.generator.requests
        assert (request.owner, request.cache_salt) == (key_id, f"key:{key_id}:s")

    async def test_keys_share_the_cache_where_the_operator_says_so(self, make):
        server = make(isolate_keys=False)
        _, user = await server.create("a")
        await user.post("/v1/completions", json={"prompt": "abc"})
        assert server.generator.requests[0].cache_salt == ""
