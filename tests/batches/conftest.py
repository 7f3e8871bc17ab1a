"""A server that answers requests of batches as the tests tell it."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from llmos_server.job_contracts import ServerAddress

Answer = tuple[int, dict[str, Any], dict[str, str]]


class Answering:
    """answer: (status, body, headers) of a request's body, which is among `asked` then."""

    def __init__(self) -> None:
        self.asked: list[Any] = []
        self.keys: set[str] = set()
        self.answer: Callable[[Any], Answer] = good
        self.num_at_once = self.most_at_once = 0
        self.lock = threading.Lock()


def good(body: Any) -> Answer:
    usage = {"prompt_tokens": 3, "completion_tokens": 2, "prompt_tokens_details": {"cached_tokens": 1}}
    return 200, {"object": "chat.completion", "said": body["n"], "usage": usage}, {"x-request-id": f"req_{body['n']}"}


@pytest.fixture
def answering() -> Answering:
    return Answering()


@pytest.fixture
def server(answering: Answering) -> Iterator[ServerAddress]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["content-length"])))
            with answering.lock:
                answering.asked.append(body["n"])
                answering.keys.add(self.headers["authorization"])
                answering.num_at_once += 1
                answering.most_at_once = max(answering.most_at_once, answering.num_at_once)
            status, answer, headers = answering.answer(body)
            with answering.lock:
                answering.num_at_once -= 1
            content = json.dumps(answer).encode()
            self.send_response(status)
            for name, value in {"content-length": str(len(content)), **headers}.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *_: Any) -> None: ...

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as http:
        http.daemon_threads = True
        thread = threading.Thread(target=http.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        yield ServerAddress(f"http://127.0.0.1:{http.server_address[1]}", "llmos-job-x")
        http.shutdown()
        thread.join()


@pytest.fixture
def write_input(tmp_path: Path) -> Callable[..., Path]:
    def write(*requests: Any) -> Path:
        folder = tmp_path / "jobs" / "job_1"
        folder.mkdir(parents=True, exist_ok=True)
        path = folder / "input.jsonl"
        path.write_text("".join(one if isinstance(one, str) else json.dumps(one) + "\n" for one in requests))
        return path

    return write
