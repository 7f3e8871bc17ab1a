"""lm-evaluation-harness over our server beside its own backend for Transformers: the same weights, tasks and answers.

Where it is installed (pip install 'llmos[harness]'); its tasks and their data are local.
"""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx2
import pytest

from llmos_server.contracts import ModelVersion

pytest.importorskip("lm_eval", reason="lm-evaluation-harness isn't installed: pip install 'llmos[harness]'")
pytestmark = [pytest.mark.proof, pytest.mark.real_model, pytest.mark.filterwarnings("ignore")]

TASKS = ["facts", "facts_shown", "words", "spoken"]
EXACT_TOLERANCE = 1e-3
"""Of an answer's log-probability, in float32 on both sides."""
FAST_TOLERANCE = 0.15
"""On average: an answer has two or three tokens, each of which may be 0.05 off."""
CAPITALS = (
    "France Paris, Italy Rome, Spain Madrid, Germany Berlin, Japan Tokyo, China Beijing, Egypt Cairo, Russia Moscow"
)
OPPOSITES = "hot cold, big small, up down, left right, black white, open closed, rich poor, fast slow, wet dry, old new"
TASK = """
task: {name}
dataset_path: json
dataset_kwargs: {{data_files: {{test: {file}}}}}
test_split: test
fewshot_split: test
output_type: {kind}
doc_to_text: "{{{{question}}}}"
metadata: {{version: 1}}
"""
CHOICES = """
doc_to_choice: "{{choices}}"
doc_to_target: answer
metric_list: [{metric: acc}, {metric: acc_norm}]
"""
TEXTS = """
doc_to_target: "{{choices[answer]}}"
generation_kwargs: {until: ["\\n", "."], max_gen_toks: 12}
metric_list: [{metric: exact_match}]
"""
ROLLING = """
doc_to_target: "{{question}}"
metric_list: [{metric: word_perplexity}, {metric: byte_perplexity}, {metric: bits_per_byte}]
"""


def questions() -> Iterator[dict[str, Any]]:
    """Each with four choices, one of which is right."""
    chance = random.Random(4)
    forms = (("The capital of {} is", CAPITALS), ("The opposite of {} is", OPPOSITES))
    for form, text in forms:
        pairs = [pair.split() for pair in text.split(", ")]
        for word, right in pairs:
            others = chance.sample([other for _, other in pairs if other != right], 3)
            choices = chance.sample([right, *others], 4)
            yield {"question": form.format(word), "choices": choices, "answer": choices.index(right)}
    for _ in range(16):
        first, second = chance.randint(1, 9), chance.randint(1, 9)
        choices = [str(first + second + more) for more in chance.sample([-1, 0, 1, 2], 4)]
        yield {
            "question": f"{first} + {second} =",
            "choices": choices,
            "answer": choices.index(str(first + second)),
        }


@pytest.fixture(scope="module")
def tasks(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("tasks")
    file = folder / "rows.jsonl"
    file.write_text("\n".join(map(json.dumps, questions())))
    texts = folder / "texts.jsonl"
    docs = Path(__file__).parents[2] / "docs"
    told = [(docs / name).read_text(encoding="utf-8")[:2000] for name in ("evals.md", "tuning.md", "adapters.md")]
    texts.write_text("\n".join(json.dumps({"question": text, "choices": [""], "answer": 0}) for text in told))
    for name, kind, rest, rows in (
        ("facts", "multiple_choice", CHOICES, file),
        ("facts_shown", "multiple_choice", CHOICES + "num_fewshot: 3\n", file),
        ("words", "generate_until", TEXTS, file),
        ("spoken", "loglikelihood_rolling", ROLLING, texts),
    ):
        text = TASK.format(name=name, kind=kind, file=rows) + rest
        if kind == "loglikelihood_rolling":
            text = text.replace('doc_to_text: "{{question}}"', 'doc_to_text: ""')
        (folder / f"{name}.yaml").write_text(text)
    return folder


def measure(model: Any, folder: Path) -> tuple[dict[str, dict[str, float]], dict[str, list[Any]]]:
    """Figures by task, and answers: log-probabilities by question and choice, or texts."""
    from lm_eval import simple_evaluate
    from lm_eval.tasks import TaskManager

    manager = TaskManager(include_path=str(folder), include_defaults=False)
    found = simple_evaluate(model, tasks=TASKS, task_manager=manager, log_samples=True, bootstrap_iters=0)
    figures = {
        task: {name: value for name, value in told.items() if isinstance(value, float) and "stderr" not in name}
        for task, told in found["results"].items()
    }
    answers = {
        task: [answer for sample in samples for answer in sample["filtered_resps"]]
        for task, samples in found["samples"].items()
    }
    return figures, answers


@pytest.fixture(scope="module")
def by_transformers(
    smollm2: ModelVersion, tasks: Path, tmp_path_factory: pytest.TempPathFactory
) -> tuple[dict[str, dict[str, float]], dict[str, list[Any]]]:
    from lm_eval.models.huggingface import HFLM

    from llmos_server.training.base import prepare_base

    folder = prepare_base(smollm2, tmp_path_factory.mktemp("home"))
    return measure(HFLM(pretrained=str(folder), device="cpu", dtype="float32", batch_size=1), tasks)


@pytest.mark.parametrize("numerics", ["exact", "fast"])
def test_tasks_come_to_what_the_harness_finds_with_transformers(
    numerics: str,
    smollm2: ModelVersion,
    tasks: Path,
    by_transformers: Any,
    start_server: Callable[..., Any],
    tmp_path: Path,
    record_property: Callable[[str, object], None],
) -> None:
    from llmos_server.lm_harness import ServerModel

    server = start_server(tmp_path, smollm2.name, env={"LLMOS_ENGINE__NUMERICS": numerics})
    try:
        server.wait_until_ready()
        model = ServerModel(httpx2.AsyncClient(base_url=server.url, timeout=None), smollm2.name, 4)
        figures, answers = measure(model, tasks)
        model.close()
    finally:
        server.stop()
    expected_figures, expected = by_transformers
    apart = [
        abs(ours[0] - theirs[0])
        for task in ("facts", "facts_shown")
        for ours, theirs in zip(answers[task], expected[task], strict=True)
    ]
    same = sum(ours == theirs for ours, theirs in zip(answers["words"], expected["words"], strict=True))
    mean = sum(apart) / len(apart)
    told = (
        f"{numerics}: {len(apart)} log-probabilities of answers, {mean:.5f} apart on average, {max(apart):.5f} at "
        f"most; {same} of {len(answers['words'])} texts the same; ours {figures}; Transformers' {expected_figures}"
    )
    record_property(f"lm-eval-{numerics}", told)
    print(told)
    if numerics == "exact":
        assert max(apart) < EXACT_TOLERANCE
        assert same == len(answers["words"])
        for task in ("facts", "facts_shown", "words"):
            assert figures[task] == expected_figures[task]
    else:
        assert mean < FAST_TOLERANCE
        for task in ("facts", "facts_shown", "words"):
            for name, value in figures[task].items():
                assert value == pytest.approx(expected_figures[task][name], abs=0.06), name
    # The harness lets Transformers foretell a text's first token from a token of its own; ours begins with the second.
    bits = "bits_per_byte,none"
    assert figures["spoken"][bits] == pytest.approx(expected_figures["spoken"][bits], rel=0.02)
