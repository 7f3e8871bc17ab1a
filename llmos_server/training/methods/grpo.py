"""Group relative policy optimisation: answers are sampled and graded, and the better ones become likelier, on TRL's
GRPOTrainer."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from trl import GRPOConfig, GRPOTrainer

from llmos_server.errors import InvalidRequest
from llmos_server.training.adapters import peft_config
from llmos_server.training.arguments import build_arguments, resolve_auto
from llmos_server.training.examples import read_prompts
from llmos_server.training.guarded import Guarded
from llmos_server.training.loop import load_model, tell_dropped, train
from llmos_server.training.prompting import dataset_of, room_for_prompts, table_of, tokens_of
from llmos_server.training.rewards import check_columns, find_rewards
from llmos_server.training.rollouts.choose import sampled
from llmos_server.training.run import Run
from llmos_server.training.served_as import is_served_as_adapter


class GuardedGRPOTrainer(Guarded, GRPOTrainer):
    """TRL's; prompts are rendered as they are served."""

    rendered: dict[bytes, list[int]]
    """Messages as JSON -> their tokens."""

    def _tokenize_prompts(self, prompts: Sequence[Any]) -> Any:
        return tokens_of(prompts, self.rendered), None, {}


def run(run: Run) -> None:
    """Until the job has succeeded. See training.loop.train for what it raises."""
    given = run.spec.values
    if not is_served_as_adapter(given):
        raise InvalidRequest(
            "Reinforcement trains LoRA adapters alone here: with all weights, every step would have to load a whole "
            "model to sample from. Set use_peft: true.",
            param="use_peft",
        )
    rewards = find_rewards(run.context, run.spec.grader, given.get("reward_funcs") or ())
    rows = read_prompts(run.training_file, run.rendering, room_for_prompts(run, "training_file"))
    path = run.validation_file
    held = None if path is None else read_prompts(path, run.rendering, room_for_prompts(run, "validation_file"))
    check_columns(rewards, [*rows.rows, *(held.rows if held else [])])
    tell_dropped(run, rows.too_long)
    values = resolve_auto(run, rows.num_examples, rows.longest, is_full=False)
    trainer = GuardedGRPOTrainer(
        model=load_model(run, values),
        reward_funcs=rewards,
        args=build_arguments(GRPOConfig, run, _whole_groups(values) | {"use_vllm": False}),
        train_dataset=dataset_of(rows),
        eval_dataset=None if held is None else dataset_of(held),
        processing_class=run.tokenizer,
        peft_config=peft_config(values),
    )
    trainer.rendered = table_of([*rows.rows, *(held.rows if held else [])])
    with sampled(run, trainer, values):
        train(run, trainer, values, [row.ids for row in (held or rows).rows])


def _whole_groups(values: dict[str, Any]) -> dict[str, Any]:
    """TRL wants batches of whole groups: where the run chooses the batch, it is one group."""
    size = int(values.get("num_generations") or 8)
    batch = int(values.get("per_device_train_batch_size") or 8)
    steps = int(values.get("gradient_accumulation_steps") or 1)
    return values if batch * steps % size == 0 else values | {"per_device_train_batch_size": size}
