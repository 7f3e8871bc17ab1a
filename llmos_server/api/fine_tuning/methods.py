"""The method and hyperparameters of a request -> a recipe's keys, and back to what the job shows."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from llmos_server.api.schemas.fine_tuning import (
    CreateFineTuningJobRequest,
    Hyperparameters,
)
from llmos_server.errors import InvalidRequest
from llmos_server.plugins.host import PluginHost
from llmos_server.training.auto import AUTO_KEYS
from llmos_server.training.named_recipes import find_named_recipe
from llmos_server.training.recipe import AUTO, Recipe, read_recipe, with_values

TYPES = {"sft": "supervised", "dpo": "dpo", "grpo": "reinforcement"}
"""How OpenAI calls what trains (training.methods.table). Others go by their own name, and need a recipe."""
RECIPES = {"supervised": "sft_lora", "dpo": "dpo", "reinforcement": "grpo"}
"""What a method begins from where the request names no recipe."""
KEYS = {"n_epochs": "num_train_epochs", "batch_size": "per_device_train_batch_size", "beta": "beta"}
"""OpenAI's hyperparameters that are a key of TRL."""
DEFAULT_BETA = 0.1


def read_hyperparameters(data: CreateFineTuningJobRequest) -> Hyperparameters:
    """Raises InvalidRequest for what contradicts itself."""
    method = data.method
    config = None if method is None else getattr(method, method.type)
    if method is not None:
        for name in RECIPES:
            if name != method.type and getattr(method, name) is not None:
                raise InvalidRequest(
                    f"method.{name} goes with the type {name}; the type is {method.type}.", param=f"method.{name}"
                )
        if method.type == "reinforcement" and config is None:
            raise InvalidRequest(
                "method.reinforcement.grader is missing: it gives the answers their reward.",
                param="method.reinforcement.grader",
                code="missing_required_parameter",
            )
    told = None if config is None else config.hyperparameters
    if data.hyperparameters is not None and (told is not None or (method and method.type != "supervised")):
        raise InvalidRequest(
            "hyperparameters is the older place of the supervised method's; send those of the method alone.",
            param="hyperparameters",
        )
    return told or data.hyperparameters or Hyperparameters()


def choose_recipe(data: CreateFineTuningJobRequest, told: Hyperparameters, plugins: PluginHost) -> Recipe:
    """With all that the request says. What neither it nor a recipe that it names says of epochs, batch and learning
    rate is left to the run. Raises InvalidRequest."""
    kind = "supervised" if data.method is None else data.method.type
    recipe = _named_recipe(data.recipe or RECIPES[kind], None if data.method is None else kind, plugins)
    wished = {key: value for name, key in KEYS.items() if (value := getattr(told, name)) is not None}
    if wished.get("beta") == AUTO:
        wished["beta"] = DEFAULT_BETA
    if recipe.method == "grpo":
        wished = _in_groups(wished)
    elif data.recipe is None:
        wished = dict.fromkeys(AUTO_KEYS, AUTO) | wished
    if "per_device_train_batch_size" in wished:
        wished["gradient_accumulation_steps"] = 1
    wished |= _evaluation(told, has_file=data.validation_file is not None)
    given = data.set or {}
    if twice := next((name for name, key in KEYS.items() if key in given and getattr(told, name) is not None), None):
        raise InvalidRequest(f"{twice} and set.{KEYS[twice]} are one; send either.", param=f"set.{KEYS[twice]}")
    recipe = with_values(recipe, wished)
    try:
        return with_values(recipe, given)
    except InvalidRequest as error:
        raise InvalidRequest(f"set.{error}", param=f"set.{error.param}" if error.param else "set") from None


def _in_groups(wished: dict[str, Any]) -> dict[str, Any]:
    """For reinforcement, whose recipe has one group of answers to a prompt at a time: a batch is so many prompts, and
    "auto" is what the recipe says."""
    wished = {key: value for key, value in wished.items() if value != AUTO}
    batch = wished.pop("per_device_train_batch_size", None)
    return wished if batch is None else wished | {"gradient_accumulation_steps": batch}


def _evaluation(told: Hyperparameters, *, has_file: bool) -> dict[str, Any]:
    """When the validation file is looked at."""
    if told.eval_interval not in (None, AUTO):
        if not has_file:
            raise InvalidRequest(
                "eval_interval needs a validation_file.", param="method.reinforcement.hyperparameters.eval_interval"
            )
        return {"eval_strategy": "steps", "eval_steps": told.eval_interval}
    return {"eval_strategy": "epoch"} if has_file else {}


def type_of(trainer: str) -> str:
    """trainer: of training.methods.table."""
    return TYPES.get(trainer, trainer)


def shown_hyperparameters(trainer: str, told: Hyperparameters, values: Mapping[str, Any]) -> Hyperparameters:
    """values: TRL's keys as far as they are known; what "auto" came to is among them once the run has seen the data."""
    size, steps = values.get("per_device_train_batch_size"), values.get("gradient_accumulation_steps", 1)
    known = Hyperparameters(
        batch_size="auto" if size is None else size * steps // (values["num_generations"] if trainer == "grpo" else 1),
        learning_rate_multiplier="auto" if "learning_rate" not in values else 1.0,
        n_epochs=_whole(values.get("num_train_epochs", AUTO)),
        beta=values.get("beta", "auto") if trainer == "dpo" else None,
    )
    sent = {name: value for name, value in msgspec.structs.asdict(told).items() if value not in (None, AUTO)}
    return msgspec.structs.replace(known, **sent)


def _named_recipe(name: str, kind: str | None, plugins: PluginHost) -> Recipe:
    """kind: the method's type, where the request has one."""
    recipe = read_recipe(find_named_recipe(name, lambda: plugins, "recipe"))
    if kind is not None and type_of(recipe.method) != kind:
        raise InvalidRequest(
            f"The recipe {name} trains by {type_of(recipe.method)}, and method.type is {kind}; leave method out.",
            param="recipe",
        )
    return recipe


def _whole(value: Any) -> Any:
    return int(value) if isinstance(value, float) and value.is_integer() else value
