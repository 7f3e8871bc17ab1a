"""Load for the tests that kill: open-ended requests, and what a server holds of the machine. A plain module."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx2
import openai
import pytest

MODEL = "smollm2:135m"
STORY = [{"role": "user", "content": "Tell me a very long story."}]
ENDLESS = 4000
MAX_CONNECTIONS = 6
"""That a server keeps to its database: the five of its pool (store/database.py), and the reader."""


def open_stream(server: Any, **options: Any) -> Any:
    client = openai.OpenAI(base_url=server.url + "/v1", api_key="none", max_retries=0)
    return client.chat.completions.create(
        model=MODEL, messages=STORY, stream=True, extra_body={"ignore_eos": True}, **options
    )


def ask(server: Any, max_tokens: int, content: str = "Hi", timeout: float = 900.0) -> httpx2.Response:
    """One unstreamed chat, over a connection of its own."""
    body = {"messages": [{"role": "user", "content": content}], "max_tokens": max_tokens, "ignore_eos": True}
    with httpx2.Client(timeout=timeout, trust_env=False) as client:
        return client.post(server.url + "/v1/chat/completions", json=body)


def ask_at_once(server: Any, count: int, max_tokens: int) -> list[int]:
    """So many chats in flight together; their statuses."""
    start = threading.Barrier(count)

    def one(number: int) -> int:
        start.wait()
        return ask(server, max_tokens, f"Number {number}").status_code

    with ThreadPoolExecutor(count) as pool:
        return list(pool.map(one, range(count)))


def kill_under_load(server: Any, kill: Callable[[int], None]) -> None:
    """One stream and one unstreamed request run; their worker dies. Checks what both and a newcomer are told."""
    stream = open_stream(server, max_tokens=ENDLESS)
    with ThreadPoolExecutor(1) as pool:
        unstreamed = pool.submit(ask, server, ENDLESS)
        next(stream)
        server.wait_for(lambda: server.metric("llmos:num_requests_running") == 2, "running both")
        kill(server.worker_pid())
        with pytest.raises(openai.APIError, match=r"(?i)engine"):
            list(stream)
        stream.response.close()
        lost = unstreamed.result()
    newcomer = ask(server, 1)
    for refused in (lost, newcomer):
        assert refused.status_code == 503, refused.text
        assert 1 <= int(refused.headers["Retry-After"]) < 60


def holdings(server: Any) -> dict[str, int]:
    """What a server process holds: files, threads, children, sockets in its folder, connections to its database.
    The pool opens one whenever two users (ledger, supervisor of jobs, requests) meet, and keeps it: so their
    files, and the thread of each, are in neither files nor threads, and connections have a limit of their own."""
    proc = Path(f"/proc/{server.process.pid}")
    links = open_files(server.process.pid)
    folders = [Path(link).parent for link in links if link.endswith("/lock") and "/llmos-" in link]
    connections = sum(link.endswith("/llmos.db-wal") for link in links)  # One each. The others SQLite shares or keeps.
    return {
        "files": sum("/llmos.db" not in link for link in links),
        "threads": len(list((proc / "task").iterdir())) - connections,
        "children": len((proc / "task" / str(server.process.pid) / "children").read_text().split()),
        "sockets": sum(len(list(folder.iterdir())) for folder in folders),
        "connections": connections,
    }


def wait_until_booked(server: Any, num_requests: int) -> None:
    """The usage ledger writes its first rows about a second after those requests have ended; what a server needs for
    that, it keeps: what it holds before is never seen again."""
    server.wait_for(lambda: server.metric("llmos:usage_rows_written_total") >= num_requests, "booked")


def wait_until_back_to(server: Any, before: dict[str, int]) -> None:
    """No more of anything than `before`, which holdings() gave; of connections, no more than are kept."""
    limits = before | {"connections": MAX_CONNECTIONS}
    now: dict[str, int] = {}

    def is_back() -> bool:
        now.update(holdings(server))
        return all(now[name] <= limits[name] for name in limits)

    try:
        server.wait_for(is_back, "back")
    except AssertionError as error:
        links = sorted(open_files(server.process.pid))
        raise AssertionError(f"the server held {before} and now holds {now}: {links}: {error}") from None


def resident_bytes(pid: int) -> int:
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def open_files(pid: int) -> list[str]:
    """Where its file handles lead."""
    return [link for fd in Path(f"/proc/{pid}/fd").iterdir() if (link := _read(fd))]


def _read(link: Path) -> str:
    try:
        return os.readlink(link)
    except OSError:
        return ""
