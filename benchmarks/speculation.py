"""Speculative decoding on and off over one loaded model, in turns, without HTTP: tokens a second after the prompts.

Both must give the same tokens, or it fails. Run it on an idle machine with the model pulled:
python benchmarks/speculation.py --rounds 3
"""

from __future__ import annotations

import argparse
import itertools
import json
import pydoc_data.topics
import statistics
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from tokenizers import Tokenizer

from llmos_server.contracts import EngineInfo, EngineStats, GenerateRequest, ModelVersion, SamplingParams
from llmos_server.engine.block_manager import BlockManager
from llmos_server.engine.core import EngineCore
from llmos_server.engine.draft_loading import create_pair
from llmos_server.engine.launcher import num_usable_cores
from llmos_server.engine.messages import DraftConfig
from llmos_server.engine.model_runner import create_runner
from llmos_server.engine.ngram import NgramProposer
from llmos_server.engine.scheduler import Scheduler
from llmos_server.engine.speculation import DraftingRunner
from llmos_server.engine.worker_config import configure_worker
from llmos_server.registry.registry import Registry
from llmos_server.settings import EngineSettings, load_settings

PASSAGES = "\n\n".join(pydoc_data.topics.topics.values()).split("\n\n")
QUESTIONS = (
    "Why is the sky blue?",
    "Write a short story about a lighthouse keeper.",
    "Give me five tips for learning to cook.",
    "Explain how a bicycle stays upright.",
    "What should I see in Rome in two days?",
    "Describe the water cycle to a child.",
    "Write a polite letter that complains about a late train.",
    "What is the difference between a virus and a bacterium?",
)


def copied(number: int) -> tuple[str, float]:
    passages = [text for text in PASSAGES if 300 < len(text) < 600]
    return f"Repeat this text word for word:\n\n{passages[number % len(passages)]}", 0.0


def asked(number: int) -> tuple[str, float]:
    return QUESTIONS[number % len(QUESTIONS)], 0.0


def asked_warm(number: int) -> tuple[str, float]:
    return QUESTIONS[number % len(QUESTIONS)], 0.8


WORKLOADS: dict[str, Callable[[int], tuple[str, float]]] = {
    "repeat a text, temperature 0": copied,
    "questions, temperature 0": asked,
    "questions, temperature 0.8": asked_warm,
}
"""A prompt and a temperature for a number."""


class Bench:
    def __init__(
        self,
        version: ModelVersion,
        draft: ModelVersion | None,
        settings: EngineSettings,
        threads: int,
        clock: Callable[[], float],
    ) -> None:
        self._settings = settings
        self._clock = clock
        self._tokenizer = Tokenizer.from_file(str(Path(version.folder, "tokenizer.json")))
        self._end = self._tokenizer.token_to_id("<|im_end|>")
        self._runner, self._info = load(version, draft, settings, threads, clock)
        self._number = itertools.count()

    def run(
        self, workload: str, num_clients: int, first: int, max_tokens: int, tokens: int
    ) -> tuple[float, list[list[int]], EngineStats]:
        """Tokens a second after all prompts, every choice's tokens, and the engine's counts. tokens: most guesses."""
        core = self._core(tokens)
        salt = f"bench-{next(self._number)}"
        outputs: list[list[int]] = [[] for _ in range(num_clients)]
        for client in range(num_clients):
            text, temperature = WORKLOADS[workload](first + client)
            sampling = SamplingParams(
                max_tokens=max_tokens, seed=client, temperature=temperature, stop_token_ids=(self._end,)
            )
            ids = self._encode(f"<|im_start|>user\n{text}<|im_end|>\n<|im_start|>assistant\n")
            core.add(GenerateRequest(request_id=str(client), prompt_ids=ids, sampling=sampling, cache_salt=salt))
        started, num_before = 0.0, 0
        while core.has_work:
            for delta in core.step():
                outputs[int(delta.request_id)] += delta.token_ids
            if not started and all(outputs):
                started, num_before = self._clock(), sum(map(len, outputs))
        return (sum(map(len, outputs)) - num_before) / (self._clock() - started), outputs, core.stats()

    def _encode(self, text: str) -> list[int]:
        ids: list[int] = self._tokenizer.encode(text, add_special_tokens=False).ids
        return ids

    def _core(self, num_draft_tokens: int) -> EngineCore:
        info, settings = self._info, self._settings
        scheduler = Scheduler(
            BlockManager(info.num_pages, info.page_size, model_digest=info.model_digest),
            max_num_seqs=settings.max_num_seqs,
            max_num_batched_tokens=settings.max_num_batched_tokens,
            max_step_seconds=settings.max_step_ms / 1000,
            proposer=(self._runner.draft or NgramProposer()) if num_draft_tokens else None,
            max_draft_tokens=num_draft_tokens,
        )
        return EngineCore(scheduler, self._runner, info, self._clock)


def load(
    version: ModelVersion,
    draft: ModelVersion | None,
    settings: EngineSettings,
    threads: int,
    clock: Callable[[], float],
) -> tuple[DraftingRunner, EngineInfo]:
    config = configure_worker(version, replace(settings, threads=threads, cache_bytes=2**30))
    if draft is None:
        return create_runner(config)
    return create_pair(config, DraftConfig(draft.name, draft.folder, draft.weights), clock)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", default="smollm2:135m")
    parser.add_argument("--draft", default="", help="a draft model, instead of the look-up")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--clients", type=int, nargs="+", default=[1, 8, 32])
    parser.add_argument("--max-tokens", type=int, default=128)
    parser.add_argument("--guesses", type=int, default=EngineSettings().num_speculative_tokens)
    parser.add_argument("--threads", type=int, default=num_usable_cores())
    parser.add_argument("--numerics", choices=["fast", "exact"], default="fast")
    parser.add_argument(
        "--cpu-time", action="store_true", help="for a busy machine: this process' time; with --threads 1"
    )
    args = parser.parse_args()
    registry = Registry(load_settings().home, {}, 1.0)
    version, draft = registry.get(args.model), registry.get(args.draft) if args.draft else None
    bench = Bench(
        version,
        draft,
        EngineSettings(numerics=args.numerics),
        args.threads,
        time.process_time if args.cpu_time else time.perf_counter,
    )
    for workload, clients in itertools.product(WORKLOADS, args.clients):
        rates: dict[int, list[float]] = {0: [], args.guesses: []}
        drafted = accepted = 0
        for number in range(args.rounds):
            outputs = []
            for guesses in (0, args.guesses) if number % 2 else (args.guesses, 0):
                rate, tokens, stats = bench.run(workload, clients, number * clients, args.max_tokens, guesses)
                rates[guesses].append(rate)
                outputs.append(tokens)
                drafted, accepted = drafted + stats.num_draft_tokens, accepted + stats.num_accepted_tokens
            if outputs[0] != outputs[1]:
                raise SystemExit("Guesses changed the tokens.")
        off, on = (statistics.median(values) for values in rates.values())
        ratio = statistics.median(b / a for a, b in zip(*rates.values(), strict=True))
        print(
            json.dumps(
                {
                    "workload": workload,
                    "clients": clients,
                    "off_tok_s": round(off, 1),
                    "on_tok_s": round(on, 1),
                    "on_over_off": round(ratio, 2),
                    "drafted": drafted,
                    "accepted": accepted,
                }
            ),
            flush=True,
        )


if __name__ == "__main__":
    main()
