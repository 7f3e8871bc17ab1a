"""What a tuning run is to do: the payload of a job of kind "tune". Torch-free, so that the API and the CLI make it."""

from __future__ import annotations

from typing import Any, Literal

import msgspec


class EvalGate(msgspec.Struct, frozen=True, kw_only=True):
    """The tuned model is promoted only if it isn't worse than its base at this eval."""

    eval_id: str
    tolerance: float = 0.0
    """How much worse the interval of the paired difference may begin, in the eval's own score."""


class TuneSpec(msgspec.Struct, frozen=True, kw_only=True):
    """All of it is in the database before the run begins, so that a run that was killed goes on as it began."""

    method: str
    """A key of training.methods.table.METHODS: "sft", "dpo" ..."""
    model: str
    """Of the base, as the registry names it. "" for methods that begin from a config."""
    values: dict[str, Any] = {}
    """TRL's keys (seed and save_total_limit among them), as training.recipe has checked them. A key that is absent has
    TRL's default."""
    auto: tuple[str, ...] = ()
    """Keys of `values` that the run chooses when it has seen the data: see training.auto."""
    learning_rate_multiplier: float = 1.0
    """Times the learning rate, whoever chose it."""
    training_file: str = ""
    """JSON lines, or plain text for methods that read it. Absolute, or relative to the job's folder."""
    validation_file: str = ""
    """The same; "" measures no loss on examples that weren't trained on."""
    suffix: str = ""
    """The result is called BASE:SUFFIX; "" takes one made of the job's id."""
    too_long: Literal["refuse", "drop"] = "refuse"
    """What happens to examples longer than max_length: the run is refused, or they are left out and counted. None is
    ever cut."""
    gate: EvalGate | None = None
    processes: int = 0
    """That compute the run together, each on its own part of every batch; 0: one, or as many as `accelerate` says."""
    accelerate: str = ""
    """A file of accelerate in the job's folder, which says how they share the run: see training.launch_file."""
    grader: dict[str, Any] | None = None
    """For reinforcement: OpenAI's description of a grader, which gives the reward; see training.grader_reward. None:
    the recipe names its rewards."""


class TunedCheckpoint(msgspec.Struct, frozen=True, kw_only=True):
    """A state of the run that is served, under a name of its own."""

    step: int
    model: str
    """Its name: BASE:SUFFIX-ckpt-step-N."""
    created: int
    """Unix milliseconds."""
    metrics: dict[str, float] = {}
    """By the names of TuneResult."""


class GateVerdict(msgspec.Struct, frozen=True, kw_only=True):
    """What the spec's gate said."""

    promoted: bool
    reason: str
    """For people."""
    eval_id: str
    base_run: str
    candidate_run: str
    """Both runs of that eval."""


class TuneResult(msgspec.Struct, frozen=True, kw_only=True):
    """What has come of a run so far: the result that its job tells with progress() while it runs, and with finish().

    Metrics go by OpenAI's names where it has one: train_loss, train_mean_token_accuracy, valid_loss,
    valid_mean_token_accuracy; all others by TRL's."""

    stage: Literal["validating", "preparing", "training", "verifying"] = "validating"
    num_examples: int = 0
    chosen: dict[str, Any] = {}
    """By TRL's keys: what the keys of TuneSpec.auto came to; the batch is the one that an optimiser's step sees."""
    total_steps: int = 0
    trained_tokens: int = 0
    """Tokens that were computed for all steps so far, each as often as it was."""
    estimated_finish: int | None = None
    """Unix milliseconds; None where nobody knows."""
    checkpoints: list[TunedCheckpoint] = []
    model: str = ""
    """The name that answers; "" until there is one."""
    result_files: list[str] = []
    """Ids of files of the purpose fine-tune-results."""
    verdict: GateVerdict | None = None
    four_bit_difference: float | None = None
    """Of a run over a base in 4 bits (load_in_4bit): the mean difference between its log-probabilities and those of
    what is served, the adapter over the base as it is."""
