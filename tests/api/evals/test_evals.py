"""/v1/evals by the stock SDK: from what is measured to what came of each item."""

from __future__ import annotations

import json
from typing import Any

import httpx2
import openai
import pytest

from llmos_server.job_contracts import Interrupted, JobFailed

DIGEST = "sha256:" + "ab" * 32
TWICE = {"type": "string_check", "name": "n", "input": "a", "reference": "a", "operation": "eq"}


def refused(evals: Any, method: str, path: str, body: Any = None) -> tuple[int, str | None]:
    """Status and param."""
    reply = httpx2.request(method, evals.url + path, json=body)
    return reply.status_code, reply.json()["error"]["param"]


def test_an_eval_is_made_changed_listed_and_deleted(evals) -> None:
    client = evals.client.evals
    made = evals.create(metadata={"team": "a"})
    assert (made.object, made.name, made.metadata) == ("eval", "Capitals", {"team": "a"})
    assert made.data_source_config.type == "custom"
    assert made.data_source_config.schema_["required"] == ["item", "sample"]
    assert made.testing_criteria[0].to_dict()["operation"] == "eq"
    assert client.retrieve(made.id).to_dict() == made.to_dict()
    other = evals.create(name="Other")
    assert [found.id for found in client.list(limit=1)] == [made.id, other.id]
    changed = client.update(made.id, name="Towns", metadata={"team": "b"})
    assert (changed.name, changed.metadata) == ("Towns", {"team": "b"})
    assert [found.id for found in client.list(order="desc", order_by="updated_at")] == [made.id, other.id]
    assert client.delete(made.id).deleted
    with pytest.raises(openai.NotFoundError, match="No eval of yours"):
        client.retrieve(made.id)


def test_a_run_asks_grades_and_counts(evals, conforms_if_there) -> None:
    evals.answers["Spain"] = "Barcelona"
    made = evals.create()
    begun = evals.begin(made.id, evals.source(sampling_params={"temperature": 0, "max_completion_tokens": 20}))
    assert (begun.status, begun.model, begun.name, begun.result_counts.total) == ("queued", "tiny", "tiny", 0)
    evals.do(begun.id)
    done = evals.client.evals.runs.retrieve(begun.id, eval_id=made.id)
    assert (done.status, done.error, done.model_digest, done.progress) == ("completed", None, DIGEST, 1)
    assert done.result_counts.to_dict() == {"total": 4, "errored": 0, "failed": 1, "passed": 3}
    [criterion] = done.per_testing_criteria_results
    assert criterion.to_dict() == {
        "testing_criteria": "same",
        "passed": 3,
        "failed": 1,
        "errored": 0,
        "mean_score": 0.75,
    }
    [usage] = done.per_model_usage
    assert (usage.api_model_name if hasattr(usage, "api_model_name") else usage.to_dict()["model_name"]) == "tiny"
    assert usage.invocation_count == 4
    assert usage.completion_tokens == len("ParisRomeBarcelonaLima")
    items = evals.items(done)
    assert [item.status for item in items] == ["pass", "pass", "fail", "pass"]
    assert items[2].datasource_item == {"country": "Spain", "capital": "Madrid"}
    assert items[2].results[0].to_dict() == {
        "name": "same",
        "type": "string_check",
        "score": 0.0,
        "passed": False,
        "sample": {"input": "Barcelona", "reference": "Madrid"},
    }
    sample = items[2].sample
    assert (sample.input[0].content, sample.output[0].content) == ("Spain", "Barcelona")
    assert (sample.temperature, sample.max_completion_tokens, sample.seed, sample.finish_reason) == (0, 20, 42, "stop")
    assert 0 < sample.to_dict()["confidence"] < 1
    assert [item.id for item in evals.items(done, status="fail")] == [items[2].id]
    assert [item.id for item in evals.items(done, limit=1, order="desc")] == [item.id for item in reversed(items)]
    one = evals.client.evals.runs.output_items.retrieve(items[2].id, eval_id=made.id, run_id=done.id)
    assert one.to_dict() == items[2].to_dict()
    given = {"type": "jsonl", "source": {"type": "file_id", "id": "x"}}  # A message is two things in their document.
    conforms_if_there(made.to_dict(), "Eval")
    no_error = {"error": {"code": "", "message": ""}}  # Nor may it be null there, which it is in their examples.
    conforms_if_there({**done.to_dict(), **no_error, "data_source": given}, "EvalRun")
    item = items[0].to_dict()
    conforms_if_there({**item, "sample": {**item["sample"], **no_error}}, "EvalRunOutputItem")


def test_a_second_attempt_asks_for_what_is_left(evals) -> None:
    made = evals.create()
    begun = evals.begin(made.id, evals.source(["France", "Italy", "Spain", "Peru"] * 2))
    with pytest.raises(Interrupted):
        evals.do(begun.id, stop_after=3)
    half = evals.client.evals.runs.retrieve(begun.id, eval_id=made.id)
    assert (half.status, len(evals.items(half))) == ("in_progress", 3)
    evals.do(begun.id)
    done = evals.client.evals.runs.retrieve(begun.id, eval_id=made.id)
    assert (done.status, done.result_counts.passed) == ("completed", 8)
    assert [item.datasource_item_id for item in evals.items(done)] == list(range(8))
    # Four were on their way when the first attempt ended.
    assert 8 <= len(evals.generator.requests) <= 12


def test_items_come_from_a_file_and_answers_with_them(evals) -> None:
    rows = [
        {"item": {"country": "France", "capital": "Paris"}, "sample": {"output_text": "Paris"}},
        {"item": {"country": "Italy", "capital": "Rome"}, "sample": {"output_text": "Milan"}},
    ]
    content = "\n".join(map(json.dumps, rows)).encode()
    file = evals.client.files.create(file=("rows.jsonl", content), purpose="evals")
    made = evals.create()
    source = {"type": "jsonl", "source": {"type": "file_id", "id": file.id}}
    done = evals.done(made.id, source, name="given")
    assert (done.status, done.model, done.name) == ("completed", "", "given")
    assert done.result_counts.to_dict() == {"total": 2, "errored": 0, "failed": 1, "passed": 1}
    assert evals.generator.requests == []
    asking = evals.done(made.id, evals.source(source=source["source"]))
    assert asking.result_counts.passed == 2


def test_responses_are_asked_too_and_messages_may_be_the_items(evals) -> None:
    made = evals.create(data_source_config={"type": "custom", "item_schema": {"type": "object"}})
    item = {"chat": [{"role": "user", "content": "Peru"}], "capital": "Lima"}
    source = {
        "type": "responses",
        "model": "tiny",
        "source": {"type": "file_content", "content": [{"item": item}]},
        "input_messages": {"type": "item_reference", "item_reference": "item.chat"},
        "sampling_params": {"seed": 7, "max_completion_tokens": 30},
    }
    done = evals.done(made.id, source)
    assert done.result_counts.passed == 1
    assert evals.generator.requests[0].sampling.seed == 7


def test_an_item_that_can_not_be_asked_or_graded_is_an_error_of_its_own(evals) -> None:
    grader = {"type": "string_check", "name": "n", "input": "{{ item.note }}", "reference": "x", "operation": "eq"}
    made = evals.create(
        testing_criteria=[grader], data_source_config={"type": "custom", "item_schema": {"type": "object"}}
    )
    source = evals.source()
    source["source"]["content"] = [
        {"item": {"country": "Peru", "note": "x"}},
        {"item": {"country": "Italy"}},
        {"item": {}},
    ]
    done = evals.done(made.id, source)
    assert done.result_counts.to_dict() == {"total": 3, "errored": 2, "failed": 0, "passed": 1}
    _, ungraded, unasked = evals.items(done)
    assert ungraded.results[0].to_dict()["error"]["code"] == "invalid_variable_error"
    assert "there is no 'country'" in unasked.sample.error.message


def test_lines_are_checked_before_anything_is_asked(evals) -> None:
    content = b'{"item": {"country": "Peru", "capital": "Lima"}}\n{"item": {"country": 1, "capital": "Lima"}}\n'
    file = evals.client.files.create(file=("rows.jsonl", content), purpose="evals")
    begun = evals.begin(evals.create().id, evals.source(source={"type": "file_id", "id": file.id}))
    with pytest.raises(JobFailed, match="Line 2 of the items") as told:
        evals.do(begun.id)
    assert (told.value.code, told.value.param) == ("invalid_item", "data_source.source")
    assert evals.generator.requests == []


def test_a_run_is_cancelled_and_deleted(evals) -> None:
    made = evals.create()
    runs = evals.client.evals.runs
    begun = evals.begin(made.id)
    assert runs.cancel(begun.id, eval_id=made.id).status == "canceled"
    done = evals.done(made.id)
    assert [found.id for found in runs.list(made.id, status="completed")] == [done.id]
    assert [found.id for found in runs.list(made.id, order="desc")] == [done.id, begun.id]
    assert runs.cancel(done.id, eval_id=made.id).status == "completed"
    runs.delete(begun.id, eval_id=made.id)
    with pytest.raises(openai.NotFoundError, match="has no run"):
        runs.retrieve(begun.id, eval_id=made.id)
    evals.client.evals.delete(made.id)
    assert refused(evals, "GET", f"/v1/evals/{made.id}/runs/{done.id}/output_items")[0] == 404


REFUSED_EVALS = [
    ({"testing_criteria": []}, "testing_criteria"),
    ({"data_source_config": {"type": "stored_completions"}}, "data_source_config.type"),
    ({"data_source_config": {"type": "custom", "item_schema": {"type": 3}}}, "data_source_config.item_schema.type"),
    ({"testing_criteria": [TWICE, TWICE]}, "testing_criteria"),
]
REFUSED_RUNS = [
    ({"model": "unheard-of"}, 404, "model"),
    ({"model": None}, 400, "data_source.model"),
    ({"source": {"type": "file_id", "id": "file-none"}}, 404, "data_source.source.id"),
    ({"source": {"type": "stored_completions"}}, 400, "data_source.source.type"),
    ({"source": {"type": "file_content", "content": []}}, 400, "data_source.source.content"),
    (
        {"input_messages": {"type": "item_reference", "item_reference": "chat"}},
        400,
        "data_source.input_messages.item_reference",
    ),
    ({"sampling_params": {"temperature": 3}}, 400, "data_source.sampling_params.temperature"),
    ({"type": "logs"}, 400, "data_source.type"),
    ({"source": {"type": "responses"}}, 400, "data_source.source.type"),
    ({"type": "responses", "source": {"type": "responses"}, "model": None}, 400, "data_source.model"),
    ({"type": "responses", "input_messages": None}, 400, "data_source.input_messages"),
]


def test_what_could_not_be_run_is_refused(evals) -> None:
    for fields, param in REFUSED_EVALS:
        with pytest.raises(openai.BadRequestError) as told:
            evals.create(**fields)
        assert told.value.param == param
    made = evals.create()
    for change, status, param in REFUSED_RUNS:
        source = {name: value for name, value in {**evals.source(), **change}.items() if value is not None}
        assert refused(evals, "POST", f"/v1/evals/{made.id}/runs", {"data_source": source}) == (status, param)
