"""Calibration: what is fitted, what is told, and the verb that does it against a server."""

from __future__ import annotations

import importlib.util
import json
import math
import random
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from llmos_server.calibration import CalibrationFile, Row, calibrate, fit, probabilities, quality
from llmos_server.cli import main

TEMPERATURE, BIAS = 2.5, 0.7


def make_rows(num: int, num_options: int, *, bias: float = 0.0, seed: int = 3) -> list[Row]:
    """Scores that are too sure: what is true follows them at TEMPERATURE."""
    chance = random.Random(seed)
    rows = []
    for _ in range(num):
        scores = [chance.gauss(0, 4) for _ in range(num_options)]
        weights = probabilities(scores, TEMPERATURE, bias)
        rows.append(Row(scores, chance.choices(range(num_options), weights)[0]))
    return rows


def test_the_temperature_that_made_the_rows_is_found() -> None:
    temperature, bias = fit(make_rows(4000, 4), has_bias=False)
    assert temperature == pytest.approx(TEMPERATURE, rel=0.08)
    assert bias == 0.0


def test_a_bias_is_found_beside_it() -> None:
    temperature, bias = fit(make_rows(4000, 2, bias=BIAS), has_bias=True)
    assert temperature == pytest.approx(TEMPERATURE, rel=0.1)
    assert bias == pytest.approx(BIAS, abs=0.15)


def test_calibration_makes_unseen_rows_truer() -> None:
    found = calibrate(make_rows(1200, 3), has_bias=False, measured=5)
    assert found.calibrated.accuracy == pytest.approx(found.raw.accuracy, abs=0.01)
    assert found.calibrated.ece < found.raw.ece / 2
    assert found.calibrated.brier < found.raw.brier
    assert found.raw.ece_low < found.raw.ece < found.raw.ece_high + 0.02
    assert (found.num_rows, found.measured) == (1200, 5)


def test_quality_by_hand() -> None:
    found = quality([([0.9, 0.1], 0), ([0.9, 0.1], 1), ([0.3, 0.7], 1)])
    assert found.accuracy == pytest.approx(2 / 3)
    assert found.brier == pytest.approx((0.02 + 1.62 + 0.18) / 3)
    assert found.ece == pytest.approx((abs(1.8 - 1) + abs(0.7 - 1)) / 3)


def test_a_file_is_read_again_when_it_has_changed(tmp_path: Path) -> None:
    file = CalibrationFile(tmp_path / "c.json")
    assert file.find("d", "choice") is None
    (tmp_path / "c.json").write_text("{")
    with pytest.raises(ValueError, match=r"c\.json"):
        file.find("d", "choice")
    (tmp_path / "c.json").write_text("{}")
    assert file.find("d", "choice") is None


@pytest.fixture
def run(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> Callable[..., tuple[int, str, str]]:
    monkeypatch.setenv("LLMOS_HOME", str(tmp_path / "home"))
    (tmp_path / "home").mkdir()

    def call(*arguments: str) -> tuple[int, str, str]:
        with pytest.raises(SystemExit) as ended:
            main(arguments)
        captured = capsys.readouterr()
        code = ended.value.code
        return (code if isinstance(code, int) else 0), captured.out, captured.err

    return call


class ScriptedSystemOne:
    """Answers noul questions with 0.9 whatever they ask; a server that speaks as much as the verb needs."""

    def __init__(self) -> None:
        self.bodies: list[dict[str, Any]] = []

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        raw = (await receive())["body"]
        self.bodies.append(json.loads(raw))
        answer = {"answers": {"q": {"type": "noul", "noul": 0.9}}, "model_digest": "sha256:abc"}
        headers = [(b"content-type", b"application/json")]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": json.dumps(answer).encode()})


def run_app() -> Any:
    """tests/api/conftest.py's."""
    path = Path(__file__).parent / "api" / "conftest.py"
    spec = importlib.util.spec_from_file_location("api_conftest", path)
    assert spec is not None
    assert spec.loader is not None
    module = sys.modules.setdefault("api_conftest", importlib.util.module_from_spec(spec))
    spec.loader.exec_module(module)
    return module.run_app


def test_the_verb_measures_and_keeps(run: Any, tmp_path: Path) -> None:
    rows = [{"state": str(i), "type": "noul", "instructions": "Is it?", "answer": i % 2 == 0} for i in range(500)]
    path = tmp_path / "rows.jsonl"
    path.write_text("\n".join(map(json.dumps, rows)) + "\n")
    app = ScriptedSystemOne()
    with run_app()(app) as url:
        status, out, err = run("calibrate", str(path), "--url", f"{url}/v1", "--model", "tiny", "--dry-run")
        assert status == 0, err
        assert not (tmp_path / "home" / "calibrations.json").exists()
        assert run("calibrate", str(path), "--url", f"{url}/v1", "--json")[0] == 0
    assert "50.0%" in out
    question = {"type": "noul", "instructions": "Is it?"}
    assert app.bodies[0] == {"state": "0", "questions": {"q": question}, "calibrated": False, "model": "tiny"}
    kept = CalibrationFile(tmp_path / "home" / "calibrations.json").find("sha256:abc", "noul")
    assert kept is not None
    assert probabilities([math.log(0.9), math.log(0.1)], kept.temperature, kept.bias)[0] == pytest.approx(0.5, abs=0.02)
    assert kept.raw.ece == pytest.approx(0.4, abs=1e-6)


def test_too_few_rows_calibrate_nothing(run: Any, tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_text(json.dumps({"state": "x", "type": "noul", "instructions": "Is it?", "answer": True}))
    with run_app()(ScriptedSystemOne()) as url:
        status, _, err = run("calibrate", str(path), "--url", f"{url}/v1")
    assert status == 0
    assert "500 are needed" in err
    assert not (tmp_path / "home" / "calibrations.json").exists()


@pytest.mark.parametrize(
    "row",
    [
        "{",
        "[]",
        {"type": "noul"},
        {"type": "noul", "answer": "yes"},
        {"type": "score", "criteria": ["a", "b"], "answer": 2},
        {"type": "score", "criteria": ["a", "b"], "answer": True},
        {"type": "choice", "criteria": {"a": None}, "answer": "b"},
    ],
)
def test_a_row_that_cannot_be_used_is_named_by_its_line(run: Any, tmp_path: Path, row: Any) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_text("\n" + (row if isinstance(row, str) else json.dumps(row)))
    status, _, err = run("calibrate", str(path))
    assert status == 1
    assert "line 2" in err
