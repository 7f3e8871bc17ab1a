"""The terminal interface as users have it: a real terminal (tmux), the real program, a real server with its model."""

from __future__ import annotations

import asyncio
import os
import re
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx2
import pytest
from tui_terminal import Terminal

pytestmark = [
    pytest.mark.real_model,
    pytest.mark.skipif(shutil.which("tmux") is None, reason="there is no tmux here"),
]


@pytest.fixture
def server(keyed_server: Any) -> Any:
    """These tests make keys."""
    return keyed_server


@pytest.fixture
def terminal(tmp_path: Path) -> Iterator[Terminal]:
    made = Terminal(tmp_path, 120, 36)
    yield made
    made.end()


def start(server, terminal: Terminal) -> None:
    home = server.log.parent / "home"
    env = {"LLMOS_HOME": str(home), "PYTHONPATH": os.environ.get("PYTHONPATH", ""), "TERM": "tmux-256color"}
    command = [sys.executable, "-m", "llmos_server", "tui", "--url", server.url, "--rate", "0.5"]
    terminal.start(command, env)


async def ask(url: str, key: str) -> str:
    """What a client gets whose long answer is ended by somebody else."""
    body = {"messages": [{"role": "user", "content": "Count."}], "max_tokens": 4000, "ignore_eos": True, "stream": True}
    headers = {"Authorization": f"Bearer {key}"}
    async with (
        httpx2.AsyncClient(timeout=120, headers=headers) as http,
        http.stream("POST", f"{url}/v1/chat/completions", json=body) as reply,
    ):
        return (await reply.aread()).decode()


async def test_from_the_start_to_the_end(server, terminal: Terminal) -> None:
    key = (server.log.parent / "home/admin.token").read_text().strip()
    start(server, terminal)
    wait_for = terminal.wait_for

    await asyncio.to_thread(wait_for, "smollm2:135m  decoder  ready")
    asked = asyncio.create_task(ask(server.url, key))
    await asyncio.to_thread(wait_for, "generating")
    await asyncio.to_thread(wait_for, lambda screen: "█ 0 used" not in screen and " used" in screen)
    terminal.press("Enter")
    await asyncio.to_thread(wait_for, "temperature")
    terminal.press("x")
    await asyncio.to_thread(wait_for, "Abort this request?")
    terminal.press("y")
    assert "aborted_by_administrator" in await asked
    await asyncio.to_thread(wait_for, "No request is in flight.")

    terminal.press("3")
    await asyncio.to_thread(wait_for, "Inside")
    terminal.press("q")
    await asyncio.to_thread(terminal.wait_until_gone)


def test_an_operator_loads_pulls_chats_and_revokes(server, terminal: Terminal) -> None:
    start(server, terminal)
    terminal.wait_for("smollm2:135m  decoder  ready")
    terminal.press("3")
    terminal.wait_for("Q4_1")
    terminal.press("Home", "l")
    terminal.wait_for("smollm2:135m is loaded.")
    terminal.press("p")
    terminal.wait_for("Pull a model")
    terminal.type("smollm2:135m")
    terminal.press("Enter")
    terminal.wait_for("is here: 98 MB")

    terminal.press("5")
    terminal.wait_for("Revoke")
    terminal.press("n")
    terminal.wait_for("A new key")
    terminal.type("from-a-terminal")
    terminal.press("Enter")
    key = re.search(r"sk-llmos-\S+", terminal.wait_for("sk-llmos-")).group()
    assert get_usage(server, key) == 200
    terminal.press("Escape")
    terminal.wait_for(lambda screen: "The key of" not in screen and "from-a-terminal" in screen)
    terminal.press("Home", "x")
    terminal.wait_for("Revoke the key of from-a-terminal?")
    terminal.press("y")
    terminal.wait_for("The key of from-a-terminal was revoked.")
    assert get_usage(server, key) == 401

    terminal.press("2")
    terminal.wait_for("8192 tokens")
    terminal.type("What is the capital of France?")
    terminal.press("Enter")
    terminal.wait_for(lambda screen: re.search(r"tok/s · TTFT .* · [1-9]\d* out", screen) is not None)
    terminal.press("M-o")
    terminal.wait_for("Temperature")
    terminal.press("M-o")
    terminal.press("Escape")  # It may go on for long; one that has ended isn't hurt.
    terminal.wait_for(lambda screen: re.search(r" · stopped| out · (stop|length)", screen) is not None)
    terminal.press("C-q")
    terminal.wait_until_gone()


def get_usage(server, key: str) -> int:
    """The status of what a key is answered."""
    return httpx2.get(f"{server.url}/v1/usage", headers={"Authorization": f"Bearer {key}"}, timeout=30).status_code
