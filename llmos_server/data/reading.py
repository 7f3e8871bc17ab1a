"""The examples of a file, as training reads them: all of them, or none."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

from llmos_server.data.examples import Example
from llmos_server.data.report import Report, ReportWriter
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
    """In the file's order. on_report: told what else was found in a file that is good, at its end. Raises BadExamples,
    which tells of the whole file, behind the examples before the first line that isn't good, so that nothing is passed
    over; and OSError."""
    writer = ReportWriter(scan.format)
    for scanned in scan.file(path):
        writer.add(scanned)
        if scanned.example is not None and writer.report.is_good:
            yield scanned.example
    report = writer.finish()
    if not report.is_good:
        raise BadExamples(report, param)
    on_report(report)
