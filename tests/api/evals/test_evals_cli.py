"""`llmos eval` on a running server."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import httpx2
import pytest

from llmos_server.cli import app
from llmos_server.errors import InvalidRequest
from llmos_server.eval_client import read_eval_file

FILE = """
name: Capitals
data_source_config: {type: custom, item_schema: {type: object}, include_sample_schema: true}
testing_criteria:
  - {type: string_check, name: same, operation: eq, input: "{{ sample.output_text }}", reference: "{{ item.capital }}"}
data_source:
  type: completions
  model: tiny
  input_messages: {type: template, template: [{role: user, content: "{{ item.country }}"}]}
  source: {type: file, path: capitals.jsonl}
"""


@contextmanager
def jobs_being_done(evals: Any) -> Iterator[None]:
    end = threading.Event()

    def work() -> None:
        while not end.wait(0.05):
            for found in httpx2.get(f"{evals.url}/v1/evals").json()["data"]:
                runs = httpx2.get(f"{evals.url}/v1/evals/{found['id']}/runs", params={"status": "queued"}).json()
                if runs["data"]:
                    evals.do(runs["data"][0]["id"])

    thread = threading.Thread(target=work)
    thread.start()
    try:
        yield
    finally:
        end.set()
        thread.join(20)


@pytest.fixture
def llmos(monkeypatch, capsys, evals, tmp_path):
    """llmos("eval", ...) -> what it printed."""
    monkeypatch.setenv("LLMOS_URL", f"{evals.url}/v1")
    monkeypatch.setenv("LLMOS_HOME", str(tmp_path / "client"))

    def run(*words: str) -> str:
        app(["eval", *words], result_action="return_value", exit_on_error=False)
        lines = capsys.readouterr().out.splitlines(keepends=True)
        return "".join(line for line in lines if not line.startswith("20"))  # The server, in this process, logs.

    return run


def test_two_models_side_by_side_from_a_file(evals, llmos, tmp_path) -> None:
    evals.answers["Peru"] = "Cusco"
    rows = [{"item": {"country": country, "capital": capital}} for country, capital in CAPITALS.items()]
    (tmp_path / "capitals.jsonl").write_text("\n".join(map(json.dumps, rows)))
    (tmp_path / "capitals.yaml").write_text(FILE)
    page, markdown = tmp_path / "report.html", tmp_path / "report.md"
    with jobs_being_done(evals):
        told = llmos("run", str(tmp_path / "capitals.yaml"), "--model=tiny", "--model=gpt-4o-mini", f"--report={page}")
    lines = [line.split() for line in told.splitlines() if line.startswith("evalrun_")]
    assert [line[1:] for line in lines] == [["tiny", "4", "0", "3"], ["gpt-4o-mini", "4", "0", "3"]]
    assert "gpt-4o-mini MINUS tiny" in told
    assert "+0.000 (+0.000 to +0.000)" in told
    assert page.read_text().startswith("<!doctype html>")
    eval_id = told.split()[0]
    assert eval_id in llmos("list")
    assert llmos("report", eval_id, lines[0][0]).startswith("# Capitals")
    llmos("report", eval_id, lines[0][0], f"--out={markdown}")
    assert "Items that didn't pass" in markdown.read_text()


CAPITALS = {"France": "Paris", "Italy": "Rome", "Spain": "Madrid", "Peru": "Lima"}


def test_perplexity_over_the_api(evals, llmos, tmp_path) -> None:
    (tmp_path / "text").write_text("Once upon a time")
    [found] = json.loads(llmos("perplexity", str(tmp_path / "text"), "--json"))
    assert (found["model"], found["num_tokens"]) == ("tiny", 15)  # Nothing is before the first one.
    assert found["perplexity"]["mean"] > 1


@pytest.mark.parametrize(
    ("content", "told"),
    [
        ("a: [", "is no YAML"),
        ("name: x", "data_source is missing"),
        ("data_source: {type: jsonl}\ncriteria: []", "no field 'criteria'"),
    ],
)
def test_a_file_that_is_none_is_told(tmp_path, content, told) -> None:
    (tmp_path / "x.yaml").write_text(content)
    with pytest.raises(InvalidRequest, match=told):
        read_eval_file(tmp_path / "x.yaml")
