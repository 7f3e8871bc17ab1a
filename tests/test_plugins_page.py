"""A stranger follows docs/plugins.md word by word, in a fresh environment without a network."""

from __future__ import annotations

import os
import re
import socket
import subprocess
import sysconfig
import venv
from pathlib import Path

import pytest

import llmos_server
from llmos_server.plugins.loading import TYPES

FILE = re.compile(r"^`([\w/.]+)`:\n\n```\w+\n(.*?)^```", re.MULTILINE | re.DOTALL)
SHELL = re.compile(r"^```sh\n(.*?)^```", re.MULTILINE | re.DOTALL)
SERVE = "llmos serve\n"
SHIMS = {"llmos": "llmos_server", "pytest": "pytest", "pip": "pip"}
START = """
LLMOS_API__PORT=$PORT llmos serve > server.log 2>&1 &
SERVER=$!
trap 'kill $SERVER; wait $SERVER || true' EXIT
for _ in $(seq 600); do
    curl -sf http://127.0.0.1:8000/ready > /dev/null && break
    kill -0 $SERVER || { cat server.log; exit 1; }
    sleep 0.2
done
export LLMOS_URL=http://127.0.0.1:8000/v1
"""


@pytest.fixture(scope="module")
def page(project: Path) -> str:
    return (project / "docs/plugins.md").read_text(encoding="utf-8")


@pytest.fixture
def stranger(project: Path, tmp_path: Path) -> dict[str, str]:
    """An environment of its own in which LLMOS is installed: what it needs is taken from the one of these tests."""
    venv.create(tmp_path / "venv", symlinks=True)
    python = tmp_path / "venv/bin/python"
    site = next((tmp_path / "venv/lib").glob("*/site-packages"))
    (site / "theirs.pth").write_text(f"{project}\n{project / 'plugins'}\n{sysconfig.get_path('purelib')}\n")
    for name, module in SHIMS.items():
        script = tmp_path / "venv/bin" / name
        script.write_text(f'#!/bin/sh\nexec "{python}" -m {module} "$@"\n')
        script.chmod(0o755)
    (tmp_path / "work").mkdir()
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("LLMOS_", "PYTHON", "PYTEST"))}
    return {
        **kept,
        "PATH": f"{tmp_path / 'venv/bin'}:{os.environ['PATH']}",
        "LLMOS_HOME": str(tmp_path / "home"),
        "LLMOS_API__PORT": "1",
        "PIP_NO_INDEX": "1",
        "PIP_NO_BUILD_ISOLATION": "0",
        "PIP_DISABLE_PIP_VERSION_CHECK": "1",
        "PYTHONDONTWRITEBYTECODE": "1",
    }


def follow(folder: Path, page: str, blocks: list[str], env: dict[str, str]) -> str:
    """What the commands print. The page's files are written first."""
    for name, text in FILE.findall(page):
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    script = "set -ex\n" + "".join(blocks)
    done = subprocess.run(
        ["bash", "-c", script], cwd=folder, env=env, capture_output=True, text=True, check=False, timeout=900
    )
    assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"
    return done.stdout


def split(page: str) -> tuple[list[str], list[str]]:
    """The blocks before the server is started, and after."""
    blocks = SHELL.findall(page)
    place = blocks.index(SERVE)
    return blocks[:place], blocks[place + 1 :]


def test_the_page_leads_to_two_installed_and_tested_plugins(
    page: str, stranger: dict[str, str], tmp_path: Path
) -> None:
    before, _ = split(page)
    printed = follow(tmp_path / "work", page, before, stranger)
    assert "5 passed" in printed
    assert "2 passed" in printed
    listed = printed.rpartition("NAME")[2]
    assert re.search(r"headline +0\.1\.0 +on +package llmos-headline +skills: headline", listed)
    assert re.search(r"shield .*on +folder .*request filters: forbidden-words; response filters: long-numbers", listed)


@pytest.mark.proof
@pytest.mark.real_model
def test_the_page_leads_to_a_server_that_uses_them(
    page: str, stranger: dict[str, str], tmp_path: Path, smollm2: object
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    home = Path(os.environ.get("LLMOS_HOME") or Path.home() / ".llmos")
    for name in ("blobs", "models", "kernels"):
        (tmp_path / "home" / name).mkdir(parents=True)
        for path in (home / name).glob("*"):
            (tmp_path / "home" / name / path.name).symlink_to(path)
    before, after = split(page)
    blocks = [*before, *(text.replace("8000", str(port)) for text in (START, *after))]
    printed = follow(tmp_path / "work", page, blocks, {**stranger, "PORT": str(port)})
    assert '"skill":"headline","version":"0.1.0","model":"smollm2:135m"' in printed
    assert re.search(r"smollm2:135m +3 +0 +\d\.\d{3} +0\.5 (below|reached)", printed)
    assert "The filter forbidden-words of the plugin shield refuses this request: acme" in printed


def test_the_page_names_every_hook_and_everything_that_a_plugin_imports(page: str) -> None:
    assert set(re.findall(r"^\| `(register_\w+)`", page, re.MULTILINE)) == set(TYPES)
    assert [name for name in llmos_server.__all__ if not re.search(rf"\b{name}\b", page)] == []
