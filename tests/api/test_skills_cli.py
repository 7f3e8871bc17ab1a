"""`llmos skills` against a live server: a skill that `new` wrote is listed, run and measured."""

from __future__ import annotations

import json
import logging
import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import structlog

from llmos_server.access.gate import Gate
from llmos_server.cli import main
from llmos_server.plugins.host import load_plugins
from llmos_server.settings import PluginsSettings
from llmos_server.store.database import Database
from llmos_server.store.store import Store

TOKEN = "llmos-admin-" + "t" * 43
Run = Callable[..., tuple[int, str, str]]


@pytest.fixture(autouse=True)
def quiet() -> Iterator[None]:
    """The server is in this process: its log would be among what the program prints."""
    root = logging.getLogger()
    kept = root.handlers, root.level
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
    yield
    structlog.reset_defaults()
    root.handlers, root.level = kept


@pytest.fixture
def run(capsys, monkeypatch, tmp_path: Path) -> Run:
    monkeypatch.setenv("LLMOS_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("LLMOS_API_KEY", TOKEN)
    monkeypatch.setattr("sys.stdin", _Terminal())
    monkeypatch.chdir(tmp_path)

    def call(*words: str) -> tuple[int, str, str]:
        with pytest.raises(SystemExit) as ended:
            main(words)
        captured = capsys.readouterr()
        code = ended.value.code
        return (code if isinstance(code, int) else 0), captured.out, captured.err

    return call


class _Terminal:
    def isatty(self) -> bool:
        return True


@pytest.fixture
def server(run: Run, make_api: Any, run_app: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    """Over a model that answers each text with its own first words."""
    status, out, err = run("skills", "new", "head-line")
    assert status == 0, err
    assert out.splitlines()[0] == "head-line/pyproject.toml"
    folder = tmp_path / "head-line"
    monkeypatch.setenv("LLMOS_PLUGINS__FOLDERS", str(folder))
    host = load_plugins(PluginsSettings(folders=(str(folder),)), built_in=False)
    assert [plugin.state for plugin in host.plugins.values()] == ["on"]

    def answer(request: Any, index: int) -> bytes:
        text = bytes(i for i in request.prompt_ids if i < 256).decode().rpartition("alone.\n\n")[2]
        return " ".join(text.partition("\n")[0].split()[:12]).encode()

    store = Store(Database(tmp_path / "home"))
    gate = Gate(store.keys, admin_token=TOKEN)
    api = make_api(answer, plugins=host, store=store, gate=gate, max_model_len=2000, tokens_per_step=9)
    with run_app(api.app) as url:
        monkeypatch.setenv("LLMOS_URL", f"{url}/v1")
        yield api
    for name in [name for name in sys.modules if name.startswith("llmos_plugin_")]:
        del sys.modules[name]


def test_a_new_skill_is_listed_shown_and_run(run: Run, server: Any) -> None:
    assert json.loads(run("skills", "list", "--json")[1])[0]["name"] == "head-line"
    status, out, err = run("skills", "list")
    assert (status, "head-line" in out) == (0, True), err
    status, out, err = run("skills", "show", "head-line")
    assert (status, "Good enough from on_topic 0.5 on." in out) == (0, True), err
    assert "language  string  English" in out
    text = "Bees have returned to the parks of the city after all these years"
    status, out, err = run("skills", "run", "head-line", text)
    assert (status, out) == (0, "Bees have returned to the parks of the\n"), err
    status, out, err = run("skills", "run", "head-line", text, "--field", "language=German", "--json")
    answer = json.loads(out)
    assert (answer["skill"], answer["details"]["was_cut"]) == ("head-line", True)
    assert b"in German" in bytes(i for i in server.generator.requests[-1].prompt_ids if i < 256)


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("none", "x"), "There is no skill 'none'"),
        (("head-line", "x", "--field", "tone=1"), "no field 'tone'; it has: text, language"),
        (("head-line", "x", "--field", "tone"), "write NAME=VALUE"),
        (("head-line",), "text is missing"),
        (("head-line", "x", "--model", "huge"), "The model 'huge' isn't served here"),
    ],
)
def test_what_cant_be_run_is_told(run: Run, server: Any, words: tuple[str, ...], told: str) -> None:
    status, out, err = run("skills", "run", *words)
    assert (status, out) == (1, "")
    assert told in err


def test_a_disabled_skill_isnt_run_until_it_is_enabled(run: Run, server: Any) -> None:
    assert run("skills", "disable", "head-line")[:2] == (0, "Skill head-line: disabled\n")
    assert "is disabled by this server's administrator" in run("skills", "run", "head-line", "x")[2]
    assert run("skills", "enable", "head-line")[:2] == (0, "Skill head-line: enabled\n")
    assert run("skills", "run", "head-line", "x")[0] == 0
    assert "There is no skill 'none'" in run("skills", "disable", "none")[2]


def test_an_evaluation_is_printed_and_kept_and_runs_tell_of_it(run: Run, server: Any) -> None:
    status, out, err = run("skills", "eval", "head-line", "--model", "tiny", "--model", "gpt-4o-mini")
    assert status == 0, err
    assert "head-line 0.1.0, judged by on_topic" in out
    assert out.count("tiny   3      0       1.000     0.5 reached") == 2
    assert json.loads(run("skills", "show", "head-line", "--json")[1])["scores"][0]["score"] == 1.0
    server.generator.script = lambda request, index: list(b"Nothing")
    status, out, err = run("skills", "eval", "head-line", "--limit", "2")
    assert (status, "0.5 below" in out) == (1, True), err
    assert "below_minimum" not in run("skills", "run", "head-line", "x")[2]
    assert run("skills", "eval", "head-line")[0] == 1
    status, _, err = run("skills", "run", "head-line", "x")
    assert status == 0
    assert "was measured at 0.000, and 0.5 is the least that is good enough" in err


def test_failed_runs_count_and_other_versions_dont(run: Run, server: Any, tmp_path: Path) -> None:
    plain = server.generator.script

    def fail_bees(request: Any, index: int) -> Any:
        if b"Bees" in bytes(i for i in request.prompt_ids if i < 256):
            raise RuntimeError("not this one")
        return plain(request, index)

    server.generator.script = fail_bees
    status, out, err = run("skills", "eval", "head-line")
    assert status == 0
    assert "tiny   3      1       0.667" in out
    assert "A case failed: The server refused (500)" in err
    code = tmp_path / "head-line/llmos_head_line/plugin.py"
    code.write_text(code.read_text().replace('version = "0.1.0"', 'version = "0.2.0"'))
    os.utime(code, (0, 0))  # Compiled code is told apart by size and second of change: both would be the same.
    for name in [name for name in sys.modules if name.startswith("llmos_plugin_")]:
        del sys.modules[name]
    status, _, err = run("skills", "eval", "head-line")
    assert status == 1
    assert "The server runs version 0.1.0 of head-line; the one here is 0.2.0." in err


def test_new_overwrites_nothing_and_refuses_odd_names(run: Run, tmp_path: Path) -> None:
    (tmp_path / "taken").mkdir()
    assert "exists already" in run("skills", "new", "taken")[2]
    assert "is no skill's name" in run("skills", "new", "../x")[2]
    assert list(tmp_path.glob("*")) == [tmp_path / "taken"]


def test_without_a_server_or_a_skill(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LLMOS_URL", "http://127.0.0.1:1/v1")
    assert "No server answers" in run("skills", "list")[2]
    assert "There is no skill 'none' here" in run("skills", "eval", "none")[2]
