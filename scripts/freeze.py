#!/usr/bin/env python3
"""Write constraints.txt from what .venv holds: all that `llmos[dev,tui]` needs, directly or not, at its version.

To refresh: rm -r .venv constraints.txt && touch constraints.txt && make test && .venv/bin/python scripts/freeze.py
Run with .venv's Python. Local version labels ("2.13.0+cpu") are cut, so that the pins fit every platform's builds.
"""

from __future__ import annotations

import re
import sys
import tomllib
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path

from packaging.requirements import Requirement

ROOT = Path(__file__).resolve().parent.parent
NOT_PINNED = {"llmos", "pip"}
HEADER = """\
# Exact versions of all that `llmos[dev,tui]` needs, tested together; pyproject.toml has the ranges.
# `make install` uses this file; by hand: pip install -c constraints.txt -e '.[dev]'
# To refresh: rm -r .venv constraints.txt && touch constraints.txt && make test && .venv/bin/python scripts/freeze.py
"""


def canonical(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def closure(roots: list[Requirement]) -> dict[str, str]:
    """Name -> version of every installed distribution that the roots reach; other platforms' packages are left out."""
    found: dict[str, str] = {}
    seen: set[tuple[str, frozenset[str]]] = set()
    todo = list(roots)
    while todo:
        requirement = todo.pop()
        key = (canonical(requirement.name), frozenset(requirement.extras))
        if key in seen:
            continue
        seen.add(key)
        try:
            package = distribution(requirement.name)
        except PackageNotFoundError:
            continue
        found[key[0]] = package.version.partition("+")[0]
        for text in package.requires or []:
            needed = Requirement(text)
            extras = requirement.extras or {""}
            if needed.marker is None or any(needed.marker.evaluate({"extra": extra}) for extra in extras):
                todo.append(needed)
    return found


def main() -> int:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    extras = project["optional-dependencies"]
    wanted = [*project["dependencies"], *extras["dev"], *extras["tui"]]
    pins = closure([Requirement(text) for text in wanted])
    lines = [f"{name}=={version}" for name, version in sorted(pins.items()) if name not in NOT_PINNED]
    (ROOT / "constraints.txt").write_text(HEADER + "\n".join(lines) + "\n", encoding="utf-8")
    print(f"constraints.txt: {len(lines)} packages, torch {pins.get('torch', 'missing')}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
