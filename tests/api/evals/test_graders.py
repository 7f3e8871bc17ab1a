"""/v1/fine_tuning/alpha/graders, by the stock SDK: every grader graded, and what can't be graded told."""

from __future__ import annotations

from typing import Any

import openai
import pytest

from llmos_server.sandbox.finding import SandboxUnavailable, find_sandbox
from llmos_server.sandbox.limits import SandboxLimits

CHECK = {"type": "string_check", "name": "c", "input": "{{sample.output_text}}", "reference": "{{item.a}}"}
ALIKE = {"type": "text_similarity", "name": "t", "input": "{{sample.output_text}}", "reference": "{{item.a}}"}
JUDGE = {
    "type": "score_model",
    "name": "s",
    "model": "tiny",
    "input": [{"role": "user", "content": [{"type": "input_text", "text": "Is {{sample.output_text}} {{item.a}}?"}]}],
}
PROGRAM = "def grade(sample, item):\n    return len(sample['output_text']) / len(item['a'])"


def sdk_of(api: Any) -> Any:
    client = openai.AsyncOpenAI(base_url="http://127.0.0.1:8000/v1", api_key="x", http_client=api.http, max_retries=0)
    return client.fine_tuning.alpha.graders


async def run(api: Any, grader: Any, sample: str = "Paris", **item: Any) -> Any:
    return await sdk_of(api).run(grader=grader, item={"a": "Paris", **item}, model_sample=sample)


@pytest.mark.parametrize(
    ("operation", "sample", "reward"),
    [
        ("eq", "Paris", 1),
        ("eq", "paris", 0),
        ("ne", "Rome", 1),
        ("like", "It is Paris.", 1),
        ("like", "It is PARIS.", 0),
        ("ilike", "It is PARIS.", 1),
    ],
)
async def test_string_check(api, operation, sample, reward) -> None:
    done = await run(api, {**CHECK, "operation": operation}, sample)
    assert (done.reward, done.metadata.name, done.metadata.type) == (reward, "c", "string_check")
    assert not any(done.metadata.errors.to_dict().values())


async def test_text_similarity(api) -> None:
    done = await run(api, {**ALIKE, "evaluation_metric": "fuzzy_match"}, "Pari")
    assert done.reward == pytest.approx(8 / 9)
    long = await run(api, {**ALIKE, "evaluation_metric": "rouge_l"}, "x" * 20_001)
    assert long.metadata.errors.truncated_observation_error


async def test_cosine_asks_for_embeddings(make_api, fakes) -> None:
    api = make_api(encoder=fakes.ScriptedEncoder())
    done = await run(api, {**ALIKE, "evaluation_metric": "cosine"})
    assert done.reward == pytest.approx(1)
    assert done.metadata.sampled_model_name == "small"
    missing = await run(api, {**ALIKE, "evaluation_metric": "cosine", "model": "tiny"})
    assert missing.metadata.errors.model_grader_server_error


async def test_score_model_asks_for_a_number(make_api) -> None:
    api = make_api('{"score": 0.25}')
    done = await run(api, JUDGE)
    assert (done.reward, done.metadata.sampled_model_name) == (0.25, "tiny")
    assert done.model_grader_token_usage_per_model["tiny"]["completion_tokens"] == 15
    request = api.generator.requests[0]
    assert b"Is Paris Paris?" in bytes(token for token in request.prompt_ids if token < 256)
    assert request.sampling.temperature == 0
    assert request.sampling.grammar
    assert (await run(api, {**JUDGE, "range": [1, 5]})).metadata.errors.model_grader_parse_error


async def test_a_judge_that_breaks_off_gives_no_score(make_api) -> None:
    done = await run(make_api('{"score": 0.2'), {**JUDGE, "sampling_params": {"max_completions_tokens": 3}})
    assert (done.reward, done.metadata.errors.model_grader_parse_error) == (0, True)
    assert "cut at 3 tokens" in done.metadata.message


async def test_label_model(make_api) -> None:
    grader = {**JUDGE, "type": "label_model", "labels": ["good", "bad"], "passing_labels": ["good"]}
    assert (await run(make_api('{"label": "good"}'), grader)).reward == 1
    assert (await run(make_api('{"label": "bad"}'), grader)).reward == 0


async def test_multi_computes_a_formula(api) -> None:
    named = {"same": {**CHECK, "operation": "eq"}, "alike": {**ALIKE, "evaluation_metric": "fuzzy_match"}}
    grader = {"type": "multi", "name": "m", "graders": named, "calculate_output": "0.5 * same + alike / 2"}
    done = await run(api, grader, "Pari")
    assert done.reward == pytest.approx(4 / 9)
    assert done.sub_rewards == pytest.approx({"same": 0, "alike": 8 / 9})
    one = {**grader, "graders": {**CHECK, "operation": "eq"}, "calculate_output": "1 - c"}
    assert (await run(api, one)).reward == 0
    broken = await run(api, {**one, "calculate_output": "1 / (c - 1)"})
    assert broken.metadata.errors.other_error


async def test_a_place_that_the_item_lacks_is_told(api) -> None:
    done = await run(api, {**CHECK, "reference": "{{item.b}}", "operation": "eq"})
    assert (done.reward, done.metadata.errors.invalid_variable_error) == (0, True)
    assert "there is no 'b'" in done.metadata.message


@pytest.mark.parametrize(
    ("grader", "param"),
    [
        ({**CHECK, "operation": "same"}, "grader.operation"),
        ({**CHECK, "operation": "eq", "input": "{{ x }}"}, "grader.input"),
        ({**JUDGE, "type": "label_model", "labels": ["a"], "passing_labels": ["b"]}, "grader.passing_labels"),
        ({**JUDGE, "range": [1, 1]}, "grader.range"),
        ({**JUDGE, "input": [{"role": "user", "content": {"type": "input_image"}}]}, "grader.input[0].content"),
        ({"type": "python", "name": "p", "source": PROGRAM}, "grader.type"),
        ({"type": "python", "name": "p", "source": PROGRAM, "image_tag": "x"}, "grader.image_tag"),
        (
            {"type": "multi", "name": "m", "graders": {"c": {**CHECK, "operation": "eq"}}, "calculate_output": "d"},
            "grader.calculate_output",
        ),
        ({"type": "multi", "name": "m", "graders": {"c": {"type": "x"}}, "calculate_output": "c"}, "grader.graders.c"),
    ],
)
async def test_validate_refuses_what_can_not_be_run(api, grader, param) -> None:
    with pytest.raises(openai.BadRequestError) as told:
        await sdk_of(api).validate(grader=grader)
    assert told.value.param == param


async def test_validate_gives_the_grader_back(api) -> None:
    grader = {**CHECK, "operation": "eq"}
    assert (await sdk_of(api).validate(grader=grader)).grader.to_dict() == grader


class TestPython:
    @pytest.fixture
    def api(self, make_api):
        try:
            find_sandbox(SandboxLimits())
        except SandboxUnavailable as error:
            pytest.skip(str(error))
        return make_api(evals={"python_graders": True, "python_seconds": 5.0})

    async def test_a_program_grades(self, api) -> None:
        assert (await run(api, {"type": "python", "name": "p", "source": PROGRAM}, "Par")).reward == 0.6

    @pytest.mark.parametrize("body", ["1 / 0", "'high'", "float('nan')", "__import__('os')._exit(0)"])
    async def test_a_program_that_gives_no_number(self, api, body) -> None:
        source = f"def grade(sample, item):\n    return {body}"
        done = await run(api, {"type": "python", "name": "p", "source": source})
        assert (done.reward, done.metadata.errors.python_grader_runtime_error) == (0, True)

    @pytest.mark.parametrize("source", ["def other(): ...", "def grade(:"])
    async def test_what_is_no_such_program_is_refused(self, api, source) -> None:
        with pytest.raises(openai.BadRequestError, match="def grade"):
            await sdk_of(api).validate(grader={"type": "python", "name": "p", "source": source})
