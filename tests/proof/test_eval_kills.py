"""A run of an eval that is killed, or whose server is, at any moment: each item is graded once, as undisturbed."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from killing import disturb
from tiny_server import MODEL, TinyServer

pytestmark = pytest.mark.proof

NUM_KILLS = 10
NUM_ITEMS = 400
MOST_ITEMS = 80


class House(TinyServer):
    def begin(self, eval_id: str) -> str:
        items = [{"item": {"text": f"Say {place} in words."}} for place in range(NUM_ITEMS)]
        source = {
            "type": "completions",
            "model": MODEL,
            "input_messages": {"type": "template", "template": [{"role": "user", "content": "{{item.text}}"}]},
            "sampling_params": {"temperature": 0, "max_completion_tokens": 32},
            "source": {"type": "file_content", "content": items},
        }
        return self.client.evals.runs.create(eval_id, data_source=source).id  # type: ignore[arg-type]

    def found(self, eval_id: str, run_id: str) -> tuple[dict[str, Any], list[dict[str, Any]]]:
        """What the run came to, and its items without what is another one's in another run."""
        run = self.client.evals.runs.retrieve(run_id, eval_id=eval_id)
        assert run.status == "completed", run.error
        listed = self.client.evals.runs.output_items.list(run_id, eval_id=eval_id, limit=100)
        items = [item.to_dict() for item in listed]
        for item in items:
            for name in ("id", "run_id", "created_at"):
                item.pop(name)
            item["sample"]["usage"].pop("cached_tokens")  # Whether a prompt was seen before depends on when it came.
        told = {
            "counts": run.result_counts.to_dict(),
            "criteria": [one.to_dict() for one in run.per_testing_criteria_results],
            "asked": [(one.invocation_count, one.total_tokens) for one in run.per_model_usage],
        }
        return told, items


@pytest.fixture
def made(tmp_path: Path, start_server: Callable[..., Any]) -> Iterator[House]:
    house = House(tmp_path, start_server)
    house.start()
    yield house
    house.kill_server()


def test_a_run_that_is_killed_at_any_moment_grades_each_item_once(made: House) -> None:
    similar = {
        "type": "text_similarity",
        "name": "similar",
        "evaluation_metric": "fuzzy_match",
        "input": "{{ sample.output_text }}",
        "reference": "{{ item.text }}",
        "pass_threshold": 0.2,
    }
    config = {"type": "custom", "item_schema": {"type": "object"}, "include_sample_schema": True}
    eval_id = made.client.evals.create(data_source_config=config, testing_criteria=[similar]).id  # type: ignore[arg-type,list-item]
    whole = made.begin(eval_id)
    made.until(lambda: made.has_ended(whole))
    told, items = made.found(eval_id, whole)
    assert [item["datasource_item_id"] for item in items] == list(range(NUM_ITEMS))
    rng = random.Random(9)
    killed = rounds = 0
    while killed < NUM_KILLS:
        rounds += 1
        run_id = made.begin(eval_id)
        kills = disturb(made, run_id, rng, NUM_KILLS - killed, MOST_ITEMS)
        made.until(lambda run_id=run_id: made.has_ended(run_id))  # type: ignore[misc]
        assert made.found(eval_id, run_id) == (told, items)
        killed += kills
        print(f"run {rounds}: {kills} kills; {NUM_ITEMS} items as undisturbed, {told['counts']}")
