"""The examples of a file that was found good: what training reads."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from llmos_server.data.examples import Example
from llmos_server.data.scanning import Scan
from llmos_server.errors import InvalidRequest


class BadExamples(InvalidRequest):
    """A file has lines that can't be trained on."""

    def __init__(self, message: str, *, param: str = "training_file") -> None:
        super().__init__(message, param=param, code="invalid_training_file")


def read_examples(path: Path, scan: Scan, *, param: str = "training_file") -> Iterator[Example]:
    """In the file's order. Raises BadExamples at the first line that isn't good, so that nothing is passed over, and
    OSError."""
    for scanned in scan.file(path):
        if scanned.is_bad:
            first = next(finding for finding in scanned.findings if finding.is_error)
            raise BadExamples(str(first), param=param)
        if scanned.example is not None:
            yield scanned.example
