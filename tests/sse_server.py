"""A scripted server of OpenAI's streaming API on loopback, for the CLI's own clients.

usage: python sse_server.py PORT FILE     a process of its own, with a child that sleeps, whose pid is in FILE
"""

from __future__ import annotations

import contextlib
import json
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any


class SseServer:
    """Answers every chat with `texts`, one chunk each, and a usage of the prompt's words; without any, with as many as
    tokens are asked for.

    failures: how many of the first chats get a 503. cut: the stream ends after the texts, without usage and [DONE].
    error: sent as an error event after the texts. `bodies` holds what was asked, `connections` who came.
    """

    def __init__(self, texts: list[str]) -> None:
        self.texts = texts
        self.models = ["fake:1"]
        self.failures = 0
        self.cut = False
        self.error: str | None = None
        self.cached_tokens = 0
        self.bodies: list[dict[str, Any]] = []
        self.paths: list[str] = []
        self.connections: set[Any] = set()
        self.authorization: set[str | None] = set()
        self.max_in_flight = 0
        self.url = ""
        self._in_flight = 0
        self._lock = threading.Lock()

    def get(self, path: str) -> tuple[int, Any]:
        if path == "/v1/models":
            return 200, {"object": "list", "data": [{"id": name, "object": "model"} for name in self.models]}
        if path == "/version":
            return 200, {"version": "fake"}
        return 404, {"error": {"message": f"no {path}", "type": "invalid_request_error", "param": None, "code": None}}

    def enter(self, body: dict[str, Any]) -> bool:
        """False: this one fails."""
        with self._lock:
            self.bodies.append(body)
            self._in_flight += 1
            self.max_in_flight = max(self.max_in_flight, self._in_flight)
            self.failures -= 1
            return self.failures < 0

    def leave(self) -> None:
        with self._lock:
            self._in_flight -= 1

    def events(self, body: dict[str, Any]) -> Iterator[str]:
        texts = self.texts or [" word"] * body["max_tokens"]
        yield _chunk({"role": "assistant", "content": ""})
        for text in texts:
            yield ": ping\n\n"
            yield _chunk({"content": text})
        if self.error is not None:
            yield f"data: {json.dumps({'error': {'message': self.error}})}\n\n"
        if self.cut:
            return
        yield _chunk({}, finish_reason="length")
        if body.get("stream_options", {}).get("include_usage"):
            usage = {
                "prompt_tokens": len(body["messages"][-1]["content"].split()),
                "completion_tokens": len(texts),
                "prompt_tokens_details": {"cached_tokens": self.cached_tokens},
            }
            yield f"data: {json.dumps({'choices': [], 'usage': usage})}\n\n"
        yield "data: [DONE]\n\n"


def _chunk(delta: dict[str, Any], finish_reason: str | None = None) -> str:
    return f"data: {json.dumps({'choices': [{'index': 0, 'delta': delta, 'finish_reason': finish_reason}]})}\n\n"


@contextmanager
def serving(texts: list[str], port: int = 0) -> Iterator[SseServer]:
    """A server that listens until the block ends."""
    server = SseServer(texts)

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"  # Connections stay open until the client closes them.

        def log_message(self, *arguments: Any) -> None:
            pass

        def _send(self, status: int, value: Any) -> None:
            body = json.dumps(value).encode()
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def setup(self) -> None:
            super().setup()
            server.connections.add(self.client_address)

        def handle(self) -> None:
            with contextlib.suppress(ConnectionError):  # The client has closed a connection that was kept open.
                super().handle()

        def do_GET(self) -> None:
            server.authorization.add(self.headers["Authorization"])
            self._send(*server.get(self.path))

        def do_POST(self) -> None:
            server.paths.append(self.path)
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            try:
                if not server.enter(body):
                    self._send(503, {"error": {"message": "The queue is full."}})
                    return
                self.send_response(200)
                self.send_header("Content-Type", "text/event-stream")
                self.send_header("Transfer-Encoding", "chunked")
                self.end_headers()
                for event in (*server.events(body), ""):
                    self.wfile.write(b"%x\r\n%b\r\n" % (len(event), event.encode()))
            finally:
                server.leave()

    listener = ThreadingHTTPServer(("127.0.0.1", port), Handler)
    server.url = f"http://127.0.0.1:{listener.server_port}/v1"
    thread = threading.Thread(target=listener.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield server
    finally:
        listener.shutdown()
        listener.server_close()
        thread.join()


if __name__ == "__main__":
    child = subprocess.Popen(["sleep", "600"])
    Path(sys.argv[2]).write_text(str(child.pid))
    with serving([], int(sys.argv[1])):
        child.wait()
