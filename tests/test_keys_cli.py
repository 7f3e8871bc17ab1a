"""llmos keys and llmos usage, on the database of this machine."""

from __future__ import annotations

import json
import re
import sqlite3
from collections.abc import Callable
from pathlib import Path

import pytest

from llmos_server.cli import main


@pytest.fixture(autouse=True)
def own_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("LLMOS_HOME", str(tmp_path / "home"))
    monkeypatch.chdir(tmp_path)
    return tmp_path / "home"


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Callable[..., tuple[int, str, str]]:
    def call(*arguments: str) -> tuple[int, str, str]:
        with pytest.raises(SystemExit) as ended:
            main(arguments)
        captured = capsys.readouterr()
        code = ended.value.code
        return (code if isinstance(code, int) else 0), captured.out, captured.err

    return call


def test_a_key_comes_and_goes(run, own_home: Path) -> None:
    assert "llmos keys create" in run("keys", "list")[1]
    status, out, err = run("keys", "create", "laptop", "--model", "a", "--model", "b", "--max-in-flight", "2")
    assert status == 0, err
    assert str(own_home / "llmos.db") in err
    secret = re.search(r"sk-llmos-\w{8}-([\w-]{43})", out)[1]
    stored = b"".join(path.read_bytes() for path in own_home.glob("llmos.db*"))
    assert b"laptop" in stored
    assert secret.encode() not in stored
    [key] = json.loads(run("keys", "list", "--json")[1])
    assert (key["models"], key["max_in_flight"], key["is_admin"]) == (["a", "b"], 2, False)
    assert "secret_hash" not in key
    listed = run("keys", "list")[1]
    assert "a,b" in listed
    assert "2 at once" in listed
    assert run("keys", "revoke", "laptop")[0] == 0
    assert "revoked 20" in run("keys", "list")[1]
    status, _, err = run("keys", "revoke", "laptop")
    assert status == 1
    assert "llmos keys list" in err


def test_a_key_for_some_skills_and_tools_shows_them(run) -> None:
    run("keys", "create", "narrow", "--skill", "code", "--skill", "translation", "--tool", "clock")
    [key] = json.loads(run("keys", "list", "--json")[1])
    assert (key["skills"], key["tools"]) == (["code", "translation"], ["clock"])
    assert "skills: code,translation, tools: clock" in run("keys", "list")[1]


def test_a_key_is_changed(run) -> None:
    run("keys", "create", "laptop", "--model", "a", "--max-in-flight", "2")
    status, out, err = run(
        "keys", "change", "laptop", "--name", "desk", "--skill", "code", "--unlimited", "max-in-flight"
    )
    assert status == 0, err
    assert "desk" in out
    [key] = json.loads(run("keys", "list", "--json")[1])
    assert [key[name] for name in ("name", "models", "skills", "max_in_flight")] == ["desk", ["a"], ["code"], None]
    for words, told in (
        (("desk",), "Say what to change"),
        (("desk", "--model", "a", "--unlimited", "models"), "takes away what another flag sets"),
        (("desk", "--max-in-flight", "0"), "max_in_flight"),
        (("laptop", "--name", "x"), "No living key"),
    ):
        status, _, err = run("keys", "change", *words)
        assert (status, told in err) == (1, True), err
    assert json.loads(run("keys", "list", "--json")[1]) == [key]


def test_a_leaked_key_is_revoked_by_itself(run) -> None:
    made = json.loads(run("keys", "create", "leaked", "--json")[1])
    status, out, err = run("keys", "revoke", made["key"])
    assert (status, out) == (0, f"Key {made['id']} (leaked): revoked\n")
    assert made["key"] not in run("keys", "revoke", made["key"])[2] + err


def test_a_restore_says_that_revoked_keys_are_valid_again(run, tmp_path: Path) -> None:
    run("keys", "create", "laptop")
    assert run("backup", str(tmp_path / "b.tar"))[0] == 0
    run("keys", "revoke", "laptop")
    status, out, err = run("restore", str(tmp_path / "b.tar"))
    assert status == 0, err
    assert "revoked since is valid again" in out
    assert "valid" in run("keys", "list")[1].splitlines()[1]


def test_a_key_as_json(run) -> None:
    made = json.loads(run("keys", "create", "boss", "--admin", "--json")[1])
    assert made["is_admin"]
    assert made["key"].startswith(f"sk-llmos-{made['id']}-")


def test_a_host_that_others_reach_needs_a_valid_key(run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("llmos_server.app.serve", lambda settings: print("would serve", settings.api.host))
    assert "llmos keys create" in run("serve", "--host", "0.0.0.0")[2]
    run("keys", "create", "laptop")
    assert "would serve 0.0.0.0" in run("serve", "--host", "0.0.0.0")[1]
    run("keys", "revoke", "laptop")
    assert run("serve", "--host", "0.0.0.0")[0] == 1


def test_usage_of_nothing_and_of_something(run, own_home: Path) -> None:
    assert run("usage")[1] == "Nothing was used.\n"
    with sqlite3.connect(own_home / "llmos.db") as database:
        database.execute(
            "INSERT INTO usage VALUES ('i', 'r', 'abcdefgh', 'tiny', '/v1/x', 10, 0, 5, 1.5, NULL, 'stop', 86400000)"
        )
    database.close()
    assert run("usage", "--by", "day")[1].splitlines()[1].split() == ["1970-01-02", "1", "10", "0", "5", "1.5"]
    assert json.loads(run("usage", "--json")[1])[0]["group"] == "abcdefgh"
    assert run("usage", "--since", "7d")[1] == "Nothing was used.\n"
    assert "removed" not in run("usage")[2]
    with sqlite3.connect(own_home / "llmos.db") as database:
        database.execute("INSERT INTO usage_removal VALUES (1, 86400000, 7)")
    database.close()
    assert "Rows from before 1970-01-02 00:00 UTC were removed (database.usage_days)." in run("usage")[2]
    assert "removed" not in run("usage", "--since", "7d")[2]
    assert run("usage", "--since", "soon")[0] == 1


def test_a_named_server_is_asked_instead(run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LLMOS_URL", "http://127.0.0.1:9/v1")
    status, _, err = run("keys", "list")
    assert status == 1
    assert "over HTTP, at http://127.0.0.1:9\n" in err
