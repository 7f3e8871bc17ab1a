"""Typed decisions by the real default model: the same numbers as log-probabilities of an echoed prompt."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import httpx2
import pytest

from llmos_server.api.decisions.decision_prompts import as_text, read_questions
from llmos_server.api.schemas.systemone import DecisionQuestion

pytestmark = pytest.mark.real_model

STATE = {"subject": "Double charge", "text": "I was charged twice for order 1042 and nobody has replied for a week."}
QUESTIONS: dict[str, Any] = {
    "team": {
        "type": "choice",
        "instructions": "Which team should handle this?",
        "criteria": {"billing": "payments and refunds", "shipping": "parcels", "technical": None},
    },
    "haste": {"type": "score", "instructions": "How urgent is it?", "criteria": ["can wait", "this week", "today"]},
    "refund": {"type": "noul", "instructions": "Is a refund asked for?"},
    "codes": {"type": "choice", "instructions": "Which?", "criteria": {f"thing {i}": None for i in range(30)}},
}
LABELS = {
    "team": ["A", "B", "C"],
    "haste": ["A", "B", "C"],
    "refund": ["Yes", "No"],
    "codes": [*("A" + chr(65 + i) for i in range(26)), "BA", "BB", "BC", "BD"],
}


@pytest.fixture
def client(server: Any) -> Iterator[httpx2.Client]:
    with httpx2.Client(base_url=server.url, timeout=120) as client:
        yield client


def ask(client: httpx2.Client, questions: dict[str, Any]) -> dict[str, Any]:
    reply = client.post("/v1/systemone", json={"state": STATE, "questions": questions})
    assert reply.status_code == 200, reply.text
    body: dict[str, Any] = reply.json()
    return body


def prompt_of(client: httpx2.Client, name: str) -> list[int]:
    """As the server makes it."""
    (question,) = read_questions({name: DecisionQuestion(**QUESTIONS[name])})
    messages = [{"role": "user", "content": f"{as_text(STATE)}\n\n{question.text()}"}]
    ids: list[int] = client.post("/v1/chat/completions/render", json={"messages": messages}).json()["token_ids"]
    return ids


def echoed(client: httpx2.Client, prompt: list[int], labels: list[str]) -> list[float]:
    """Each label's log-probability as the end of an echoed prompt."""
    ids = [
        client.post("/tokenize", json={"prompt": text, "add_special_tokens": False}).json()["tokens"] for text in labels
    ]
    body = {"prompt": [prompt + label for label in ids], "echo": True, "logprobs": 0, "max_tokens": 0}
    choices = client.post("/v1/completions", json=body).json()["choices"]
    return [math.fsum(choice["logprobs"]["token_logprobs"][len(prompt) :]) for choice in choices]


@pytest.mark.proof
def test_answers_are_the_echoed_log_probabilities(client: httpx2.Client) -> None:
    body = ask(client, QUESTIONS)
    for name, labels in LABELS.items():
        totals = echoed(client, prompt_of(client, name), labels)
        weights = [math.exp(total) for total in totals]
        expected = [weight / math.fsum(weights) for weight in weights]
        answer = body["answers"][name]
        found = [answer["noul"], 1 - answer["noul"]] if name == "refund" else list(answer["probabilities"].values())
        assert found == pytest.approx(expected, abs=1e-9)


def test_questions_share_the_state_and_change_nothing_for_each_other(client: httpx2.Client) -> None:
    together = ask(client, QUESTIONS)
    assert together["usage"]["input_tokens_details"]["cached_tokens"] >= 16 * (len(QUESTIONS) - 1)
    assert together["usage"]["output_tokens"] == 0
    for name, question in QUESTIONS.items():
        alone = ask(client, {name: question})
        assert alone["answers"][name] == together["answers"][name]
