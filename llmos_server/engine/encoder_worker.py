"""An encoder's engine process: `python -m llmos_server.engine.encoder_worker`, its config as one line on stdin."""

from __future__ import annotations

import sys
from collections.abc import Callable

from llmos_server.contracts import EncoderInfo
from llmos_server.engine.batcher import Batcher
from llmos_server.engine.encoder_core import Answer, EncoderCore, EncoderRunner
from llmos_server.engine.messages import (
    AbortRequest,
    Broken,
    Encode,
    Encoded,
    EncoderCommand,
    EncoderConfig,
    Ready,
    RequestFailed,
    Shutdown,
)
from llmos_server.engine.process import Link, run_process
from llmos_server.errors import InvalidRequest

CreateRunner = Callable[[EncoderConfig], tuple[EncoderRunner, EncoderInfo]]


def main(create_runner: CreateRunner | None = None) -> int:
    """Entry of the process; returns its exit status. create_runner: None loads the model with torch."""
    return run_process(EncoderConfig, lambda config: run_worker(config, create_runner or _create_torch_runner))


def run_worker(config: EncoderConfig, create_runner: CreateRunner) -> None:
    """Load the model, then compute batch by batch until told to shut down."""
    link: Link[EncoderCommand]
    with Link(config, EncoderCommand) as link:
        loaded = link.load(lambda: create_runner(config))
        if loaded is None:
            return
        runner, info = loaded
        link.send(Ready(epoch=link.epoch, info=info))
        _serve(EncoderCore(Batcher(config.max_batch_tokens), runner, info), link)


def _serve(core: EncoderCore, link: Link[EncoderCommand]) -> None:
    while True:
        for command in link.receive(block=not core.has_work):
            if isinstance(command, Shutdown):
                return
            _apply(command, core, link)
        with link.step():
            answers = core.step()
        for answer in answers:
            link.send(_to_report(answer, link.epoch))


def _apply(command: Encode | AbortRequest, core: EncoderCore, link: Link[EncoderCommand]) -> None:
    if isinstance(command, AbortRequest):
        core.abort(command.request_id)
        return
    try:
        core.add(command.request)
    except InvalidRequest as error:
        link.send(RequestFailed(epoch=link.epoch, request_id=command.request.request_id, message=str(error)))


def _to_report(answer: Answer, epoch: int) -> Encoded | Broken:
    if answer.embeddings is None:
        return Broken(epoch=epoch, request_id=answer.request_id)
    return Encoded(epoch=epoch, request_id=answer.request_id, embeddings=answer.embeddings)


def _create_torch_runner(config: EncoderConfig) -> tuple[EncoderRunner, EncoderInfo]:
    from llmos_server.engine.encoder_runner import create_encoder_runner

    return create_encoder_runner(config)


if __name__ == "__main__":
    sys.exit(main())
