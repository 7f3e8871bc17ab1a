"""The bench against a scripted server with known counts."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import pytest

from llmos_server.bench.client import Timing
from llmos_server.bench.closed_loop import run_bench
from llmos_server.bench.conversations import conversations
from llmos_server.bench.figures import quantiles, summarise
from llmos_server.bench.options import BenchOptions, parse_concurrency
from llmos_server.bench.table import print_report
from llmos_server.bench.words import WORDS
from llmos_server.cli import main
from llmos_server.errors import InvalidRequest
from llmos_server.http_client import ServerUnreachable

NUM_TEXTS = 5


def bench(server, **options):
    return run_bench(BenchOptions(url=server.url, prompt_words=10, **{"max_tokens": NUM_TEXTS, **options}))


def test_counts_are_the_servers_own(sse_server) -> None:
    sse_server.cached_tokens = 4
    report = bench(sse_server, concurrency=(1, 3), num_requests=6)
    assert report.model == "fake:1"
    assert report.server == {"version": "fake"}
    for run, concurrency in zip(report.runs, (1, 3), strict=True):
        assert (run.concurrency, run.num_requests, run.num_errors) == (concurrency, 6, 0)
        assert (run.prompt_tokens, run.output_tokens, run.cached_tokens) == (60, 6 * NUM_TEXTS, 24)
        assert run.ttft_ms.median <= run.e2e_ms.median
        assert run.itl_ms.median <= run.itl_ms.p99
    assert sse_server.max_in_flight <= 3


def test_asks_for_answers_of_one_length(sse_server) -> None:
    bench(sse_server, concurrency=(1,), num_requests=1)
    for body in sse_server.bodies:
        assert body["max_tokens"] == NUM_TEXTS
        assert body["ignore_eos"] is True
        assert body["temperature"] == 0
        assert body["stream_options"] == {"include_usage": True}


def test_every_client_gets_work(sse_server) -> None:
    report = bench(sse_server, concurrency=(4,), num_requests=1)
    assert report.runs[0].num_requests == 4
    assert bench(sse_server, concurrency=(1,)).runs[0].num_requests == 8


def test_prompts_are_unique(sse_server) -> None:
    bench(sse_server, concurrency=(1, 2), num_requests=5)
    sent = [body["messages"][0]["content"] for body in sse_server.bodies]
    assert len(set(sent)) == len(sent) == 1 + 5 + 2 + 5
    assert {len(prompt.split()) for prompt in sent} == {10}
    bench(sse_server, concurrency=(1,), num_requests=1)
    assert sse_server.bodies[-1]["messages"][0]["content"] not in sent


def test_the_same_seed_asks_the_same(sse_server) -> None:
    bench(sse_server, concurrency=(1,), num_requests=2, seed=5)
    bench(sse_server, concurrency=(1,), num_requests=2, seed=5)
    assert sse_server.bodies[:3] == sse_server.bodies[3:]


def test_conversations_share_the_system_prompt_and_no_question() -> None:
    options = BenchOptions(url="", prompt_words=10, system_words=6, turns=2, seed=0)
    found = [conversation for conversation, _ in zip(conversations(options, "1"), range(2), strict=False)]
    found.append(next(conversations(options, "8")))
    assert [len(each.opening[0]["content"].split()) for each in found] == [6, 6, 6]
    assert found[0].opening == found[1].opening == found[2].opening
    assert len({question for each in found for question in each.questions}) == 6
    assert next(conversations(options, "1")) == found[0]
    longer = next(conversations(dataclasses.replace(options, prompt_words=20), "1"))
    assert not longer.questions[0].startswith(found[0].questions[0])
    assert next(conversations(BenchOptions(url="", prompt_words=10, seed=1), "1")).questions != found[0].questions[:1]


def test_words_are_ordinary_ones() -> None:
    assert len(set(WORDS)) == len(WORDS) > 500
    assert all(word.isascii() and word.isalpha() and word.islower() and len(word) < 12 for word in WORDS)


def test_a_turn_is_sent_with_all_that_was_said(sse_server) -> None:
    report = bench(sse_server, concurrency=(2,), num_requests=5, turns=3, system_words=4)
    assert report.runs[0].num_requests == 6
    last = [body["messages"] for body in sse_server.bodies if len(body["messages"]) == 6]
    assert len(last) == 2
    for messages in last:
        assert [message["role"] for message in messages] == ["system"] + ["user", "assistant"] * 2 + ["user"]
        assert messages[2]["content"] == messages[4]["content"] == "One two three four."
        assert messages[:4] in [body["messages"] for body in sse_server.bodies]


def test_a_failure_ends_its_conversation(sse_server) -> None:
    sse_server.failures = 2  # The warm-up, and the first question.
    run = bench(sse_server, concurrency=(1,), num_requests=6, turns=3).runs[0]
    assert (run.num_requests, run.num_errors) == (1 + 3, 1)


def test_an_answer_of_another_length_is_an_error(sse_server) -> None:
    run = bench(sse_server, concurrency=(1,), num_requests=1, max_tokens=7).runs[0]
    assert run.num_errors == 1
    assert "7 tokens were asked for and 5 came" in run.first_error


def test_no_connection_is_used_twice(sse_server) -> None:
    bench(sse_server, concurrency=(1,), num_requests=3)
    assert len(sse_server.connections) == len(sse_server.paths) + len(("/v1/models", "/version"))


def test_errors_are_counted_and_told(sse_server, capsys) -> None:
    sse_server.failures = 3  # One of them is the warm-up's.
    report = bench(sse_server, concurrency=(1,), num_requests=4)
    run = report.runs[0]
    assert (run.num_requests, run.num_errors, run.output_tokens) == (4, 2, 2 * NUM_TEXTS)
    assert run.first_error == "The server refused (503): The queue is full."
    print_report(report)
    out = capsys.readouterr().out
    assert "The queue is full." in out
    assert "ITL" in out


@pytest.mark.parametrize(("flaw", "words"), [("cut", "without [DONE]"), ("error", "The engine died.")])
def test_a_broken_stream_is_an_error(sse_server, flaw: str, words: str) -> None:
    setattr(sse_server, flaw, words if flaw == "error" else True)
    run = bench(sse_server, concurrency=(1,), num_requests=2).runs[0]
    assert run.num_errors == 2
    assert words in run.first_error
    assert run.ttft_ms.median is None
    print_report(bench(sse_server, concurrency=(1,), num_requests=1))


def test_no_server_is_told_with_the_remedy() -> None:
    with pytest.raises(ServerUnreachable, match="llmos serve"):
        run_bench(BenchOptions(url="http://127.0.0.1:1/v1"))


def test_a_bad_url_is_told() -> None:
    with pytest.raises(InvalidRequest, match="not a URL"):
        run_bench(BenchOptions(url="nonsense"))


def test_figures_of_known_times() -> None:
    usage = {"prompt_tokens": 10, "completion_tokens": 3}
    good = Timing(1.0, [1.5, 1.6, 1.9], 2.0, usage)
    bad = Timing(1.0, [9.0], 10.0, {}, error="gone")
    late = Timing(1.0, [1.501], 2.0, usage)
    run = summarise(2, 4.0, [good, bad], max_ttft_ms=500)
    assert (run.num_good, run.goodput_tokens_per_second) == (1, 0.75)
    assert summarise(2, 4.0, [good, late], max_ttft_ms=500).num_good == 1
    assert (run.num_requests, run.num_errors) == (2, 1)
    assert run.output_tokens_per_second == 0.75
    assert run.total_tokens_per_second == 3.25
    assert (run.ttft_ms.median, run.e2e_ms.p99) == (500.0, 1000.0)
    assert (run.itl_ms.median, run.itl_ms.p99) == (200.0, 300.0)
    assert run.first_error == "gone"


def test_quantiles_are_nearest_rank() -> None:
    values = [number / 1000 for number in range(1, 201)]
    assert (quantiles(values).median, quantiles(values).p99) == (100.5, 198.0)
    assert (quantiles([0.25]).median, quantiles([0.25]).p99) == (250.0, 250.0)


@pytest.mark.parametrize("text", ["", "0", "1,x", "-1", "1,,2"])
def test_concurrency_that_makes_no_sense_is_refused(text: str) -> None:
    with pytest.raises(InvalidRequest, match="1,8,32"):
        parse_concurrency(text)


@pytest.mark.parametrize(
    "options",
    [
        {"max_tokens": 0},
        {"num_requests": 0},
        {"prompt_words": 0},
        {"turns": 0},
        {"system_words": -1},
        {"max_ttft_ms": 0},
        {"max_ttft_ms": float("nan")},
    ],
)
def test_options_that_make_no_sense_are_refused(options: dict[str, float]) -> None:
    with pytest.raises(InvalidRequest):
        BenchOptions(url="", **options)


def test_the_verb_writes_a_table_and_json(sse_server, tmp_path: Path, capsys, monkeypatch) -> None:
    monkeypatch.setenv("LLMOS_URL", sse_server.url + "/")
    monkeypatch.setenv("LLMOS_API_KEY", "secret")
    path = tmp_path / "bench.json"
    arguments = ["bench", "--concurrency", "2", "--requests", "4", "--max-tokens", "5", "--json", str(path)]
    with pytest.raises(SystemExit) as ended:
        main(arguments)
    assert ended.value.code == 0
    assert "fake:1" in capsys.readouterr().out
    report = json.loads(path.read_text())
    assert report["runs"][0]["output_tokens"] == 20
    assert report["options"]["concurrency"] == [2]
    assert "secret" not in path.read_text()
    assert sse_server.authorization == {"Bearer secret"}


def test_the_verb_fails_when_requests_fail(sse_server) -> None:
    sse_server.error = "gone"
    with pytest.raises(SystemExit) as ended:
        main(["bench", "--url", sse_server.url, "--concurrency", "1", "--requests", "1"])
    assert ended.value.code == 1
