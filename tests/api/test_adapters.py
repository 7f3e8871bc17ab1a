"""Adapters answer by name, to whom they belong, on every endpoint that takes a model."""

from __future__ import annotations

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
