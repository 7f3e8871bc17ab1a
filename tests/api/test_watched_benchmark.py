"""benchmarks/watched.py as people run it, on a scripted server."""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from llmos_server.access.gate import Gate

TOKEN = "llmos-admin-" + "t" * 43


@pytest.fixture(scope="module")
def watched(project: Path) -> Any:
    spec = importlib.util.spec_from_file_location("llmos_benchmark_watched", project / "benchmarks/watched.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_interval(watched):
    """Student's, by hand: the logarithms' mean 0, their standard deviation 0.1 times the root of 2."""
    found = watched.estimate_ratio([2.718281828**0.1, 2.718281828**-0.1])
    assert found.mean == pytest.approx(1.0)
    assert found.high == pytest.approx(2.718281828 ** (12.71 * 0.1))
    assert found.low == pytest.approx(1 / found.high)
    assert watched.estimate([1.0, 3.0]) == pytest.approx((2.0, 2.0 - 12.71, 2.0 + 12.71))
    watched_one = watched.Sample(per_second=100.0, per_cpu_second=200.0)
    assert watched.Pair(watched_one, watched.Sample(90.0, 250.0), 9, 9).cost == pytest.approx(0.1)
    assert watched.estimate_ratio([0.9] * 40) == pytest.approx((0.9, 0.9, 0.9))


def test_pairs_on_a_scripted_server(project, make_api, run_app, tmp_path):
    api = make_api(
        lambda request, index: b"x" * 500, max_model_len=10**4, gate=Gate(admin_token=TOKEN), step_seconds=0.002
    )
    options = ("--pairs", "2", "--clients", "3", "--seconds", "0.5", "--json", str(tmp_path / "found.json"))
    with run_app(api.app) as url:
        done = subprocess.run(
            [sys.executable, str(project / "benchmarks/watched.py"), "--url", url, *options],
            capture_output=True, text=True, check=False, timeout=60, env={**os.environ, "LLMOS_API_KEY": TOKEN},
        )  # fmt: skip
    assert done.returncode == 0, done.stderr
    found = json.loads((tmp_path / "found.json").read_text())
    assert len(found["pairs"]) == 2
    for watched, unwatched, num_events, num_requests in found["pairs"]:
        assert watched[0] > 0
        assert unwatched[0] > 0
        assert num_events >= 6  # Of three streams.
        assert num_requests == 3
    assert found["per_second"]["low"] <= found["per_second"]["mean"] <= found["per_second"]["high"]
    assert "tokens a second, watched / unwatched:" in done.stdout
