"""What one key has stored is a 404 for every other: on each route and in each field of a body that takes the id of such
a thing. Both are found in the handlers, so a new one is tested when it is made, or fails here."""

from __future__ import annotations

import re
import shutil
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from owned_things import GIVEN, fill
from stored_api import HELLO, StoredApi, open_stored_api

from llmos_server.access.gate import Gate
from llmos_server.api.app import HANDLERS
from llmos_server.api.bodies.field_rules import Status, Table
from llmos_server.settings import StorageSettings
from llmos_server.store.database import Database
from llmos_server.store.store import Store

OF_NOBODY = {"name", "plugin", "path", "key"}
"""Parameters of paths that name skills, plugins and keys: they belong to the server."""


def plain(path: str) -> str:
    """Without the types of its parameters."""
    return re.sub(r"\{(\w+):\w+\}", r"{\1}", path)


def find_routes() -> Iterator[tuple[str, str]]:
    """Method and path of all that name a thing in their path; administrators' are theirs."""
    for handler in HANDLERS:
        for given in handler.paths:
            path = plain(given)
            if set(re.findall(r"\{(\w+)\}", path)) - OF_NOBODY and not path.startswith("/admin/"):
                yield from ((str(method), path) for method in handler.http_methods if method != "HEAD")


ROUTES = sorted(find_routes())

BODIES: dict[tuple[str, str], Any] = {
    ("POST", "/v1/conversations/{conversation_id}"): {"metadata": {}},
    ("POST", "/v1/conversations/{conversation_id}/items"): {"items": [HELLO]},
    ("POST", "/v1/evals/{eval_id}"): {"name": "x"},
    ("POST", "/v1/evals/{eval_id}/runs"): {"data_source": GIVEN},
}
"""What an owner can send to a route that takes a body."""

QUERIES = {
    "/v1/evals/{eval_id}/compare": "?runs={run_id},{other_run_id}",
    "/v1/evals/{eval_id}/report": "?runs={run_id}",
}
"""What a route needs beside its path."""


def find_lists() -> Iterator[str]:
    """The lists of what routes name; models are everybody's, and usage is told in sums."""
    gets = {path for handler in HANDLERS if "GET" in handler.http_methods for path in handler.paths}
    for _, path in ROUTES:
        above, _, last = path.rpartition("/")
        if last.startswith("{") and "{" not in above and above in gets - {"/v1/models", "/v1/usage"}:
            yield above


class Reference(NamedTuple):
    """A field of a body that names what is stored."""

    thing: str
    """As fill names it."""
    status: int
    """What is answered where there is none such. OpenAI has a 400 of its own for an unknown previous_response_id."""
    body: Any
    """As its owner sends it, with ids as in paths."""


HI = {"model": "tiny", "input": "Hi"}
BY_REFERENCE = [HELLO, {"type": "item_reference", "id": "{item_id}"}]
BATCH = {"input_file_id": "{batch_file}", "endpoint": "/v1/chat/completions", "completion_window": "24h"}
TUNE = {"model": "tiny", "training_file": "{tune_file}"}


def run_of(kind: str, **fields: Any) -> Reference:
    source = {"type": kind, "source": {"type": "file_id", "id": "{evals_file}"}, **fields}
    return Reference("evals_file", 404, {"data_source": source})


OF_RESPONSES = {
    "previous_response_id": Reference("response_id", 400, {**HI, "previous_response_id": "{response_id}"}),
    "conversation": Reference("conversation_id", 404, {**HI, "conversation": "{conversation_id}"}),
    "input.item_reference.id": Reference("item_id", 404, {**HI, "input": BY_REFERENCE}),
}
SAMPLED = {"model": "tiny", "input_messages": {"type": "template", "template": [{"role": "user", "content": "Hi"}]}}
REFERENCES = {
    **{("/v1/responses", field): reference for field, reference in OF_RESPONSES.items()},
    **{("/v1/responses/input_tokens", field): reference for field, reference in OF_RESPONSES.items()},
    ("/v1/batches", "input_file_id"): Reference("batch_file", 404, BATCH),
    ("/v1/evals/{eval_id}/runs", "data_source.jsonl.source.file_id.id"): run_of("jsonl"),
    ("/v1/evals/{eval_id}/runs", "data_source.completions.source.file_id.id"): run_of("completions", **SAMPLED),
    ("/v1/evals/{eval_id}/runs", "data_source.responses.source.file_id.id"): run_of("responses", **SAMPLED),
    ("/v1/fine_tuning/jobs", "training_file"): Reference("tune_file", 400, TUNE),
    ("/v1/fine_tuning/jobs", "validation_file"): Reference(
        "tune_file", 400, {**TUNE, "validation_file": "{tune_file}"}
    ),
    ("/v1/fine_tuning/jobs", "gate.eval_id"): Reference("eval_id", 400, {**TUNE, "gate": {"eval_id": "{eval_id}"}}),
}

NAMES_NOTHING_STORED = re.compile(
    r"token_ids$|(tool_call|tool_use|call|approval_request)_id$"  # Tokens, and calls by the names that they have.
    r"|^(messages\.content|system|messages\.tool_calls)\.id$"
    r"|^input\.(?!item_reference)(\w+\.)?id$|^items\.(\w+\.)?id$"  # An item's own; references aren't kept.
)
ONLY_KEPT = {"/v1/llmos/feedback"}
"""The ids in these bodies are whatever the client wants to find again: nothing is looked up by them."""


def find_fields() -> Iterator[tuple[str, str]]:
    """Path and field of all that name a thing in their body, going by the fields' names."""
    for handler in HANDLERS:
        fields = list(names_in(getattr(handler.dto, "table", {})))
        for path in map(plain, handler.paths - ONLY_KEPT):
            for name in fields if not path.startswith("/admin/") else ():
                if re.search(r"(_ids?|_files?|\bid|\bconversation)$", name) and not NAMES_NOTHING_STORED.search(name):
                    yield path, name


def names_in(table: Table, prefix: str = "") -> Iterator[str]:
    """All fields that are honoured, and those inside them, with dots; between them the type of what has types."""
    for name, rule in table.items():
        if rule.status is Status.HONOURED:
            yield prefix + name
            for kind, inner in {"": rule.nested or rule.each or {}, **(rule.by_type or {})}.items():
                yield from names_in(inner, f"{prefix}{name}.{kind}." if kind else f"{prefix}{name}.")


class Filled(NamedTuple):
    """A server's folder in which keys a and b own one of everything."""

    folder: Path
    keys: dict[str, tuple[str, str]]
    ids: dict[str, dict[str, str]]
    """By the key's name."""


FILLED: list[Filled] = []
"""Made once, by the first who needs it."""


@pytest.fixture
async def filled(make_api, tmp_path_factory) -> Filled:
    if not FILLED:
        folder = tmp_path_factory.mktemp("filled")
        async with open_stored_api(make_api, folder) as opened:
            FILLED.append(Filled(folder, opened.keys, {name: await fill(opened, name) for name in opened.keys}))
    return FILLED[0]


@pytest.fixture
async def server(make_api, filled, tmp_path):
    shutil.copytree(filled.folder, tmp_path, dirs_exist_ok=True)
    store = Store(Database(tmp_path), StorageSettings())
    yield StoredApi(make_api(max_model_len=4000, store=store, gate=Gate(store.keys)), store, filled.keys)
    await store.close()


def with_ids(template: Any, ids: dict[str, str]) -> Any:
    """A body with the ids in their places."""
    if isinstance(template, dict):
        return {name: with_ids(value, ids) for name, value in template.items()}
    if isinstance(template, list):
        return [with_ids(value, ids) for value in template]
    return template.format_map(ids) if isinstance(template, str) else template


@pytest.mark.parametrize(("method", "path"), ROUTES)
async def test_another_key_gets_a_404(server, filled, method, path):
    ids = filled.ids["a"]
    query, body = QUERIES.get(path, ""), BODIES.get((method, path))
    url = (path + query).format(**ids)
    refused = await server.call(method, url, body, name="b")
    assert refused.status_code == 404, refused.text
    nothing = (path + query).format_map(dict.fromkeys(ids, "none"))
    unknown = await server.call(method, nothing, body, name="b")
    assert unknown.status_code == 404
    assert unknown.json()["error"]["code"] == refused.json()["error"]["code"]
    allowed = await server.call(method, url, body, name="a")
    assert allowed.status_code in (200, 201), allowed.text


@pytest.mark.parametrize(("path", "field"), sorted(set(find_fields())))
async def test_another_keys_id_in_a_body_is_as_good_as_none(server, filled, path, field):
    """Key b names a's thing among its own."""
    reference = REFERENCES[path, field]
    ids, own = filled.ids["a"], filled.ids["b"]
    path = path.format_map(own)

    def body(thing: str) -> Any:
        return with_ids(reference.body, {**own, reference.thing: thing})

    refused = await server.call("POST", path, body(ids[reference.thing]), name="b")
    unknown = await server.call("POST", path, body("none_such"), name="b")
    assert refused.status_code == unknown.status_code == reference.status, refused.text
    told = refused.json()["error"]["message"].replace(ids[reference.thing], "none_such")
    assert told == unknown.json()["error"]["message"]
    allowed = await server.call("POST", path, body(own[reference.thing]), name="b")
    assert allowed.status_code in (200, 201), allowed.text


@pytest.mark.parametrize("path", sorted(set(find_lists())))
async def test_lists_hold_ones_own_alone(server, path):
    mine, theirs = [(await server.call("GET", path, name=name)).json()["data"] for name in ("a", "b")]
    assert mine
    assert theirs
    assert not {one["id"] for one in mine} & {one["id"] for one in theirs}
    first = mine[0]
    stolen = await server.call("GET", f"{path}?after={first['id']}", name="b")
    unknown = await server.call("GET", f"{path}?after=none", name="b")
    assert (stolen.status_code, unknown.status_code) == (400, 400)
    assert stolen.json()["error"]["message"].replace(first["id"], "none") == unknown.json()["error"]["message"]


async def test_another_keys_events_are_not_told_again(server):
    unfinished = {"id": "resp_told", "object": "response", "status": "in_progress", "background": True, "output": []}
    await server.store.responses.save(server.owner("a"), unfinished, [])
    done = {**unfinished, "status": "completed"}
    assert await server.store.responses.replace_unfinished(server.owner("a"), done, zlib.compress(b"event: x\n\n"))
    url = "/v1/responses/resp_told?stream=true"
    assert (await server.call("GET", url, name="a")).text.startswith("event: x\n\nevent: response.completed\n")
    refused = await server.call("GET", url, name="b")
    assert (refused.status_code, refused.json()["error"]["code"]) == (404, "response_not_found")


def test_the_tables_name_what_there_is():
    assert set(BODIES) <= set(ROUTES)
    assert set(REFERENCES) <= set(find_fields())
