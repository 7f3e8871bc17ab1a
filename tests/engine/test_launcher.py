from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from llmos_server.cores import num_usable_cores
from llmos_server.engine.launcher import SubprocessLauncher
from llmos_server.engine.messages import WorkerConfig

CONFIG = WorkerConfig(
    epoch=1, commands_endpoint="", reports_endpoint="", model_digest="", model_folder="", weights=[], device="cpu",
    threads=3, page_size=16, cache_bytes=0, max_num_seqs=1, max_num_batched_tokens=1, prefix_caching=True,
)  # fmt: skip


async def test_worker_gets_its_configuration_and_thread_settings(tmp_path: Path) -> None:
    report = tmp_path / "report"
    script = (
        "import json, os, sys, pathlib;"
        "line = json.loads(sys.stdin.readline());"
        f"pathlib.Path({str(report)!r}).write_text(json.dumps([line['epoch'], os.environ['OMP_NUM_THREADS'],"
        " os.environ['OMP_WAIT_POLICY'], 'torch' in sys.modules]))"
    )
    process = await SubprocessLauncher((sys.executable, "-c", script)).launch(CONFIG)
    assert await process.wait() == 0
    assert json.loads(report.read_text()) == [1, "3", "PASSIVE", False]
    process.kill()


async def test_kill_ends_a_worker_that_ignores_its_pipe() -> None:
    process = await SubprocessLauncher((sys.executable, "-c", "import time; time.sleep(600)")).launch(CONFIG)
    process.kill()
    assert await process.wait() < 0


@pytest.mark.parametrize(("limit", "num_cores"), [("50000 100000", 1), ("100000 100000", 1), ("1000 100000", 1)])
def test_container_quota_caps_the_threads(tmp_path: Path, limit: str, num_cores: int) -> None:
    path = tmp_path / "cpu.max"
    path.write_text(limit + "\n")
    assert num_usable_cores(path) == num_cores


@pytest.mark.parametrize("limit", ["max 100000", "nonsense", None])
def test_no_quota_means_all_cores(tmp_path: Path, limit: str | None) -> None:
    path = tmp_path / "cpu.max"
    if limit:
        path.write_text(limit)
    assert num_usable_cores(path) == num_usable_cores(tmp_path / "missing") >= 1
