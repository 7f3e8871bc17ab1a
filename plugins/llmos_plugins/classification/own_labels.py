"""A model with a classification head: it knows labels of its own, and reads nothing but the text."""

from __future__ import annotations

import math
from collections.abc import Sequence

from llmos_plugins.classification.fields import ClassificationInput
from llmos_plugins.classification.odds import SMALLEST, to_log_odds
from llmos_plugins.classification.tree import Node
from llmos_server import Calibration, Classified, InputError, SkillContext, calibrated

MAX_TOLD = 50


async def find_own(
    root: Node, input: ClassificationInput, calibration: Calibration | None, context: SkillContext
) -> dict[str, float]:
    """By path. With one label, of the labels that were given alone: they sum to 1."""
    nodes = list(root.walk())
    _check_flat(root)
    (found,) = await context.classify([input.text])
    chances = [found.probabilities[name] for name in _own_names(nodes, found)]
    if not input.multiple:
        adjusted = calibrated([math.log(max(chance, SMALLEST)) for chance in chances], calibration)
    elif found.is_one_of:
        raise InputError("this model's labels exclude each other; leave it out, or take another", field="multiple")
    else:
        adjusted = [calibrated([to_log_odds(chance), 0.0], calibration)[0] for chance in chances]
    return {node.path: chance for node, chance in zip(nodes, adjusted, strict=True)}


def _check_flat(root: Node) -> None:
    """What would have no effect is refused."""
    for place, node in enumerate(root.children.values()):
        if node.children:
            raise InputError("this model has labels of its own, none below others", field=f"labels[{place}].labels")
        if node.description:
            raise InputError("this model reads no descriptions; leave it out", field=f"labels[{place}].description")


def _own_names(nodes: Sequence[Node], found: Classified) -> list[str]:
    """The model's names of them; case matters only where it has to."""
    folded = {name.casefold(): name for name in found.probabilities}
    names: list[str] = []
    for place, node in enumerate(nodes):
        name = node.name if node.name in found.probabilities else folded.get(node.name.casefold())
        if name is None:
            known = ", ".join(list(found.probabilities)[:MAX_TOLD])
            more = ", …" if len(found.probabilities) > MAX_TOLD else ""
            raise InputError(
                f"{node.name!r} is no label of this model, which knows its own alone: {known}{more}",
                field=f"labels[{place}]",
            )
        if name in names:
            raise InputError(f"{name!r} is there twice", field=f"labels[{place}]")
        names.append(name)
    return names
