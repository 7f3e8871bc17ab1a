"""A server that answers any client of OpenAI's or Anthropic's API plausibly and writes down what it was sent. It made
tests/data/clients.

    python tests/clients/recorder.py --port 8899 --out /tmp/captured
    python tests/clients/recorder.py --port 8899 --out /tmp/captured --call Read '{"file_path": "city.py"}'

With --call, the first request that has a tool of this name is answered by a call of it, so that an agent's next request
holds its result. Several are made one after the other.

Each request becomes DIR/LABEL-N.json: method, path, headers, body. A client whose base URL is http://HOST/@LABEL/v1
names its requests so; the label is no part of the path that is kept. Keys are left out, and texts of more than MAX_TEXT
characters are shortened to their beginning and their length: prompts of other people's products are theirs, and the
shape of a request is what LLMOS has to bear.
"""

from __future__ import annotations

import argparse
import base64
import itertools
import json
import struct
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

MAX_TEXT = 60
SECRET_HEADERS = {"authorization", "api-key", "x-api-key", "cookie", "proxy-authorization"}
TRANSPORT_HEADERS = {"host", "content-length", "connection", "transfer-encoding", "accept-encoding", "traceparent"}
ANSWER = "The capital of France is Paris."
USAGE = {"prompt_tokens": 9, "completion_tokens": 7, "total_tokens": 16}
NUM_DIMENSIONS = 8
NUMBERS = itertools.count(1)
"""Of calls."""


def shorten(value: Any) -> Any:
    if isinstance(value, str):
        return value if len(value) <= MAX_TEXT else f"{value[:MAX_TEXT]} ... [{len(value)} characters]"
    if isinstance(value, dict):
        return {name: shorten(item) for name, item in value.items()}
    if isinstance(value, list):
        return [shorten(item) for item in value]
    return value


def shown_headers(headers: Iterator[tuple[str, str]]) -> dict[str, str]:
    kept = {name.lower(): value for name, value in headers if name.lower() not in TRANSPORT_HEADERS}
    return {name: "Bearer KEY" if name in SECRET_HEADERS else value for name, value in kept.items()}


def sample(schema: dict[str, Any]) -> Any:
    """The smallest value that a plain JSON schema allows."""
    if schema.get("enum"):
        return schema["enum"][0]
    if schema.get("anyOf"):
        return sample(schema["anyOf"][0])
    kind = schema.get("type", "object")
    kind = kind[0] if isinstance(kind, list) else kind
    if kind == "object":
        return {name: sample(part) for name, part in schema.get("properties", {}).items()}
    if kind == "array":
        return [sample(schema.get("items", {"type": "string"}))]
    return {"string": "Paris", "integer": 1, "number": 1.5, "boolean": True, "null": None}[kind]


def choose_message(body: dict[str, Any]) -> dict[str, Any]:
    """Text; JSON where a schema is asked for; a tool call where one is demanded, or was told to be made."""
    if (call := Planned.take(body)) is not None:
        function = {"name": call[0], "arguments": json.dumps(call[1])}
        calls = [{"id": f"call_{next(NUMBERS)}", "type": "function", "function": function}]
        return {"role": "assistant", "content": None, "tool_calls": calls}
    choice = body.get("tool_choice")
    if choice == "required" or isinstance(choice, dict):
        tool = body["tools"][0]["function"]
        function = {"name": tool["name"], "arguments": json.dumps(sample(tool.get("parameters", {})))}
        return {
            "role": "assistant",
            "content": None,
            "tool_calls": [{"id": "call_1", "type": "function", "function": function}],
        }
    wanted = body.get("response_format") or {}
    if wanted.get("type") == "json_schema":
        return {"role": "assistant", "content": json.dumps(sample(wanted["json_schema"]["schema"]))}
    return {"role": "assistant", "content": '{"city": "Paris"}' if wanted.get("type") == "json_object" else ANSWER}


def chat(body: dict[str, Any]) -> dict[str, Any]:
    message = choose_message(body)
    reason = "tool_calls" if "tool_calls" in message else "stop"
    choice = {"index": 0, "message": message, "finish_reason": reason, "logprobs": None}
    return head("chat.completion", body) | {"choices": [choice], "usage": USAGE}


def chat_chunks(body: dict[str, Any]) -> Iterator[dict[str, Any]]:
    message = choose_message(body)
    calls = [{"index": place, **call} for place, call in enumerate(message.get("tool_calls", ()))]
    delta = {"role": "assistant", "content": message["content"]} | ({"tool_calls": calls} if calls else {})
    start = head("chat.completion.chunk", body)
    yield start | {"choices": [{"index": 0, "delta": delta, "finish_reason": None}]}
    yield start | {"choices": [{"index": 0, "delta": {}, "finish_reason": "tool_calls" if calls else "stop"}]}
    if (body.get("stream_options") or {}).get("include_usage"):
        yield start | {"choices": [], "usage": USAGE}


def completion(body: dict[str, Any]) -> dict[str, Any]:
    prompt = body.get("prompt")
    count = len(prompt) if isinstance(prompt, list) and prompt and isinstance(prompt[0], (str, list)) else 1
    choices = [{"index": n, "text": ANSWER, "finish_reason": "stop", "logprobs": None} for n in range(count)]
    return head("text_completion", body) | {"choices": choices, "usage": USAGE}


def embeddings(body: dict[str, Any]) -> dict[str, Any]:
    given = body["input"]
    count = len(given) if isinstance(given, list) and given and isinstance(given[0], (str, list)) else 1
    vector: Any = [0.25] * (body.get("dimensions") or NUM_DIMENSIONS)
    if body.get("encoding_format") == "base64":
        vector = base64.b64encode(struct.pack(f"<{len(vector)}f", *vector)).decode()
    data = [{"object": "embedding", "index": place, "embedding": vector} for place in range(count)]
    return {
        "object": "list",
        "data": data,
        "model": body.get("model"),
        "usage": {"prompt_tokens": 4, "total_tokens": 4},
    }


def models(names: list[str]) -> dict[str, Any]:
    return {
        "object": "list",
        "data": [{"id": name, "object": "model", "created": 1700000000, "owned_by": "recorder"} for name in names],
    }


class Planned:
    """Calls that are made one after the other, each in the first answer to a request that has its tool."""

    calls: list[tuple[str, Any]] = []

    @classmethod
    def take(cls, body: dict[str, Any]) -> tuple[str, Any] | None:
        names = [tool.get("name") or tool.get("function", {}).get("name") for tool in body.get("tools") or []]
        return cls.calls.pop(0) if cls.calls and cls.calls[0][0] in names else None


def anthropic_message(body: dict[str, Any]) -> dict[str, Any]:
    call = Planned.take(body)
    choice = body.get("tool_choice") or {}
    if call is None and choice.get("type") in ("any", "tool"):
        tool = next(tool for tool in body["tools"] if tool["name"] == choice.get("name", tool["name"]))
        call = (tool["name"], sample(tool["input_schema"]))
    block: dict[str, Any] = {"type": "text", "text": ANSWER}
    form = (body.get("output_config") or {}).get("format") or body.get("output_format")
    if call is not None:
        block = {"type": "tool_use", "id": f"toolu_{next(NUMBERS)}", "name": call[0], "input": call[1]}
    elif form:
        block = {"type": "text", "text": json.dumps(sample(form["schema"]))}
    return {
        "id": "msg_1",
        "type": "message",
        "role": "assistant",
        "model": body.get("model"),
        "content": [block],
        "stop_reason": "tool_use" if call is not None else "end_turn",
        "stop_sequence": None,
        "usage": {"input_tokens": 9, "output_tokens": 7},
    }


def anthropic_events(body: dict[str, Any]) -> Iterator[dict[str, Any]]:
    message = anthropic_message(body)
    [block] = message["content"]
    ending = {name: message[name] for name in ("stop_reason", "stop_sequence")}
    yield {"type": "message_start", "message": message | {"content": [], "stop_reason": None}}
    if block["type"] == "text":
        yield {"type": "content_block_start", "index": 0, "content_block": block | {"text": ""}}
        delta = {"type": "text_delta", "text": block["text"]}
    else:
        yield {"type": "content_block_start", "index": 0, "content_block": block | {"input": {}}}
        delta = {"type": "input_json_delta", "partial_json": json.dumps(block["input"])}
    yield {"type": "content_block_delta", "index": 0, "delta": delta}
    yield {"type": "content_block_stop", "index": 0}
    yield {"type": "message_delta", "delta": ending, "usage": message["usage"]}
    yield {"type": "message_stop"}


def head(kind: str, body: dict[str, Any]) -> dict[str, Any]:
    return {"id": "chatcmpl-1", "object": kind, "created": int(time.time()), "model": body.get("model", "")}


class Recorder(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    out: Path
    names: list[str]
    counters: dict[str, itertools.count[int]] = {}
    lock = threading.Lock()

    def handle_any(self) -> None:
        raw = self.rfile.read(int(self.headers.get("content-length") or 0))
        try:
            body = json.loads(raw) if raw else None
        except ValueError:
            body = {"not JSON": len(raw)}
        if self.path.startswith("/@"):
            label, _, rest = self.path[2:].partition("/")
            self.path = f"/{rest}"
        else:
            label = "request"
        self.keep(label, body)
        path = "/" + urlsplit(self.path).path.strip("/")
        if self.command == "POST" and isinstance(body, dict) and path.endswith("/messages"):
            self.stream_events(anthropic_events(body)) if body.get("stream") else self.answer(anthropic_message(body))
        elif self.command == "POST" and path.endswith("/messages/count_tokens"):
            self.answer({"input_tokens": 9})
        elif self.command == "POST" and isinstance(body, dict) and path.endswith("/chat/completions"):
            self.stream(chat_chunks(body)) if body.get("stream") else self.answer(chat(body))
        elif self.command == "POST" and isinstance(body, dict) and path.endswith("/completions"):
            self.stream(iter([completion(body)])) if body.get("stream") else self.answer(completion(body))
        elif self.command == "POST" and isinstance(body, dict) and path.endswith("/embeddings"):
            self.answer(embeddings(body))
        elif self.command in ("GET", "HEAD") and path.endswith("/models"):
            self.answer(models(self.names))
        elif self.command in ("GET", "HEAD") and "/models/" in path:
            self.answer(models([path.partition("/models/")[2]])["data"][0])
        else:
            message = f"Invalid URL ({self.command} {path})"
            self.answer(
                {"error": {"message": message, "type": "invalid_request_error", "param": None, "code": None}}, 404
            )

    do_GET = do_HEAD = do_POST = do_OPTIONS = do_PUT = do_DELETE = handle_any

    def keep(self, label: str, body: Any) -> None:
        record = {
            "method": self.command,
            "path": self.path,
            "headers": shown_headers(iter(self.headers.items())),
            "body": shorten(body),
        }
        with self.lock:
            number = next(self.counters.setdefault(label, itertools.count(1)))
            target = self.out / f"{label}-{number}.json"
            target.write_text(json.dumps(record, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")

    def answer(self, value: Any, status: int = 200) -> None:
        data = json.dumps(value).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(data)

    def begin_stream(self) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream")
        self.send_header("Connection", "close")
        self.end_headers()

    def stream_events(self, events: Iterator[dict[str, Any]]) -> None:
        self.begin_stream()
        for event in events:
            self.wfile.write(f"event: {event['type']}\n".encode() + b"data: " + json.dumps(event).encode() + b"\n\n")
        self.close_connection = True

    def stream(self, chunks: Iterator[dict[str, Any]]) -> None:
        self.begin_stream()
        for chunk in chunks:
            self.wfile.write(b"data: " + json.dumps(chunk).encode() + b"\n\n")
        self.wfile.write(b"data: [DONE]\n\n")
        self.close_connection = True


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--port", type=int, default=8899)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--models", nargs="+", default=["smollm2:135m", "all-minilm-l6-v2"])
    parser.add_argument("--call", nargs=2, metavar=("NAME", "JSON"), action="append", default=[])
    options = parser.parse_args()
    Planned.calls = [(name, json.loads(text)) for name, text in options.call]
    options.out.mkdir(parents=True, exist_ok=True)
    Recorder.out, Recorder.names = options.out, options.models
    ThreadingHTTPServer(("127.0.0.1", options.port), Recorder).serve_forever()


if __name__ == "__main__":
    main()
