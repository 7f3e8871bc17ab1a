"""Screens compared with SVG files of tests/tui/snapshots/. LLMOS_TEST_SNAPSHOTS=update writes them anew: look at the
diff, or open the files in a browser, before they are committed."""

from __future__ import annotations

import os
import re
from pathlib import Path

from textual.app import App
from textual.pilot import Pilot
from tui_contrast import check_contrast

FOLDER = Path(__file__).parent / "snapshots"
SIZES = ((80, 24), (140, 40))
UPDATES = os.environ.get("LLMOS_TEST_SNAPSHOTS") == "update"


def normalised(app: App[object]) -> str:
    """Without what Textual numbers anew in each process, and without fonts from outside."""
    svg = app.export_screenshot()
    svg = re.sub(r"terminal-\d+-", "terminal-", svg)
    svg = re.sub(r"@font-face \{.*?\}\n", "", svg, flags=re.DOTALL)
    return "\n".join(line.rstrip() for line in svg.splitlines() if line.strip()) + "\n"


def texts(svg: str) -> str:
    """What can be read on it, for the message of a failure."""
    return "\n".join(re.findall(r"<text[^>]*>(.*?)</text>", svg)).replace("&#160;", " ")


def shown_text(pilot: Pilot[object]) -> str:
    """All that is drawn, as lines of text."""
    screen = pilot.app.screen
    width, height = pilot.app.size
    strips = screen._compositor.render_strips()
    return "\n".join("".join(segment.text for segment in strip)[:width].rstrip() for strip in strips[:height])


async def drawn_at_last(pilot: Pilot[object], kept: str | None) -> str:
    """What is drawn when it is as it was kept or, at the latest after a second, when nothing has moved twice."""
    drawn = ""
    for _ in range(20):
        await pilot.pause()
        before, drawn = drawn, normalised(pilot.app)
        if drawn == kept or (kept is None and drawn == before):
            break
        await pilot.pause(0.05)
    return drawn


async def check_snapshot(pilot: Pilot[object], name: str) -> None:
    """As it was, and to be read in each theme; the failure shows the lines that differ."""
    size = pilot.app.size
    if size == SIZES[-1]:
        await check_contrast(pilot)
    path = FOLDER / f"{name}-{size.width}x{size.height}.svg"
    if UPDATES:
        FOLDER.mkdir(exist_ok=True)
        path.write_text(await drawn_at_last(pilot, None), encoding="utf-8")
        return
    assert path.exists(), f"no {path.name}: write it with LLMOS_TEST_SNAPSHOTS=update"
    kept = path.read_text(encoding="utf-8")
    drawn = await drawn_at_last(pilot, kept)
    if drawn != kept:
        was, now = set(texts(kept).splitlines()), set(texts(drawn).splitlines())
        gone, new = sorted(was - now), sorted(now - was)
        raise AssertionError(f"{path.name} differs.\nwas:\n{gone}\nis:\n{new}\nLLMOS_TEST_SNAPSHOTS=update accepts it.")
