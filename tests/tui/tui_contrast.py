"""What is written can be read: its colour against what is behind it. tui_snapshots.py asks, of every picture that it
compares, in every theme."""

from __future__ import annotations

from collections.abc import Iterator

from llmos_tui.screens.base import Body
from llmos_tui.themes import CONTRAST, THEMES
from llmos_tui.widgets.key_bar import KeyBar
from rich.color import Color as RichColor
from rich.segment import Segment
from textual.color import Color
from textual.pilot import Pilot

LEAST = 4.5
LEAST_IN_CONTRAST = 7.0
"""WCAG's AA and AAA."""


def written(pilot: Pilot[object]) -> Iterator[Segment]:
    """Segments with letters or digits. Faint may be: keys that can't be pressed now, what lies behind a dialog, and
    what was last known of a server that is gone."""
    screen = pilot.app.screen
    off = {bar.get_component_rich_style("key-bar--off").color for bar in screen.query(KeyBar)}
    shown = screen.children[0].region if screen.is_modal else screen.region
    hidden = [body.region for body in screen.query(Body)] if screen.has_class("-offline") else []
    for y, strip in enumerate(screen._compositor.render_strips()):
        x = 0
        for segment in strip:
            is_plain = shown.contains(x, y) and not any(region.contains(x, y) for region in hidden)
            x += segment.cell_length
            if is_plain and any(character.isalnum() for character in segment.text) and segment.style.color not in off:
                yield segment


def luminance(color: Color) -> float:
    parts = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in color.normalized]
    return 0.2126 * parts[0] + 0.7152 * parts[1] + 0.0722 * parts[2]


def as_color(color: RichColor | None) -> Color:
    assert color is not None
    return Color.from_rich_color(color)


def contrast(segment: Segment) -> float:
    """1 to 21."""
    style = segment.style
    assert style is not None
    front, behind = as_color(style.color), as_color(style.bgcolor)
    if style.dim:
        front = behind.blend(front, 0.66)
    lower, higher = sorted((luminance(front), luminance(behind)))
    return (higher + 0.05) / (lower + 0.05)


async def check_contrast(pilot: Pilot[object]) -> None:
    """In all themes, whichever is shown; the one that was shown comes back."""
    shown = pilot.app.theme
    faint = {}
    for theme in THEMES:
        pilot.app.theme = theme.name
        await pilot.pause()
        least = LEAST_IN_CONTRAST if theme is CONTRAST else LEAST
        for segment in written(pilot):
            if (found := contrast(segment)) < least:
                faint[f"{theme.name} {segment.text.strip()!r} {segment.style}"] = round(found, 2)
    pilot.app.theme = shown
    await pilot.pause()
    assert not faint, "too faint to be read:\n" + "\n".join(f"{ratio} {what}" for what, ratio in faint.items())
