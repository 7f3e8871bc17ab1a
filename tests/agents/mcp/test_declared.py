"""Declarations of MCP servers: what is refused, by its key, and what of them nobody sees."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from llmos_server.agents.mcp.declared import declare, declare_all
from llmos_server.agents.mcp.listing import shown_name
from llmos_server.errors import SettingsError
from llmos_server.mcp_settings import McpServerSettings
from llmos_server.settings import load_settings

ENV = {"PATH": "/bin", "HOME": "/h", "LLMOS_DATABASE__URL": "postgresql://u:p@h", "T": "t0ken", "BROKEN": "a\n"}


def test_a_program_gets_a_bare_environment_and_what_is_declared() -> None:
    made = declare("a", McpServerSettings(command="x", env={"KEY": "pre-${T}", "PLAIN": "$T"}), ENV)
    assert made.env == {"PATH": "/bin", "HOME": "/h", "KEY": "pre-t0ken", "PLAIN": "$T"}
    assert made.place == "x"


def test_secrets_are_in_no_text_about_it() -> None:
    settings = McpServerSettings(
        url="https://user:passw0rd@mcp.example.org/mcp?key=query", headers={"Authorization": "Bearer ${T}"}
    )
    made = declare("a", settings, ENV)
    assert made.headers == {"Authorization": "Bearer t0ken"}
    assert made.place == "https://mcp.example.org/mcp"
    assert made.without_secrets("Bearer t0ken, t0ken, passw0rd and key=query") == "***, ***, *** and ***"
    shown = (
        f"{made!r} {declare('a', McpServerSettings(command='x', args=('--key', 't0ken'), env={'A': '${T}'}), ENV)!r}"
    )
    assert "t0ken" not in shown
    assert "T}" not in shown


@pytest.mark.parametrize(
    ("name", "fields", "message"),
    [
        ("a", {}, "set either command"),
        ("a", {"command": "x", "url": "http://h/"}, "set either command"),
        ("a b", {"command": "x"}, "a name is 1 to 32 letters"),
        ("a", {"command": "x", "headers": {"A": "b"}}, "headers: a program that is started gets no headers"),
        ("a", {"url": "http://h/", "env": {"A": "b"}}, "args, env and cwd are for a program"),
        ("a", {"url": "h/mcp"}, "url: it looks like https://"),
        ("a", {"url": "http://h:99999/"}, "url: it looks like https://"),
        ("a", {"command": "x", "env": {"A=B": "c"}}, "env: there is a character that can't be in it"),
        ("a", {"command": "x", "args": ("a\0b",)}, "args: there is a character that can't be in it"),
        ("a", {"url": "http://h/", "headers": {"A B": "c"}}, "headers: there is a character"),
        ("a", {"url": "http://h/", "headers": {"A": "${BROKEN}"}}, "headers.A: there is a character"),
        ("a", {"url": "http://h/", "headers": {"A": "${GONE}"}}, "headers.A: the environment variable GONE isn't set"),
    ],
)
def test_what_can_not_be_is_refused_by_its_key(name: str, fields: dict[str, Any], message: str) -> None:
    with pytest.raises(SettingsError, match=message):
        declare(name, McpServerSettings(**fields), ENV)


@pytest.mark.parametrize(
    "text",
    [
        '[mcp.servers.a]\ncommand = "x"\nenv = { A = 5, B = "s3cret" }',
        '[mcp.servers.a]\nurl = "http://h/"\nheaders = ["s3cret"]',
    ],
)
def test_a_mistake_beside_a_secret_does_not_show_it(tmp_path: Path, text: str) -> None:
    (tmp_path / "config.toml").write_text(text)
    with pytest.raises(SettingsError, match=r"mcp\.servers") as caught:
        load_settings(tmp_path / "config.toml", env={})
    assert "s3cret" not in str(caught.value)


def test_all_that_config_toml_says_arrives(tmp_path: Path) -> None:
    (tmp_path / "config.toml").write_text(
        '[mcp]\nserve = false\nclient_hosts = ["*.example.org"]\n[mcp.servers.a]\ncommand = "x"\n'
        'args = ["1"]\ncwd = "/"\ntools = ["r*"]\napproval = ["w*"]\ntimeout_seconds = 2\nenabled = false\n'
        '[mcp.servers.b]\nurl = "http://h/"\napproval = "always"\n'
    )
    mcp = load_settings(tmp_path / "config.toml", env={}).mcp
    assert (mcp.serve, mcp.client_hosts) == (False, ("*.example.org",))
    first, second = declare_all(mcp, {})
    assert [first.is_offered(tool) for tool in ("read", "write")] == [True, False]
    assert [first.needs_approval(tool) for tool in ("read", "write")] == [False, True]
    assert second.needs_approval("read")
    assert (first.transport, second.transport) == ("stdio", "http")


def test_names_are_what_every_client_takes() -> None:
    assert shown_name("files", "read.file/now") == "files__read_file_now"
    long = [shown_name("files", "x" * 200 + end) for end in "ab"]
    assert [len(name) for name in long] == [128, 128]
    assert long[0] != long[1]
