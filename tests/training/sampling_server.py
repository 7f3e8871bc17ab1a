"""A server that completes prompts as a scripted engine would, for runs that sample. A plain module: conftest.py puts
this folder on sys.path."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from llmos_server.job_contracts import ServerAddress

Answer = Callable[[dict[str, Any]], tuple[int, Any]]
"""A request's body -> status and body of the answer."""


class Quiet(ThreadingHTTPServer):
    def handle_error(self, *args: Any) -> None:
        """A client that is stopped leaves."""


class SamplingServer:
    def __init__(self, url: str) -> None:
        self.address = ServerAddress(url, "badge")
        self.asked: list[dict[str, Any]] = []
        self.deleted: list[str] = []


@contextmanager
def serving(answer: Answer) -> Iterator[SamplingServer]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["content-length"])))
            known.asked.append({"path": self.path, "authorization": self.headers["authorization"], **body})
            self._reply(*answer(body))

        def do_DELETE(self) -> None:
            known.deleted.append(self.path)
            self._reply(200, {})

        def _reply(self, status: int, body: Any) -> None:
            content = json.dumps(body).encode()
            self.send_response(status)
            self.send_header("content-length", str(len(content)))
            self.send_header("retry-after", "0")
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *args: Any) -> None: ...

    server = Quiet(("127.0.0.1", 0), Handler)
    known = SamplingServer(f"http://127.0.0.1:{server.server_address[1]}")
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield known
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
