"""How much a text speaks for each of some labels, by the model's own probabilities: nothing is generated.

A label's score is the log-probability of `"label"`, quoted, as the answer, less its mean for texts that say nothing
(the contextual calibration of Zhao et al., 2021, in logarithms): models prefer some words whatever the text is. The
closing quote ends the label, so that one that begins like another has no advantage. docs/skills.md has the
measurements behind this: of the ways that were tried it is the most accurate.
"""

from __future__ import annotations

import asyncio
import hashlib
import threading
from collections import OrderedDict
from collections.abc import Callable, Sequence

import msgspec

from llmos_plugins.classification.tree import Node
from llmos_server import SkillContext

EMPTY_TEXTS = ("N/A", "[text]", "...")
BATCH = 32
"""Labels in one call; the prompt is in the prefix cache after the first."""
MAX_KNOWN = 512


class Comparer:
    """Remembers what labels score without a text, by model and prompt: sets of labels are used again and again."""

    def __init__(self, render: Callable[..., str]) -> None:
        """render: of the skill's prompts."""
        self._render = render
        self._lock = threading.Lock()
        self._known: OrderedDict[str, list[float]] = OrderedDict()

    async def compare(self, context: SkillContext, parent: Node, text: str) -> list[float]:
        """One score for each of the parent's children, in nats; their differences are what counts."""
        priors, scores = await asyncio.gather(self._priors(context, parent), self._score(context, parent, text))
        return [score - prior for score, prior in zip(scores, priors, strict=True)]

    async def _priors(self, context: SkillContext, parent: Node) -> list[float]:
        labels = [(child.name, child.description) for child in parent.children.values()]
        key = hashlib.sha256(msgspec.json.encode([context.model_digest, parent.path, labels])).hexdigest()
        with self._lock:
            found = self._known.get(key)
            if found is not None:
                self._known.move_to_end(key)
                return found
        rows = await asyncio.gather(*(self._score(context, parent, text) for text in EMPTY_TEXTS))
        found = [sum(column) / len(column) for column in zip(*rows, strict=True)]
        with self._lock:
            self._known[key] = found
            while len(self._known) > MAX_KNOWN:
                self._known.popitem(last=False)
        return found

    async def _score(self, context: SkillContext, parent: Node, text: str) -> list[float]:
        children = list(parent.children.values())
        messages = [
            {"role": "system", "content": self._render("system", path=parent.path, labels=children)},
            {"role": "user", "content": self._render("user", text=text)},
        ]
        answers = [f'"{child.name}"' for child in children]
        scores: list[float] = []
        for start in range(0, len(answers), BATCH):
            part: Sequence[str] = answers[start : start + BATCH]
            scores += [found.logprob for found in await context.score(messages, part)]
        return scores
