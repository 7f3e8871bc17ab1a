"""10,000 mutated bodies to the POST endpoints of a server process: no 5xx, no hang, and memory that stays where it was.

The same in small is part of the normal tests. The server is uvicorn as `llmos serve` runs it, in a process of its own,
over a scripted engine; a share of the bodies goes to the real model where it is at hand.
"""

from __future__ import annotations

import asyncio
import importlib.util
import json
import random
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx2
import pytest

SECONDS = 240
"""No answer takes nearly as long, even on a busy machine; a hang does."""
MAX_GROWTH_MB = 64
"""RSS after all bodies, above that after the warm-up, which sends every kind of mutation."""
NUM_CLIENTS = 8
HUGE = 200 * 2**20
CHUNK = b" " * 2**16

MESSAGES = [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": [{"type": "text", "text": "x"}]}]
BODIES: dict[str, dict[str, Any]] = {
    "/v1/chat/completions": {"messages": MESSAGES, "max_tokens": 3, "stop": ["z"], "logit_bias": {"7": 1}, "n": 2},
    "/v1/chat/completions/render": {"messages": MESSAGES, "chat_template_kwargs": {"a": [1]}},
    "/v1/completions": {"prompt": ["a", "b"], "max_tokens": 3, "logprobs": 2, "seed": 1, "temperature": 0.5},
    "/tokenize": {"prompt": "Hello"},
    "/detokenize": {"tokens": [72, 105]},
    "/v1/rerank": {"model": "vectors", "query": "a", "documents": ["b", {"text": "c"}], "top_n": 1},
    "/v1/score": {"model": "vectors", "text_1": "a", "text_2": ["b", "c"]},
    "/v1/classify": {"model": "vectors", "input": ["a", [1, 2]], "use_activation": False},
    "/v1/systemone": {
        "state": {"a": ["b", 1]},
        "questions": {
            "q": {"type": "choice", "instructions": "Which?", "criteria": {"x": None, "y": "why"}},
            "s": {"type": "score", "instructions": "How much?", "criteria": ["little", "much"]},
        },
    },
    "/v1/responses": {"input": [{"role": "user", "content": "Hi"}], "max_output_tokens": 3, "metadata": {"a": "b"}},
    "/v1/messages": {"model": "tiny", "messages": MESSAGES, "max_tokens": 3, "stop_sequences": ["z"]},
    "/api/chat": {"model": "tiny", "messages": MESSAGES[:1], "options": {"num_predict": 3}, "stream": False},
    "/v1/embeddings": {"model": "vectors", "input": ["a", "b"], "encoding_format": "base64"},
}
"""Good ones. POST endpoints of the OpenAPI document that are not here get OTHER."""
OTHER: dict[str, Any] = {"name": "x", "model": "x", "limits": {"a": [1]}}
SERVER = """
import collections, functools, pathlib, sys, tempfile
import uvicorn
sys.path.insert(0, {tests!r})
import fakes
from llmos_server.api.app import create_api
from llmos_server.api.http.connections import BoundedProtocol
from llmos_server.api.served import ModelDirectory, ServedModel
from llmos_server.logs import configure_logging
from llmos_server.settings import ApiSettings, LogSettings
from llmos_server.store.database import Database
from llmos_server.store.migrate import migrate
from llmos_server.store.store import Store
configure_logging(LogSettings(level="error"))
class Forgetful(fakes.ScriptedGenerator):
    def submit(self, request):
        generation = super().submit(request)
        self.generations.clear()
        return generation
model = ServedModel(id="tiny", created=0, renderer=fakes.ByteRenderer(), engine=Forgetful("Hello"))
encoder = fakes.ScriptedEncoder()
encoder.requests = collections.deque(maxlen=8)
vectors = ServedModel(id="vectors", created=0, renderer=fakes.ByteRenderer(), engine=encoder, kind="encoder")
home = tempfile.TemporaryDirectory()
store = Store(Database(pathlib.Path(home.name)))
api = create_api(ModelDirectory([model, vectors]), ApiSettings(), store=store,
    on_startup=[functools.partial(migrate, store.database)], on_shutdown=[store.close])
server = uvicorn.Server(uvicorn.Config(api, http=BoundedProtocol,
    port=0, log_config=None, access_log=False))
import asyncio, threading
def tell():
    while not server.started: threading.Event().wait(0.01)
    print(server.servers[0].sockets[0].getsockname()[1], flush=True)
threading.Thread(target=tell, daemon=True).start()
server.run()
"""


def mutate(rng: random.Random, good: dict[str, Any]) -> tuple[str, bytes]:
    """The kind of mutation, and a body."""
    kind = rng.choice(list(MUTATIONS))
    return kind, MUTATIONS[kind](rng, json.loads(json.dumps(good)))


def _raw(body: Any) -> bytes:
    return json.dumps(body).encode()


def _replace(rng: random.Random, body: dict[str, Any], value: Any) -> dict[str, Any]:
    """Anywhere inside."""
    container: Any = body
    while True:
        key = rng.choice(list(container) if isinstance(container, dict) else range(len(container)))
        inner = container[key]
        if not isinstance(inner, dict | list) or not inner or rng.random() < 0.4:
            container[key] = value
            return body
        container = inner


def _spoil(rng: random.Random, body: dict[str, Any], extra: bytes) -> bytes:
    raw = _raw(body)
    place = rng.randrange(len(raw))
    return raw[:place] + extra + raw[place + rng.randrange(3) :]


def _number(rng: random.Random, body: dict[str, Any]) -> bytes:
    digits = rng.choice(
        ["9" * 400, "-" + "9" * 5000, "1e999", "NaN", "-Infinity", str(2**63), str(-(2**64)), "0.1e-400"]
    )
    return _raw(_replace(rng, body, "@number@")).replace(b'"@number@"', digits.encode(), 1)


def _deep(rng: random.Random, body: dict[str, Any]) -> bytes:
    depth = rng.choice([90, 200, 1000, 100_000])
    opening, closing = rng.choice([(b"[", b"]"), (b'{"a":', b"}")])
    deep = opening * depth + b"1" + closing * (depth if rng.random() < 0.7 else 0)
    return _raw(_replace(rng, body, "@deep@")).replace(b'"@deep@"', deep, 1)


WRONG: list[Any] = [None, True, -1, 0.5, "", "x", [], {}, [[]], {"a": 1}, [None], "x" * 5000, -(10**18)]
SHORT = [value for value in WRONG if len(repr(value)) < 30]
TEXTS = ["\ud800", "a\udfff", "\x00", "\U0010ffff", "<|im_end|>", "{{ 7*7 }}", "%s%n", "é" * 3000, "\u202e", "\r\n\r\n"]
MUTATIONS: dict[str, Callable[[random.Random, dict[str, Any]], bytes]] = {
    "wrong type": lambda rng, body: _raw(_replace(rng, body, rng.choice(WRONG))),
    "strange text": lambda rng, body: _raw(_replace(rng, body, rng.choice(TEXTS))),
    "strange field": lambda rng, body: _raw({**body, rng.choice([*TEXTS, "tools", "n", "stop"]): rng.choice(WRONG)}),
    "number": _number,
    "nesting": _deep,
    "cut": lambda rng, body: _raw(body)[: rng.randrange(len(_raw(body)))],
    "bad UTF-8": lambda rng, body: _spoil(rng, body, rng.choice([b"\xff", b"\xc3", b"\xed\xa0\x80", b"\xf0\x9f"])),
    "bad JSON": lambda rng, body: _spoil(rng, body, rng.choice([b",", b"}", b'"', b"\\", b"\x00", b"'", b"//", b":"])),
    "field twice": lambda rng, body: _raw(body)[:-1] + b"," + _raw(body)[1:],
    "other encoding": lambda rng, body: json.dumps(body).encode(rng.choice(["utf-16", "utf-32", "utf-8-sig"])),
    "other bytes": lambda rng, body: rng.randbytes(rng.randrange(300)),
    "many": lambda rng, body: _raw({**body, rng.choice(list(body)): [rng.choice(SHORT)] * rng.choice([5000, 150_000])}),
    "good": lambda rng, body: _raw(body),
}


@contextmanager
def scripted_server(project: Path) -> Iterator[tuple[int, str]]:
    """Process id and URL."""
    code = SERVER.format(tests=str(project / "tests"))
    process = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        yield process.pid, f"http://127.0.0.1:{int(process.stdout.readline())}"
    finally:
        process.terminate()
        process.wait(30)
        process.stdout.close()


def rss_mb(pid: int) -> float:
    status = Path(f"/proc/{pid}/status").read_text(encoding="ascii")
    return next(int(line.split()[1]) for line in status.splitlines() if line.startswith("VmRSS")) / 1024


def is_error(path: str, body: Any) -> bool:
    """In the form of the API that was called."""
    error = body["error"]
    if path.startswith("/api/"):
        return isinstance(error, str) and bool(error)
    if path.startswith("/v1/messages"):
        return body["type"] == "error" and {"type", "message"} <= set(error)
    if path.startswith("/mcp"):
        return body["jsonrpc"] == "2.0" and {"code", "message"} <= set(error)
    return set(error) == {"message", "type", "param", "code"}


async def send_all(url: str, seed: int, num_bodies: int) -> Counter[int]:
    """To all endpoints in turn, from NUM_CLIENTS connections. Returns how often each status was answered."""
    statuses: Counter[int] = Counter()
    async with httpx2.AsyncClient(base_url=url, timeout=SECONDS, trust_env=False) as http:
        document = (await http.get("/openapi.json")).json()
    paths = [path for path, operations in document["paths"].items() if "post" in operations]
    assert set(paths) >= set(BODIES)

    async def client(number: int) -> None:
        rng = random.Random(f"{seed}-{number}")
        async with httpx2.AsyncClient(base_url=url, timeout=SECONDS, trust_env=False) as http:
            for count in range(number, num_bodies, NUM_CLIENTS):
                path = paths[count % len(paths)]
                kind, raw = mutate(rng, BODIES.get(path, OTHER))
                reply = await http.post(path, content=raw, headers={"Content-Type": "application/json"})
                statuses[reply.status_code] += 1
                assert reply.status_code < 500, (path, kind, raw[:300], reply.text)
                if reply.status_code >= 400:
                    assert is_error(path, reply.json()), (path, kind, raw[:300], reply.text)
                    assert len(reply.content) < 20_000, (path, kind)

    await asyncio.gather(*map(client, range(NUM_CLIENTS)))
    return statuses


async def send_huge(url: str, num_times: int) -> Counter[int]:
    """200 MB at once, declared and chunked."""
    statuses: Counter[int] = Counter()

    async def chunks() -> Any:
        for _ in range(HUGE // len(CHUNK)):
            yield CHUNK

    for count in range(num_times):
        headers = {"Content-Type": "application/json"}
        if count % 2:
            headers["Content-Length"] = str(HUGE)
        async with httpx2.AsyncClient(base_url=url, timeout=SECONDS, trust_env=False) as http:
            try:
                reply = await http.post(list(BODIES)[count % len(BODIES)], content=chunks(), headers=headers)
                statuses[reply.status_code] += 1
            except httpx2.TransportError:  # The server has answered and closed while the client still wrote.
                statuses[0] += 1
            assert (await http.get("/health")).status_code == 200
    return statuses


def attack(pid: int, url: str, num_bodies: int, num_huge: int, record: Callable[[str, object], None]) -> None:
    asyncio.run(send_all(url, seed=0, num_bodies=max(100, num_bodies // 10)))
    asyncio.run(send_huge(url, 1))
    before = rss_mb(pid)
    statuses = asyncio.run(send_all(url, seed=1, num_bodies=num_bodies))
    huge = asyncio.run(send_huge(url, num_huge))
    after = rss_mb(pid)
    record("mutated bodies", sum(statuses.values()))
    record("their statuses", dict(sorted(statuses.items())))
    record("200 MB bodies (0: closed while the client wrote)", dict(sorted(huge.items())))
    record("RSS in MB before and after", [round(before), round(after)])
    assert set(huge) <= {413, 0}
    assert huge[413] > 0
    assert statuses[200] > 0
    assert statuses[400] + statuses[403] > sum(statuses.values()) / 2  # 403: what only administrators may post.
    assert after - before < MAX_GROWTH_MB


def test_some_mutated_bodies(project: Path, record_property) -> None:
    with scripted_server(project) as (pid, url):
        attack(pid, url, 250, 1, record_property)


@pytest.mark.proof
def test_ten_thousand_mutated_bodies(project: Path, record_property) -> None:
    with scripted_server(project) as (pid, url):
        attack(pid, url, 10_000, 20, record_property)


@pytest.mark.proof
@pytest.mark.real_model
def test_mutated_bodies_and_the_real_model(smollm2, project: Path, tmp_path: Path, record_property) -> None:
    spec = importlib.util.spec_from_file_location("llmos_e2e", project / "tests" / "e2e" / "conftest.py")
    assert spec is not None
    assert spec.loader is not None
    e2e = sys.modules["llmos_e2e"] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(e2e)
    # A body that lost its max_tokens asks for all the room that there is: with eight pages that is little.
    small = {"LLMOS_ENGINE__CACHE_BYTES": "6000000"}
    server = e2e.start_server(tmp_path, smollm2.name, "--log-level", "error", env=small)
    try:
        server.wait_until_ready()
        attack(server.process.pid, server.url, 1000, 4, record_property)
        assert server.get("/ready")[0] == 200
    finally:
        server.stop()
