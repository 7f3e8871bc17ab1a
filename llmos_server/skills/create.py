"""`llmos skills new`: a package with a skill that works, its prompt, cases, measure and test."""

from __future__ import annotations

from importlib.resources import files
from pathlib import Path

from llmos_server.errors import InvalidRequest, SettingsError
from llmos_server.skills.skill import NAME

FILES = {
    "pyproject.toml.txt": "pyproject.toml",
    "README.md.txt": "README.md",
    "plugin.py.txt": "@PACKAGE@/plugin.py",
    "headline.md.txt": "@PACKAGE@/prompts/headline.md",
    "cases.jsonl.txt": "@PACKAGE@/cases.jsonl",
    "test.py.txt": "tests/test_@PACKAGE@.py",
}
"""Template -> where it goes."""


def create_skill(name: str, folder: Path) -> list[Path]:
    """Write folder/NAME, which must not be there yet; the files, in order. Raises InvalidRequest, SettingsError."""
    if not NAME.fullmatch(name):
        raise InvalidRequest(
            f"{name[:100]!r} is no skill's name; take lower-case letters, digits, _ and -, a letter first.",
            param="name",
        )
    root = folder / name
    words = name.replace("-", "_").split("_")
    values = {
        "@NAME@": name,
        "@PACKAGE@": f"llmos_{'_'.join(words)}",
        "@CLASS@": "".join(word.capitalize() for word in words),
    }
    try:
        root.mkdir(parents=True)
        written = [_write(root, template, target, values) for template, target in FILES.items()]
        (root / values["@PACKAGE@"] / "__init__.py").write_text("", encoding="utf-8")
    except FileExistsError:
        raise SettingsError(f"{root} exists already. Choose another name, or another folder with --folder.") from None
    except OSError as error:
        raise SettingsError(f"{error.filename or root}: can't be written ({error.strerror}).") from None
    return written


def _write(root: Path, template: str, target: str, values: dict[str, str]) -> Path:
    text = files("llmos_server.skills").joinpath("new", template).read_text(encoding="utf-8")
    path = root / _fill(target, values)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(_fill(text, values), encoding="utf-8")
    return path


def _fill(text: str, values: dict[str, str]) -> str:
    for mark, value in values.items():
        text = text.replace(mark, value)
    return text
