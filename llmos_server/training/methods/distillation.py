"""On-policy distillation: the student answers, and learns what the teacher would have said at each of its tokens, on
TRL's DistillationTrainer."""

from __future__ import annotations

from typing import Any

from transformers import AutoModelForCausalLM
from trl import DistillationConfig, DistillationTrainer

from llmos_server.errors import InvalidRequest
from llmos_server.registry.registry import create_registry
from llmos_server.training.adapters import peft_config
from llmos_server.training.arguments import build_arguments, resolve_auto
from llmos_server.training.base import load_tokenizer, prepare_base
from llmos_server.training.examples import read_prompts
from llmos_server.training.guarded import Guarded
from llmos_server.training.loop import load_model, tell_dropped, train
from llmos_server.training.prompting import dataset_of, room_for_prompts, table_of, tokens_of
from llmos_server.training.rollouts.choose import sampled
from llmos_server.training.run import Run
from llmos_server.training.served_as import is_served_as_adapter

TEACHER = "teacher_model_name_or_path"


class GuardedDistillationTrainer(Guarded, DistillationTrainer):
    """TRL's; prompts are rendered as they are served."""

    rendered: dict[bytes, list[int]]

    def _tokenize_prompts(self, prompts: list[Any]) -> Any:
        return tokens_of(prompts, self.rendered), None, {}


def run(run: Run) -> None:
    """Until the job has succeeded. See training.loop.train for what it raises."""
    rows = read_prompts(run.training_file, run.rendering, room_for_prompts(run, "training_file"))
    path = run.validation_file
    held = None if path is None else read_prompts(path, run.rendering, room_for_prompts(run, "validation_file"))
    tell_dropped(run, rows.too_long)
    values = resolve_auto(run, rows.num_examples, rows.longest, is_full=not is_served_as_adapter(run.spec.values))
    teacher = _load_teacher(run)
    trainer = GuardedDistillationTrainer(
        model=load_model(run, values),
        teacher_model=teacher,
        args=build_arguments(DistillationConfig, run, values | {TEACHER: None, "use_vllm": False}),
        train_dataset=dataset_of(rows),
        eval_dataset=None if held is None else dataset_of(held),
        processing_class=run.tokenizer,
        peft_config=peft_config(values),
    )
    trainer.rendered = table_of([*rows.rows, *(held.rows if held else [])])
    with sampled(run, trainer, values):
        train(run, trainer, values, [row.ids for row in (held or rows).rows])


def _load_teacher(run: Run) -> Any:
    """Raises InvalidRequest where its tokens are others than the student's."""
    name = run.spec.values.get(TEACHER)
    if not name:
        raise InvalidRequest(f"Which model teaches? Set {TEACHER}.", param=TEACHER)
    folder = prepare_base(create_registry(run.context.settings).get(str(name)), run.context.settings.home)
    if load_tokenizer(folder).get_vocab() != run.tokenizer.get_vocab():
        raise InvalidRequest(
            f"{name} has other tokens than {run.spec.model}, so their probabilities can't be compared. Tune on its "
            "answers instead: sft_lora.",
            param=TEACHER,
        )
    return AutoModelForCausalLM.from_pretrained(folder, dtype="float32")
