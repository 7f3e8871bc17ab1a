"""Built-in skills on the real default model: that they run end to end, not how well; docs/skills.md has the scores."""

from __future__ import annotations

import ast
import json
import urllib.request
from typing import Any

import pytest

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
def test_calibration_of_labels(server, smollm2, tmp_path, capsys, record_property):
    """What comes with LLMOS is what is measured now: 1,125 texts."""
    from llmos_plugins.classification.calibration import MEASURED, read_calibrations
    from llmos_plugins.classification.command import run as calibrate_labels

    calibrate_labels(tmp_path / "new.json", url=server.url)
    record_property("calibration", "\n" + capsys.readouterr().out)
    for new, kept in zip(read_calibrations([tmp_path / "new.json"]), read_calibrations([MEASURED]), strict=True):
        assert (new.kind, new.model_digest, new.helps) == (kept.kind, smollm2.digest, kept.helps)
        assert new.slope == pytest.approx(kept.slope, rel=0.1)
        assert new.calibrated.ece == pytest.approx(kept.calibrated.ece, abs=0.02)
