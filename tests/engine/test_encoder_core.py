from __future__ import annotations

import pytest
from encoder_fakes import (
    CRASH_TOKEN,
    MAX_TOKENS,
    NAN_TOKEN,
    VOCAB_SIZE,
    ScriptedEncoder,
    expected,
    make_info,
    make_request,
)
from hypothesis import given
from hypothesis import strategies as st

from llmos_server.engine.batcher import Batcher
from llmos_server.engine.encoder_core import MAX_FAILED_IN_ROW, EncoderCore
from llmos_server.errors import InvalidRequest

INPUTS = st.lists(st.lists(st.integers(0, 45), min_size=1, max_size=MAX_TOKENS), min_size=1, max_size=9)


def make_core(max_tokens: int = 32) -> tuple[EncoderCore, ScriptedEncoder]:
    runner = ScriptedEncoder()
    return EncoderCore(Batcher(max_tokens), runner, make_info()), runner


def run(core: EncoderCore) -> dict[str, list[bytes] | None]:
    answers = {}
    while core.has_work:
        for answer in core.step():
            assert answer.request_id not in answers
            answers[answer.request_id] = answer.embeddings
    return answers


@given(st.lists(INPUTS, max_size=6), st.integers(1, 80))
def test_each_request_gets_its_own_embeddings_in_order(inputs: list[list[list[int]]], max_tokens: int) -> None:
    core, _ = make_core(max_tokens)
    requests = [make_request(f"r{i}", texts, owner=str(i % 2)) for i, texts in enumerate(inputs)]
    for request in requests:
        core.add(request)
    assert run(core) == {request.request_id: expected(request) for request in requests}


def test_an_aborted_requests_rest_is_not_computed() -> None:
    core, runner = make_core(max_tokens=4)
    core.add(make_request("long", [[1, 2, 3, 4]] * 50))
    core.step()
    core.abort("long")
    core.abort("long")
    assert not core.has_work
    assert len(runner.batches) == 1
    assert run(core) == {}


@pytest.mark.parametrize("token", [CRASH_TOKEN, NAN_TOKEN])
def test_what_cannot_be_computed_ends_no_other_request(token: int) -> None:
    core, _ = make_core(max_tokens=64)
    good, bad = make_request("good", [[1, 2], [3, 4]]), make_request("bad", [[5, 6], [token, 7], [8, 9]])
    core.add(bad)
    core.add(good)
    assert run(core) == {"good": expected(good), "bad": None}


@pytest.mark.parametrize(
    ("inputs", "told"),
    [
        ([], "no input"),
        ([[1], []], r"input\[1\] has 0 tokens"),
        ([[1] * (MAX_TOKENS + 1)], r"input\[0\] has 17 tokens; this model takes 1 to 16"),
        ([[1, VOCAB_SIZE]], "no token of this model"),
        ([[-1]], "no token of this model"),
    ],
)
def test_what_must_not_reach_the_tensors_is_refused(inputs: list[list[int]], told: str) -> None:
    core, _ = make_core()
    with pytest.raises(InvalidRequest, match=told):
        core.add(make_request("r", inputs))
    assert not core.has_work


def test_an_id_is_taken_once() -> None:
    core, _ = make_core()
    core.add(make_request("r", [[1]]))
    with pytest.raises(InvalidRequest, match="running already"):
        core.add(make_request("r", [[2]]))


def test_a_device_on_which_nothing_can_be_computed_ends_the_worker() -> None:
    core, _ = make_core(max_tokens=64)
    for i in range(MAX_FAILED_IN_ROW - 1):
        core.add(make_request(f"bad{i}", [[CRASH_TOKEN]]))
        assert [answer.embeddings for answer in core.step()] == [None]
    core.add(make_request("good", [[1, 2]]))
    assert [answer.request_id for answer in core.step()] == ["good"]
    for i in range(MAX_FAILED_IN_ROW - 1):
        core.add(make_request(f"worse{i}", [[CRASH_TOKEN]]))
        core.step()
    core.add(make_request("last", [[CRASH_TOKEN]]))
    with pytest.raises(Exception, match="scripted"):
        core.step()
