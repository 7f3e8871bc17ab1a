"""Over real sockets: heads and bodies that are too large or never end."""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlsplit

import httpx2
import pytest

from llmos_server.api.http.connections import MAX_HEAD_BYTES, BoundedProtocol

WAIT = 20
CHAT = b'{"messages":[{"role":"user","content":"Hi"}]}'
HEAD = b"POST /v1/chat/completions HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"


class ImpatientProtocol(BoundedProtocol):
    head_seconds = 0.2


@pytest.fixture
def url(make_api, run_app) -> Iterator[str]:
    api = make_api(settings={"max_body_bytes": 100_000, "body_timeout_seconds": 0.3})
    with run_app(api.app, ImpatientProtocol) as url:
        yield url


def send(url: str, *pieces: bytes) -> tuple[int, Any]:
    """Status and error of the answer; (0, None) when the connection is closed without one."""
    parts = urlsplit(url)
    received = b""
    with socket.create_connection((parts.hostname, parts.port), timeout=WAIT) as connection:
        try:
            for piece in pieces:
                connection.sendall(piece)
            while more := connection.recv(65536):
                received += more
        except ConnectionError:
            pass
    if not received:
        return 0, None
    head, _, body = received.partition(b"\r\n\r\n")
    return int(head.split()[1]), json.loads(body)["error"]["code"]


@pytest.mark.parametrize("start", [b"", b"\r\n", b"GET", b"GET /health HTTP/1.1\r\nHost: localhost\r\n"])
def test_a_head_that_never_ends_is_closed(url, start) -> None:
    assert send(url, start) == (0, None)


def test_a_next_head_that_never_ends_is_closed(url) -> None:
    parts = urlsplit(url)
    with socket.create_connection((parts.hostname, parts.port), timeout=WAIT) as connection:
        connection.sendall(b"GET /health HTTP/1.1\r\nHost: localhost\r\n\r\nGET /he")
        received = b""
        while more := connection.recv(65536):
            received += more
    assert received.count(b"HTTP/1.1 200") == 1


def test_an_endless_head_is_refused(url) -> None:
    line = b"X-Long: " + b"x" * 1000 + b"\r\n"
    lines = [line * 100] * (2 * MAX_HEAD_BYTES // 100_000 + 1)
    status, code = send(url, b"GET /health HTTP/1.1\r\nHost: localhost\r\n", *lines)
    assert (status, code) in [(431, "headers_too_large"), (0, None)]  # Closed while more was under way: a reset.
    assert send(url, b"GET /health HTTP/1.1\r\nHost: localhost\r\n", b"X: " + b"x" * MAX_HEAD_BYTES) == (
        431,
        "headers_too_large",
    )


def test_a_body_that_never_comes_is_given_up(url) -> None:
    assert send(url, HEAD + b"Content-Length: 100\r\n\r\n", CHAT[:5]) == (408, "request_timeout")
    assert send(url, HEAD + b"Transfer-Encoding: chunked\r\n\r\n", b"5\r\n" + CHAT[:5]) == (408, "request_timeout")


def test_a_body_that_is_too_large_is_refused_before_it_is_read(url) -> None:
    close = b"Connection: close\r\n"
    assert send(url, HEAD + close + b"Content-Length: 100001\r\n\r\n") == (413, "request_too_large")


def test_a_chunked_body_that_is_too_large_is_refused_while_it_is_read(url) -> None:
    def chunks() -> Iterator[bytes]:
        for _ in range(3000):
            yield b" " * 100_000

    with httpx2.Client(base_url=url, timeout=WAIT, trust_env=False) as client:
        try:
            reply = client.post("/v1/completions", content=chunks(), headers={"Content-Type": "application/json"})
            assert reply.status_code == 413
        except httpx2.TransportError:
            pass  # Closed after the answer, while the client still wrote.
        assert client.get("/health").status_code == 200


def test_bodies_at_once_are_bounded_together(make_api, run_app) -> None:
    """16 of the largest size, as many as fit, wait for their last byte; the next is told to come later."""
    api = make_api(settings={"max_body_bytes": 1000, "body_timeout_seconds": 5.0})
    with run_app(api.app) as url:
        parts = urlsplit(url)
        waiting = [socket.create_connection((parts.hostname, parts.port), timeout=WAIT) for _ in range(16)]
        for connection in waiting:
            connection.sendall(HEAD + b"Content-Length: 1000\r\n\r\n" + b" " * 999)
        with httpx2.Client(base_url=url, timeout=WAIT, trust_env=False) as client:
            headers = {"Content-Type": "application/json"}
            seen = set()
            for _ in range(200):  # Until the server has read what the others sent.
                reply = client.post("/v1/chat/completions", content=CHAT, headers=headers)
                seen.add(reply.status_code)
                if reply.status_code == 503:
                    break
            assert reply.json()["error"]["code"] == "server_busy"
            assert reply.headers["Retry-After"]
            for connection in waiting:
                connection.close()
            for _ in range(200):
                reply = client.post("/v1/chat/completions", content=CHAT, headers=headers)
                if reply.status_code == 200:
                    break
            assert reply.status_code == 200
        assert seen <= {200, 503}
