"""What the system tells of the memory of a process and of those that it has started."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator

import pytest

from llmos_server.process_memory import family_bytes

NUM_BYTES = 64 * 2**20
PROGRAM = f"""
import os, sys
held = bytes(range(256)) * ({NUM_BYTES} // 256)
if os.fork() == 0:
    sys.stdin.read()
    os._exit(0)
print("ready", flush=True)
sys.stdin.read()
"""


@pytest.fixture
def family() -> Iterator[int]:
    """A process that holds NUM_BYTES, and a child that shares them with it."""
    with subprocess.Popen(
        [sys.executable, "-c", PROGRAM], stdin=subprocess.PIPE, stdout=subprocess.PIPE, start_new_session=True
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"ready\n"
        yield process.pid


@pytest.mark.skipif(sys.platform != "linux", reason="needs /proc")
def test_what_processes_share_counts_once_where_it_matters(family: int) -> None:
    exact = family_bytes(family, enough=0)
    rough = family_bytes(family, enough=2**40)
    assert exact is not None
    assert rough is not None
    assert NUM_BYTES < exact < 1.5 * NUM_BYTES
    assert rough > 2 * NUM_BYTES


def test_of_a_process_that_has_ended_nothing_is_told() -> None:
    with subprocess.Popen([sys.executable, "-c", ""]) as process:
        process.wait()
    assert family_bytes(process.pid, enough=0) is None
