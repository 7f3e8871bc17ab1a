"""What a run leaves behind: each checkpoint and the end as a name that answers, verified first."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any, Protocol

from sqlalchemy.ext.asyncio import AsyncConnection

from llmos_server.adapter_contracts import AdapterVersion
from llmos_server.job_contracts import Write
from llmos_server.store.adapters import forget_adapter, register_adapter
from llmos_server.training.adapters import in_float32, publish_adapter
from llmos_server.training.checkpoints import step_of, whole_checkpoints
from llmos_server.training.four_bits import compare_with_served, is_in_four_bits
from llmos_server.training.gating import pass_gate
from llmos_server.training.reporting import TRAINED
from llmos_server.training.result_file import keep_result_file
from llmos_server.training.run import Run
from llmos_server.training.spec import GateVerdict, TunedCheckpoint
from llmos_server.training.verify import verify


class Publisher(Protocol):
    """Makes names of a run's checkpoints."""

    def on_checkpoint(self, folder: Path, step: int, metrics: dict[str, float]) -> None:
        """It is whole and on the disk."""
        ...

    def on_resume(self, folder: Path, step: int, metrics: dict[str, float]) -> None:
        """An earlier attempt's, of a step that the recipe has one for; this attempt goes on from it."""
        ...

    def finish(self, folder: Path) -> None:
        """It is the last one. The job has succeeded when this returns; raises JobFailed when it can't be served."""
        ...


class Follower:
    """A publisher of ranks that aren't the first: what there is to do the first one does."""

    def on_checkpoint(self, folder: Path, step: int, metrics: dict[str, float]) -> None: ...

    def on_resume(self, folder: Path, step: int, metrics: dict[str, float]) -> None: ...

    def finish(self, folder: Path) -> None: ...


class AdapterPublisher:
    """For runs whose result is an adapter. sequences: what it is verified with."""

    def __init__(self, run: Run, model: Any, sequences: list[list[int]]) -> None:
        self._run = run
        self._model = model
        self._sequences = sequences

    def on_checkpoint(self, folder: Path, step: int, metrics: dict[str, float]) -> None:
        """Verified and registered as BASE:SUFFIX-ckpt-step-N; checkpoints that are gone lose their names."""
        run = self._run
        adapter, _ = self._verified(folder, f"{run.suffix}-ckpt-step-{step}")
        kept = {step_of(path) for path in whole_checkpoints(run.output)}
        gone = [known for known in run.results.state.checkpoints if known.step not in kept]
        for known in gone:
            run.results.without_checkpoint(known.step)
        run.results.with_checkpoint(
            TunedCheckpoint(step=step, model=adapter.name, created=time.time_ns() // 1_000_000, metrics=metrics)
        )
        forget = [_forget(run.context.job.owner, known.model) for known in gone]
        run.context.checkpoint(_register(adapter), *forget, result=run.results.state)
        run.results.tell(None, f"Checkpoint of step {step}")

    def on_resume(self, folder: Path, step: int, metrics: dict[str, float]) -> None:
        """An attempt that was killed may have written a checkpoint, and not registered it any more."""
        if all(known.step != step for known in self._run.results.state.checkpoints):
            self.on_checkpoint(folder, step, metrics)

    def finish(self, folder: Path) -> None:
        """The last checkpoint, as BASE:SUFFIX. The job has succeeded."""
        run = self._run
        run.results.tell(TRAINED, "Comparing what was trained with what will be served", stage="verifying")
        adapter, told = self._verified(folder, run.suffix)
        run.context.log(told)
        run.context.check()
        verdict = self._judged(folder)
        file_id, keep_file = keep_result_file(run.context)
        run.results.tell(1.0, "", model=adapter.name, estimated_finish=None, result_files=[file_id], verdict=verdict)
        run.context.finish(run.results.state, _register(adapter), keep_file)

    def _judged(self, folder: Path) -> GateVerdict | None:
        """By the spec's gate, which asks the last checkpoint by its name. Raises JobFailed where it isn't promoted."""
        run, step = self._run, step_of(folder)
        if run.spec.gate is None:
            return None
        if all(known.step != step for known in run.results.state.checkpoints):
            self.on_checkpoint(folder, step, run.results.latest)
        candidate = next(known.model for known in run.results.state.checkpoints if known.step == step)
        run.results.tell(TRAINED, "Measured by the gate's eval")
        return pass_gate(run.context, run.spec, run.version.name, candidate)

    def _verified(self, folder: Path, suffix: str) -> tuple[AdapterVersion, str]:
        run = self._run
        adapter = publish_adapter(run, folder, suffix)
        model = in_float32(run, self._model, folder)
        told = self._compared(model, step_of(folder)) if is_in_four_bits(self._model) else ""
        found = verify(model, run.version, adapter, self._sequences, run.context.settings.engine)
        return adapter, found.as_words() + told

    def _compared(self, served: Any, step: int) -> str:
        """A base in 4 bits is not what is served: how far it is from that is told. Raises JobFailed."""
        difference = compare_with_served(self._model, served, self._sequences)
        if difference != self._run.results.state.four_bit_difference:  # Else told already, with its checkpoint.
            self._run.results.metrics(step, {"four_bit_difference": difference})
        self._run.results.note(four_bit_difference=difference)
        return f" Over its base in 4 bits, in which it was trained, they differ by {difference:.4f} on average."


def _register(adapter: AdapterVersion) -> Write:
    async def write(connection: AsyncConnection) -> None:
        await register_adapter(connection, adapter)

    return write


def _forget(owner: str, name: str) -> Write:
    async def write(connection: AsyncConnection) -> None:
        await forget_adapter(connection, owner, name)

    return write
