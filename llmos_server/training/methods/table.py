"""The methods by name: which keys each takes, and where its code is. Torch-free: the code is imported by name."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from llmos_server.errors import InvalidRequest

Place = tuple[str, str]
"""(a file in site-packages, a dataclass in it)."""

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
