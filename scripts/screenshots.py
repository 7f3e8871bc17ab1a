#!/usr/bin/env python3
"""Pictures for docs/tui.md, of the terminal interface on a real server with the default model: `make screenshots`.

A server is started on a home of its own, which shares the models of LLMOS_HOME, `llmos bench` gives it something to do,
and the program is driven as a user would. Nothing is drawn that the server didn't tell.
"""

from __future__ import annotations

import asyncio
import os
import re
import socket
import subprocess
import sys
import tempfile
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import httpx2
from llmos_tui.app import LLMOSApp
from textual.pilot import Pilot
from tuning_for_screenshots import prepare

from llmos_server.commands.tui import create_app
from llmos_server.settings import find_home

ROOT = Path(__file__).resolve().parent.parent
SIZE = (140, 40)
SMALL = (80, 24)
FONTS = "DejaVu Sans Mono, Menlo, Consolas, monospace"
READY_SECONDS = 120.0
LOAD = ("--concurrency", "12", "--requests", "400", "--max-tokens", "96", "--system-words", "200", "--turns", "2")

Drive = Callable[["Pilot[None]"], Awaitable[None]]
Shot = tuple[str, tuple[int, int], Drive]


async def _dashboard(pilot: Pilot[None]) -> None:
    await asyncio.sleep(40)


async def _press(pilot: Pilot[None], *keys: str, seconds: float = 2.0) -> None:
    for key in keys:
        await pilot.press(key)
        await asyncio.sleep(0.2)
    await asyncio.sleep(seconds)


def _keys(*keys: str, seconds: float = 2.0) -> Drive:
    async def drive(pilot: Pilot[None]) -> None:
        await _press(pilot, *keys, seconds=seconds)

    return drive


def _place(name: str, *keys: str, seconds: float = 2.0) -> Drive:
    """Go to a screen, press these."""

    async def drive(pilot: Pilot[None]) -> None:
        assert isinstance(pilot.app, LLMOSApp)
        pilot.app.action_show_place(name)
        await asyncio.sleep(2.0)
        await _press(pilot, *keys, seconds=seconds)

    return drive


QUESTION = (*"Write a short Python function that adds two numbers.".replace(" ", "_"), "enter")
WRITTEN = tuple({"_": "space", ".": "full_stop"}.get(key, key) for key in QUESTION)


async def _structure(pilot: Pilot[None]) -> None:
    await pilot.press("3")
    await asyncio.sleep(2)
    await pilot.press("home", "enter")
    await asyncio.sleep(2)
    for key in ("down", "down", "down", "right", "down", "right"):
        await pilot.press(key)
        await asyncio.sleep(0.3)
    await pilot.press("down", "down", "right")
    await asyncio.sleep(1)


async def _attention(pilot: Pilot[None]) -> None:
    """Layer 3, head 2."""
    await pilot.press("escape", "a")
    await asyncio.sleep(15)
    for key in ("right_square_bracket",) * 3 + ("full_stop",) * 3:
        await pilot.press(key)
        await asyncio.sleep(3)


async def _logs(pilot: Pilot[None]) -> None:
    await pilot.press("escape", "7")
    await asyncio.sleep(2)
    await pilot.press("slash", *"chat", "enter")
    await asyncio.sleep(1)


async def _skill(pilot: Pilot[None]) -> None:
    """The last one of the built-in skills: translation."""
    await pilot.press("4")
    await asyncio.sleep(2)
    await pilot.press("end", "enter")
    await asyncio.sleep(1)
    await pilot.press(*"Good morning, my friend", "tab", *"de", "enter")
    await asyncio.sleep(20)


async def _tune(pilot: Pilot[None]) -> None:
    """Two runs, their curves over each other."""
    home = find_home(os.environ)
    key = (home / "admin.token").read_text(encoding="utf-8").strip()
    url = f"http://127.0.0.1:{os.environ['LLMOS_API__PORT']}"
    await asyncio.to_thread(prepare, url, key)
    await _place("tune", "space", "down", seconds=6)(pilot)


async def _evals(pilot: Pilot[None]) -> None:
    """The base, marked first, beside what was tuned."""
    await _press(pilot, "e", seconds=3)
    await _press(pilot, "tab", "end", "space", "up", "space", "up", "space", seconds=4)


SHOTS: tuple[Shot, ...] = (
    ("dashboard", SIZE, _dashboard),
    ("request", SIZE, _keys("enter")),
    ("", SIZE, _keys("escape")),
    ("dashboard-80", SMALL, _dashboard),
    ("help", SIZE, _keys("question_mark")),
    ("", SIZE, _keys("escape")),
    ("chat", SIZE, _place("chat", *WRITTEN, seconds=20)),
    ("models", SIZE, _place("models")),
    ("structure", SIZE, _structure),
    ("attention", SIZE, _attention),
    ("logs", SIZE, _logs),
    ("skills", SIZE, _place("skills")),
    ("skill", SIZE, _skill),
    ("settings", SIZE, _place("settings")),
    ("tune", SIZE, _tune),
    ("evals", SIZE, _evals),
)
"""Name of the picture ("" for none), size of the terminal, and what is done before."""


def main(names: Sequence[str]) -> int:
    """names: of pictures; all of them when there are none."""
    if unknown := set(names) - {name for name, _, _ in SHOTS}:
        sys.exit(f"There is no picture {', '.join(sorted(unknown))}.")
    with tempfile.TemporaryDirectory(prefix="llmos-shots-") as folder, server(Path(folder)) as url:
        command = [sys.executable, "-m", "llmos_server", "bench", "--url", f"{url}/v1", *LOAD]
        load = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        try:
            asyncio.run(shoot([shot for shot in SHOTS if not names or shot[0] in names]))
        finally:
            load.terminate()
            load.wait()
    return 0


async def shoot(shots: Sequence[Shot]) -> None:
    app = create_app(None, None, 1.0, None)
    async with app.run_test(size=SIZE) as pilot:
        for name, size, drive in shots:
            if app.size != size:
                await pilot.resize_terminal(*size)
            await drive(pilot)
            if name:
                path = ROOT / "docs/images" / f"tui-{name}.svg"
                path.write_text(without_outside(app.export_screenshot(title="llmos tui")), encoding="utf-8")
                print(path.relative_to(ROOT))


def without_outside(svg: str) -> str:
    """Fonts of this machine, not of a server elsewhere."""
    svg = re.sub(r"\s*@font-face \{.*?\}", "", svg, flags=re.DOTALL)
    return re.sub(r"font-family: Fira Code, monospace", f"font-family: {FONTS}", svg).replace("Fira Code", FONTS)


@contextmanager
def server(home: Path) -> Iterator[str]:
    """Its root URL; this process's settings lead to it meanwhile."""
    for name in ("blobs", "models", "kernels"):
        (home / name).mkdir()
        for path in (find_home(os.environ) / name).glob("*"):
            (home / name / path.name).symlink_to(path)
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    os.environ.update(LLMOS_HOME=str(home), LLMOS_API__PORT=str(port))
    url = f"http://127.0.0.1:{port}"
    with (home / "serve.log").open("wb") as log:
        process = subprocess.Popen([sys.executable, "-m", "llmos_server", "serve"], stdout=log, stderr=log)
    try:
        wait_ready(url, process, home / "serve.log")
        yield url
    finally:
        process.terminate()
        process.wait()


def wait_ready(url: str, process: subprocess.Popen[bytes], log: Path) -> None:
    with httpx2.Client(trust_env=False) as client:
        for _ in range(int(READY_SECONDS / 0.25)):
            if process.poll() is not None:
                sys.exit(f"The server ended:\n{log.read_text(errors='replace')[-2000:]}")
            try:
                if client.get(f"{url}/ready").is_success:
                    return
            except httpx2.HTTPError:
                pass
            try:
                process.wait(0.25)
            except subprocess.TimeoutExpired:
                continue
    sys.exit("The server was not ready in time.")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
