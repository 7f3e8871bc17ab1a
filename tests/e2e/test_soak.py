"""benchmarks/soak.py in small: mixed traffic leaves nothing behind."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.real_model


@pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="/proc is Linux's")
@pytest.mark.proof
def test_a_short_soak_leaves_nothing_behind(smollm2, project: Path, tmp_path: Path, make_home) -> None:
    command = [sys.executable, str(project / "benchmarks" / "soak.py"), "--minutes", "0.08", "--model", smollm2.name]
    environment = {**os.environ, "LLMOS_HOME": str(make_home(tmp_path))}
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=300, env=environment)
    assert done.returncode == 0, done.stdout + done.stderr
    report = json.loads(done.stdout)
    assert report["faults"] == []
    assert report["outcomes"]["200"] > 0
    assert sum(report["outcomes"].values()) > 10
