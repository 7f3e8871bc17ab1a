"""`llmos adapters`, `promote`, `rollback` and `demote` against a live server in this process."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import structlog
from migrated import migrate

from llmos_server.access.gate import Gate
from llmos_server.adapter_contracts import AdapterVersion
from llmos_server.cli import main
from llmos_server.store.database import Database
from llmos_server.store.store import Store

TOKEN = "llmos-admin-" + "t" * 43
Run = Callable[..., str]


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
def run(capsys: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Run:
    monkeypatch.setenv("LLMOS_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("LLMOS_API_KEY", TOKEN)
    monkeypatch.chdir(tmp_path)

    def call(*words: str, status: int = 0) -> str:
        with pytest.raises(SystemExit) as ended:
            main(words)
        captured = capsys.readouterr()
        assert (ended.value.code or 0) == status, captured.err
        return captured.err if status else captured.out

    return call


@pytest.fixture
def server(run: Run, make_api: Any, run_app: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Any]:
    """With two adapters of the model "tiny"."""
    home = tmp_path / "home"

    async def fill() -> None:
        store = Store(Database(home))
        await migrate(store.database)
        for digit in "ab":
            (home / "adapters" / (digit * 64)).mkdir(parents=True)
            digest = f"sha256:{digit * 64}"
            version = AdapterVersion(
                name=f"tiny:{digit}", base="tiny", base_digest="sha256:0", digest=digest, folder="", rank=8, num_bytes=9
            )  # fmt: skip
            await store.adapters.register(version)
        await store.close()

    asyncio.run(fill())
    store = Store(Database(home))
    api = make_api(store=store, gate=Gate(store.keys, admin_token=TOKEN))
    with run_app(api.app) as url:
        monkeypatch.setenv("LLMOS_URL", f"{url}/v1")
        yield api


def test_adapters_are_loaded_shown_and_unloaded(run: Run, server: Any) -> None:
    assert run("adapters", "load", "tiny:a").startswith("tiny:a: loaded (9 ")
    listed = {one["name"]: one["is_loaded"] for one in json.loads(run("adapters", "list", "--json"))}
    assert listed == {"tiny:a": True, "tiny:b": False}
    assert run("adapters", "unload", "tiny:a") == "tiny:a: unloaded\n"
    assert "No adapter is named" in run("adapters", "load", "tiny:c", status=1)


def test_an_alias_is_promoted_rolled_back_and_demoted(run: Run, server: Any) -> None:
    assert run("promote", "tiny:a", "orders") == "orders: tiny:a (sha256:aaaaaaaaaaaa) answers now\n"
    run("promote", "tiny:b", "orders")
    assert run("rollback", "orders") == "orders: tiny:a (sha256:aaaaaaaaaaaa) answers now\n"
    assert [line.split()[1:4] for line in run("promotions", "orders").splitlines()[1:]] == [
        ["3", "rollback", "tiny:a"],
        ["2", "promote", "tiny:b"],
        ["1", "promote", "tiny:a"],
    ]
    assert "llmos demote orders" in run("rollback", "orders", status=1)
    assert "orders still leads to it" in run("adapters", "rm", "tiny:a")
    assert run("demote", "orders") == "orders: nothing answers to it any more\n"
    assert json.loads(run("promotions", "--json")) == []
