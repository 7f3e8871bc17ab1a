"""Models, tokens, health, metrics and the documents."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest

from llmos_server.api.app import create_api
from llmos_server.api.docs_page import FIELD_TABLES, markdown_table
from llmos_server.api.served import ModelDirectory, ServedModel
from llmos_server.errors import ModelNotFound
from llmos_server.settings import ApiSettings

USER = [{"role": "user", "content": "x"}]
DOCS = Path(__file__).parents[2] / "docs" / "api.md"


def create_directory(fakes, *ids: str, plain: tuple[str, ...] = ()) -> ModelDirectory:
    return ModelDirectory(
        ServedModel(
            id=name,
            created=1700000000,
            renderer=fakes.ByteRenderer(has_template=name not in plain),
            engine=fakes.ScriptedGenerator(),
        )
        for name in ids
    )


async def test_models_are_listed_chat_models_first(make_api, fakes):
    api = make_api()
    directory = create_directory(fakes, "base:1b", "hf:org/name", "file:/a/b.gguf", plain=("base:1b",))
    api.http._transport.app = create_api(directory, ApiSettings())
    body = (await api.http.get("/v1/models")).json()
    assert body["object"] == "list"
    assert [model["id"] for model in body["data"]] == ["hf:org/name", "file:/a/b.gguf", "base:1b"]
    assert "chat" in body["data"][0]["capabilities"]
    assert "chat" not in body["data"][2]["capabilities"]
    for name in ("hf:org/name", "hf:org%2Fname", "hf%3Aorg/name"):
        assert (await api.http.get(f"/v1/models/{name}")).json()["id"] == "hf:org/name"
    assert (await api.http.get("/v1/models/file:/a/b.gguf")).json()["max_model_len"] == 400
    assert directory.default().id == (await directory.get(None)).id == "base:1b"


async def test_a_model_by_alias_and_an_unknown_one(api):
    model = (await api.http.get("/v1/models/gpt-4o-mini")).json()
    assert (model["id"], model["aliases"], model["state"]) == ("tiny", ["gpt-4o-mini"], "ready")
    assert (await api.http.get("/v1/models/x/y")).status_code == 404


async def test_trailing_slashes_are_no_matter(api):
    assert (await api.http.get("/v1/models/")).status_code == 200
    reply = await api.post("/v1/chat/completions/", {"messages": [{"role": "user", "content": "x"}]})
    assert reply.status_code == 200


async def test_an_empty_directory_says_so():
    with pytest.raises(ModelNotFound, match="none"):
        await ModelDirectory([]).get("x")
    with pytest.raises(ModelNotFound, match="none"):
        ModelDirectory([]).default()


async def test_tokenize_and_detokenize(make_api, fakes):
    api = make_api(renderer=fakes.ByteRenderer(adds_bos=True))
    body = (await api.post("/tokenize", {"prompt": "hé", "return_token_strs": True})).json()
    assert body == {
        "count": 4,
        "max_model_len": 400,
        "tokens": [fakes.BOS, 104, 195, 169],
        "token_strs": ["<bos>", "h", "\ufffd", "\ufffd"],
    }
    plain = await api.post("/tokenize", {"prompt": "hé", "add_special_tokens": False})
    assert plain.json()["tokens"] == [104, 195, 169]
    assert plain.json()["token_strs"] is None
    assert (await api.post("/detokenize", {"tokens": body["tokens"]})).json() == {"prompt": "<bos>hé"}
    messages = [{"role": "user", "content": "Hi"}]
    chat = await api.post("/tokenize", {"model": "tiny", "messages": messages})
    assert chat.json()["tokens"] == api.renderer.encode_chat(messages)
    bare = await api.post("/tokenize", {"messages": messages, "add_generation_prompt": False})
    assert bare.json()["count"] < chat.json()["count"]


async def test_the_texts_of_many_tokens_are_made_off_the_event_loop(make_api, fakes):
    threads: set[threading.Thread] = set()

    class Renderer(fakes.ByteRenderer):
        def token_text(self, token_id: int) -> str:
            threads.add(threading.current_thread())
            return super().token_text(token_id)

    api = make_api(renderer=Renderer())
    reply = await api.post("/tokenize", {"prompt": "x" * 5000, "return_token_strs": True})
    assert len(reply.json()["token_strs"]) == reply.json()["count"] >= 5000
    assert threading.current_thread() not in threads


@pytest.mark.parametrize(
    ("path", "body", "param"),
    [
        ("/tokenize", {}, "prompt"),
        ("/tokenize", {"prompt": "x", "messages": USER}, "prompt"),
        (
            "/tokenize",
            {"messages": [{"role": "user", "content": "x"}], "add_special_tokens": True},
            "add_special_tokens",
        ),
        ("/detokenize", {"tokens": [300]}, "tokens"),
        ("/detokenize", {"tokens": "x"}, "tokens"),
        ("/detokenize", {}, "tokens"),
    ],
)
async def test_tokens_that_cannot_be(api, path, body, param):
    reply = await api.post(path, body)
    assert (reply.status_code, reply.json()["error"]["param"]) == (400, param)


async def test_health_ready_and_version(api):
    assert (await api.http.get("/health")).json() == {"status": "ok"}
    assert (await api.http.get("/ready")).json() == {"status": "ready"}
    assert (await api.http.get("/version")).json() == {"version": "1.2.3", "home_id": None}
    for state in ("loading", "restarting", "failed"):
        api.generator.state = state
        reply = await api.http.get("/ready")
        assert reply.status_code == 503
        assert (state if state != "failed" else "no tensors") in reply.json()["error"]["message"]
    assert (await api.http.get("/health")).status_code == 200


@pytest.mark.parametrize(
    ("path", "status"), [("/health", 200), ("/v1/models", 200), ("/nowhere", 404), ("/v1/chat/completions", 405)]
)
async def test_head_is_get_without_the_body(api, path, status):
    got, head = await api.http.get(path), await api.http.head(path)
    assert (head.status_code, head.content) == (status, b"")
    assert head.headers["content-length"] == got.headers["content-length"]
    assert head.headers["x-request-id"] != got.headers["x-request-id"]


async def test_metrics_count(api):
    api.generator.num_cached_tokens = 3
    await api.chat(n=2)
    await api.chat(max_tokens=1, stream=True)
    text = (await api.http.get("/metrics")).text
    lines = dict(line.rsplit(" ", 1) for line in text.splitlines() if not line.startswith("#"))
    model = 'model_name="tiny"'
    assert lines[f'llmos:request_success_total{{finished_reason="stop",{model}}}'] == "2.0"
    assert lines[f'llmos:request_success_total{{finished_reason="length",{model}}}'] == "1.0"
    assert lines[f"llmos:generation_tokens_total{{{model}}}"] == "11.0"
    assert float(lines[f"llmos:prompt_tokens_total{{{model}}}"]) > 0
    assert lines[f"llmos:num_requests_running{{{model}}}"] == "1.0"
    assert lines[f"llmos:num_requests_waiting{{{model}}}"] == "2.0"
    assert lines[f"llmos:kv_cache_usage_perc{{{model}}}"] == "0.25"
    adapters = {"adapters_loaded": 2, "adapter_bytes": 90, "adapter_loads_total": 3, "adapter_evictions_total": 1}
    for name, count in (adapters | {"adapter_load_seconds_total": 0.5}).items():
        assert float(lines[f"llmos:{name}{{{model}}}"]) == count
    pages = {"free": "2.0", "cached": "4.0", "used": "1.0", "shared": "1.0"}
    for state, count in pages.items():
        assert lines[f'llmos:kv_cache_pages{{{model},state="{state}"}}'] == count
    assert lines[f"llmos:prefix_cache_queries_total{{{model}}}"] == "30.0"
    assert lines[f"llmos:prefix_cache_hits_total{{{model}}}"] == "20.0"
    assert lines[f"llmos:num_preemptions_total{{{model}}}"] == "0.0"
    assert lines[f"llmos:spec_decode_num_drafts_total{{{model}}}"] == "4.0"
    assert lines[f"llmos:spec_decode_num_draft_tokens_total{{{model}}}"] == "15.0"
    assert lines[f"llmos:spec_decode_num_accepted_tokens_total{{{model}}}"] == "9.0"
    for name in (
        "time_to_first_token",
        "e2e_request_latency",
        "request_queue_time",
        "request_prefill_time",
        "request_decode_time",
    ):
        assert lines[f"llmos:{name}_seconds_count{{{model}}}"] == "2.0"
    assert lines[f"llmos:request_decode_time_seconds_count{{{model}}}"] == "2.0"
    assert float(lines[f"llmos:inter_token_latency_seconds_count{{{model}}}"]) > 5


@pytest.mark.parametrize(
    ("prefix", "llmos", "vllm"), [("llmos", True, False), ("vllm", False, True), ("both", True, True)]
)
async def test_metrics_under_vllms_prefix(make_api, prefix, llmos, vllm):
    text = (await make_api(settings={"metrics_prefix": prefix}).http.get("/metrics")).text
    assert ("\nllmos:num_requests_running{" in text) is llmos
    assert ("\nvllm:num_requests_running{" in text) is vllm
    assert ("# TYPE vllm:num_requests_running gauge" in text) is vllm


async def test_the_openapi_document_and_its_page(api):
    document = (await api.http.get("/openapi.json")).json()
    assert document == (await api.http.get("/docs/openapi.json")).json()
    body = document["paths"]["/v1/chat/completions"]["post"]["requestBody"]["content"]["application/json"]["schema"]
    assert body == {"$ref": "#/components/schemas/ChatCompletionRequest"}
    assert "temperature" in document["components"]["schemas"]["ChatCompletionRequest"]["properties"]
    struct = document["components"]["schemas"]["ChatCompletionRequest"]
    assert struct["properties"]["temperature"]["anyOf"][0] == {"type": "number", "minimum": 0, "maximum": 2}
    assert "additionalProperties" not in struct
    operation = document["paths"]["/v1/chat/completions"]["post"]
    assert list(operation["responses"]["200"]["content"]) == ["application/json", "text/event-stream"]
    assert {"401", "403", "408", "413", "415", "421", "429", "503"} <= set(operation["responses"])
    assert operation["security"] == [{"key": []}, {}]
    assert "security" not in document["paths"]["/health"]["get"]
    page = await api.http.get("/docs")
    assert page.headers["content-type"].startswith("text/html")
    assert "<script" not in page.text
    assert "http://" not in page.text
    assert "https://" not in page.text
    for path in document["paths"]:
        assert path in page.text


@pytest.mark.parametrize("title", list(FIELD_TABLES))
def test_docs_hold_each_field_table(title):
    expected = markdown_table(FIELD_TABLES[title])
    pages = [page.read_text() for page in sorted(DOCS.parent.glob("*.md"))]
    assert any(expected in page for page in pages), f"put this under {title!r} in a page of docs:\n\n{expected}"


async def test_docs_name_each_endpoint_header_and_error_code(api):
    text = DOCS.read_text()
    of_admins = DOCS.with_name("admin-api.md").read_text()
    for path in (await api.http.get("/openapi.json")).json()["paths"]:
        page = of_admins if path.startswith("/admin/") else text
        assert path in page or path.replace("{model_id}", "{id}") in page, path
    for name in (
        "X-Request-Id",
        "X-LLMOS-Ignored",
        "X-LLMOS-Strict",
        "X-LLMOS-Dropped-Messages",
        "X-LLMOS-Truncated-Inputs",
        "Retry-After",
    ):
        assert name in text
    codes = """
        invalid_value invalid_json missing_required_parameter unsupported_parameter unsupported_value
        unsupported_content unknown_parameter context_length_exceeded template_error no_chat_template
        model_not_found unknown_url method_not_allowed request_too_large unsupported_media_type queue_full engine_busy
        engine_failed internal_error
    """
    for code in codes.split():
        assert f"`{code}`" in text
