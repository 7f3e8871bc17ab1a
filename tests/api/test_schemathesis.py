"""Schemathesis over the whole OpenAPI document and a live server: valid and invalid requests of every operation.

Held: never a 5xx, only statuses and content types that the document names, and answers that fit its schemas.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import schemathesis
import structlog
from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st
from schemathesis import GenerationMode
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from llmos_server.store.database import Database
from llmos_server.store.store import Store

CHECKS = [not_a_server_error, status_code_conformance, content_type_conformance, response_schema_conformance]
MODES = (GenerationMode.POSITIVE, GenerationMode.NEGATIVE)
SECONDS = 20
AT_ODDS = (
    "stream_options",
    "top_logprobs",
    "add_generation_prompt",
    "reasoning_effort",
    "stop_token_ids",
    "logit_bias",
    "min_tokens",
    "best_of",
)
"""Fields that go with certain others only, or with certain models, which a schema can't say. Some cases leave them out,
so that valid requests are among them."""


@pytest.fixture(autouse=True)
def quiet() -> Iterator[None]:
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.ERROR))
    yield
    structlog.reset_defaults()


@pytest.fixture
def run(make_api, run_app, fakes, tmp_path) -> Callable[[int], Counter[int]]:
    def run_over_document(num_examples: int) -> Counter[int]:
        """num_examples: of each operation and mode. Returns how often each status was answered."""
        statuses: Counter[int] = Counter()
        with run_app(
            make_api(
                "Hello", encoder=fakes.ScriptedEncoder(), store=Store(Database(tmp_path)), plugins=fakes.create_skills()
            ).app
        ) as url:
            document = schemathesis.openapi.from_url(url + "/openapi.json")
            for found in document.get_all_operations():
                operation = found.ok()
                for mode in MODES if operation.body else MODES[:1]:
                    call_often(url, operation, mode, num_examples, statuses)
        return statuses

    return run_over_document


def call_often(url: str, operation: Any, mode: GenerationMode, num_examples: int, statuses: Counter[int]) -> None:
    @settings(
        max_examples=num_examples,
        deadline=None,
        database=None,
        suppress_health_check=list(HealthCheck),
        phases=[Phase.generate, Phase.shrink],
    )
    @seed(1)
    @given(operation.as_strategy(generation_mode=mode), st.booleans(), st.sets(st.sampled_from(AT_ODDS)))
    def call(case: Any, is_served: bool, left_out: set[str]) -> None:
        if isinstance(case.body, dict):
            if is_served and "model" in case.body:
                case.body["model"] = "tiny"
            case.body = {name: value for name, value in case.body.items() if name not in left_out}
        reply = case.call(base_url=url, timeout=SECONDS)
        statuses[reply.status_code] += 1
        case.validate_response(reply, checks=CHECKS)

    call()


def test_the_document_holds(run) -> None:
    statuses = run(2)
    assert min(statuses[200], statuses[400]) > 20, statuses


@pytest.mark.proof
def test_the_document_holds_in_full(run, record_property) -> None:
    statuses = run(1000)
    record_property("schemathesis cases", sum(statuses.values()))
    record_property("schemathesis statuses", dict(sorted(statuses.items())))
    assert sum(statuses.values()) > 10_000
