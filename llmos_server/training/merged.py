"""Runs whose result is a model of its own: all weights were trained, or what was trained isn't served beside a base."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

from peft import PeftModel

from llmos_server.registry.disk import fresh_folder
from llmos_server.registry.importing import CONFIG_FILES
from llmos_server.registry.library import Library
from llmos_server.registry.trained import publish_trained, staged_version, trained_name
from llmos_server.training.reporting import TRAINED
from llmos_server.training.result_file import keep_result_file
from llmos_server.training.run import Run
from llmos_server.training.verify import verify


class ModelPublisher:
    """sequences: what the result is verified with. Checkpoints are kept for going on, and are no names: each is as
    large as the model."""

    def __init__(
        self, run: Run, model: Any, sequences: list[list[int]], *, name: str = "", files: Path | None = None
    ) -> None:
        """name: of the result; files: the folder of its tokenizer and config. Else both are of its base."""
        self._name = name or trained_name(run.version.name, run.suffix)
        self._files = files or run.base
        self._run = run
        self._model = model
        self._sequences = sequences

    def on_checkpoint(self, folder: Path, step: int, metrics: dict[str, float]) -> None:
        self._run.context.checkpoint()

    def on_resume(self, folder: Path, step: int, metrics: dict[str, float]) -> None:
        """It is no name, and was counted as progress when it was written."""

    def finish(self, folder: Path) -> None:
        """Verified, and published as BASE-TAG:SUFFIX. The job has succeeded."""
        run = self._run
        name = self._name
        run.results.tell(TRAINED, "Writing the model", stage="verifying")
        staging = fresh_folder(run.context.folder / "export")
        try:
            model = self._merged()
            self._write(model, staging)
            staged = staged_version(name, staging)
            run.results.tell(TRAINED, "Comparing what was trained with what will be served")
            run.context.log(verify(model, staged, None, self._sequences, run.context.settings.engine).as_words())
            run.context.check()
            run.context.write()  # Is this attempt still the job's?
            publish_trained(Library(run.context.settings.home), staged)
        finally:
            shutil.rmtree(staging, ignore_errors=True)
        file_id, keep_file = keep_result_file(run.context)
        run.results.tell(1.0, "", model=name, estimated_finish=None, result_files=[file_id])
        run.context.finish(run.results.state, keep_file)

    def _merged(self) -> Any:
        model = self._model.merge_and_unload() if isinstance(self._model, PeftModel) else self._model
        return model.float()

    def _write(self, model: Any, staging: Path) -> None:
        """As the base's folder is, with other weights."""
        model.save_pretrained(staging, state_dict=_untied(model))
        for name in CONFIG_FILES:
            if (self._files / name).is_file():
                shutil.copyfile(self._files / name, staging / name)


def _untied(model: Any) -> dict[str, Any]:
    """Without the head where it is the embedding: the registry reads it there."""
    state: dict[str, Any] = model.state_dict()
    if model.config.tie_word_embeddings:
        state.pop("lm_head.weight", None)
    return state
