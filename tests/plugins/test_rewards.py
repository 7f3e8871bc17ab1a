"""The built-in rewards: numbers from 0 to 1, for texts and for messages, as TRL calls reward functions."""

from __future__ import annotations

from typing import Any

import pytest
from llmos_plugins.rewards import functions
from llmos_plugins.rewards.plugin import register_rewards

from llmos_server.plugins.host import load_plugins
from llmos_server.settings import PluginsSettings

SCHEMA = {"type": "object", "required": ["a"]}


@pytest.mark.parametrize(
    ("name", "column", "wanted", "texts", "grades"),
    [
        ("exact_answer", "answer", "yes", ["yes", " yes\n", "yes!", ""], [1, 1, 0, 0]),
        ("exact_answer", "answer", ["yes", "aye"], ["aye", "no"], [1, 0]),
        ("pattern", "pattern", r"\d+ km", ["12 km", "12 km.", "a\n12 km"], [1, 0, 0]),
        ("pattern", "pattern", "a.*b", ["a\nb"], [1]),
        ("json_schema", "schema", SCHEMA, ['{"a": 1}', "[]", "{", ""], [1, 0.5, 0, 0]),
        ("brevity", "max_words", 2, ["one two", "one two three", "one two three four", ""], [1, 0.5, 0, 0]),
    ],
)
def test_answers_are_graded(name: str, column: str, wanted: Any, texts: list[str], grades: list[float]) -> None:
    grade = getattr(functions, name)
    columns = {column: [wanted] * len(texts), "prompts": [""] * len(texts)}
    assert grade(completions=texts, **columns) == grades
    as_chats = [[{"role": "assistant", "content": text}] for text in texts]
    assert grade(completions=as_chats, **columns) == grades


def test_a_recipe_names_them_as_trl_would() -> None:
    host = load_plugins(PluginsSettings(enabled=("rewards",)))
    offers = host.offers("register_rewards")
    assert {offer.value.path for offer in offers} == {
        f"llmos_plugins.rewards.functions.{reward.name}" for reward in register_rewards()
    }
    assert all(offer.value.columns for offer in offers)
