"""The examples of a file, as training reads them: all of them, or none."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

from llmos_server.data.examples import Example
from llmos_server.data.report import Report, check_file
from llmos_server.data.scanning import Scan
from llmos_server.errors import InvalidRequest


class BadExamples(InvalidRequest):
    """A file has lines that can't be trained on, or nothing else."""

    def __init__(self, report: Report, param: str) -> None:
        super().__init__(f"{param}: {report.summary()}", param=param, code=f"invalid_{param}")
        self.report = report


def read_examples(
    path: Path,
    scan: Scan,
    *,
    param: str = "training_file",
    on_report: Callable[[Report], None] = lambda report: None,
) -> Iterator[Example]:
    """In the file's order, once every line is known to be good: what comes of examples takes far longer than a second
    reading. on_report: told what else was found in a file that is good. Raises BadExamples, which tells of the whole
    file; and OSError."""
    report = check_file(path, scan)
    if not report.is_good:
        raise BadExamples(report, param)
    on_report(report)
    for scanned in scan.file(path):
        if scanned.example is not None:
            yield scanned.example
