"""Behind `llmos eval`: evals of a running server, over HTTP like any other client."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import httpx2
import msgspec

from llmos_server.errors import InvalidRequest, LLMOSError
from llmos_server.evaluation.asking import HttpModels
from llmos_server.evaluation.likelihood import Perplexity, Scorer
from llmos_server.http_client import check_status, errors_in_words, key_for

POLL_SECONDS = 0.5
EVAL_FIELDS = ("name", "metadata", "data_source_config", "testing_criteria")
WAITING = ("queued", "in_progress")

Object = dict[str, Any]


class Done(msgspec.Struct, frozen=True, kw_only=True):
    """What became of an eval file."""

    eval_id: str
    runs: list[Object]
    comparison: Object | None
    """None for one run."""


def read_eval_file(path: Path) -> Object:
    """YAML, of which JSON is a part: the fields of POST /v1/evals, and data_source of a run. Raises InvalidRequest."""
    import yaml

    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise InvalidRequest(f"{path}: can't be read ({error.strerror}).") from None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise InvalidRequest(f"{path}: is no YAML ({error}).") from None
    known = (*EVAL_FIELDS, "data_source")
    if not isinstance(content, dict) or not content.get("data_source"):
        raise InvalidRequest(f"{path}: has the fields {', '.join(known)}; data_source is missing.")
    if unknown := [name for name in content if name not in known]:
        raise InvalidRequest(f"{path}: there is no field {unknown[0]!r}; it has: {', '.join(known)}.")
    return content


def run_eval_file(root: str, path: Path, models: Sequence[str]) -> Done:
    """models: instead of the file's; a run each. Tells how far they are on stderr."""
    content = read_eval_file(path)
    with errors_in_words(root):
        return asyncio.run(_run(root, path, content, models))


async def _run(root: str, path: Path, content: Object, models: Sequence[str]) -> Done:
    async with create_server_client(root) as client:
        server = HttpModels(client)
        source = await _with_file(client, path.parent, content["data_source"])
        body = {name: content[name] for name in EVAL_FIELDS if name in content}
        made = await server.post("/v1/evals", {"name": path.stem, **body})
        address = f"/v1/evals/{made['id']}"
        begun = [
            await server.post(f"{address}/runs", {"data_source": {**source, **chosen}})
            for chosen in ([{"model": model} for model in models] or [{}])
        ]
        runs = [await _wait(server, f"{address}/runs/{run['id']}") for run in begun]
        comparison = None
        if len(runs) > 1:
            comparison = await server.get(f"{address}/compare?runs={','.join(run['id'] for run in runs)}")
    return Done(eval_id=made["id"], runs=runs, comparison=comparison)


async def _with_file(client: httpx2.AsyncClient, folder: Path, source: Object) -> Object:
    """A source {"type": "file", "path": ...}, relative to the eval's file, is uploaded, and named by its id."""
    given = source.get("source")
    if not isinstance(given, dict) or given.get("type") != "file":
        return source
    path = folder / str(given.get("path"))
    try:
        content = path.read_bytes()
    except OSError as error:
        raise InvalidRequest(f"{path}: can't be read ({error.strerror}).") from None
    reply = await client.post("/v1/files", files={"file": (path.name, content)}, data={"purpose": "evals"})
    await check_status(reply)
    return {**source, "source": {"type": "file_id", "id": reply.json()["id"]}}


async def _wait(server: HttpModels, path: str) -> Object:
    """Raises LLMOSError for a run that comes to no end."""
    told = ""
    while True:
        run = await server.get(path)
        counts = run["result_counts"]
        line = f"{run['name']}: {run['status']}, {counts['total']} items, {counts['passed']} passed"
        if line != told:
            print(line, file=sys.stderr)
            told = line
        if run["status"] == "completed":
            return run
        if run["status"] not in WAITING:
            reason = run["error"]["message"] if run["error"] else "it was cancelled"
            raise LLMOSError(f"The run {run['id']} has {run['status']}: {reason}")
        await asyncio.sleep(POLL_SECONDS)


def fetch(root: str, path: str) -> str:
    """A text of the server's."""

    async def get() -> str:
        async with create_server_client(root) as client:
            reply = await client.get(path)
            await check_status(reply)
            return reply.text

    with errors_in_words(root):
        return asyncio.run(get())


def measure_perplexity(root: str, models: Sequence[str], text: str, max_tokens: int) -> list[Perplexity]:
    async def measure() -> list[Perplexity]:
        async with create_server_client(root) as client:
            return [await Scorer(HttpModels(client), model).perplexity(text, max_tokens) for model in models]

    with errors_in_words(root):
        return asyncio.run(measure())


def create_server_client(root: str) -> httpx2.AsyncClient:
    """For paths instead of URLs."""
    key = key_for(root)
    headers = {"Authorization": f"Bearer {key}"} if key else {}
    return httpx2.AsyncClient(base_url=root, headers=headers, timeout=httpx2.Timeout(None, connect=10.0))
