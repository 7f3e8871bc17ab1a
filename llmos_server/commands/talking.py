"""The verbs that talk to a running server as its clients do: chat, bench."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from llmos_server.commands.shared import UrlFlag, write_json


def chat(
    question: Annotated[
        str | None, Parameter(help="Ask this one question; without it, stdin or a conversation.")
    ] = None,
    /,
    *,
    model: Annotated[str | None, Parameter(help="Model to ask; the server's first one by default.")] = None,
    system: Annotated[str | None, Parameter(help="System prompt.")] = None,
    temperature: Annotated[float | None, Parameter(help="0 is greedy.")] = None,
    max_tokens: Annotated[int | None, Parameter(help="Longest answer, in tokens.")] = None,
    url: UrlFlag = None,
) -> None:
    """Chat with a running server.

    Example: llmos chat "What is the capital of France?"
    """
    from llmos_server.http_client import base_url
    from llmos_server.terminal_chat import Chat, run_chat

    options = {"temperature": temperature, "max_tokens": max_tokens}
    given = {key: value for key, value in options.items() if value is not None}
    run_chat(Chat(base_url(url), model, system, given), question)


def bench(
    *,
    model: Annotated[str | None, Parameter(help="Model to measure; the server's first one by default.")] = None,
    concurrency: Annotated[str, Parameter(help="Requests in flight, one run for each number.")] = "1,8,32",
    requests: Annotated[int | None, Parameter(help="Requests in each run; without it 4 a client, at least 8.")] = None,
    prompt_words: Annotated[int, Parameter(help="Random words in each question.")] = 100,
    system_words: Annotated[int, Parameter(help="Words of a system prompt that all conversations share.")] = 0,
    turns: Annotated[int, Parameter(help="Questions in a conversation, each sent with all that was said before.")] = 1,
    max_tokens: Annotated[int, Parameter(help="Tokens in each answer, exactly.")] = 64,
    max_ttft_ms: Annotated[float, Parameter(help="A good request begins to answer within this time.")] = 1000.0,
    seed: Annotated[int | None, Parameter(help="Of the random words; without it they are new in every bench.")] = None,
    json: Annotated[Path | None, Parameter(help="Also write the report to this file.")] = None,
    url: UrlFlag = None,
) -> int:
    """Measure a running server: throughput, time to first token, time between tokens.

    The exit status is 1 if a request failed.

    Example: llmos bench --concurrency 1,8 --max-tokens 32 --json bench.json
    """
    from llmos_server.bench.closed_loop import run_bench
    from llmos_server.bench.options import BenchOptions, parse_concurrency
    from llmos_server.bench.table import print_report
    from llmos_server.http_client import base_url

    options = BenchOptions(
        url=base_url(url),
        model=model,
        concurrency=parse_concurrency(concurrency),
        num_requests=requests,
        prompt_words=prompt_words,
        system_words=system_words,
        turns=turns,
        max_tokens=max_tokens,
        max_ttft_ms=max_ttft_ms,
        **({} if seed is None else {"seed": seed}),
    )
    report = run_bench(options)
    print_report(report)
    if json is not None:
        write_json(json, report)
    return 1 if any(run.num_errors for run in report.runs) else 0
