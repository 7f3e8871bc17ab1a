"""The built-in plugin `rewards`: what reinforcement can grade answers by without a model, and a recipe that does."""

from __future__ import annotations

from pathlib import Path

from llmos_plugins.rewards.functions import brevity, exact_answer, json_schema, pattern
from llmos_server import Reward, hookimpl

hook_api = "1.2"


@hookimpl
def register_rewards() -> list[Reward]:
    return [
        Reward(name=function.__name__, columns=columns, grade=function)
        for function, columns in (
            (exact_answer, ("answer",)),
            (pattern, ("pattern",)),
            (json_schema, ("schema",)),
            (brevity, ("max_words",)),
        )
    ]


@hookimpl
def register_recipes() -> list[Path]:
    return [Path(__file__).with_name("json_answers.yaml")]
