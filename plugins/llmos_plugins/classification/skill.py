"""The skill: probabilities of labels, level by level, or by a model that has labels of its own."""

from __future__ import annotations

from collections.abc import Sequence

from llmos_plugins.classification.comparing import Comparer
from llmos_plugins.classification.fields import ClassificationInput, ClassificationOutput, Measured
from llmos_plugins.classification.measures import accuracy_and_f1
from llmos_plugins.classification.odds import to_probabilities
from llmos_plugins.classification.own_labels import find_own
from llmos_plugins.classification.tree import Node, build_tree
from llmos_server import Calibration, InputError, Outcome, Skill, SkillContext


class Classification(Skill[ClassificationInput, ClassificationOutput]):
    name = "classification"
    version = "1.1"
    description = (
        "Says which of the given labels fit a text, and how likely each is: one or several, flat or as paths like a/b. "
        "Use it for topics, sentiment, intents, routing."
    )
    input_type = ClassificationInput
    output_type = ClassificationOutput
    chat_defaults = {"labels": ["positive", "negative", "neutral"]}
    model_kinds = frozenset({"decoder", "classifier"})
    metric = "f1"
    minimum_score = 0.8

    def __init__(self, model: str | None = None) -> None:
        self.model = model
        self._comparer = Comparer(self.prompts.render)

    async def run(self, input: ClassificationInput, context: SkillContext) -> ClassificationOutput:
        if not input.text.strip():
            raise InputError("it holds nothing but white space", field="text")
        has_own = context.model_kind == "classifier"
        root = build_tree(input.labels, "" if has_own else input.separator)
        calibration = context.calibration("several" if input.multiple else "one")
        is_applied = calibration is not None and calibration.helps and input.calibrated
        decide = find_own if has_own else self._compare_levels
        probabilities = await decide(root, input, calibration if is_applied else None, context)
        likely = sorted(root.walk(), key=lambda node: -probabilities[node.path])
        leaves = [node for node in likely if not node.children]
        fitting = [node.path for node in leaves if probabilities[node.path] >= input.threshold]
        best = leaves[0].path
        return ClassificationOutput(
            result=fitting if input.multiple else best,
            probabilities={node.path: probabilities[node.path] for node in likely},
            confidence=None if input.multiple else probabilities[best],
            calibration=None if calibration is None else _describe(calibration, is_applied),
        )

    async def _compare_levels(
        self, root: Node, input: ClassificationInput, calibration: Calibration | None, context: SkillContext
    ) -> dict[str, float]:
        """By path: of each level given its parent, times the parent's. What is alone on its level is given by it."""
        parents = [root, *(node for node in root.walk() if node.children)]
        found = {"": 1.0}
        for place, parent in enumerate(parents):
            context.progress(place, len(parents))
            chances = [1.0]
            if len(parent.children) > 1:
                scores = await self._comparer.compare(context, parent, input.text)
                chances = to_probabilities(scores, calibration, multiple=input.multiple)
            for child, chance in zip(parent.children.values(), chances, strict=True):
                found[child.path] = found[parent.path] * chance
        return found

    def measure(self, outcomes: Sequence[Outcome[ClassificationInput, ClassificationOutput]]) -> dict[str, float]:
        return accuracy_and_f1(
            [(_labels(o.case.expected), _labels(o.output.result if o.output else [])) for o in outcomes]
        )


def _labels(given: str | list[str]) -> frozenset[str]:
    return frozenset([given] if isinstance(given, str) else given)


def _describe(calibration: Calibration, is_applied: bool) -> Measured:
    return Measured(
        is_applied=is_applied,
        temperature=calibration.temperature,
        bias=calibration.bias,
        num_rows=calibration.num_rows,
        ece_raw=calibration.raw.ece,
        ece_calibrated=calibration.calibrated.ece,
    )
