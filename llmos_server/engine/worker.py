"""A decoder's engine process: `python -m llmos_server.engine.worker`, its WorkerConfig as one line of JSON on stdin."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

from llmos_server.contracts import EngineInfo
from llmos_server.engine.adapters import AdaptableModel, Adapters
from llmos_server.engine.block_manager import BlockManager
from llmos_server.engine.core import EngineCore
from llmos_server.engine.grammar import GrammarCompiler
from llmos_server.engine.grammars import Compiler
from llmos_server.engine.messages import (
    AbortRequest,
    AdaptersChanged,
    AddRequest,
    Command,
    DropAdapter,
    LoadAdapter,
    MapPages,
    PagesMapped,
    PoolResized,
    Ready,
    RequestFailed,
    RequestsBegun,
    ResizePool,
    Shutdown,
    WorkerConfig,
)
from llmos_server.engine.ngram import NgramProposer
from llmos_server.engine.process import Link, run_process
from llmos_server.engine.scheduler import Scheduler
from llmos_server.engine.speculation import DraftingRunner, Proposer
from llmos_server.engine.step_reports import StepReports
from llmos_server.errors import InvalidRequest

CreateRunner = Callable[[WorkerConfig], tuple[DraftingRunner, EngineInfo]]

IDLE_MS = 1000
"""An engine that has had nothing to do for so long checks its page bookkeeping: nobody waits for it then."""
RELEASE_MS = 60_000
"""One that has had nothing to do for so long after that gives back the memory of pages that hold nothing."""


def main(create_runner: CreateRunner | None = None) -> int:
    """Entry of the process; returns its exit status. create_runner: None loads the model with torch."""
    return run_process(WorkerConfig, lambda config: run_worker(config, create_runner or create_torch_runner))


def run_worker(config: WorkerConfig, create_runner: CreateRunner) -> None:
    """Load the model, then step until told to shut down. An error in a step is raised: pages can't be trusted then."""
    link: Link[Command]
    with Link(config, Command) as link:
        loaded = link.load(lambda: create_runner(config))
        if loaded is None:
            return
        runner, info = loaded
        blocks = BlockManager(
            info.num_pages, info.page_size, model_digest=config.model_digest, prefix_caching=config.prefix_caching
        )
        scheduler = Scheduler(
            blocks,
            max_num_seqs=config.max_num_seqs,
            max_num_batched_tokens=config.max_num_batched_tokens,
            max_step_seconds=config.max_step_ms / 1000,
            max_stall=config.max_stall,
            proposer=create_proposer(config, runner),
            max_draft_tokens=config.num_speculative_tokens,
        )
        link.send(Ready(epoch=link.epoch, info=info))
        reports = StepReports(link.send, link.epoch, config.stream_interval_ms / 1000)
        compiler, adapters = create_compiler(config, info), create_adapters(config, runner)
        core = EngineCore(scheduler, runner, info, compiler=compiler, adapters=adapters)
        core.on_resize = lambda: link.send(PoolResized(epoch=link.epoch, stats=core.stats()))
        if config.num_pages:
            core.resize_pool(config.num_pages)
        core.on_begin = lambda ids: link.send(RequestsBegun(epoch=link.epoch, request_ids=ids))
        _serve(core, link, reports)
        core.close()


def _serve(core: EngineCore, link: Link[Command], reports: StepReports) -> None:
    while True:
        if not core.has_work and not link.has_command_within(IDLE_MS):
            core.check_integrity()
            if not link.has_command_within(RELEASE_MS):
                core.release_unused()
        for command in link.receive(block=not core.has_work):
            if isinstance(command, Shutdown):
                return
            if isinstance(command, MapPages):
                link.send(PagesMapped(epoch=link.epoch, layout=core.map_pages()))
                continue
            reports.flush(core)
            _apply(command, core, link)
            _tell_adapters(core, link)
        # Even after the last abort there is a step: its report tells that the pages are free.
        with link.step():
            deltas = core.step()
        reports.add(deltas, core)
        for request_id, error in core.take_failed().items():
            link.send(_failure(link, request_id, error))
        _tell_adapters(core, link)


def _apply(
    command: AddRequest | AbortRequest | LoadAdapter | DropAdapter | ResizePool, core: EngineCore, link: Link[Command]
) -> None:
    if isinstance(command, AbortRequest):
        return core.abort(command.request_id, command.index)
    if isinstance(command, LoadAdapter):
        return core.load_adapter(command.digest)
    if isinstance(command, DropAdapter):
        return core.drop_adapter(command.digest)
    if isinstance(command, ResizePool):
        return core.resize_pool(command.num_pages)
    try:
        core.add(command.request)
    except InvalidRequest as error:
        link.send(_failure(link, command.request.request_id, error))


def _tell_adapters(core: EngineCore, link: Link[Command]) -> None:
    if (changes := core.take_adapter_changes()) is not None:
        loaded, failed = changes
        link.send(AdaptersChanged(epoch=link.epoch, loaded=loaded, failed=failed))


def _failure(link: Link[Command], request_id: str, error: InvalidRequest) -> RequestFailed:
    return RequestFailed(epoch=link.epoch, request_id=request_id, message=str(error), code=error.code)


def create_compiler(config: WorkerConfig, info: EngineInfo) -> Compiler:
    return GrammarCompiler(Path(config.model_folder), info.vocab_size)


def create_adapters(config: WorkerConfig, model: AdaptableModel) -> Adapters:
    def folder_of(digest: str) -> Path:
        return Path(config.adapters_folder, digest.removeprefix("sha256:"))

    return Adapters(model, folder_of, config.max_adapters, config.adapter_bytes)


def create_proposer(config: WorkerConfig, runner: DraftingRunner) -> Proposer | None:
    """None where guesses are switched off, or would change the text: what isn't batch invariant gets other bits."""
    if config.speculation == "off" or not runner.is_batch_invariant:
        return None
    return runner.draft or NgramProposer()


def create_torch_runner(config: WorkerConfig) -> tuple[DraftingRunner, EngineInfo]:
    from llmos_server.engine.model_code import prepare_code

    prepare_code(config)
    from llmos_server.engine.model_runner import create_runner

    if config.draft is not None and config.speculation != "off":
        from llmos_server.engine.draft_loading import create_pair

        return create_pair(config, config.draft)
    return create_runner(config)


if __name__ == "__main__":
    sys.exit(main())
