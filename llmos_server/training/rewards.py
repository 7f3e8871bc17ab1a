"""What grades answers in a run by reinforcement: plugins' functions, by the names that a recipe has for them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from llmos_server.errors import InvalidRequest
from llmos_server.job_contracts import JobContext
from llmos_server.plugins.host import load_plugins
from llmos_server.plugins.offers import Reward
from llmos_server.training.grader_reward import ITEM, GraderReward
from llmos_server.training.tokens import Prompt

Grade = Any
"""Called as TRL calls rewards: with lists, an entry for each answer; returns a number for each, or None."""


def find_rewards(context: JobContext, grader: dict[str, Any] | None, names: Sequence[str]) -> list[Grade]:
    """grader: OpenAI's, instead of names. Raises InvalidRequest for a name that no plugin has."""
    if grader is not None:
        return [GraderReward(context, grader)]
    if not names:
        raise InvalidRequest("reward_funcs: name what answers are graded by.", param="reward_funcs")
    host = load_plugins(context.settings.plugins)
    known: list[Reward] = [offer.value for offer in host.offers("register_rewards")]
    found = [next((reward for reward in known if name in (reward.name, reward.path)), None) for name in names]
    if None in found:
        missing = names[found.index(None)]
        raise InvalidRequest(
            f"reward_funcs: no plugin registers the reward {missing!r}; there are "
            f"{', '.join(reward.name for reward in known) or 'none'}. See docs/plugins.md.",
            param="reward_funcs",
        )
    return [PluginReward(reward) for reward in found if reward is not None]


class PluginReward:
    """A plugin's function, given a line's own fields as columns."""

    def __init__(self, reward: Reward) -> None:
        self.reward = reward
        self.__name__ = reward.name

    def __call__(self, prompts: Sequence[Any], completions: Sequence[Any], **columns: Sequence[Any]) -> Sequence[Any]:
        items = [msgspec.json.decode(text) for text in columns[ITEM]]
        names = {name for item in items for name in item}
        given = {name: [item.get(name) for item in items] for name in names}
        return self.reward.grade(prompts=prompts, completions=completions, **given)


def check_columns(rewards: Sequence[Grade], prompts: Sequence[Prompt]) -> None:
    """Raises InvalidRequest for a line that lacks what a reward reads."""
    for grade in rewards:
        if not isinstance(grade, PluginReward):
            continue
        for number, prompt in enumerate(prompts, 1):
            if lacking := _lacking(grade.reward, prompt.item):
                raise InvalidRequest(
                    f"Example {number} has no {lacking!r}, which the reward {grade.reward.name} reads.",
                    param="training_file",
                )


def _lacking(reward: Reward, item: Mapping[str, Any]) -> str:
    return next((name for name in reward.columns if name not in item), "")
