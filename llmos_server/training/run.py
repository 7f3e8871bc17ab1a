"""What a method is given: the job, its base model and where it works."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path
from typing import Any

from llmos_server.chat.renderer import Renderer
from llmos_server.contracts import ModelVersion
from llmos_server.data.report import Report
from llmos_server.errors import InvalidRequest
from llmos_server.job_contracts import JobContext, Level
from llmos_server.registry.registry import create_registry
from llmos_server.training.base import load_tokenizer, prepare_base
from llmos_server.training.examples import Limits
from llmos_server.training.results import Results
from llmos_server.training.spec import TuneSpec
from llmos_server.training.tokens import Rendering

DEFAULT_MAX_LENGTH = 1024
"""TRL's."""
MAX_TOLD = 5
"""Findings in a good file that the job's owner is told; all are counted."""


@dataclass(frozen=True)
class Run:
    """One attempt at a tuning job. What is here costs nothing until it is asked for."""

    context: JobContext
    spec: TuneSpec
    results: Results

    @cached_property
    def version(self) -> ModelVersion:
        """The base. Raises ModelNotFound."""
        return create_registry(self.context.settings).get(self.spec.model)

    @cached_property
    def base(self) -> Path:
        """The base as a folder for Transformers. Raises UnsupportedModel."""
        return prepare_base(self.version, self.context.settings.home, self.context.log)

    @cached_property
    def tokenizer(self) -> Any:
        return load_tokenizer(self.base)

    @cached_property
    def rendering(self) -> Rendering:
        """As the base's chats are served."""
        options = self.context.settings.models.options.get(self.version.name)
        renderer = Renderer.load(Path(self.version.folder))
        return Rendering(renderer) if options is None else Rendering(renderer, options.tool_format, options.turns)

    @property
    def output(self) -> Path:
        """Where checkpoints are."""
        return self.context.folder / "checkpoints"

    @property
    def training_file(self) -> Path:
        if not self.spec.training_file:
            raise InvalidRequest("There is no training file: give one with --data FILE.", param="training_file")
        return self.context.folder / self.spec.training_file

    @property
    def validation_file(self) -> Path | None:
        return self.context.folder / self.spec.validation_file if self.spec.validation_file else None

    @property
    def suffix(self) -> str:
        """Ends the result's name."""
        return self.spec.suffix or self.context.job.id.rpartition("-")[2][-8:]

    def limits(self, param: str = "training_file") -> Limits:
        """Of one sequence: max_length, where the model has room for as much."""
        wanted = self.spec.values.get("max_length", DEFAULT_MAX_LENGTH) or self.version.context_length
        most = min(wanted, self.version.context_length)
        return Limits(most, self.spec.too_long, param, partial(self._tell_report, param))

    def _tell_report(self, param: str, report: Report) -> None:
        counted = ", ".join(f"{name}: {number}" for name, number in report.warnings.items())
        first = "".join(f" {finding}" for finding in report.findings[:MAX_TOLD])
        told = f" Worth a look: {counted}.{first}" if counted else ""
        level: Level = "warn" if counted else "info"
        self.context.log(f"{param}: {report.summary()}{told}", level, {"warnings": dict(report.warnings)})
