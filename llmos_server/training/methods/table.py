"""The methods by name: which keys each takes, and where its code is. Torch-free: the code is imported by name."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from llmos_server.errors import InvalidRequest

Place = tuple[str, str]
"""(a file in site-packages or of LLMOS, a dataclass in it)."""
OURS = "llmos_server/training/"

SCRIPT: Place = ("trl/scripts/utils.py", "ScriptArguments")
MODEL: Place = ("trl/trainer/model_config.py", "ModelConfig")
BASE: tuple[Place, ...] = (
    ("transformers/training_args.py", "TrainingArguments"),
    ("trl/trainer/base_config.py", "_BaseConfig"),
)


@dataclass(frozen=True, kw_only=True)
class Method:
    """One way to train."""

    keys: tuple[Place, ...]
    """The dataclasses whose fields are its keys; a later one's field replaces an earlier one's."""
    entry: str
    """ "module:function", called with a training.run.Run; see there."""
    data: Literal["conversations", "preferences", "ratings", "prompts", "texts", "labels"]
    """What its training file holds."""
    needs_model: bool = True
    """Whether it begins from one of the registry."""


METHODS: dict[str, Method] = {
    "sft": Method(
        keys=(SCRIPT, MODEL, *BASE, ("trl/trainer/sft_config.py", "SFTConfig")),
        entry="llmos_server.training.methods.sft:run",
        data="conversations",
    ),
    "dpo": Method(
        keys=(SCRIPT, MODEL, *BASE, ("trl/trainer/dpo_config.py", "DPOConfig")),
        entry="llmos_server.training.methods.dpo:run",
        data="preferences",
    ),
    "kto": Method(
        keys=(SCRIPT, MODEL, *BASE, ("trl/trainer/kto_config.py", "KTOConfig")),
        entry="llmos_server.training.methods.kto:run",
        data="ratings",
    ),
    "grpo": Method(
        keys=(
            MODEL,
            *BASE,
            SCRIPT,
            ("trl/scripts/grpo.py", "GRPOScriptArguments"),
            ("trl/trainer/grpo_config.py", "GRPOConfig"),
        ),
        entry="llmos_server.training.methods.grpo:run",
        data="prompts",
    ),
    "distillation": Method(
        keys=(SCRIPT, MODEL, *BASE, ("trl/trainer/distillation_config.py", "DistillationConfig")),
        entry="llmos_server.training.methods.distillation:run",
        data="prompts",
    ),
    "distillation_answers": Method(
        keys=(
            SCRIPT,
            MODEL,
            *BASE,
            ("trl/trainer/sft_config.py", "SFTConfig"),
            (f"{OURS}teacher_keys.py", "TeacherKeys"),
        ),
        entry="llmos_server.training.methods.distillation_answers:run",
        data="prompts",
    ),
    "reward": Method(
        keys=(SCRIPT, MODEL, *BASE, ("trl/trainer/reward_config.py", "RewardConfig")),
        entry="llmos_server.training.methods.reward:run",
        data="preferences",
    ),
    "sequence_classification": Method(
        keys=(SCRIPT, MODEL, *BASE, (f"{OURS}classification_keys.py", "ClassificationKeys")),
        entry="llmos_server.training.methods.sequence_classification:run",
        data="labels",
    ),
    "tokenizer": Method(
        keys=((f"{OURS}tokenizer_keys.py", "TokenizerKeys"),),
        entry="llmos_server.training.methods.tokenizer:run",
        data="texts",
        needs_model=False,
    ),
    "causal_lm": Method(
        keys=(SCRIPT, *BASE, ("trl/trainer/sft_config.py", "SFTConfig"), (f"{OURS}scratch_keys.py", "ScratchKeys")),
        entry="llmos_server.training.methods.causal_lm:run",
        data="texts",
        needs_model=False,
    ),
    "masked_lm": Method(
        keys=(SCRIPT, *BASE, (f"{OURS}scratch_keys.py", "ScratchKeys")),
        entry="llmos_server.training.methods.masked_lm:run",
        data="texts",
        needs_model=False,
    ),
    "orpo": Method(
        keys=(SCRIPT, MODEL, *BASE, ("trl/experimental/orpo/orpo_config.py", "ORPOConfig")),
        entry="llmos_server.training.methods.orpo:run",
        data="preferences",
    ),
}


def get_method(name: str) -> Method:
    """Raises InvalidRequest that names the known ones."""
    if name not in METHODS:
        raise InvalidRequest(f"There is no method {name!r} to tune by; there are {', '.join(METHODS)}.", param="method")
    return METHODS[name]
