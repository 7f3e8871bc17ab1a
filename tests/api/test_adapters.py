"""Adapters answer by name, to whom they belong, on every endpoint that takes a model."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
from migrated import migrate

from llmos_server.access.gate import Gate
from llmos_server.access.keys import make_key
from llmos_server.adapter_contracts import ADAPTERS, AdapterVersion
from llmos_server.api.metrics import adapter_metrics
from llmos_server.store.database import Database
from llmos_server.store.store import Store

BASE = "tiny"
TOKEN = "llmos-admin-" + "t" * 43


def adapter(digit: str, owner: str, suffix: str = "tidy", **fields: Any) -> AdapterVersion:
    digest, base = f"sha256:{digit * 64}", f"sha256:{'0' * 64}"
    version = AdapterVersion(
        name=f"{BASE}:{suffix}", base=BASE, base_digest=base, digest=digest, folder="", rank=8, num_bytes=9, owner=owner
    )  # fmt: skip
    return msgspec.structs.replace(version, **fields)


class Server:
    """With keys of ann and bob, each of whom has an adapter of the same name."""

    def __init__(self, api: Any, store: Store, secrets: dict[str, str]) -> None:
        self.api, self.store, self.secrets = api, store, secrets

    async def call(self, method: str, path: str, who: str, body: Any = None) -> Any:
        headers = {"Authorization": f"Bearer {self.secrets[who]}"}
        return await self.api.http.request(method, path, json=body, headers=headers)

    async def chat(self, model: str, who: str = "ann") -> Any:
        body = {"model": model, "messages": [{"role": "user", "content": "Hi"}]}
        return await self.call("POST", "/v1/chat/completions", who, body)

    @property
    def digests(self) -> list[str]:
        """Of the adapters that the engine was asked with."""
        return [request.adapter for request in self.api.generator.requests]


@pytest.fixture
async def server(make_api: Any, tmp_path: Path) -> AsyncIterator[Server]:
    store = Store(Database(tmp_path))
    await migrate(store.database)
    secrets = {"admin": TOKEN}
    for name, digit in (("ann", "a"), ("bob", "b")):
        key, secrets[name] = make_key(name, 1)
        await store.keys.add(key)
        await store.adapters.register(adapter(digit, key.id))
    yield Server(make_api(store=store, gate=Gate(store.keys, admin_token=TOKEN)), store, secrets)
    await store.close()


async def test_a_name_is_ones_own_adapter(server: Server) -> None:
    answers = [await server.chat(f"{BASE}:tidy", who) for who in ("ann", "bob", "ann")]
    assert [answer.status_code for answer in answers] == [200] * 3
    assert [answer.json()["model"] for answer in answers] == [f"{BASE}:tidy"] * 3
    assert server.digests == [f"sha256:{digit * 64}" for digit in "aba"]
    prints = [answer.json()["system_fingerprint"] for answer in answers]
    assert prints[0] == prints[2] != prints[1]
    plain = (await server.chat(BASE)).json()
    assert server.digests[-1] == ""
    assert prints[0] == plain["system_fingerprint"] + "_" + "a" * 12


async def test_they_are_listed_with_their_base(server: Server) -> None:
    listed = (await server.call("GET", "/v1/models", "ann")).json()["data"]
    found = {model["id"]: (model["parent"], model["root"]) for model in listed if not model["id"].startswith("skill:")}
    assert found == {BASE: (None, BASE), f"{BASE}:tidy": (BASE, f"sha256:{'a' * 64}")}
    one = (await server.call("GET", "/v1/models/gpt-4o-mini:tidy", "bob")).json()
    assert (one["id"], one["root"], one["parent"]) == (f"{BASE}:tidy", f"sha256:{'b' * 64}", BASE)


async def test_metrics_count_it_under_its_base_and_by_name_within_bounds(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(adapter_metrics, "MAX_NAMES", 1)
    await server.store.adapters.register(adapter("f", "", "common"))
    for model in (BASE, f"{BASE}:tidy", f"{BASE}:tidy", f"{BASE}:common"):
        await server.chat(model)
    text = (await server.call("GET", "/metrics", "admin")).text
    lines = [line for line in text.splitlines() if "adapter_requests_total{" in line or "success_total{" in line]
    assert lines == [
        f'llmos:request_success_total{{finished_reason="stop",model_name="{BASE}"}} 4.0',
        f'llmos:adapter_requests_total{{adapter="{BASE}:tidy",model_name="{BASE}"}} 2.0',
        f'llmos:adapter_requests_total{{adapter="other",model_name="{BASE}"}} 1.0',
    ]


async def test_completions_take_it_too(server: Server) -> None:
    answer = await server.call("POST", "/v1/completions", "bob", {"model": f"{BASE}:tidy", "prompt": "Hi"})
    assert answer.status_code == 200
    assert server.digests == [f"sha256:{'b' * 64}"]


def asks(path: str, fields: dict[str, Any]) -> dict[str, Any]:
    """A body for the endpoint."""
    texts: dict[str, dict[str, Any]] = {
        "/v1/completions": {"prompt": "Hi"},
        "/v1/responses": {"input": "Hi", "store": False},
        "/v1/systemone": {"state": "Hi", "questions": {"q": {"type": "noul", "instructions": "Is it?"}}},
    }
    return texts.get(path, {"messages": [{"role": "user", "content": "Hi"}]}) | fields


@pytest.mark.parametrize(
    "path",
    ["/v1/chat/completions", "/v1/chat/completions/render", "/v1/completions", "/v1/responses", "/v1/systemone"],
)
async def test_it_is_chosen_by_a_field_too(server: Server, path: str) -> None:
    for fields in (
        {"model": BASE, "adapter": "tidy"},
        {"model": "gpt-4o-mini", "adapter": f"{BASE}:tidy"},
        {"adapter": "gpt-4o-mini:tidy"},
        {"model": f"{BASE}:tidy", "adapter": "tidy"},
    ):
        answer = await server.call("POST", path, "bob", asks(path, fields))
        assert (answer.status_code, answer.json()["model"]) == (200, f"{BASE}:tidy"), answer.text
    assert set(server.digests) <= {f"sha256:{'b' * 64}"}


@pytest.mark.parametrize(
    ("fields", "status", "said"),
    [
        ({"model": BASE, "adapter": "nothing"}, 404, "has no adapter 'nothing'"),
        ({"model": BASE, "adapter": "anns"}, 404, "has no adapter 'anns'"),
        ({"model": f"{BASE}:tidy", "adapter": "other"}, 400, "Leave one of them out"),
        ({"model": BASE, "adapter": "else:1b:tidy"}, 400, "no adapter of tiny"),
        ({"model": BASE, "adapter": ""}, 400, "length >= 1"),
    ],
)
async def test_a_field_that_names_none_is_refused(
    server: Server, fields: dict[str, Any], status: int, said: str
) -> None:
    ann = next(a.owner for a in await server.store.adapters.of_name(f"{BASE}:tidy") if a.digest.endswith("a"))
    await server.store.adapters.register(adapter("e", ann, "anns"))
    refused = await server.call("POST", "/v1/chat/completions", "bob", asks("", fields))
    assert (refused.status_code, refused.json()["error"]["param"]) == (status, "adapter"), refused.text
    assert said in refused.json()["error"]["message"]


async def test_what_is_anothers_is_not_there(server: Server) -> None:
    await server.store.adapters.delete((await server.store.adapters.of_name(f"{BASE}:tidy"))[0].owner, f"{BASE}:tidy")
    answers = {who: (await server.chat(f"{BASE}:tidy", who)).status_code for who in ("ann", "bob")}
    assert sorted(answers.values()) == [200, 404]
    assert (await server.chat(f"{BASE}:nothing")).status_code == 404


async def test_a_name_that_is_given_anew_is_the_new_one(server: Server) -> None:
    await server.chat(f"{BASE}:tidy")
    first = next(a for a in await server.store.adapters.of_name(f"{BASE}:tidy") if a.digest.endswith("a"))
    await server.store.adapters.register(adapter("c", first.owner))
    await server.chat(f"{BASE}:tidy")
    assert [digest[-1] for digest in server.digests] == ["a", "c"]


async def test_an_adapter_is_deleted_by_its_owner_and_by_administrators(server: Server, tmp_path: Path) -> None:
    path = f"/v1/models/{BASE}:tidy"
    folder = tmp_path / ADAPTERS / ("a" * 64)
    folder.mkdir(parents=True)
    gone = await server.call("DELETE", path, "ann")
    assert (gone.status_code, gone.json()) == (200, {"id": f"{BASE}:tidy", "object": "model", "deleted": True})
    assert not folder.exists()
    assert (await server.call("DELETE", path, "ann")).status_code == 404
    assert (await server.chat(f"{BASE}:tidy", "bob")).status_code == 200
    await server.store.adapters.register(adapter("d", "", "common"))
    assert (await server.call("DELETE", f"/v1/models/{BASE}:common", "bob")).status_code == 403
    assert (await server.call("DELETE", f"/v1/models/{BASE}:common", "admin")).status_code == 200
    assert (await server.call("DELETE", f"/v1/models/{BASE}", "admin")).status_code == 403


async def test_an_adapter_is_no_base_to_be_tuned(server: Server) -> None:
    body = {"model": "tiny:tidy", "training_file": "file-1"}
    refused = await server.call("POST", "/v1/fine_tuning/jobs", "ann", body)
    assert (refused.status_code, refused.json()["error"]["param"]) == (400, "model"), refused.text
    assert "name tiny," in refused.json()["error"]["message"]


def put_files(tmp_path: Path, digits: str) -> None:
    for digit in digits:
        (tmp_path / ADAPTERS / (digit * 64)).mkdir(parents=True)


async def change(server: Server, path: str, body: dict[str, str]) -> Any:
    return await server.call("POST", f"/admin/v1/promotions{path}", "admin", body)


async def key_of(server: Server, digit: str) -> str:
    found = await server.store.adapters.of_name(f"{BASE}:tidy")
    return next(one.owner for one in found if one.digest.endswith(digit))


async def test_an_alias_leads_to_a_version_to_the_next_and_back(server: Server, tmp_path: Path) -> None:
    """A request that runs ends on what it began with."""
    put_files(tmp_path, "ab")
    first = {"alias": "orders", "model": f"{BASE}:tidy", "owner": await key_of(server, "a")}
    assert (await server.chat("orders")).status_code == 404
    made = await change(server, "", first)
    assert (made.status_code, made.json()["model"], made.json()["previous"]) == (200, f"{BASE}:tidy", None), made.text
    assert [one.digest[-1] for one in server.api.generator.adapters] == ["a"], "it is loaded ahead"
    server.api.generator.gate = asyncio.Event()
    running = asyncio.create_task(server.chat("orders", "bob"))
    while not server.digests:
        await asyncio.sleep(0)
    await change(server, "", {**first, "owner": await key_of(server, "b")})
    server.api.generator.gate.set()
    answers = [await running, await server.chat("orders", "ann")]
    back = await change(server, "/rollback", {"alias": "orders"})
    assert (back.json()["action"], back.json()["digest"][-1]) == ("rollback", "a")
    answers.append(await server.chat("orders", "bob"))
    assert [digest[-1] for digest in server.digests] == ["a", "b", "a"]
    assert [answer.json()["system_fingerprint"][-12:] for answer in answers] == ["a" * 12, "b" * 12, "a" * 12]
    assert "llmos demote orders" in (await change(server, "/rollback", {"alias": "orders"})).text
    history = (await server.call("GET", "/admin/v1/promotions/orders", "admin")).json()["data"]
    assert [(one["number"], one["action"]) for one in history] == [(3, "rollback"), (2, "promote"), (1, "promote")]


async def test_an_alias_answers_everybody_whatever_becomes_of_the_adapters_name(server: Server, tmp_path: Path) -> None:
    put_files(tmp_path, "a")
    owner = await key_of(server, "a")
    await change(server, "", {"alias": "orders", "model": f"{BASE}:tidy", "owner": owner})
    await change(server, "", {"alias": "plain", "model": BASE})
    assert (await server.call("DELETE", f"/v1/models/{BASE}:tidy", "ann")).status_code == 200
    assert (tmp_path / ADAPTERS / ("a" * 64)).is_dir()
    assert [(await server.chat(name, "bob")).status_code for name in ("orders", "plain")] == [200, 200]
    listed = (await server.call("GET", "/v1/models", "bob")).json()["data"]
    found = {one["id"]: (one["root"], one["parent"]) for one in listed}
    assert (found["orders"], found["plain"]) == ((f"sha256:{'a' * 64}", BASE), (BASE, None))
    assert (await server.call("DELETE", "/v1/models/orders", "ann")).status_code == 403
    limited, secret = make_key("eve", 1, models=["orders"])
    await server.store.keys.add(limited)
    server.secrets["eve"] = secret
    assert [(await server.chat(name, "eve")).status_code for name in ("orders", "plain")] == [200, 403]
    gone = await server.call("DELETE", "/admin/v1/promotions/orders", "admin")
    assert (gone.status_code, (await server.chat("orders", "bob")).status_code) == (200, 404)


@pytest.mark.parametrize(
    ("fields", "status", "said"),
    [
        ({"alias": BASE}, 400, "is a name of the model"),
        ({"alias": "gpt-4o-mini"}, 400, "is a name of the model"),
        ({"alias": "a:b"}, 400, "can't be an alias"),
        ({"model": f"{BASE}:nothing"}, 404, "No adapter is named"),
        ({"model": "nothing"}, 404, "isn't served here"),
        ({"model": f"{BASE}:tidy"}, 400, "Say whose"),
        ({"model": f"{BASE}:gone"}, 400, "files of"),
    ],
)
async def test_what_cant_be_promoted_changes_nothing(
    server: Server, fields: dict[str, str], status: int, said: str
) -> None:
    await server.store.adapters.register(adapter("c", "", "gone"))
    await change(server, "", {"alias": "orders", "model": BASE})
    refused = await change(server, "", {"alias": "orders", "model": BASE, **fields})
    assert (refused.status_code, said in refused.text) == (status, True), refused.text
    assert [one.number for one in await server.store.promotions.list()] == [1]
    assert (await server.call("POST", "/admin/v1/promotions", "ann", {"alias": "x", "model": BASE})).status_code == 403
