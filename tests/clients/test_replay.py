"""What other people's clients really send (tests/data/clients, with a README), sent to our app.

Each gets 200 and an answer that OpenAI's own types accept, or the refusal that refused.json expects of it.
"""

from __future__ import annotations

import base64
import json
from datetime import datetime
from pathlib import Path
from typing import Any

import httpx2
import pytest
from anthropic.types import Message
from openai.types import Completion, Model
from openai.types.chat import ChatCompletion, ChatCompletionChunk
from openai.types.responses import Response
from response_events import assemble, parse

DATA = Path(__file__).parents[1] / "data" / "clients"
NAMES = sorted(str(path.relative_to(DATA)) for path in DATA.glob("*/*.json"))
ANSWER = "Paris."
"""What the scripted engine says, one token a character."""
REFUSED: dict[str, dict[str, Any]] = json.loads((DATA / "refused.json").read_text(encoding="utf-8"))


@pytest.mark.parametrize("name", NAMES)
async def test_replay(http: httpx2.AsyncClient, name: str) -> None:
    sent = json.loads((DATA / name).read_text(encoding="utf-8"))
    content = None if sent["body"] is None else json.dumps(sent["body"])
    answer = await http.request(sent["method"], sent["path"], headers=sent["headers"], content=content)
    if name in REFUSED:
        check_refusal(answer, REFUSED[name])
        return
    assert answer.status_code == 200, answer.text
    check_answer(sent["path"], sent["body"] or {}, answer)


def test_refusals_are_of_requests_that_exist() -> None:
    assert set(REFUSED) <= set(NAMES)


def check_refusal(answer: httpx2.Response, expected: dict[str, Any]) -> None:
    """By name and with what to do: the client's user sees this message. Ollama's errors are texts, without a param;
    Anthropic's have it among their details."""
    error = answer.json()["error"]
    if isinstance(error, str):
        error = {"param": None, "message": error}
    error = {**error, **error.get("details", {})}
    assert (answer.status_code, error["param"]) == (expected["status"], expected["param"]), answer.text
    assert expected["says"] in error["message"]


def check_answer(path: str, body: dict[str, Any], answer: httpx2.Response) -> None:
    if path.startswith("/api/"):
        check_ollama(path, body, answer)
    elif path.startswith("/v1/models"):
        found = answer.json()
        for model in [found] if "/v1/models/" in path else found["data"]:
            Model.model_validate(model, strict=True)
    elif path.startswith("/v1/messages"):
        check_message(body, answer)
    elif path == "/v1/embeddings":
        check_embeddings(body, answer.json())
    elif path == "/v1/responses":
        check_response(body, answer)
    elif body.get("stream"):
        check_stream(path, body, answer)
    elif path == "/v1/chat/completions":
        choice = ChatCompletion.model_validate(answer.json(), strict=True).choices[0]
        assert choice.message.content == ANSWER[: body.get("max_tokens", len(ANSWER))]
        assert choice.finish_reason == ("stop" if choice.message.content == ANSWER else "length")
    else:
        assert Completion.model_validate(answer.json(), strict=True).choices[0].text == ANSWER


def check_response(body: dict[str, Any], answer: httpx2.Response) -> None:
    found = assemble(parse(answer.text)) if body.get("stream") else answer.json()
    response = Response.model_validate(found, strict=True)
    assert (response.status, response.output_text) == ("completed", ANSWER)


def check_stream(path: str, body: dict[str, Any], answer: httpx2.Response) -> None:
    assert answer.headers["content-type"].startswith("text/event-stream")
    *events, done = [event.removeprefix("data: ") for event in answer.text.split("\n\n") if event.startswith("data: ")]
    assert done == "[DONE]"
    chunks = [json.loads(event) for event in events]
    if (body.get("stream_options") or {}).get("include_usage"):
        last = chunks.pop()
        assert last["choices"] == []
        assert last["usage"]["completion_tokens"] == len(ANSWER)
    if path == "/v1/completions":
        text = "".join(chunk["choices"][0]["text"] for chunk in chunks)
    else:
        parsed = [ChatCompletionChunk.model_validate(chunk, strict=True) for chunk in chunks]
        assert parsed[0].choices[0].delta.role == "assistant"
        text = "".join(chunk.choices[0].delta.content or "" for chunk in parsed)
    assert text == ANSWER
    assert [chunk["choices"][0]["finish_reason"] for chunk in chunks if chunk["choices"][0]["finish_reason"]] == [
        "stop"
    ]


def check_ollama(path: str, body: dict[str, Any], answer: httpx2.Response) -> None:
    """What routers/ollama.py of Open WebUI and its converters read."""
    if path in ("/api/chat", "/api/generate"):
        *lines, last = [json.loads(line) for line in answer.text.splitlines()]
        assert (last["done"], last["done_reason"]) == (True, "stop")
        assert (last["eval_count"], last["eval_duration"] > 0) == (len(ANSWER), True)
        text = "".join(
            line["message"]["content"] if path == "/api/chat" else line["response"] for line in lines or [last]
        )
        assert text == ANSWER
        return
    found = answer.json()
    if path in ("/api/tags", "/api/ps"):
        assert "smollm2:135m" in [model["model"] for model in found["models"]]
        assert all(datetime.fromisoformat(model.get("expires_at", "2025-01-01")) for model in found["models"])
    elif path == "/api/version":
        assert tuple(map(int, found["version"].split("."))) > (0,)
    elif path == "/api/embed":
        assert [len(vector) for vector in found["embeddings"]] == [4] * len(body["input"])
    else:
        assert "completion" in found["capabilities"]


def check_message(body: dict[str, Any], answer: httpx2.Response) -> None:
    """In Anthropic's form."""
    if "max_tokens" not in body:
        assert answer.json()["input_tokens"] > 0
        return
    if not body.get("stream"):
        [block] = Message.model_validate(answer.json(), strict=True).content
        assert block.type == "text"
        assert ANSWER.startswith(block.text)
        return
    lines = [line for line in answer.text.split("\n") if line.startswith("data: ")]
    events = [json.loads(line.removeprefix("data: ")) for line in lines]
    kinds = [event["type"] for event in events]
    assert (kinds[0], kinds[-2:]) == ("message_start", ["message_delta", "message_stop"])
    deltas = [event["delta"]["text"] for event in events if event["type"] == "content_block_delta"]
    assert "".join(deltas) == ANSWER
    assert events[-2]["delta"]["stop_reason"] == "end_turn"


def check_embeddings(body: dict[str, Any], found: dict[str, Any]) -> None:
    assert [item["index"] for item in found["data"]] == list(range(len(body["input"])))
    for item in found["data"]:
        vector = item["embedding"]
        is_packed = body.get("encoding_format") == "base64"
        assert len(base64.b64decode(vector)) % 4 == 0 if is_packed else all(isinstance(x, float) for x in vector)
    assert found["usage"]["prompt_tokens"] == found["usage"]["total_tokens"]
