"""Mixed traffic against a real server, and then: are memory, file handles, threads and pages where they began?

usage: python benchmarks/soak.py [--minutes 60] [--clients 6] [--model smollm2:135m] [--json FILE]

It starts `llmos serve` with a small KV cache (so that the warm-up touches every page), sends chats, completions,
streams, several choices, long prompts, bad requests and clients that leave at any moment, and compares what /proc and
/metrics say when all is idle after the warm-up with what they say when all is idle at the end. Exit status 1: a 5xx, or
something did not come back. Linux only.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import random
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import httpx2

CACHE_BYTES = 50_000_000
"""Less than what a worker may grow by: pages that are first used in the course of it stay in its memory."""
WARM_UP_SHARE = 0.25
MAX_WARM_UP_SECONDS = 120.0
SETTLE_SECONDS = 60.0
TOLERANCES = {"rss_mb": {"api": 32.0, "worker": 64.0}, "handles": 3, "threads": 2}
"""How much more there may be at the end, for each process. Requests, waiting ones and pages: none."""
WORDS = (
    "the",
    "a",
    "cat",
    "house",
    "river",
    "of",
    "in",
    "blue",
    "sings",
    "and",
    "to",
    "seven",
    "under",
    "stone",
    "old",
)


class Traffic:
    """What clients do; counts what they are answered."""

    def __init__(self, http: httpx2.AsyncClient, model: str, has_embeddings: bool) -> None:
        self.http = http
        self.model = model
        self.outcomes: Counter[str] = Counter()
        kinds = [(6, self.chat), (6, self.stream), (3, self.completion), (2, self.choices), (1, self.long)]
        kinds += [(4, self.leave_stream), (3, self.leave_unstreamed), (4, self.bad), (3, self.tokens)]
        kinds += [(2, self.embeddings)] if has_embeddings else []
        self.weights, self.kinds = zip(*kinds, strict=True)

    async def run(self, seed: str, until: float) -> None:
        rng = random.Random(seed)
        while time.monotonic() < until:
            kind: Callable[[random.Random], Awaitable[None]] = rng.choices(self.kinds, self.weights)[0]
            try:
                await kind(rng)
            except httpx2.TransportError as error:
                self.outcomes[f"transport error ({type(error).__name__})"] += 1

    async def post(self, path: str, body: Any) -> None:
        reply = await self.http.post(path, json=body)
        self.outcomes[str(reply.status_code)] += 1

    def chat_body(self, rng: random.Random, num_words: int, **fields: Any) -> dict[str, Any]:
        content = " ".join(rng.choices(WORDS, k=num_words))
        tokens = rng.randrange(1, 24)
        return {"messages": [{"role": "user", "content": content}], "max_tokens": tokens, **fields}

    async def chat(self, rng: random.Random) -> None:
        await self.post("/v1/chat/completions", self.chat_body(rng, rng.randrange(1, 40), seed=rng.randrange(9)))

    async def completion(self, rng: random.Random) -> None:
        prompt = [" ".join(rng.choices(WORDS, k=8)) for _ in range(rng.randrange(1, 4))]
        await self.post("/v1/completions", {"prompt": prompt, "max_tokens": 8, "logprobs": rng.choice([None, 2])})

    async def choices(self, rng: random.Random) -> None:
        await self.post("/v1/chat/completions", self.chat_body(rng, 20, n=rng.randrange(2, 5), temperature=1.2))

    async def long(self, rng: random.Random) -> None:
        await self.post("/v1/chat/completions", self.chat_body(rng, 900, max_tokens=2))

    async def stream(self, rng: random.Random, leave_after: int | None = None) -> None:
        body = self.chat_body(rng, 12, stream=True, stream_options={"include_usage": True}, ignore_eos=True)
        if leave_after is not None:
            body["max_tokens"] = 500
        async with self.http.stream("POST", "/v1/chat/completions", json=body) as reply:
            count = 0
            async for line in reply.aiter_lines():
                count += line.startswith("data:")
                if leave_after is not None and count > leave_after:
                    self.outcomes["left a stream"] += 1
                    return
        self.outcomes[str(reply.status_code)] += 1

    async def leave_stream(self, rng: random.Random) -> None:
        await self.stream(rng, leave_after=rng.randrange(10))

    async def leave_unstreamed(self, rng: random.Random) -> None:
        body = self.chat_body(rng, rng.choice([5, 400]), max_tokens=500, ignore_eos=True)
        try:
            await self.http.post("/v1/chat/completions", json=body, timeout=rng.uniform(0.01, 1.5))
        except httpx2.TimeoutException:
            self.outcomes["left an answer"] += 1

    async def bad(self, rng: random.Random) -> None:
        bodies: list[Any] = [b"{", b'{"messages":[]}', b'{"messages":"x"}', b'{"a":' + b"[" * 5000, b"\xff", b""]
        bodies += [b'{"messages":[{"role":"user","content":"x"}],"model":"nothing"}', b'{"prompt":"' + b"x" * 10**6]
        kinds = {"Content-Type": rng.choice(["application/json"] * 4 + ["text/plain"]), "Authorization": "Bearer any"}
        path = rng.choice(["/v1/chat/completions", "/v1/completions", "/tokenize", "/nothing"])
        reply = await self.http.post(path, content=rng.choice(bodies), headers=kinds)
        self.outcomes[str(reply.status_code)] += 1

    async def tokens(self, rng: random.Random) -> None:
        await self.post("/tokenize", {"prompt": " ".join(rng.choices(WORDS, k=rng.choice([3, 2000])))})
        await self.post("/v1/chat/completions/render", self.chat_body(rng, 10))

    async def embeddings(self, rng: random.Random) -> None:
        await self.post("/v1/embeddings", {"model": "all-minilm-l6-v2", "input": rng.choices(WORDS, k=5)})


class Server:
    """`llmos serve` as a child, with its worker."""

    def __init__(self, model: str, folder: Path) -> None:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]
        self.log = folder / "server.log"
        command = [sys.executable, "-m", "llmos_server", "serve", "--port", str(self.port), "--model", model]
        settings = {"LLMOS_ENGINE__CACHE_BYTES": str(CACHE_BYTES), "LLMOS_LOG__LEVEL": "warning"}
        with self.log.open("wb") as out:
            self.process = subprocess.Popen(command, stdout=out, stderr=out, env={**os.environ, **settings})

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def processes(self) -> dict[str, int]:
        """Name -> pid, of the API process and its workers."""
        children = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children").read_text(encoding="ascii")
        workers = [int(pid) for pid in children.split() if b"worker" in Path(f"/proc/{pid}/cmdline").read_bytes()]
        return {"api": self.process.pid, **{f"worker {place}": pid for place, pid in enumerate(workers)}}

    def stop(self) -> None:
        self.process.send_signal(signal.SIGTERM)
        try:
            self.process.wait(60)
        except subprocess.TimeoutExpired:
            self.process.kill()


def measure(pid: int) -> dict[str, float]:
    status = dict(line.split(":", 1) for line in Path(f"/proc/{pid}/status").read_text().splitlines() if ":" in line)
    return {
        "rss_mb": round(int(status["VmRSS"].split()[0]) / 1024, 1),
        "handles": len(os.listdir(f"/proc/{pid}/fd")),
        "threads": int(status["Threads"]),
    }


async def gauges(http: httpx2.AsyncClient) -> dict[str, float]:
    """Open requests and used pages; all 0 when nothing is left behind."""
    text = (await http.get("/metrics")).text
    names = ("num_requests_running", "num_requests_waiting", "kv_cache_usage_perc")
    lines = [line for line in text.splitlines() if line.startswith("llmos:")]
    return {
        name: sum(float(line.split()[-1]) for line in lines if line.startswith(f"llmos:{name}{{")) for name in names
    }


async def settle(server: Server, http: httpx2.AsyncClient) -> dict[str, Any]:
    """Wait until nothing runs, and measure."""
    deadline = time.monotonic() + SETTLE_SECONDS
    while any((found := await gauges(http)).values()) and time.monotonic() < deadline:
        await asyncio.sleep(0.2)
    await asyncio.sleep(2)  # Closed connections are cleaned up.
    found = await gauges(http)
    return {"gauges": found, **{name: measure(pid) for name, pid in server.processes().items()}}


async def drive(server: Server, http: httpx2.AsyncClient, arguments: argparse.Namespace) -> dict[str, Any]:
    while (await _status(http)) != 200:
        if server.process.poll() is not None:
            raise SystemExit(f"the server ended:\n{server.log.read_text()}")
        await asyncio.sleep(0.2)
    models = [model["id"] for model in (await http.get("/v1/models")).json()["data"]]
    traffic = Traffic(http, arguments.model, "all-minilm-l6-v2" in models)
    if traffic.embeddings in traffic.kinds:
        await traffic.embeddings(random.Random())  # Its worker is there from the beginning.
    seconds = arguments.minutes * 60
    warm_up = min(seconds * WARM_UP_SHARE, MAX_WARM_UP_SECONDS)
    await _all(traffic, arguments.clients, "warm-up", warm_up)
    before = await settle(server, http)
    traffic.outcomes.clear()
    peaks: dict[str, float] = {}
    watch = asyncio.create_task(_watch(server, peaks))
    await _all(traffic, arguments.clients, "soak", seconds - warm_up)
    watch.cancel()
    after = await settle(server, http)
    return {"seconds": round(seconds - warm_up), "outcomes": dict(traffic.outcomes), "peak_rss_mb": peaks} | {
        "before": before,
        "after": after,
    }


async def _status(http: httpx2.AsyncClient) -> int:
    try:
        return (await http.get("/ready")).status_code
    except httpx2.TransportError:
        return 0


async def _all(traffic: Traffic, num_clients: int, name: str, seconds: float) -> None:
    until = time.monotonic() + seconds
    await asyncio.gather(*(traffic.run(f"{name}-{number}", until) for number in range(num_clients)))


async def _watch(server: Server, peaks: dict[str, float]) -> None:
    while True:
        for name, pid in server.processes().items():
            peaks[name] = max(peaks.get(name, 0), measure(pid)["rss_mb"])
        await asyncio.sleep(1)


def judge(report: dict[str, Any]) -> list[str]:
    """What did not come back, and what should not have been answered."""
    before, after = report["before"], report["after"]
    faults = [f"{name} is {value}, not 0" for name, value in after["gauges"].items() if value]
    faults += [f"{count} answers {what}" for what, count in report["outcomes"].items() if what.startswith(("5", "tr"))]
    if before.keys() != after.keys():
        faults.append(f"processes: {sorted(before)} became {sorted(after)}")
    for process in sorted(set(before) & set(after) - {"gauges"}):
        for what, tolerance in TOLERANCES.items():
            most = tolerance[process.split()[0]] if isinstance(tolerance, dict) else tolerance
            if after[process][what] > before[process][what] + most:
                faults.append(f"{process}: {what} was {before[process][what]} and is {after[process][what]}")
    return faults


async def soak(arguments: argparse.Namespace) -> dict[str, Any]:
    with tempfile.TemporaryDirectory() as folder:
        server = Server(arguments.model, Path(folder))
        try:
            limits = httpx2.Limits(max_connections=None, max_keepalive_connections=0)
            async with httpx2.AsyncClient(base_url=server.url, timeout=120, limits=limits, trust_env=False) as http:
                report = await drive(server, http, arguments)
        finally:
            server.stop()
    return {**report, "faults": judge(report)}


def main() -> int:
    parser = argparse.ArgumentParser(description="Soak a server of its own in mixed traffic.")
    parser.add_argument("--minutes", type=float, default=60.0)
    parser.add_argument("--clients", type=int, default=6)
    parser.add_argument("--model", default="smollm2:135m")
    parser.add_argument("--json", type=Path, help="also write the report to this file")
    arguments = parser.parse_args()
    report = asyncio.run(soak(arguments))
    text = json.dumps(report, indent=2)
    print(text)
    if arguments.json:
        arguments.json.write_text(text + "\n", encoding="utf-8")
    return 1 if report["faults"] else 0


if __name__ == "__main__":
    sys.exit(main())
