"""The skill `classification` over HTTP: its probabilities come from scores, whatever the model would write."""

from __future__ import annotations

import math
from typing import Any

import pytest

from llmos_server.contracts import Scores
from llmos_server.plugins.host import PluginHost, load_plugins
from llmos_server.settings import PluginsSettings


@pytest.fixture
def host() -> PluginHost:
    """A new one each time: the skill remembers what a model finds likely without a text."""
    host = load_plugins(PluginsSettings(enabled=("classification",)))
    assert host.plugins["classification"].state == "on", host.plugins["classification"].reason
    return host


@pytest.fixture
def classify(make_api, host):
    """classify(logprob_of, body): logprob_of(prompt, answer) is what the scripted model finds."""

    async def run(logprob_of: Any, *, model_len: int = 4000, **body: Any) -> Any:
        api = make_api(plugins=host, max_model_len=model_len)

        async def score(request: Any) -> Scores:
            prompt = bytes(i for i in request.prompt_ids if i < 256).decode()
            return Scores(logprobs=[[logprob_of(prompt, bytes(ids).decode())] for ids in request.continuations])

        api.generator.score = score
        run.api = api
        return await api.post("/v1/skills/classification/run", body)

    return run


def perfect(prompt: str, answer: str) -> float:
    """Sure of a label whose name is in the text."""
    text = prompt.rpartition("Text: ")[2]
    return -0.1 if answer.strip('"') in text else -6.0


def prejudiced(prompt: str, answer: str) -> float:
    """As perfect, and loves the word "music" by ten times as much, whatever the text."""
    return perfect(prompt, answer) + 60.0 * (answer == '"music"')


LABELS = ["sport", "music", "politics"]


class TestSingle:
    async def test_probabilities_are_the_models(self, classify):
        reply = await classify(perfect, text="all about sport", labels=LABELS)
        assert reply.status_code == 200, reply.text
        body = reply.json()
        assert body["result"] == "sport"
        others = math.exp(-5.9) / (1 + 2 * math.exp(-5.9))
        assert body["details"]["probabilities"]["music"] == pytest.approx(others)
        assert body["details"]["confidence"] == pytest.approx(1 - 2 * others)
        assert list(body["details"]["probabilities"]) == ["sport", "music", "politics"]
        assert body["details"]["calibration"] is None
        assert body["usage"]["completion_tokens"] == 0

    @pytest.mark.parametrize("label", LABELS)
    async def test_a_prejudice_of_the_model_has_no_effect(self, classify, label):
        body = (await classify(prejudiced, text=f"all about {label}", labels=LABELS)).json()
        assert body["result"] == label
        assert sum(body["details"]["probabilities"].values()) == pytest.approx(1)

    async def test_a_label_that_begins_like_another_has_no_advantage(self, classify):
        def one_token_each(prompt: str, answer: str) -> float:
            return -1.0 * len(answer) + (40 if "Text: N" not in prompt and answer == '"art history"' else 0)

        body = (await classify(one_token_each, text="x", labels=["art", "art history"])).json()
        assert body["result"] == "art history"

    async def test_descriptions_and_the_text_reach_the_model(self, classify):
        seen: list[str] = []

        def look(prompt: str, answer: str) -> float:
            seen.append(prompt)
            return 0.0

        label = {"name": "a", "description": "is {{ 7 * 7 }}"}
        await classify(look, text="words {{ label }}", labels=[label, "b"])
        assert any("- a: is {{ 7 * 7 }}" in prompt and "Text: words {{ label }}" in prompt for prompt in seen)

    async def test_many_labels(self, classify):
        labels = [f"label{number}" for number in range(20, 200)]
        body = (await classify(perfect, text="it is label77.", labels=labels, model_len=9999)).json()
        assert body["result"] == "label77"
        assert len(body["details"]["probabilities"]) == 180


class TestTrees:
    @pytest.mark.parametrize(
        "labels",
        [
            ["sport/ball", "sport/race", "music"],
            [{"name": "sport", "labels": ["ball", {"name": "race", "description": "who is first"}]}, "music"],
            ["sport/ball", {"name": "sport", "description": "games", "labels": ["race"]}, "music"],
        ],
    )
    async def test_paths_and_nested_labels_are_one(self, classify, labels):
        body = (await classify(perfect, text="sport with a ball", labels=labels)).json()
        assert body["result"] == "sport/ball"
        chances = body["details"]["probabilities"]
        assert set(chances) == {"sport", "music", "sport/ball", "sport/race"}
        assert chances["sport/ball"] + chances["sport/race"] == pytest.approx(chances["sport"])
        assert chances["sport"] + chances["music"] == pytest.approx(1)

    async def test_without_a_separator_names_may_hold_it(self, classify):
        labels = ["n/a", "and/or"]
        body = (await classify(perfect, text="and/or", labels=labels, separator="")).json()
        assert body["result"] == "and/or"
        assert set(body["details"]["probabilities"]) == set(labels)

    async def test_one_child_is_given_by_its_parent(self, classify):
        body = (await classify(perfect, text="sport", labels=["sport/ball", "music"])).json()
        chances = body["details"]["probabilities"]
        assert chances["sport/ball"] == chances["sport"] > 0.9


class TestMultiple:
    @pytest.mark.parametrize("text", ["sport and music", "music and politics and sport", "politics", "nothing of it"])
    async def test_each_label_by_itself(self, classify, text):
        body = (await classify(perfect, text=text, labels=[*LABELS, "food", "health"], multiple=True)).json()
        assert set(body["result"]) == {label for label in LABELS if label in text} or text == "nothing of it"
        assert body["details"]["confidence"] is None

    async def test_the_threshold_decides(self, classify):
        given = {"text": "sport and music", "labels": LABELS, "multiple": True}
        chances = (await classify(perfect, **given)).json()["details"]["probabilities"]
        between = (chances["sport"] + chances["politics"]) / 2
        for threshold, found in ((0.999999, []), (between, ["sport", "music"]), (1e-9, LABELS)):
            body = (await classify(perfect, **given, threshold=threshold)).json()
            assert sorted(body["result"]) == sorted(found)


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"text": " \n"}, "text"),
        ({"labels": []}, "labels"),
        ({"labels": ["only"]}, "labels"),
        ({"labels": ["a/only"]}, "labels"),
        ({"labels": ["a", ""]}, "labels[1]"),
        ({"labels": ["a", "b/ /c"]}, "labels[1]"),
        ({"labels": ["a", "b", "a"]}, "labels[2]"),
        ({"labels": ["x/a", {"name": "x", "labels": ["b", "a"]}]}, "labels[1].labels[1]"),
        ({"labels": ["a", {"name": "b", "colour": "red"}]}, "labels[1]"),
        ({"labels": ["a", "/".join("bcdefghij")]}, "labels[1]"),
        ({"labels": [{"name": "a", "labels": [f"{n}" for n in range(200)]}, *(f"x{n}" for n in range(99))]}, "labels"),
        ({"threshold": 1}, "threshold"),
        ({"text": "long " * 2000}, "text"),
    ],
)
async def test_what_cant_be_classified_is_refused_by_its_field(classify, fields, param):
    reply = await classify(perfect, **{"text": "x", "labels": LABELS, **fields})
    assert reply.status_code == 400, reply.text
    assert reply.json()["error"]["param"].startswith(param)


async def test_what_labels_score_without_a_text_is_asked_once(classify, host):
    calls: list[str] = []

    def count(prompt: str, answer: str) -> float:
        calls.append(prompt.rpartition("Text: ")[2])
        return 0.0

    for text in ("first", "second"):
        await classify(count, text=text, labels=["seldom", "never"])
    assert sum("N/A" in call for call in calls) == 2  # Answers, in one call.
    assert len(calls) == 2 * (3 + 2)


async def test_in_a_chat_labels_come_in_metadata(classify):
    await classify(perfect, text="x", labels=LABELS)
    api = classify.api
    reply = await api.chat("I like sport", model="skill:classification", metadata={"labels": '["music", "sport"]'})
    assert reply.json()["choices"][0]["message"]["content"] == "sport"
