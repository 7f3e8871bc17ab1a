"""The verb perplexity."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from llmos_server.cli import main

pytestmark = pytest.mark.real_model


def printed(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    with pytest.raises(SystemExit, match="0"):
        main(["perplexity", *arguments])
    return capsys.readouterr().out


def test_a_model_as_it_is(smollm2: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    text = tmp_path / "text.txt"
    text.write_text("The capital of France is Paris. The capital of Italy is Rome.", encoding="utf-8")
    [row] = json.loads(printed(capsys, smollm2.name, "--text", str(text), "--json"))
    assert row["weights"].startswith("packed")
    assert row["tokens"] == 13
    assert 1 < row["perplexity"] < 50
    assert (row["change"], row["mean_difference"]) == (0, 0)
    heads, row = printed(capsys, smollm2.name, "--text", str(text), "--tokens", "8").splitlines()
    assert heads.startswith("WEIGHTS")
    assert row.split()[-2] == "7"


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        (["--quantization", "int8"], "integers already"),
        (["--text", "/nowhere/text"], "can't be read"),
        (["--tokens", "1"], "two tokens at least"),
    ],
)
def test_refused(smollm2: Any, capsys: pytest.CaptureFixture[str], flags: list[str], words: str) -> None:
    with pytest.raises(SystemExit, match="1"):
        main(["perplexity", smollm2.name, *flags])
    assert words in capsys.readouterr().err
