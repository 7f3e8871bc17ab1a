"""The file that makes its reader an administrator."""

from __future__ import annotations

import os
import stat
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from llmos_server.access.admin_token import ensure_admin_token, read_admin_token, token_path
from llmos_server.errors import SettingsError
from llmos_server.http_client import key_for


def test_it_is_made_once_for_the_owner_alone(tmp_path: Path) -> None:
    home = tmp_path / "home"
    assert read_admin_token(home) is None
    token = ensure_admin_token(home)
    assert stat.S_IMODE(token_path(home).stat().st_mode) == 0o600
    assert ensure_admin_token(home) == read_admin_token(home) == token
    assert [path.name for path in home.iterdir()] == ["admin.token"]


def test_servers_that_start_at_once_agree(tmp_path: Path) -> None:
    with ThreadPoolExecutor(8) as pool:
        assert len(set(pool.map(lambda _: ensure_admin_token(tmp_path), range(16)))) == 1


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o620, 0o666])
def test_one_that_others_can_reach_is_refused(tmp_path: Path, mode: int) -> None:
    ensure_admin_token(tmp_path)
    token_path(tmp_path).chmod(mode)
    for use in (ensure_admin_token, read_admin_token):
        with pytest.raises(SettingsError, match="0600"):
            use(tmp_path)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")
def test_one_of_another_user_is_refused(tmp_path: Path) -> None:
    ensure_admin_token(tmp_path)
    os.chown(token_path(tmp_path), 65534, 65534)
    with pytest.raises(SettingsError, match="your own"):
        read_admin_token(tmp_path)


def test_a_link_or_an_empty_file_is_no_token(tmp_path: Path) -> None:
    ensure_admin_token(tmp_path)
    other = tmp_path / "other"
    other.mkdir()
    token_path(other).symlink_to(token_path(tmp_path))
    assert read_admin_token(other) is None
    token_path(tmp_path).write_text("")
    with pytest.raises(SettingsError, match="no token"):
        read_admin_token(tmp_path)


def test_clients_send_a_key_or_on_this_machine_the_token(tmp_path: Path) -> None:
    env = {"LLMOS_HOME": str(tmp_path)}
    assert key_for("http://127.0.0.1:8000/v1", env) is None
    token = ensure_admin_token(tmp_path)
    assert key_for("http://127.0.0.1:8000/v1", env) == key_for("http://localhost:1/v1", env) == token
    assert key_for("http://example.org/v1", env) is None
    assert key_for("http://127.0.0.1:8000/v1", {**env, "LLMOS_API_KEY": "sk-mine"}) == "sk-mine"
