"""Whatever a client posts: an answer, or an error of the API's form with a 4xx; never a 5xx, never a hang."""

from __future__ import annotations

import asyncio
import copy
import json
import math
import re
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import HealthCheck, given, seed, settings
from hypothesis import strategies as st
from migrated import migrate
from sqlalchemy import insert

from llmos_server.api.anthropic import fields as anthropic_fields
from llmos_server.api.batches.handlers import CREATE_BATCH
from llmos_server.api.bodies import decision_fields, fields
from llmos_server.api.evals import fields as eval_fields
from llmos_server.api.fine_tuning import fields as tuning_fields
from llmos_server.api.ollama import tables as ollama
from llmos_server.api.responding import fields as responding
from llmos_server.api.stored import fields as stored
from llmos_server.chat.renderer import Renderer
from llmos_server.engine.messages import AddRequest
from llmos_server.store.database import Database
from llmos_server.store.eval_tables import EvalRow
from llmos_server.store.state_tables import ConversationRow
from llmos_server.store.store import Store

JSON = {"content-type": "application/json"}
SECONDS = 20
"""No answer takes nearly as long; a hang does."""

MESSAGE = {"role": "user", "content": [{"type": "text", "text": "Hi"}], "name": "Ann"}
CALL = {"id": "c", "type": "function", "function": {"name": "f", "arguments": '{"a": 1}'}}
CHAT: dict[str, Any] = {
    "model": "tiny",
    "messages": [
        MESSAGE,
        {"role": "assistant", "tool_calls": [CALL]},
        {"role": "tool", "tool_call_id": "c", "content": "x"},
    ],
    "tools": [
        {"type": "function", "function": {"name": "f", "parameters": {"properties": {"a": {"type": "integer"}}}}}
    ],
    "tool_choice": "auto",
    "parallel_tool_calls": False,
    "max_tokens": 5,
    "temperature": 0.5,
    "n": 2,
    "seed": 1,
    "stop": ["x"],
    "stream": True,
    "stream_options": {"include_usage": True},
    "logprobs": True,
    "top_logprobs": 2,
    "logit_bias": {"7": 1},
    "chat_template_kwargs": {"enable_thinking": False},
}
COMPLETION: dict[str, Any] = {
    **{name: CHAT[name] for name in ("model", "max_tokens", "temperature", "n", "seed", "stop", "logit_bias")},
    "prompt": ["a", "b"],
    "logprobs": 2,
    "echo": True,
}
SKILL: dict[str, Any] = {"text": "x", "model": "tiny", "words": [{"word": "a"}], "times": 2, "stream": True}
SYSTEMONE: dict[str, Any] = {
    "state": {"text": "Hi", "from": ["Ann", 1, None]},
    "questions": {
        "team": {"type": "choice", "instructions": "Who?", "criteria": {"a": None, "b": "the others"}},
        "haste": {"type": "score", "instructions": {"ask": "How soon?"}, "criteria": ["late", ["now"]]},
        "polite": {"type": "noul", "instructions": ["Is it?"], "criteria": {"true": "yes"}},
    },
}
OLLAMA: dict[str, Any] = {
    "model": "tiny:latest",
    "messages": [
        {"role": "user", "content": "Hi", "images": []},
        {"role": "assistant", "thinking": "Hm.", "tool_calls": [{"function": {"name": "f", "arguments": {"a": 1}}}]},
        {"role": "tool", "tool_name": "f", "content": "x"},
    ],
    "tools": CHAT["tools"],
    "options": {"num_predict": 5, "num_ctx": 1000, "temperature": 0.5, "top_k": 3, "stop": ["x"], "num_gpu": 1},
    "think": False,
    "keep_alive": "5m",
    "logprobs": True,
    "top_logprobs": 2,
    "truncate": True,
}
GENERATE: dict[str, Any] = {
    **{name: OLLAMA[name] for name in ("model", "options", "think", "keep_alive", "logprobs")},
    "prompt": "Hi",
    "system": "Be brief.",
    "raw": False,
    "format": {"type": "object", "properties": {"a": {"type": "integer"}}},
    "stream": False,
}
BLOCKS: list[Any] = [
    {"type": "tool_result", "tool_use_id": "c", "content": [{"type": "text", "text": "x"}], "is_error": True},
    {"type": "text", "text": "Hi", "cache_control": {"type": "ephemeral"}},
]
USES: list[Any] = [
    {"type": "thinking", "thinking": "hm", "signature": "s"},
    {"type": "text", "text": "So."},
    {"type": "tool_use", "id": "c", "name": "f", "input": {"a": 1}},
]
TURNS: dict[str, Any] = {
    "model": "tiny",
    "system": [{"type": "text", "text": "S"}],
    "messages": [
        {"role": "user", "content": "Hi"},
        {"role": "assistant", "content": USES},
        {"role": "user", "content": BLOCKS},
    ],
    "tools": [{"name": "f", "input_schema": {"properties": {"a": {"type": "integer"}}}}],
    "tool_choice": {"type": "auto", "disable_parallel_tool_use": True},
    "thinking": {"type": "enabled", "budget_tokens": 1024},
    "output_config": {"effort": "low"},
}
SAMPLING: dict[str, Any] = {"max_tokens": 5, "stop_sequences": ["x"], "temperature": 0.5, "top_k": 3, "stream": True}
ITEMS: list[dict[str, Any]] = [
    {"type": "message", "role": "user", "content": [{"type": "input_text", "text": "Hi"}]},
    {"type": "function_call", "call_id": "c", "name": "f", "arguments": '{"a": 1}'},
    {"type": "function_call_output", "call_id": "c", "output": "x"},
    {"role": "user", "content": "Bye"},
]
INPUT: dict[str, Any] = {
    "model": "tiny",
    "input": ITEMS,
    "instructions": "S",
    "tools": [{"type": "function", "name": "f", "parameters": {"properties": {"a": {"type": "integer"}}}}],
    "tool_choice": "auto",
    "conversation": {"id": "conv_1"},
}
RESPONSE: dict[str, Any] = {
    **{name: value for name, value in INPUT.items() if name != "conversation"},
    "max_output_tokens": 5,
    "metadata": {"a": "b"},
    "store": True,
    "stream": True,
    "include": ["message.output_text.logprobs"],
    "top_logprobs": 2,
    "text": {"format": {"type": "text"}},
}
FEEDBACK = {
    "model": "tiny",
    "messages": CHAT["messages"],
    "answer": "Hi",
    "rating": -1,
    "correction": "Ho",
    "tags": ["a"],
    "response_id": "resp_1",
    "sampling": {"seed": 1},
}
GRADER = {"type": "string_check", "name": "g", "operation": "eq", "input": "{{sample.output_text}}", "reference": "Hi"}
GRADED = {"grader": GRADER, "item": {"a": "b"}, "model_sample": "Hi"}
BATCH = {"input_file_id": "file-1", "endpoint": "/v1/embeddings", "completion_window": "24h", "metadata": {"a": "b"}}
TUNING: dict[str, Any] = {
    "model": "tiny",
    "training_file": "file-1",
    "method": {"type": "supervised", "supervised": {"hyperparameters": {"n_epochs": 1, "batch_size": "auto"}}},
    "suffix": "mine",
    "seed": 1,
    "metadata": {"a": "b"},
    "set": {"lora_r": 8},
}
EVAL: dict[str, Any] = {
    "name": "e",
    "metadata": {"a": "b"},
    "data_source_config": {"type": "custom", "item_schema": {"type": "object"}, "include_sample_schema": True},
    "testing_criteria": [
        GRADER,
        {
            "type": "multi",
            "name": "m",
            "graders": {"g": GRADER},
            "calculate_output": "2 * g - 1",
            "pass_threshold": 0.5,
        },
    ],
}
RUN: dict[str, Any] = {
    "name": "r",
    "metadata": {"a": "b"},
    "data_source": {
        "type": "completions",
        "model": "tiny",
        "sampling_params": {"temperature": 0, "max_completion_tokens": 3},
        "input_messages": {"type": "template", "template": [{"role": "user", "content": "{{item.a}}"}]},
        "source": {"type": "file_content", "content": [{"item": {"a": "b"}}]},
    },
}
ROUTES: dict[str, tuple[dict[str, Any], Any]] = {
    "/v1/batches": (BATCH, CREATE_BATCH),
    "/v1/evals": (EVAL, eval_fields.CREATE_EVAL),
    "/v1/evals/eval_1": ({"name": "x", "metadata": {"a": "b"}}, eval_fields.UPDATE_EVAL),
    "/v1/evals/eval_1/runs": (RUN, eval_fields.CREATE_RUN),
    "/v1/fine_tuning/jobs": (TUNING, tuning_fields.CREATE_JOB),
    "/v1/fine_tuning/alpha/graders/run": (GRADED, dict.fromkeys(GRADED)),
    "/v1/fine_tuning/alpha/graders/validate": ({"grader": GRADER}, {"grader": None}),
    "/v1/responses": (RESPONSE, responding.RESPONSE),
    "/v1/responses/input_tokens": (INPUT, responding.INPUT_TOKENS),
    "/v1/conversations": ({"metadata": {"a": "b"}, "items": ITEMS}, stored.CREATE_CONVERSATION),
    "/v1/conversations/conv_1": ({"metadata": {"a": "b"}}, stored.UPDATE_CONVERSATION),
    "/v1/conversations/conv_1/items": ({"items": ITEMS}, stored.CREATE_ITEMS),
    "/v1/messages": ({**TURNS, **SAMPLING}, anthropic_fields.MESSAGES),
    "/v1/messages/count_tokens": (TURNS, anthropic_fields.COUNT_TOKENS),
    "/v1/chat/completions": (CHAT, fields.CHAT),
    "/v1/chat/completions/render": ({"messages": CHAT["messages"]}, fields.CHAT),
    "/v1/completions": (COMPLETION, fields.COMPLETION),
    "/v1/llmos/feedback": (FEEDBACK, stored.CREATE_FEEDBACK),
    "/v1/embeddings": ({"input": ["Hi", "Ho"], "dimensions": 4, "truncate_prompt_tokens": -1}, fields.EMBEDDING),
    "/v1/skills/shout/run": (SKILL, dict.fromkeys(SKILL)),
    "/v1/systemone": (SYSTEMONE, decision_fields.SYSTEMONE),
    "/v1/llmos/plugins/shouting/size": (SKILL, dict.fromkeys(SKILL)),
    "/v1/rerank": ({"query": "Hi", "documents": ["a", {"text": "b"}], "top_n": 1}, decision_fields.RERANK),
    "/v1/score": ({"text_1": "Hi", "text_2": ["a", {"text": "b"}]}, decision_fields.SCORE),
    "/v1/classify": ({"model": "kinds", "input": ["Hi", "Ho"], "use_activation": False}, decision_fields.CLASSIFY),
    "/tokenize": ({"messages": [MESSAGE], "return_token_strs": True}, fields.TOKENIZE),
    "/detokenize": ({"tokens": [72, 105]}, fields.DETOKENIZE),
    "/api/chat": (OLLAMA, ollama.CHAT),
    "/api/generate": (GENERATE, ollama.GENERATE),
    "/api/embed": ({"model": "small", "input": ["Hi", "Ho"], "truncate": True, "keep_alive": 1}, ollama.EMBED),
    "/api/embeddings": ({"model": "small", "prompt": "Hi"}, ollama.EMBEDDINGS),
    "/api/show": ({"model": "tiny", "name": "tiny"}, ollama.NAME),
}
JOB_VERBS = ("cancel", "pause", "resume")
ALIASES = {"/rerank", "/v2/rerank", "/score", "/classify"}
"""Handled as the same path below /v1."""
WITHOUT_BODY = {"/v1/responses/resp_1/cancel", *(f"/v1/fine_tuning/jobs/job/{verb}" for verb in JOB_VERBS)}
WITHOUT_BODY |= {
    "/v1/batches/batch_1/cancel",
    "/v1/evals/eval_1/runs/evalrun_1",
    "/v1/evals/eval_1/runs/evalrun_1/cancel",
}
FOR_ADMINISTRATORS = {"/api/pull"}
"""Beside /admin; they decode their bodies in the same way: see test_admin.py and test_admin_models.py."""

NUMBERS = (0, -1, 1, 2**31, 2**63 - 1, 2**63, -(2**63) - 1, 2**64, 10**30, 0.5, -0.0, 1e-320, 1e308)
BROKEN_NUMBERS = (math.nan, math.inf, -math.inf)
TEXTS = ("", "x", "\x00", "\ud800", "a\udc00b", "\ud83d\ude00", "\U0010ffff", "<|im_end|>", "{{ 1/0 }}", "x" * 10**6)
DIGITS = ("9" * 400, "-" + "9" * 5000, "1e400", "0." + "1" * 500)
depths = st.sampled_from((1, 50, 400, 900, 980, 5000))


class Raw(str):
    """Text that stands in the body as it is."""


leaves = st.one_of(
    st.none(),
    st.booleans(),
    st.sampled_from(NUMBERS),
    st.sampled_from(BROKEN_NUMBERS),
    st.sampled_from(DIGITS).map(Raw),
    st.sampled_from(range(len(TEXTS))).map(TEXTS.__getitem__),
)


@st.composite
def deep_values(draw: st.DrawFn) -> Raw:
    depth, inner = draw(depths), draw(st.sampled_from(("1", '"x"', "null", "")))
    opening, closing = draw(st.sampled_from((("[", "]"), ('{"a":', "}"))))
    return Raw(opening * depth + (inner if inner or opening == "[" else "0") + closing * depth)


values = st.one_of(
    leaves,
    st.recursive(
        leaves, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(("a", "type")), inner)
    ),
    deep_values(),
)


def encode(value: Any) -> bytes:
    """As JSON, with what JSON doesn't allow; lone surrogates escaped."""
    if isinstance(value, Raw):
        return value.encode()
    if isinstance(value, dict):
        pairs = (encode(name) + b":" + encode(item) for name, item in value.items())
        return b"{" + b",".join(pairs) + b"}"
    if isinstance(value, list):
        return b"[" + b",".join(map(encode, value)) + b"]"
    return json.dumps(value).encode()


def places(value: Any) -> list[tuple[dict[str, Any] | list[Any], Any]]:
    """(container, key) of everything inside."""
    found: list[tuple[dict[str, Any] | list[Any], Any]] = []
    pairs = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, item in pairs:
        found += [(value, key), *places(item)]
    return found


class Body(bytes):
    """Shown cut when an example fails."""

    def __repr__(self) -> str:
        return f"<{len(self)} bytes: {bytes(self[:500])!r}>"


@st.composite
def bodies(draw: st.DrawFn, path: str) -> Body:
    """A good body in which up to three values are replaced, left out or added to; sometimes its bytes are broken."""
    good, table = ROUTES[path]
    body = copy.deepcopy(good)
    names = st.sampled_from(sorted(table)) | st.sampled_from(("strange", "", "a.b", "x" * 5000, "\ud800", "é\n"))
    for _ in range(draw(st.integers(1, 3))):
        container, key = draw(st.sampled_from([*places(body), (body, "model")]))
        action = draw(st.sampled_from(("replace", "replace", "add", "leave out")))
        if action == "replace":
            container[key] = draw(values)
        elif action == "leave out" and key in (container if isinstance(container, dict) else range(len(container))):
            del container[key]
        elif isinstance(container, dict):
            container[draw(names)] = draw(values)
        else:
            container.append(draw(values))
    breaking = draw(st.sampled_from((break_nothing, break_nothing, double_keys, cut, spoil)))
    return Body(breaking(encode(body), draw(st.integers(0))))


def break_nothing(raw: bytes, _: int) -> bytes:
    return raw


def double_keys(raw: bytes, _: int) -> bytes:
    return raw[:-1] + (b"," if len(raw) > 2 else b"") + raw[1:]


def cut(raw: bytes, place: int) -> bytes:
    return raw[: place % (len(raw) + 1)]


def spoil(raw: bytes, place: int) -> bytes:
    place %= len(raw) + 1
    return raw[:place] + b"\xed\xa0\x80" + raw[place:]


def engines(fakes: Any) -> dict[str, Any]:
    return {"encoder": fakes.ScriptedEncoder(), "classifier": fakes.ScriptedClassifier("a", "b")}


async def check(api: Any, path: str, raw: bytes) -> None:
    api.generator.generations.clear()
    async with asyncio.timeout(SECONDS):
        reply = await api.http.post(path, content=raw, headers=JSON)
    assert reply.status_code < 500, (reply.text, raw[:300])
    assert reply.headers["X-Request-Id"]
    if reply.status_code in (200, 201):
        assert b'data: {"error"' not in reply.content
        assert b'\n{"error"' not in reply.content
        assert b"event: error" not in reply.content
    elif path.startswith("/api/"):
        [(name, text)] = reply.json().items()
        assert (name, type(text)) == ("error", str)
        assert len(reply.content) < 20_000, "the answer repeats the body"
    elif path.startswith("/v1/messages"):
        assert set(reply.json()) == {"type", "error", "request_id"}
        assert set(reply.json()["error"]) == {"type", "message", "details"}
        assert len(reply.content) < 20_000, "the answer repeats the body"
    else:
        assert set(reply.json()) == {"error"}
        assert set(reply.json()["error"]) == {"message", "type", "param", "code"}
        assert len(reply.content) < 20_000, "the answer repeats the body"
    for request in api.generator.requests:
        crossed = msgspec.msgpack.decode(msgspec.msgpack.encode(AddRequest(epoch=1, request=request)), type=AddRequest)
        assert crossed.request == request


def fuzz(api: Any, path: str, num_examples: int) -> None:
    runner = asyncio.Runner()

    @settings(max_examples=num_examples, deadline=None, database=None, suppress_health_check=list(HealthCheck))
    @seed(1)
    @given(bodies(path))
    def run(raw: bytes) -> None:
        runner.run(check(api, path, raw))

    with runner:
        runner.run(fill(api))
        try:
            run()
        finally:
            runner.run(api.store.close())


def create(make_api: Any, fakes: Any, folder: Path, **options: Any) -> Any:
    store = Store(Database(folder))
    api = make_api(max_model_len=2000, store=store, plugins=fakes.create_skills(), **engines(fakes), **options)
    api.store = store
    return api


async def fill(api: Any) -> None:
    """The conversation conv_1, and the eval eval_1."""
    await migrate(api.store.database)
    row = {"num_items": 0, "num_bytes": 0, "next_position": 0, "created": 1, "changed": 1}
    async with api.store.database.write() as connection:
        await connection.execute(insert(ConversationRow).values(owner="", id="conv_1", pairs="{}", **row))
        content = msgspec.json.encode({name: EVAL[name] for name in EVAL if name != "name"}).decode()
        made = {"name": "e", "content": content, "num_bytes": 0, "created": 1, "changed": 1}
        await connection.execute(insert(EvalRow).values(owner="", id="eval_1", **made))


def test_every_route_that_takes_a_body_is_here(make_api) -> None:
    posted = {route.path for route in make_api().app.routes if "POST" in getattr(route, "methods", ())}
    names = {
        "{name:str}": "shout",
        "{plugin:str}": "shouting",
        "{path:path}": "size",
        "{response_id:str}": "resp_1",
        "{conversation_id:str}": "conv_1",
        "{job_id:str}": "job",
        "{batch_id:str}": "batch_1",
        "{eval_id:str}": "eval_1",
        "{run_id:str}": "evalrun_1",
    }
    taken = {re.sub(r"{.*?}", lambda mark: names[mark[0]], path) for path in posted if not path.startswith("/admin/")}
    assert taken - ALIASES - WITHOUT_BODY - FOR_ADMINISTRATORS - {"/mcp", "/v1/files"} == set(
        ROUTES
    )  # test_mcp_fuzz.py, test_files.py


@pytest.mark.parametrize(
    "path", sorted(set(ROUTES) - {"/v1/fine_tuning/jobs", "/v1/batches"})
)  # These want a file that is there.
def test_good_bodies_are_answered(make_api, fakes, tmp_path, path) -> None:
    async def ask() -> int:
        api = create(make_api, fakes, tmp_path)
        await fill(api)
        reply = await api.http.post(path, content=encode(ROUTES[path][0]), headers=JSON)
        await api.store.close()
        return reply.status_code

    assert asyncio.run(ask()) in (200, 201)


@pytest.mark.parametrize("path", ROUTES)
def test_broken_bodies(make_api, fakes, tmp_path, path) -> None:
    fuzz(create(make_api, fakes, tmp_path), path, 30)


@pytest.mark.proof
@pytest.mark.parametrize("path", ROUTES)
def test_many_broken_bodies(make_api, fakes, tmp_path, path) -> None:
    fuzz(create(make_api, fakes, tmp_path), path, 5000)


@pytest.mark.proof
@pytest.mark.real_model
@pytest.mark.parametrize("path", ROUTES)
def test_many_broken_bodies_and_the_real_tokenizer(make_api, fakes, tmp_path, smollm2, path) -> None:
    fuzz(create(make_api, fakes, tmp_path, renderer=Renderer.load(Path(smollm2.folder))), path, 1000)
