"""Prompts for trainers that sample: TRL keeps messages, and is given the tokens that they are served as. Torch-free."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import msgspec
from datasets import Dataset

from llmos_server.errors import InvalidRequest
from llmos_server.training.examples import Limits, Rows
from llmos_server.training.grader_reward import ITEM
from llmos_server.training.run import Run
from llmos_server.training.tokens import Prompt

DEFAULT_COMPLETION = 512
"""TRL's."""


def room_for_prompts(run: Run, param: str) -> Limits:
    """What the answer leaves of the model's context. Raises InvalidRequest where that is nothing."""
    answer = int(run.spec.values.get("max_completion_length") or DEFAULT_COMPLETION)
    context = run.version.context_length
    if answer >= context:
        raise InvalidRequest(
            f"max_completion_length: {answer} leaves no room for a prompt in the model's {context} tokens.",
            param="max_completion_length",
        )
    return Limits(context - answer, run.spec.too_long, param)


def table_of(prompts: Iterable[Prompt]) -> dict[bytes, list[int]]:
    """Messages -> their tokens."""
    return {_key(prompt.messages): prompt.ids for prompt in prompts}


def tokens_of(prompts: Sequence[Any], table: dict[bytes, list[int]]) -> list[list[int]]:
    return [table[_key(messages)] for messages in prompts]


def dataset_of(rows: Rows[Prompt]) -> Dataset:
    """A line's own fields are one column, as JSON: columns of datasets have one shape, and lines have any."""
    items = [msgspec.json.encode(row.item).decode() for row in rows.rows]
    return Dataset.from_dict({"prompt": [row.messages for row in rows.rows], ITEM: items})


def _key(messages: Sequence[dict[str, Any]]) -> bytes:
    """Datasets give every message of a column the same fields: those that it doesn't have are None."""
    told = [{name: value for name, value in message.items() if value is not None} for message in messages]
    return msgspec.json.encode(told, order="sorted")
