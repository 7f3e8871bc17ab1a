"""Skills that ask a classifier: as their run's model, or beside a model that writes."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from llmos_server import Skill, SkillContext, hookimpl
from llmos_server.plugins.host import PluginHost
from llmos_server.plugins.sources import Candidate
from llmos_server.settings import PluginsSettings
from llmos_server.skills.skill import check_skill


class Input(msgspec.Struct, kw_only=True):
    text: str
    model_of_call: str | None = None


class Output(msgspec.Struct, kw_only=True):
    result: dict[str, float]
    is_one_of: bool
    kind: str
    max_model_len: int
    reply: str = ""


class Sort(Skill[Input, Output]):
    name = "sort"
    version = "1"
    description = "Asks a classifier, and whoever answers the run."
    input_type = Input
    output_type = Output
    classifier: str | None = "kinds"

    async def run(self, input: Input, context: SkillContext) -> Output:
        (found,) = await context.classify([input.text], model=input.model_of_call)
        reply = ""
        if context.model_kind == "decoder":
            reply = (await context.chat([{"role": "user", "content": input.text}], max_tokens=3)).text
        return Output(
            result=found.probabilities,
            is_one_of=found.is_one_of,
            kind=context.model_kind,
            max_model_len=context.max_model_len,
            reply=reply,
        )


class SortEither(Sort):
    name = "sort-either"
    model_kinds = frozenset({"decoder", "classifier"})
    classifier = None


class Plugin:
    hook_api = "1.1"

    @hookimpl
    def register_skills(self) -> list[Any]:
        return [Sort(), SortEither()]


@pytest.fixture
def api(make_api: Any, fakes: Any) -> Any:
    host = PluginHost(PluginsSettings())
    host.add(Candidate(name="sorting", source="built-in", load=Plugin), {})
    return make_api(classifier=fakes.ScriptedClassifier("bad", "good", "odd"), plugins=host)


async def run(api: Any, skill: str = "sort", **fields: Any) -> Any:
    return await api.post(f"/v1/skills/{skill}/run", {"text": "fish", **fields})


async def test_a_classifier_beside_the_runs_model(api: Any) -> None:
    body = (await run(api)).json()
    classes = (await api.post("/v1/classify", {"model": "kinds", "input": "fish"})).json()
    assert list(body["result"]) == classes["labels"]
    assert list(body["result"].values()) == pytest.approx(classes["data"][0]["probs"])
    assert body["details"]["is_one_of"] is True
    assert body["details"]["kind"] == "decoder"
    assert body["details"]["reply"]
    chat = (await api.chat("fish", max_completion_tokens=3)).json()
    assert body["usage"]["prompt_tokens"] == chat["usage"]["prompt_tokens"] + classes["usage"]["prompt_tokens"]


async def test_a_classifier_as_the_runs_model(api: Any) -> None:
    body = (await run(api, "sort-either", model="kinds")).json()
    assert (body["model"], body["details"]["kind"], body["details"]["reply"]) == ("kinds", "classifier", "")
    listed = (await api.http.get("/v1/models/kinds")).json()
    assert body["details"]["max_model_len"] == listed["max_model_len"]


@pytest.mark.parametrize(
    ("skill", "fields", "status", "param"),
    [
        ("sort", {"model": "kinds"}, 400, "model"),  # Its run's model writes.
        ("sort-either", {}, 400, "model"),  # Nobody names a classifier.
        ("sort", {"model_of_call": "tiny"}, 400, "model"),
        ("sort", {"model_of_call": "none"}, 404, "model"),
    ],
)
async def test_a_model_that_does_not_fit(api: Any, skill: str, fields: Any, status: int, param: str) -> None:
    reply = await run(api, skill, **fields)
    assert (reply.status_code, reply.json()["error"]["param"]) == (status, param), reply.text


async def test_which_kinds_of_model_it_takes_is_told(api: Any) -> None:
    listed = (await api.http.get("/v1/llmos/skills")).json()["data"]
    assert {skill["name"]: skill["model_kinds"] for skill in listed} == {
        "sort": ["decoder"],
        "sort-either": ["decoder", "classifier"],
    }


async def test_a_stream_tells_it_by_its_status(api: Any) -> None:
    assert (await run(api, model="kinds", stream=True)).status_code == 400


async def test_classify_takes_texts(api: Any) -> None:
    """What a skill may not ask is the skill's fault."""
    assert (await run(api, text="")).status_code == 500


def test_kinds_that_are_none_are_refused() -> None:
    skill = SortEither()
    skill.model_kinds = frozenset({"seq2seq"})  # type: ignore[misc, arg-type]
    with pytest.raises(ValueError, match="decoder, encoder, classifier"):
        check_skill(skill)
