"""lm-evaluation-harness over a server, where it is installed (pip install 'llmos[harness]'): tasks of one's own."""

from __future__ import annotations

import json
from pathlib import Path

import httpx2
import pytest

pytestmark = [pytest.mark.proof, pytest.mark.filterwarnings("ignore")]

ROWS = [
    {"question": "France", "choices": ["Paris", "Rome"], "answer": 0},
    {"question": "Italy", "choices": ["Paris", "Rome"], "answer": 1},
]
TASK = """
task: {name}
dataset_path: json
dataset_kwargs: {{data_files: {{test: {file}}}}}
test_split: test
output_type: {kind}
doc_to_text: "{{{{question}}}}"
metric_list: [{{metric: {metric}}}]
metadata: {{version: 1}}
"""
CHOICES = 'doc_to_choice: "{{choices}}"\ndoc_to_target: answer\n'
TEXTS = 'doc_to_target: "{{choices[answer]}}"\ngeneration_kwargs: {until: [";"], max_gen_toks: 9}\n'


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("HF_HOME", str(tmp_path / "hf"))
    tasks = tmp_path / "tasks"
    tasks.mkdir()
    file = tmp_path / "rows.jsonl"
    file.write_text("\n".join(map(json.dumps, ROWS)))
    told = {"file": file, "kind": "multiple_choice", "metric": "acc"}
    (tasks / "choices.yaml").write_text(TASK.format(name="own_choices", **told) + CHOICES)
    told |= {"kind": "generate_until", "metric": "exact_match"}
    (tasks / "texts.yaml").write_text(TASK.format(name="own_texts", **told) + TEXTS)
    return tasks


def test_tasks_of_ones_own(evals, folder) -> None:
    pytest.importorskip("lm_eval", reason="lm-evaluation-harness isn't installed: pip install 'llmos[harness]'")
    from llmos_server.lm_harness import run_tasks

    evals.answers["Italy"] = "Milan"
    client = httpx2.AsyncClient(base_url=evals.url)
    found = run_tasks(client, "tiny", ["own_choices", "own_texts"], folder=str(folder))["results"]
    assert 0 <= found["own_choices"]["acc,none"] <= 1
    assert found["own_texts"]["exact_match,none"] == 0.5
    scored = [request for request in evals.generator.requests if request.sampling.prompt_logprobs is not None]
    assert len(scored) == 4
