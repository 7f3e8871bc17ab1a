"""Tuning runs, the files that they learn from and the adapters that come of them: /v1/fine_tuning/jobs, /v1/files and
/admin/v1/adapters."""

from __future__ import annotations

from typing import Any

from llmos_tui.wire.common import Wire


class Verdict(Wire, frozen=True, kw_only=True):
    """What a run's gate said."""

    promoted: bool = False
    reason: str = ""


class ShownMethod(Wire, frozen=True, kw_only=True):
    type: str = ""


class TuningRun(Wire, frozen=True, kw_only=True):
    """A fine-tuning job of the key that this program uses. fine_tuned_model: the name that answers, when it has
    succeeded. values: TRL's keys."""

    id: str
    model: str = ""
    fine_tuned_model: str | None = None
    training_file: str = ""
    validation_file: str | None = None
    method: ShownMethod = ShownMethod()
    recipe: str = ""
    status: str = ""
    seed: int = 0
    trained_tokens: int | None = None
    num_examples: int | None = None
    total_steps: int | None = None
    estimated_finish: int | None = None
    verdict: Verdict | None = None
    values: dict[str, Any] = {}


class TuningRunList(Wire, frozen=True, kw_only=True):
    """The newest first."""

    data: list[TuningRun] = []
    has_more: bool = False


class UploadedFile(Wire, frozen=True, kw_only=True):
    id: str
    filename: str = ""
    bytes: int = 0


class Adapter(Wire, frozen=True, kw_only=True):
    """A tuned model. owner: the key that made it, "" for everybody's; is_shared: everybody may use it."""

    name: str
    base: str = ""
    owner: str = ""
    is_shared: bool = False
    job_id: str = ""
    rank: int = 0
    num_bytes: int = 0


class AdapterList(Wire, frozen=True, kw_only=True):
    data: list[Adapter] = []


class Promotion(Wire, frozen=True, kw_only=True):
    """model answers to the alias now; previous: the number of what a rollback brings back."""

    alias: str
    model: str = ""
    previous: int | None = None
