"""A PostgreSQL of the tests' own, where one is installed.

A plugin of pytest, which conftest.py names.
"""

from __future__ import annotations

import os
import pwd
import shutil
import subprocess
import tempfile
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest


def _unprivileged() -> dict[str, Any]:
    """PostgreSQL's programs refuse to run as root."""
    if os.geteuid() != 0:
        return {}
    for name in ("postgres", "nobody"):
        try:
            user = pwd.getpwnam(name)
        except KeyError:
            continue
        return {"user": user.pw_uid, "group": user.pw_gid, "extra_groups": []}
    pytest.skip("PostgreSQL doesn't run as root, and there is no user to run it as")


@pytest.fixture(scope="session")
def postgres() -> Iterator[str]:
    """The URL of a server of the tests' own, without a database's name. Only a socket in its folder leads to it."""
    if shutil.which("initdb") is None or shutil.which("pg_ctl") is None:
        pytest.skip("PostgreSQL isn't installed: no initdb and pg_ctl on PATH")
    who = _unprivileged()
    folder = Path(tempfile.mkdtemp(prefix="llmos-pg-", dir="/tmp"))  # A socket's path has to be short.
    if who:
        os.chown(folder, who["user"], who["group"])
    data = folder / "data"

    def run(*command: str) -> None:
        # To a file: the server inherits what pg_ctl writes to, and a pipe would never end.
        with (folder / "out").open("ab") as out:
            subprocess.run(command, check=True, cwd="/", stdout=out, stderr=out, timeout=120, **who)

    try:
        run("initdb", "--pgdata", str(data), "--username", "llmos", "--auth", "trust", "--no-sync", "--encoding=UTF8")
        options = f"-c listen_addresses= -c unix_socket_directories={folder} -c fsync=off"
        run("pg_ctl", "start", "-w", "-D", str(data), "-l", str(folder / "log"), "-o", options)
        try:
            yield f"postgresql://llmos:not-shown@/{{name}}?host={folder}"
        finally:
            run("pg_ctl", "stop", "-w", "-m", "immediate", "-D", str(data))
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture
async def postgres_url(postgres: str) -> str:
    """Of a new, empty database."""
    import asyncpg

    name = f"t{uuid.uuid4().hex}"
    connection = await asyncpg.connect(postgres.format(name="postgres"))
    await connection.execute(f"CREATE DATABASE {name}")
    await connection.close()
    return postgres.format(name=name)
