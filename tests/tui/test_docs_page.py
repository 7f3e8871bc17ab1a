"""docs/tui.md says what the program does."""

from __future__ import annotations

from pathlib import Path

from llmos_tui.screens.catalogue import PLACES
from tui_keys import keys_page
from tui_snapshots import UPDATES

HEAD = """# Keys of the terminal interface

From the program itself; `?` shows those of the moment. `LLMOS_TEST_SNAPSHOTS=update pytest tests/tui/test_docs_page.py`
writes this page.
"""


def test_every_key_is_documented(project: Path) -> None:
    path = project / "docs/tui-keys.md"
    wanted = f"{HEAD}\n{keys_page()}"
    if UPDATES:
        path.write_text(wanted, encoding="utf-8")
    kept = path.read_text(encoding="utf-8") if path.exists() else ""
    assert kept == wanted, "the keys have changed: LLMOS_TEST_SNAPSHOTS=update writes docs/tui-keys.md anew"


def test_every_screen_is_told_of(project: Path) -> None:
    text = (project / "docs/tui.md").read_text(encoding="utf-8")
    missing = [place.title for place in PLACES if f"\n## {place.title}\n" not in text]
    assert missing == []
