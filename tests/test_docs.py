"""The docs say what the code does: every setting, verb, flag and route is there, links lead somewhere, code parses."""

from __future__ import annotations

import ast
import dataclasses
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest
from cyclopts import App

from llmos_server.api.app import create_api
from llmos_server.api.served import ModelDirectory
from llmos_server.cli import app
from llmos_server.registry.decoder_config import NOT_PAGED
from llmos_server.settings import SECTIONS, ApiSettings, load_settings
from llmos_server.settings_sources import RESERVED_ENV

VERBS = [name for name in app if not name.startswith("-")]
NOT_DOCUMENTED_APART = {"/docs/openapi.json"}
LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")
BLOCK = re.compile(r"^```(\w*)\n(.*?)^```", re.MULTILINE | re.DOTALL)


def pages(project: Path) -> list[Path]:
    return [*sorted(project.glob("*.md")), *sorted(project.glob("docs/**/*.md"))]


def blocks(path: Path, language: str) -> list[str]:
    return [text for found, text in BLOCK.findall(path.read_text(encoding="utf-8")) if found == language]


def section(text: str, heading: str) -> str:
    """From a "## heading" to the next one."""
    _, found, rest = text.partition(f"\n## {heading}\n")
    assert found, f"no section {heading!r}"
    return rest.partition("\n## ")[0]


def listed(text: str, mark: str) -> list[str]:
    """The names in code style between <!-- mark --> and the next <!-- end -->."""
    _, found, rest = text.partition(f"<!-- {mark} -->")
    assert found, f"no list {mark!r}"
    return re.findall(r"`([^`]+)`", rest.partition("<!-- end -->")[0])


def in_toml(value: object) -> str:
    return msgspec.json.encode(value).decode().replace('":', '" = ').replace(",", ", ")


@pytest.mark.parametrize("name", SECTIONS)
def test_every_setting_is_documented_with_its_default(project: Path, name: str) -> None:
    text = section((project / "docs/configuration.md").read_text(encoding="utf-8"), f"[{name}]")
    rows = dict(re.findall(r"^\| `(\w+)` \| `([^`]*)` \|", text, re.MULTILINE))
    assert rows == {key: in_toml(value) for key, value in dataclasses.asdict(SECTIONS[name]()).items()}


def test_every_variable_is_documented(project: Path) -> None:
    text = (project / "docs/configuration.md").read_text(encoding="utf-8")
    assert [name for name in sorted(RESERVED_ENV) if f"`{name}`" not in text] == []


def test_config_toml_holds_every_default(project: Path) -> None:
    """As it stands it changes nothing; with the comment signs removed it is all the defaults."""
    path = project / "config.toml"
    assert load_settings(path, env={}) == load_settings(env={"LLMOS_CONFIG": "/dev/null"})
    keys = re.findall(r"^# (\w+) = ", path.read_text(encoding="utf-8"), re.MULTILINE)
    assert sorted(keys) == sorted(f.name for cls in SECTIONS.values() for f in dataclasses.fields(cls))


def test_config_toml_uncommented_is_the_defaults(project: Path, tmp_path: Path) -> None:
    text = (project / "config.toml").read_text(encoding="utf-8")
    path = tmp_path / "config.toml"
    path.write_text(re.sub(r"^# (\w+ = )", r"\1", text, flags=re.MULTILINE), encoding="utf-8")
    assert load_settings(path, env={}) == load_settings(Path("/dev/null"), env={})


def flags(verb: App) -> Iterator[str]:
    for name in verb:
        if not name.startswith("-"):
            yield from flags(verb[name])
    for argument in verb.assemble_argument_collection() if verb.default_command else ():
        yield from (name for name in argument.names if name.startswith("--"))


@pytest.mark.parametrize("verb", VERBS)
def test_every_verb_and_flag_is_documented(project: Path, verb: str) -> None:
    text = section((project / "docs/cli.md").read_text(encoding="utf-8"), f"llmos {verb}")
    documented = set(re.findall(r"`(--[a-z-]+)", text))
    assert documented == set(flags(app[verb])) - {"--help"}
    assert "```" in text, "no example"


def test_no_verb_is_documented_that_does_not_exist(project: Path) -> None:
    headings = re.findall(r"^## llmos (\S+)$", (project / "docs/cli.md").read_text(encoding="utf-8"), re.MULTILINE)
    assert sorted(headings) == sorted(VERBS)


def test_every_route_is_documented(project: Path) -> None:
    api = create_api(ModelDirectory([], aliases={}), ApiSettings())
    text = "\n".join(path.read_text(encoding="utf-8") for path in pages(project))
    routes = {re.sub(r"\{(\w+)(:\w+)?\}", r"{\1}", route.path) for route in api.routes} - NOT_DOCUMENTED_APART
    served = {route.removeprefix("/docs/{path}") for route in routes} - {""}
    missing = {route for route in served if f"`{route}`" not in text and f" {route}`" not in text}
    assert missing == set()


def test_relative_links_lead_somewhere(project: Path) -> None:
    broken = []
    for page in pages(project):
        for target in LINK.findall(page.read_text(encoding="utf-8")):
            if "://" not in target and not target.startswith(("#", "mailto:")):
                path = page.parent / target.partition("#")[0]
                broken += [] if path.exists() else [f"{page.name}: {target}"]
    assert broken == []


def test_python_in_the_docs_parses(project: Path) -> None:
    for page in pages(project):
        for text in blocks(page, "python"):
            ast.parse(text, filename=page.name)


def test_shell_in_the_docs_parses(project: Path) -> None:
    for page in pages(project):
        for text in blocks(page, "sh"):
            done = subprocess.run(["sh", "-n"], input=text, capture_output=True, text=True, check=False)
            assert done.returncode == 0, f"{page.name}: {text}{done.stderr}"


def test_readme_opens_with_the_two_commands(project: Path) -> None:
    first_screen = "\n".join((project / "README.md").read_text(encoding="utf-8").splitlines()[:60])
    for what in ("make serve", "make test", "curl ", "from openai import OpenAI", "stream=True"):
        assert what in first_screen


def test_make_targets_of_the_docs_exist(project: Path) -> None:
    targets = set(re.findall(r"^([a-z-]+):", (project / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))
    for page in pages(project):
        named = set(re.findall(r"`make ([a-z-]+)", page.read_text(encoding="utf-8")))
        assert named <= targets, page.name


def test_llmos_commands_of_the_docs_exist(project: Path) -> None:
    for page in pages(project):
        named = set(re.findall(r"`(?:\.venv/bin/)?llmos ([a-z]+)", page.read_text(encoding="utf-8")))
        assert named <= set(VERBS), page.name


def test_the_architectures_listed_are_those_tested(project: Path) -> None:
    """tests/models/tiny_archs.py is read, not imported: it would load torch."""
    tree = ast.parse((project / "tests/models/tiny_archs.py").read_text(encoding="utf-8"))
    tested = next(
        [ast.literal_eval(key) for key in node.value.keys if key is not None]
        for node in tree.body
        if isinstance(node, ast.AnnAssign) and isinstance(node.value, ast.Dict) and ast.unparse(node.target) == "SERVED"
    )
    text = (project / "docs/model-names.md").read_text(encoding="utf-8")
    assert listed(text, "served") == sorted(tested)
    assert listed(text, "refused") == sorted(NOT_PAGED)
