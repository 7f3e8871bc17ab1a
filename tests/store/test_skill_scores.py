"""What skills were measured at."""

from __future__ import annotations

from llmos_server.skill_contracts import SkillScore
from llmos_server.store.store import Store


def score(value: float, created: int, **fields: str) -> SkillScore:
    named = {"skill": "echo", "version": "1", "model": "tiny", "model_digest": "sha256:a", "metric": "f1", **fields}
    figures = {"f1": value, "em": 0.25}
    return SkillScore(**named, score=value, figures=figures, num_cases=9, num_failed=1, created=created)


async def test_the_latest_of_these_weights_and_this_version_counts(store: Store) -> None:
    scores = store.skill_scores
    assert await scores.latest("echo", "1", "sha256:a") is None
    kept = [
        score(0.5, 10),
        score(0.7, 20),
        score(0.1, 30, version="2"),
        score(0.2, 40, model_digest="sha256:b"),
        score(0.3, 50, skill="other"),
    ]
    for entry in kept:
        await scores.add(entry)
    assert await scores.latest("echo", "1", "sha256:a") == kept[1]
    assert await scores.latest("echo", "2", "sha256:a") == kept[2]
    assert await scores.list("echo", 3) == [kept[3], kept[2], kept[1]]
