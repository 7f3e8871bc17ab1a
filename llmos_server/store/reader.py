"""Rows that every request asks for, from SQLite in one hop to a thread: a quarter of the asynchronous driver's cost."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from sqlalchemy import Connection, Engine, Row, Select

WAIT_SECONDS = 10.0
"""How long a row is waited for: longer than one statement waits for another process, so that a stuck disk is told."""


class Reader:
    """One connection that can't write, on a thread of its own. Nothing is remembered: each statement is a transaction
    that sees what every process committed before it."""

    def __init__(self, engine: Engine) -> None:
        """engine: without a pool, its connections without transactions of their own."""
        self._engine = engine
        self._thread = ThreadPoolExecutor(1, "llmos-reader")
        self._connection: Connection | None = None

    async def first(self, query: Select[Any], values: Mapping[str, Any]) -> Row[Any] | None:
        """Raises the libraries' errors, and TimeoutError."""
        found = asyncio.get_running_loop().run_in_executor(self._thread, self._first, query, values)
        try:
            async with asyncio.timeout(WAIT_SECONDS):
                return await found
        except TimeoutError:
            raise TimeoutError(f"no answer in {WAIT_SECONDS:g} s") from None

    async def close(self) -> None:
        """The next use connects again."""
        if self._connection is not None:
            await asyncio.get_running_loop().run_in_executor(self._thread, self._disconnect)

    def _first(self, query: Select[Any], values: Mapping[str, Any]) -> Row[Any] | None:
        try:
            if self._connection is None:
                self._connection = self._engine.connect()
                self._connection.exec_driver_sql("PRAGMA query_only = ON")
            return self._connection.execute(query, values).first()  # Which ends the read: an open one would go stale.
        except BaseException:
            self._disconnect()
            raise

    def _disconnect(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.close()
