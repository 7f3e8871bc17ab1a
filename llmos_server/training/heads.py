"""Runs whose result is an encoder or a classifier: a model of its own that isn't asked for tokens."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch

from llmos_server.contracts import ModelVersion
from llmos_server.job_contracts import JobFailed
from llmos_server.models.classifier import load_text_classifier
from llmos_server.registry.classifier_folders import read_classifier_spec
from llmos_server.registry.disk import fresh_folder
from llmos_server.registry.importing import CONFIG_FILES
from llmos_server.registry.library import Library
from llmos_server.registry.trained import publish_trained, staged_version
from llmos_server.training.reporting import TRAINED
from llmos_server.training.result_file import keep_result_file
from llmos_server.training.run import Run
from llmos_server.training.verify import EXACT_TOLERANCE

Verify = Callable[[Any, ModelVersion, Sequence[list[int]]], str]
"""The trainer's model, what is served, inputs: words for the log, or JobFailed."""


class HeadPublisher:
    """files: the folder of tokenizer and config. name: of the result. sequences: what it is verified with."""

    def __init__(
        self, run: Run, model: Any, sequences: Sequence[list[int]], name: str, files: Path, verify: Verify
    ) -> None:
        self._run = run
        self._model = model
        self._sequences = sequences
        self._name = name
        self._files = files
        self._verify = verify

    def on_checkpoint(self, folder: Path, step: int, metrics: dict[str, float]) -> None:
        self._run.context.checkpoint()

    def on_resume(self, folder: Path, step: int, metrics: dict[str, float]) -> None:
        """Checkpoints have no names, so there is nothing to make up for."""

    def finish(self, folder: Path) -> None:
        """Verified and published. The job has succeeded."""
        run = self._run
        run.results.tell(TRAINED, "Comparing what was trained with what will be served", stage="verifying")
        staging = fresh_folder(run.context.folder / "export")
        try:
            self._write(staging)
            staged = staged_version(self._name, staging)
            self._model.eval()
            run.context.log(self._verify(self._model, staged, self._sequences))
            run.context.check()
            run.context.write()  # Is this attempt still the job's?
            publish_trained(Library(run.context.settings.home), staged)
        finally:
            shutil.rmtree(staging, ignore_errors=True)
        file_id, keep_file = keep_result_file(run.context)
        run.results.tell(1.0, "", model=self._name, estimated_finish=None, result_files=[file_id])
        run.context.finish(run.results.state, keep_file)

    def _write(self, staging: Path) -> None:
        for name in CONFIG_FILES:
            if (self._files / name).is_file():
                shutil.copyfile(self._files / name, staging / name)
        self._model.float().save_pretrained(staging)


def verify_classifier(model: Any, version: ModelVersion, sequences: Sequence[list[int]]) -> str:
    """What it says of each input before the activation. Raises JobFailed."""
    folder = Path(version.folder)
    classifier = load_text_classifier(folder, version.weights, read_classifier_spec(folder), "cpu")
    worst = 0.0
    for ids in sequences:
        with torch.no_grad():
            trained = model(input_ids=torch.tensor([ids], device=model.device)).logits[0].float().cpu()
        worst = max(worst, float((classifier.classify([ids], [len(ids)])[0] - trained).abs().max()))
    if not worst <= EXACT_TOLERANCE:
        raise JobFailed(
            f"The server computes other scores than were trained, by {worst:.2g}.", code="verification_failed"
        )
    return f"The server computes what was trained: scores differ by {worst:.1e} at most."
