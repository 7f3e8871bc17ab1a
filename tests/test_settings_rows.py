"""The settings that hold, as they are shown: every one told, each with its source, no secret among them."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmos_server.cli import app, main
from llmos_server.settings import SECTIONS, load_settings
from llmos_server.settings_rows import HIDDEN, SettingRow, hide, list_settings
from llmos_server.settings_sources import flag_name


@pytest.fixture(autouse=True)
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("LLMOS_HOME", str(tmp_path / "home"))


def rows_of(text: str, path: Path, env: dict[str, str], **flags: dict[str, object]) -> dict[str, SettingRow]:
    path.write_text(text, encoding="utf-8")
    return {f"{row.section}.{row.key}": row for row in list_settings(load_settings(path, env, flags))}


def test_every_setting_is_told_with_what_it_means() -> None:
    rows = list_settings(load_settings(env={}))
    names = [(row.section, row.key) for row in rows]
    assert names[1:] == [(name, f.name) for name, cls in SECTIONS.items() for f in dataclasses.fields(cls)]
    assert [row for row in rows if not row.doc or "\n" in row.doc] == []
    assert {row.source for row in rows} == {"default"}


def test_each_source_is_named(tmp_path: Path) -> None:
    path = tmp_path / "own.toml"
    text = '[api]\nport = 1\nhost = "::1"\nmax_n = 5\n[plugins.code]\nsandbox = true\nlimit = 1\n'
    env = {"LLMOS_HOME": "/srv/llmos", "LLMOS_API__HOST": "127.0.0.2", "LLMOS_PLUGINS__CODE__LIMIT": "2"}
    rows = rows_of(text, path, env, api={"max_n": 6, "strict": None}, models={"default": "a"})

    def told(name: str) -> tuple[object, str, str]:
        return rows[name].value, rows[name].source, rows[name].origin

    assert told("api.port") == (1, "file", str(path))
    assert told("api.host") == ("127.0.0.2", "environment", "LLMOS_API__HOST")
    assert told("api.max_n") == (6, "flag", "--max-n")
    assert told("api.strict") == (False, "default", "")
    assert told("models.default") == ("a", "flag", "--model")
    assert told("plugins.code.sandbox") == (True, "file", str(path))
    assert told("plugins.code.limit") == ("2", "environment", "LLMOS_PLUGINS__CODE__LIMIT")
    assert told(".home") == ("/srv/llmos", "environment", "LLMOS_HOME")


def test_flags_are_those_of_serve() -> None:
    names = {name for argument in app["serve"].assemble_argument_collection() for name in argument.names}
    flags = {"api": ("host", "port", "insecure", "strict"), "models": ("default",), "log": ("level",)}
    flags["engine"] = ("device", "threads")
    assert {flag_name(section, key) for section, keys in flags.items() for key in keys} == names - {"--config"}


SECRET = "hunter2"
MCP = f"""
[database]
url = "postgresql://llmos:{SECRET}/{SECRET}@db.example.org/llmos?sslpassword={SECRET}"
[mcp.servers.files]
command = "files"
args = ["--token", "{SECRET}"]
env = {{ API = "{SECRET}" }}
[mcp.servers.web]
url = "https://me:{SECRET}@mcp.example.org/mcp?key={SECRET}"
headers = {{ Authorization = "Bearer {SECRET}" }}
[plugins.web]
api_key = "{SECRET}"
password = ["{SECRET}"]
url = "https://{SECRET}@example.org"
nested = {{ token = "{SECRET}", color = "red" }}
"""


def test_no_secret_is_shown(tmp_path: Path) -> None:
    rows = rows_of(MCP, tmp_path / "config.toml", {})
    assert SECRET not in json.dumps([str(row) for row in rows.values()])
    assert rows["database.url"].value == "postgresql://llmos:***@db.example.org/llmos?sslpassword=***"
    servers = rows["mcp.servers"].value
    assert servers["web"]["url"] == "https://me:***@mcp.example.org/mcp?key=***"
    assert servers["files"]["command"] == "files"
    assert servers["files"]["env"] == {"API": HIDDEN}
    assert rows["plugins.web.nested"].value == {"token": HIDDEN, "color": "red"}


def test_numbers_and_switches_are_no_secrets(tmp_path: Path) -> None:
    rows = rows_of("[agents]\nmax_tokens = 7\n", tmp_path / "config.toml", {})
    assert rows["agents.max_tokens"].value == 7
    assert rows["api.isolate_keys"].value is True


def test_names_of_models_are_no_secrets(tmp_path: Path) -> None:
    text = '[models.aliases]\n"my-token-model" = "smollm2:135m"\nkey = "https://u:p@h/x?y&z=1"\n'
    rows = rows_of(text, tmp_path / "config.toml", {})
    shown = {"my-token-model": "smollm2:135m", "key": "https://u:***@h/x?***&z=***"}
    assert rows["models.aliases"].value == shown


@given(st.text(min_size=1), st.sampled_from(["password", "api_key", "HF_TOKEN", "client-secret", "auth"]))
def test_what_a_name_calls_secret_is_hidden(value: str, name: str) -> None:
    assert hide({"x": {name: value}}) == {"x": {name: HIDDEN}}


@given(st.text(alphabet=st.characters(exclude_characters="\x00", exclude_categories=["Cs"]), min_size=3))
def test_a_password_in_a_url_is_hidden_whatever_is_in_it(password: str) -> None:
    assert hide(f"postgresql://user:{password}@host/name").startswith("postgresql://user:***@")
    assert hide(f"x://user:<{password}>@host/name") in ("x://user:***@host/name",)


class TestVerb:
    def run(self, capsys: pytest.CaptureFixture[str], *words: str) -> str:
        with pytest.raises(SystemExit) as ended:
            main(["settings", *words])
        assert ended.value.code in (0, None)
        return capsys.readouterr().out

    def test_it_prints_a_table(self, capsys, tmp_path) -> None:
        Path("config.toml").write_text('[api]\nport = 1\n[database]\nurl = "postgresql://u:secret@h/n"\n')
        lines = self.run(capsys, "--changed").splitlines()
        found = [line.split(maxsplit=2) for line in lines]
        assert ["api.port", "1", f"file: {tmp_path / 'config.toml'}"] in found
        assert ["database.url", '"postgresql://u:***@h/n"', f"file: {tmp_path / 'config.toml'}"] in found
        assert len(found) == 4  # With the heads, and LLMOS_HOME.

    def test_one_section_as_json(self, capsys) -> None:
        rows = json.loads(self.run(capsys, "storage", "--json"))
        assert {row["section"] for row in rows} == {"storage"}
        assert rows[0]["doc"]

    def test_an_unknown_section_is_told(self, capsys) -> None:
        with pytest.raises(SystemExit) as ended:
            main(["settings", "appi"])
        assert ended.value.code == 1
        assert "api" in capsys.readouterr().err
