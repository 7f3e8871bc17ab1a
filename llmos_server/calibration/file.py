"""Calibrations in one JSON file, `{digest: {task: Calibration}}`: LLMOS_HOME has one, and skills may bring some."""

from __future__ import annotations

from pathlib import Path

import msgspec

from llmos_server.calibration.calibration import Calibration

CALIBRATIONS = "calibrations.json"
"""In LLMOS_HOME, and beside a skill's module."""

Table = dict[str, dict[str, Calibration]]
"""By the model's digest and the task: choice, score and noul are types of /v1/systemone, `skill/name` is a skill's."""


class CalibrationFile:
    """Read again whenever it has changed. path: None for none."""

    def __init__(self, path: Path | None) -> None:
        self._path = path
        self._stamp: tuple[int, int] | None = None
        self._table: Table = {}

    def find(self, model_digest: str, task: str, version: str = "") -> Calibration | None:
        """version: others' don't count. Raises ValueError for a file that can't be read."""
        found = self.table().get(model_digest, {}).get(task)
        return found if found is not None and found.version == version else None

    def table(self) -> Table:
        if self._path is None:
            return {}
        try:
            status = self._path.stat()
        except FileNotFoundError:
            self._stamp, self._table = None, {}
            return {}
        stamp = (status.st_mtime_ns, status.st_size)
        if stamp != self._stamp:
            try:
                self._table = msgspec.json.decode(self._path.read_bytes(), type=Table)
            except msgspec.MsgspecError as error:
                raise ValueError(f"{self._path}: {error}") from None
            self._stamp = stamp
        return self._table
