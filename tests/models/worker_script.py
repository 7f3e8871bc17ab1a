"""Does what a decoder's worker does to load models, in a fresh interpreter, and prints what they answer.

argv: the path of a JSON list of [WorkerConfig, prompt]. For each, either greedy tokens or the refusal is printed.
The modules of all go where the first one's go: Transformers reads that once.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import msgspec

from llmos_server.contracts import GenerateRequest, SamplingParams
from llmos_server.engine.block_manager import BlockManager
from llmos_server.engine.core import EngineCore
from llmos_server.engine.messages import WorkerConfig
from llmos_server.engine.scheduler import Scheduler
from llmos_server.engine.worker import create_torch_runner
from llmos_server.errors import UnsupportedModel

NUM_TOKENS = 8


def answer(config: WorkerConfig, prompt: list[int]) -> list[int] | str:
    try:
        runner, info = create_torch_runner(config)
    except UnsupportedModel as error:
        return str(error)
    blocks = BlockManager(info.num_pages, info.page_size, model_digest=config.model_digest)
    core = EngineCore(Scheduler(blocks, max_num_seqs=4, max_num_batched_tokens=7), runner, info)
    sampling = SamplingParams(max_tokens=NUM_TOKENS, seed=0, temperature=0.0)
    core.add(GenerateRequest(request_id="a", prompt_ids=prompt, sampling=sampling))
    tokens: list[int] = []
    while core.has_work:
        for delta in core.step():
            tokens += delta.token_ids
    return tokens


def main() -> None:
    jobs = msgspec.json.decode(Path(sys.argv[1]).read_bytes(), type=list[tuple[WorkerConfig, list[int]]])
    print(json.dumps([answer(config, prompt) for config, prompt in jobs]))


if __name__ == "__main__":
    main()
