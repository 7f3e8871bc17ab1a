"""LLMOS beside other OpenAI-compatible servers on the same machine, in turns, in one run.

usage: python benchmarks/peers.py NAME=URL [NAME=URL ...] [--rounds 3] [--concurrency 1,8,32] [--prompt-words 100]
       [--max-tokens 64] [--json FILE]

The first server is the one that the others are compared with. Each round measures every server once at each
concurrency, in an order that turns from round to round; the table has the median round of each. All have to be up, and
idle while another one is measured: on few cores a server that spins while it waits takes part in every measurement.
"""

from __future__ import annotations

import argparse
import statistics
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

import msgspec

from llmos_server.bench import BenchOptions, Run, parse_concurrency, run_bench
from llmos_server.errors import LLMOSError


class Peer(NamedTuple):
    name: str
    url: str


class Figure(msgspec.Struct, frozen=True):
    """One server in one round at one concurrency."""

    peer: str
    round: int
    run: Run


def main(arguments: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("peers", nargs="+", metavar="NAME=URL", type=parse_peer)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--concurrency", default="1,8,32")
    parser.add_argument("--prompt-words", type=int, default=100)
    parser.add_argument("--max-tokens", type=int, default=64)
    parser.add_argument("--json", type=Path)
    args = parser.parse_args(arguments)
    try:
        levels = parse_concurrency(args.concurrency)
        figures = measure(args.peers, levels, args)
    except LLMOSError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    print(table(args.peers, levels, figures))
    if args.json:
        args.json.write_bytes(msgspec.json.format(msgspec.json.encode(figures)))
    return int(any(figure.run.num_errors for figure in figures))


def parse_peer(text: str) -> Peer:
    name, separator, url = text.partition("=")
    if not separator or not url.startswith("http"):
        raise argparse.ArgumentTypeError(f"{text!r}: write NAME=URL, for example llmos=http://127.0.0.1:8000/v1")
    return Peer(name, url.rstrip("/"))


def measure(peers: Sequence[Peer], levels: Sequence[int], args: argparse.Namespace) -> list[Figure]:
    figures = []
    for number in range(args.rounds):
        turn = number % len(peers)
        for level in levels:
            for peer in (*peers[turn:], *peers[:turn]):
                options = BenchOptions(
                    url=peer.url,
                    concurrency=(level,),
                    prompt_words=args.prompt_words,
                    max_tokens=args.max_tokens,
                    seed=number,
                )
                [run] = run_bench(options).runs
                figures.append(Figure(peer.name, number, run))
                told = f"round {number + 1}, {level} in flight, {peer.name}: {run.output_tokens_per_second} tok/s"
                print(
                    told + (f", {run.num_errors} errors: {run.first_error}" if run.num_errors else ""), file=sys.stderr
                )
    return figures


def table(peers: Sequence[Peer], levels: Sequence[int], figures: Sequence[Figure]) -> str:
    """Markdown: medians over the rounds, and how many times the other server's rate the first one's is."""
    lines = [
        "| in flight | server | output tok/s (lowest to highest) | TTFT median / p99, ms | ITL median / p99, ms "
        "| errors | first over it |",
        "| --- | --- | --- | --- | --- | --- | --- |",
    ]
    for level in levels:
        rates = {}
        for peer in peers:
            runs = [f.run for f in figures if f.peer == peer.name and f.run.concurrency == level]
            speeds = [run.output_tokens_per_second for run in runs]
            rates[peer.name] = statistics.median(speeds)
            ratio = f"{rates[peers[0].name] / rates[peer.name]:.2f}" if rates[peer.name] else "-"
            times = (middle(run.ttft_ms.median for run in runs), middle(run.ttft_ms.p99 for run in runs))
            gaps = (middle(run.itl_ms.median for run in runs), middle(run.itl_ms.p99 for run in runs))
            speed = f"{rates[peer.name]:.1f} ({min(speeds):.1f} to {max(speeds):.1f})"
            num_errors = sum(run.num_errors for run in runs)
            cells = (level, peer.name, speed, " / ".join(times), " / ".join(gaps), num_errors, ratio)
            lines.append(f"| {' | '.join(map(str, cells))} |")
    return "\n".join(lines)


def middle(values: Iterable[float | None]) -> str:
    known = [value for value in values if value is not None]
    return f"{statistics.median(known):.0f}" if known else "-"


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
