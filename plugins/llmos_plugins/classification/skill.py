"""The skill: probabilities of labels, level by level."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from llmos_plugins.classification.calibration import (
    IDENTITY,
    MEASURED,
    Calibration,
    Kind,
    read_calibrations,
    to_probabilities,
)
from llmos_plugins.classification.comparing import Comparer
from llmos_plugins.classification.fields import ClassificationInput, ClassificationOutput, Measured
from llmos_plugins.classification.measures import accuracy_and_f1
from llmos_plugins.classification.tree import Node, build_tree
from llmos_server import InputError, Outcome, Skill, SkillContext


class Classification(Skill[ClassificationInput, ClassificationOutput]):
    name = "classification"
    version = "1.0"
    description = (
        "Says which of the given labels fit a text, and how likely each is: one or several, flat or as paths like a/b. "
        "Use it for topics, sentiment, intents, routing."
    )
    input_type = ClassificationInput
    output_type = ClassificationOutput
    chat_defaults = {"labels": ["positive", "negative", "neutral"]}
    metric = "f1"
    minimum_score = 0.8

    def __init__(self, model: str | None = None, calibrations: Sequence[Path] = ()) -> None:
        """calibrations: files beside the one that comes with LLMOS; the last one for a model counts. Raises ValueError
        for one that can't be read."""
        self.model = model
        self._comparer = Comparer(self.prompts.render)
        found = read_calibrations([MEASURED, *calibrations])
        self._calibrations = {(c.model_digest, c.kind): c for c in found if c.skill_version == self.version}

    async def run(self, input: ClassificationInput, context: SkillContext) -> ClassificationOutput:
        if not input.text.strip():
            raise InputError("it holds nothing but white space", field="text")
        root = build_tree(input.labels, input.separator)
        kind: Kind = "multiple" if input.multiple else "single"
        calibration = self._calibrations.get((context.model_digest, kind))
        is_applied = calibration is not None and calibration.helps and input.calibrated
        probabilities = await self._decide(root, input.text, kind, calibration if is_applied else None, context)
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

    async def _decide(
        self, root: Node, text: str, kind: Kind, calibration: Calibration | None, context: SkillContext
    ) -> dict[str, float]:
        """By path: of each level given its parent, times the parent's. What is alone on its level is given by it."""
        slope, intercept = (calibration.slope, calibration.intercept) if calibration else IDENTITY
        parents = [root, *(node for node in root.walk() if node.children)]
        found = {"": 1.0}
        for place, parent in enumerate(parents):
            context.progress(place, len(parents))
            chances = [1.0]
            if len(parent.children) > 1:
                scores = await self._comparer.compare(context, parent, text)
                chances = to_probabilities(scores, kind, slope, intercept)
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
        slope=calibration.slope,
        intercept=calibration.intercept,
        num_rows=calibration.raw.num_rows,
        ece_raw=calibration.raw.ece,
        ece_calibrated=calibration.calibrated.ece,
    )
