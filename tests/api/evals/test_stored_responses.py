"""Runs over stored responses: graded as they are, or asked of a model once more."""

from __future__ import annotations

from typing import Any

import pytest

from llmos_server.job_contracts import Interrupted, JobFailed

STORED = {"type": "responses", "source": {"type": "responses"}}
AGAIN = {"type": "item_reference", "item_reference": "item.input"}


def make_eval(evals: Any, **fields: Any) -> Any:
    """Whether an answer is a capital; and, where a model is asked again, whether it says the same."""
    same = {
        "type": "string_check",
        "name": "same",
        "input": "{{ sample.output_text }}",
        "reference": "{{ item.output_text }}",
        "operation": "eq",
    }
    return evals.create(data_source_config={"type": "logs", **fields}, testing_criteria=[same])


def say(evals: Any, country: str, **fields: Any) -> Any:
    return evals.client.responses.create(model="tiny", input=country, **fields)


def test_they_are_graded_as_they_are_and_asked_anew(evals, conforms_if_there) -> None:
    first = say(evals, "France", instructions="Be brief.", metadata={"use": "atlas"})
    talk = evals.client.conversations.create()
    say(evals, "Italy", conversation=talk.id)
    say(evals, "Spain", conversation=talk.id, user="anna", max_output_tokens=20, temperature=0.5)
    say(evals, "Peru", previous_response_id=first.id)
    say(evals, "Chile", store=False)
    evals.client.responses.delete(say(evals, "Malta").id)
    made = make_eval(evals)
    conforms_if_there(made.to_dict(), "Eval")
    done = evals.done(made.id, {**STORED, "source": {"type": "responses", "limit": 10}})
    assert (done.status, done.model, done.result_counts.passed, done.per_model_usage) == ("completed", "", 4, [])
    asked = evals.generator.requests[-1]
    items = evals.items(done)
    peru, spain = items[0].datasource_item, items[1].datasource_item
    said = [(message["role"], message["content"]) for message in peru["input"]]
    assert said == [("user", "France"), ("assistant", "Paris"), ("user", "Peru")]
    assert [message["content"] for message in spain["input"]] == ["Italy", "Rome", "Spain"]
    assert [item.datasource_item["output_text"] for item in items] == ["Lima", "Madrid", "Rome", "Paris"]
    assert (items[1].sample.temperature, items[1].sample.max_completion_tokens) == (0.5, 20)
    assert evals.generator.requests[-1] is asked
    assert items[3].datasource_item["input"][0] == {"role": "system", "content": "Be brief."}

    evals.answers.update(Peru="Cuzco")
    anew = evals.done(made.id, {**done.data_source.to_dict(), "model": "tiny", "input_messages": AGAIN})
    assert [item.status for item in evals.items(anew)] == ["fail", "pass", "pass", "pass"]
    assert [item.datasource_item for item in evals.items(anew)] == [item.datasource_item for item in items]


@pytest.mark.parametrize(
    ("filters", "countries"),
    [
        ({"metadata": {"use": "atlas"}}, ["France"]),
        ({"users": ["anna", "tom"]}, ["Italy"]),
        ({"instructions_search": "BRIEF"}, ["France"]),
        ({"temperature": 0.5}, ["Italy"]),
        ({"limit": 1}, ["Italy"]),
        ({"model": "other"}, []),
        ({"created_before": 1}, []),
        ({"tools": ["search"]}, []),
    ],
)
def test_filters_choose_them(evals, filters, countries) -> None:
    say(evals, "France", instructions="Be brief.", metadata={"use": "atlas"})
    say(evals, "Italy", user="anna", temperature=0.5)
    begun = evals.begin(make_eval(evals).id, {**STORED, "source": {"type": "responses", **filters}})
    if countries:
        evals.do(begun.id)
        found = [item.datasource_item["input"][-1]["content"] for item in evals.items(begun)]
        assert found == countries
    else:
        with pytest.raises(JobFailed, match="No stored response of yours matches"):
            evals.do(begun.id)


def test_the_evals_metadata_choose_them_too_and_a_second_attempt_has_the_same(evals) -> None:
    for country in ("France", "Italy", "Peru"):
        say(evals, country, metadata={"use": "atlas"})
    other = say(evals, "Spain", metadata={"use": "else"})
    made = make_eval(evals, metadata={"use": "atlas"})
    begun = evals.begin(made.id, STORED)
    with pytest.raises(Interrupted):
        evals.do(begun.id, stop_after=1)
    left = [item.datasource_item["id"] for item in evals.items(begun)]
    evals.client.responses.delete(left[0])
    evals.do(begun.id)
    assert len(evals.items(begun)) == 3
    assert other.id not in [item.datasource_item["id"] for item in evals.items(begun)]
    assert not list((evals.home / "jobs").glob("*/items.jsonl"))
