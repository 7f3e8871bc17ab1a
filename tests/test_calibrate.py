"""The verb calibrate, against a server that speaks as much as it needs."""

from __future__ import annotations

import importlib.util
import json
import math
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from llmos_server.calibration.calibration import probabilities
from llmos_server.calibration.file import CalibrationFile
from llmos_server.cli import main


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


class ScriptedServer:
    """Answers noul questions with 0.9 whatever they ask, labels with 0.6 and 0.4."""

    def __init__(self) -> None:
        self.bodies: list[dict[str, Any]] = []

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        raw = (await receive())["body"]
        self.bodies.append(json.loads(raw))
        answer: dict[str, Any] = {"model_digest": "sha256:abc"}
        if scope["path"] == "/v1/systemone":
            answer |= {"answers": {"q": {"type": "noul", "noul": 0.9}}}
        else:
            assert scope["path"] == "/v1/skills/classification/run"
            answer |= {"version": "1.1", "details": {"probabilities": {"a/b": 0.6, "c": 0.4}}}
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
    app = ScriptedServer()
    with run_app()(app) as url:
        status, out, err = run("calibrate", str(path), "--url", f"{url}/v1", "--model", "tiny", "--dry-run")
        assert status == 0, err
        assert not (tmp_path / "home" / "calibrations.json").exists()
        assert run("calibrate", str(path), "--url", f"{url}/v1", "--json")[0] == 0
    assert "50.0%" in out
    question = {"type": "noul", "instructions": "Is it?"}
    first = {"state": "0", "questions": {"q": question}, "calibrated": False, "model": "tiny"}
    assert first in app.bodies  # Several are asked at once, and come in any order.
    kept = CalibrationFile(tmp_path / "home" / "calibrations.json").find("sha256:abc", "noul")
    assert kept is not None
    assert probabilities([math.log(0.9), math.log(0.1)], kept.temperature, kept.bias)[0] == pytest.approx(0.5, abs=0.02)
    assert kept.raw.ece == pytest.approx(0.4, abs=1e-6)


def test_texts_with_labels_go_to_the_skill(run: Any, tmp_path: Path) -> None:
    labels = [{"name": "a/b", "description": "d"}, "c"]
    shared: dict[str, Any] = {"type": "labels", "text": "x", "labels": labels}
    rows = [shared | {"answer": "a/b" if place % 2 else "c"} for place in range(500)]
    rows += [shared | {"answer": ["c"], "group": str(place)} for place in range(500)]
    path = tmp_path / "rows.jsonl"
    path.write_text("\n".join(map(json.dumps, rows)))
    app = ScriptedServer()
    with run_app()(app) as url:
        status, out, err = run("calibrate", str(path), "--url", f"{url}/v1")
    assert status == 0, err
    assert "classification/several" in out
    one, several = app.bodies[0], app.bodies[-1]
    assert one == {"text": "x", "labels": labels, "separator": "", "multiple": False, "calibrated": False}
    assert several == one | {"multiple": True}
    file = CalibrationFile(tmp_path / "home" / "calibrations.json")
    kept = file.find("sha256:abc", "classification/one", "1.1")
    assert kept is not None
    assert kept.raw.ece == pytest.approx(0.1)
    kept = file.find("sha256:abc", "classification/several", "1.1")
    assert kept is not None
    assert kept.num_rows == 500
    assert sum(each.count for each in kept.raw.bins) == 1000
    assert kept.raw.ece == pytest.approx(0.6)
    assert file.find("sha256:abc", "classification/several", "1.0") is None


def test_too_few_rows_calibrate_nothing(run: Any, tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_text(json.dumps({"state": "x", "type": "noul", "instructions": "Is it?", "answer": True}))
    with run_app()(ScriptedServer()) as url:
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
        {"type": "noul", "answer": True},
        {"type": "rank", "state": "s", "answer": True},
        {"type": "labels", "text": "t", "labels": ["a", "b"], "answer": "c"},
        {"type": "labels", "text": "t", "labels": ["a", "b"], "answer": ["a", "c"]},
        {"type": "labels", "labels": ["a", "b"], "answer": "a"},
        {"type": "labels", "text": "t", "labels": [{"name": "a", "labels": ["b"]}, "c"], "answer": "a"},
    ],
)
def test_a_row_that_cannot_be_used_is_named_by_its_line(run: Any, tmp_path: Path, row: Any) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_text("\n" + (row if isinstance(row, str) else json.dumps(row)))
    status, _, err = run("calibrate", str(path))
    assert status == 1
    assert "line 2" in err
