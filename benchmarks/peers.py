"""LLMOS beside other OpenAI-compatible servers on the same machine, in turns, in one run.

usage: python benchmarks/peers.py NAME=URL [NAME=URL ...] [--start NAME="COMMAND" ...] [--workload chat,long,turns]
       [--rounds 3] [--concurrency 1,8,32] [--requests N] [--max-ttft-ms 1000] [--seed N] [--json FILE]

The first server is the one that the others are compared with. In each round every server has its turn, in an order that
moves on from round to round, with the same prompts; the tables have the median round of each. A server with --start is
started before its turn and ended after it, so that it is alone; one without has to be up. On few cores a server that is
up takes memory, and time if it spins while it waits, from all others: start them all.
"""

from __future__ import annotations

import argparse
import contextlib
import secrets
import sys
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import msgspec
from peers_tables import Figure, Start, memory_table, speed_table
from servers import Server, end_in_order_on_sigterm

from llmos_server.bench.closed_loop import run_bench
from llmos_server.bench.options import BenchOptions, parse_concurrency
from llmos_server.errors import LLMOSError

WORKLOADS = {
    "chat": BenchOptions(url="", prompt_words=100, concurrency=(1, 8, 32)),
    "long": BenchOptions(url="", prompt_words=3950, concurrency=(1, 4), num_requests=8),
    "turns": BenchOptions(url="", system_words=500, prompt_words=50, turns=5, concurrency=(1, 8)),
}
"""All with 64 tokens out. A word is about a token, so a long prompt has about 4,000."""


class Peer(NamedTuple):
    name: str
    url: str


class Results(msgspec.Struct):
    """All that --json writes."""

    workloads: dict[str, BenchOptions]
    figures: list[Figure]
    starts: list[Start]


def main(arguments: Sequence[str]) -> int:
    end_in_order_on_sigterm()
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("peers", nargs="+", metavar="NAME=URL", type=parse_peer)
    parser.add_argument("--start", action="append", default=[], metavar="NAME=COMMAND", type=parse_start)
    parser.add_argument(
        "--start-seconds", type=float, default=300.0, help="how long a server may take to its first answer"
    )
    parser.add_argument("--workload", default="chat", help=f"of {', '.join(WORKLOADS)}; several with commas")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--concurrency", help="instead of the workload's own")
    parser.add_argument("--requests", type=int, help="instead of the workload's own")
    parser.add_argument("--max-ttft-ms", type=float, default=1000.0)
    parser.add_argument("--seed", type=int, default=secrets.randbelow(2**32))
    parser.add_argument("--json", type=Path)
    args = parser.parse_args(arguments)
    try:
        commands = commands_of(args.peers, args.start)
        results = Results({name: workload(name, args) for name in args.workload.split(",")}, [], [])
        measure(args, commands, results)
    except LLMOSError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    names = [peer.name for peer in args.peers]
    for name in results.workloads:
        print(f"\n{name}\n\n{speed_table(names, [figure for figure in results.figures if figure.workload == name])}")
    if results.starts:
        print(f"\n{memory_table(names, results.starts)}")
    if args.json:
        args.json.write_bytes(msgspec.json.format(msgspec.json.encode(results)) + b"\n")
    return int(any(figure.run.num_errors for figure in results.figures))


def parse_peer(text: str) -> Peer:
    name, separator, url = text.partition("=")
    if not separator or not url.startswith("http"):
        raise argparse.ArgumentTypeError(f"{text!r}: write NAME=URL, for example llmos=http://127.0.0.1:8000/v1")
    return Peer(name, url.rstrip("/"))


def parse_start(text: str) -> tuple[str, str]:
    name, _, command = text.partition("=")
    if not command.strip():
        raise argparse.ArgumentTypeError(f"{text!r}: write NAME=COMMAND, for example llmos='llmos serve'")
    return name, command


def commands_of(peers: Sequence[Peer], starts: Sequence[tuple[str, str]]) -> dict[str, str]:
    commands = dict(starts)
    if unknown := commands.keys() - {peer.name for peer in peers}:
        raise LLMOSError(f"--start {sorted(unknown)[0]}: there is no server of that name; give its NAME=URL, too.")
    return commands


def workload(name: str, args: argparse.Namespace) -> BenchOptions:
    if name not in WORKLOADS:
        raise LLMOSError(f"--workload {name!r}: there are {', '.join(WORKLOADS)}.")
    options = replace(WORKLOADS[name], max_ttft_ms=args.max_ttft_ms, seed=args.seed)
    if args.concurrency:
        options = replace(options, concurrency=parse_concurrency(args.concurrency))
    return replace(options, num_requests=args.requests) if args.requests is not None else options


def measure(args: argparse.Namespace, commands: dict[str, str], results: Results) -> None:
    """Fills `results`."""
    for number in range(args.rounds):
        turn = number % len(args.peers)
        for peer in (*args.peers[turn:], *args.peers[:turn]):
            print(f"round {number + 1}, {peer.name}", file=sys.stderr)
            with started(peer, commands, args.start_seconds, results.starts):
                for name, options in results.workloads.items():
                    for run in run_bench(replace(options, url=peer.url, seed=options.seed + number)).runs:
                        results.figures.append(Figure(peer.name, number, name, run))
                        told = f"  {name}, {run.concurrency} in flight: {run.output_tokens_per_second} tok/s"
                        told += f", {run.num_errors} errors: {run.first_error}" if run.num_errors else ""
                        print(told, file=sys.stderr)


@contextlib.contextmanager
def started(peer: Peer, commands: dict[str, str], limit: float, starts: list[Start]) -> Iterator[None]:
    """The server is up inside; what its start and its memory cost is added to `starts`, if it was started here."""
    if peer.name not in commands:
        yield
        return
    with Server(peer.name, peer.url, commands[peer.name], limit=limit) as server:
        idle = server.memory()
        yield
        starts.append(Start(peer.name, server.start_seconds, idle, server.memory()))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
