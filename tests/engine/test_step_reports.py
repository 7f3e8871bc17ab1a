"""Steps that report together: nothing is lost, and nothing that is urgent waits."""

from __future__ import annotations

from engine_fakes import NAN_TOKEN, Engine, expected_choice, make_request
from hypothesis import given
from hypothesis import strategies as st

from llmos_server.contracts import GenerateRequest
from llmos_server.engine.messages import StepOutput
from llmos_server.engine.step_reports import StepReports

STEP_SECONDS = 0.005


class Worker:
    """The worker's loop, on a clock that each step moves on."""

    def __init__(self, interval: float) -> None:
        self.engine = Engine(budget=8)
        self.clock, self.core = self.engine.clock, self.engine.core
        self.sent: list[StepOutput] = []
        self.reports = StepReports(self.sent.append, 1, interval, self.clock)

    def add(self, request: GenerateRequest) -> None:
        self.reports.flush(self.core)
        self.core.add(request)

    def step(self, seconds: float = STEP_SECONDS) -> list[StepOutput]:
        """What left after it."""
        num_sent = len(self.sent)
        deltas = self.engine.step()
        self.clock.now += seconds
        self.reports.add(deltas, self.core)
        return self.sent[num_sent:]

    def run(self) -> None:
        while self.core.has_work:
            self.step()

    def tokens(self, request_id: str, index: int = 0) -> list[int]:
        deltas = [delta for report in self.sent for delta in report.deltas]
        return [token for d in deltas if (d.request_id, d.index) == (request_id, index) for token in d.token_ids]


def test_short_steps_report_together_and_long_ones_each() -> None:
    worker = Worker(interval=0.008)
    worker.add(make_request("a", [1, 2], max_tokens=20))
    assert [len(worker.step()) for _ in range(5)] == [1, 0, 1, 0, 1]
    assert [len(report.deltas[0].token_ids) for report in worker.sent] == [1, 2, 2]
    assert [len(worker.step(0.009)) for _ in range(3)] == [1, 1, 1]


def test_an_interval_of_zero_makes_each_step_a_report() -> None:
    worker = Worker(interval=0.0)
    worker.add(make_request("a", [1, 2], max_tokens=6))
    assert [len(worker.step(0.0)) for _ in range(6)] == [1] * 6


def test_first_tokens_and_ends_leave_at_once_with_what_waits() -> None:
    worker = Worker(interval=1.0)
    worker.add(make_request("a", [1, 2], max_tokens=4))
    assert worker.step()[0].deltas[0].queue_seconds is not None
    assert worker.step() == worker.step() == []
    [last] = worker.step()
    assert len(last.deltas[0].token_ids) == 3
    assert last.deltas[0].finish_reason == "length"
    assert last.stats.num_steps == 4


def test_nothing_waits_for_a_prompt() -> None:
    worker = Worker(interval=1.0)
    worker.add(make_request("a", [1, 2], max_tokens=40))
    worker.step()
    assert worker.step() == []
    worker.add(make_request("b", list(range(30)), max_tokens=4))
    assert len(worker.sent) == 2, "what waited has left before the step with the prompt"
    assert [len(worker.step()) for _ in range(3)] == [1, 1, 1], "steps with parts of the prompt"


def test_broken_requests_are_told_at_once() -> None:
    worker = Worker(interval=1.0)
    worker.add(make_request("a", [1, 2], max_tokens=40))
    worker.step()
    worker.add(make_request("b", [NAN_TOKEN], max_tokens=4))
    [report] = worker.step()
    assert report.broken == ["b"]


@given(
    interval=st.sampled_from([0.0, 0.004, 0.012, 10.0]),
    prompts=st.lists(st.lists(st.integers(0, 40), min_size=1, max_size=12), min_size=1, max_size=4),
    n=st.integers(1, 3),
    gap=st.integers(0, 5),
    logprobs=st.sampled_from([None, 1]),
)
def test_all_tokens_arrive_in_order_whatever_the_interval(
    interval: float, prompts: list[list[int]], n: int, gap: int, logprobs: int | None
) -> None:
    worker = Worker(interval)
    requests = [
        make_request(str(i), prompt, max_tokens=9, n=n, seed=i, logprobs=logprobs) for i, prompt in enumerate(prompts)
    ]
    for request in requests:
        worker.add(request)
        for _ in range(gap):
            worker.step()
    worker.run()
    for request in requests:
        for index in range(n):
            assert worker.tokens(request.request_id, index) == expected_choice(request, index).token_ids
    deltas = [delta for report in worker.sent for delta in report.deltas]
    assert all(len(d.logprobs or []) == (len(d.token_ids) if logprobs else 0) for d in deltas)
