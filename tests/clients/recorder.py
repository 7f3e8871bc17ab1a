"""A server that answers any OpenAI client plausibly and writes down what it was sent. It made tests/data/clients.

    python tests/clients/recorder.py --port 8899 --out /tmp/captured

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
    if kind == "object":
        return {name: sample(part) for name, part in schema.get("properties", {}).items()}
    if kind == "array":
        return [sample(schema.get("items", {"type": "string"}))]
    return {"string": "Paris", "integer": 1, "number": 1.5, "boolean": True, "null": None}[kind]


def choose_message(body: dict[str, Any]) -> dict[str, Any]:
    """Text; JSON where a schema is asked for; a tool call where one is demanded."""
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
        if self.command == "POST" and isinstance(body, dict) and path.endswith("/chat/completions"):
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

    def stream(self, chunks: Iterator[dict[str, Any]]) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream")
        self.send_header("Connection", "close")
        self.end_headers()
        for chunk in chunks:
            self.wfile.write(b"data: " + json.dumps(chunk).encode() + b"\n\n")
        self.wfile.write(b"data: [DONE]\n\n")
        self.close_connection = True


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--port", type=int, default=8899)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--models", nargs="+", default=["smollm2:135m", "all-minilm-l6-v2"])
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    Recorder.out, Recorder.names = options.out, options.models
    ThreadingHTTPServer(("127.0.0.1", options.port), Recorder).serve_forever()


if __name__ == "__main__":
    main()
