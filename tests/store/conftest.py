"""A database of each kind for every test: SQLite in a folder, PostgreSQL where it is installed."""

from __future__ import annotations

import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from migrated import migrate

from llmos_server.store.database import Database
from llmos_server.store.store import Store

sys.path.insert(0, str(Path(__file__).parent))  # for rows


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request: pytest.FixtureRequest) -> str:
    """The setting database.url, of both kinds in turn."""
    return "" if request.param == "sqlite" else request.getfixturevalue("postgres_url")


@pytest.fixture
async def empty(tmp_path: Path, url: str) -> AsyncIterator[Database]:
    """Before its migrations."""
    database = Database(tmp_path, url)
    yield database
    await database.close()


@pytest.fixture
async def store(empty: Database) -> Store:
    await migrate(empty)
    return Store(empty)
