"""Built-in skills on the real default model: that they run end to end, not how well; docs/skills.md has the scores."""

from __future__ import annotations

import ast
import json
import urllib.request
from typing import Any

import pytest
from llmos_plugins.classification.rows import make_rows
from llmos_plugins.classification.skill import Classification

from llmos_server.calibration.file import CalibrationFile
from llmos_server.cli import main

pytestmark = pytest.mark.real_model


def run(server, skill: str, **fields: Any) -> dict[str, Any]:
    request = urllib.request.Request(
        f"{server.url}/v1/skills/{skill}/run", json.dumps(fields).encode(), {"Content-Type": "application/json"}
    )
    with urllib.request.urlopen(request, timeout=300) as reply:
        body: dict[str, Any] = json.load(reply)
        return body


def test_translation(server, smollm2):
    text = "- Hello {name}, how are you today?\n- Open [the guide](http://example.org/a) in a browser.\n"
    body = run(server, "translation", text=text, target="fr")
    assert (body["skill"], body["model_digest"]) == ("translation", smollm2.digest)
    assert body["details"]["source"] == "en"
    lines = body["result"].splitlines()
    assert [line[:2] for line in lines] == ["- ", "- "]
    assert "{name}" in lines[0]
    assert lines[1].count("](http://example.org/a)") == 1
    assert body["usage"]["completion_tokens"] > 0


def test_classification(server, smollm2):
    labels = ["sport/football", "sport/tennis", "music"]
    body = run(server, "classification", text="The goalkeeper saved a penalty.", labels=labels)
    assert body["model_digest"] == smollm2.digest
    assert body["result"] == "sport/football"
    chances = body["details"]["probabilities"]
    assert abs(chances["sport"] + chances["music"] - 1) < 1e-6
    assert body["usage"]["completion_tokens"] == 0


@pytest.mark.proof
def test_summarization(server, smollm2):
    sentence = "The town of Brenfield repaired the roof of its old library in the year {}, which took {} months."
    text = "\n\n".join(sentence.format(1900 + number, number % 9 + 2) for number in range(60))
    body = run(server, "summarization", text=text, max_words=40)
    assert (body["skill"], body["model_digest"]) == ("summarization", smollm2.digest)
    assert body["details"]["language"] == "en"
    assert 0 < body["details"]["num_words"] <= 40
    assert body["usage"]["completion_tokens"] > 0


def test_code(server, smollm2):
    body = run(server, "code", task="write", instruction="Write a Python function add(a, b).", max_tokens=200)
    assert body["model_digest"] == smollm2.digest
    details = body["details"]
    assert details["attempts"] in (1, 2)
    if details["parses"]:
        ast.parse(body["result"])
    else:
        assert details["parse_error"]


@pytest.mark.proof
def test_calibration_of_labels(server, smollm2, tmp_path, capsys, monkeypatch, record_property):
    """What comes with LLMOS is what is measured now: 1,500 texts."""
    rows = tmp_path / "rows.jsonl"
    rows.write_text("".join(json.dumps(row) + "\n" for row in make_rows()))
    monkeypatch.setenv("LLMOS_HOME", str(tmp_path / "home"))
    (tmp_path / "home").mkdir()
    with pytest.raises(SystemExit) as ended:
        main(["calibrate", str(rows), "--url", f"{server.url}/v1"])
    assert not ended.value.code
    record_property("calibration", "\n" + capsys.readouterr().out)
    measured = CalibrationFile(tmp_path / "home" / "calibrations.json").table()
    assert measured.keys() == {smollm2.digest}
    for task, new in measured[smollm2.digest].items():
        kept = Classification().calibrations.find(smollm2.digest, task, Classification.version)
        assert kept is not None
        assert new.helps == kept.helps
        assert new.temperature == pytest.approx(kept.temperature, rel=0.1)
        assert new.calibrated.ece == pytest.approx(kept.calibrated.ece, abs=0.02)
