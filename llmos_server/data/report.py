"""What a file of training examples holds, and all that is wrong with it, in bounded memory."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Protocol

import msgspec

from llmos_server.data.duplicates import Duplicates
from llmos_server.data.examples import Example, Format
from llmos_server.data.findings import Finding
from llmos_server.data.scanning import Scan, Scanned
from llmos_server.errors import InvalidRequest

MAX_ERRORS = 100
MAX_WARNINGS = 20
"""Findings that are kept whole; all are counted."""


class Lengths(Protocol):
    """How long examples are for a model."""

    @property
    def max_tokens(self) -> int: ...

    def count(self, example: Example) -> int:
        """Tokens; of the longer text where it has two answers. Raises InvalidRequest for what the model's template
        can't write."""
        ...


class Report(msgspec.Struct, kw_only=True):
    """Each line is blank, an example or bad."""

    format: Format
    num_bytes: int = 0
    num_lines: int = 0
    num_blank: int = 0
    num_examples: int = 0
    num_bad: int = 0
    num_duplicates: int = 0
    """Examples that say what one before them says. They are kept."""
    num_tokens: int | None = None
    """Of all examples, where lengths were asked for; so, too, the longest one's and its line."""
    longest_tokens: int | None = None
    longest_line: int | None = None
    errors: dict[str, int] = {}
    warnings: dict[str, int] = {}
    """How often, by code."""
    findings: list[Finding] = []
    """The first ones of both."""

    @property
    def is_good(self) -> bool:
        return not self.errors

    def summary(self, most: int = 5) -> str:
        """For a message: the first errors, each with its line, and how many there are of all."""
        if self.is_good:
            return f"{self.num_examples} examples in {self.num_lines} lines."
        first = [str(finding) for finding in self.findings if finding.is_error][:most]
        total = sum(self.errors.values())
        more = f" And {total - len(first)} more errors." if total > len(first) else ""
        return f"{self.num_bad} of {self.num_lines} lines can't be trained on. {' '.join(first)}{more}"


def check_file(
    path: Path, scan: Scan, lengths: Lengths | None = None, on_line: Callable[[int], None] = lambda _: None
) -> Report:
    """Reads all of it, whatever is found. on_line: called after each line with the bytes read so far; it may raise.
    Raises OSError."""
    writer = ReportWriter(scan.format, lengths)
    for scanned in scan.file(path):
        writer.add(scanned)
        on_line(writer.report.num_bytes)
    return writer.finish()


class ReportWriter:
    def __init__(self, format: Format, lengths: Lengths | None = None) -> None:
        self.report = Report(format=format)
        self._lengths = lengths
        self._duplicates = Duplicates()
        self._num_wide = 0
        """Lines of good UTF-8 that aren't plain ASCII."""
        if lengths is not None:
            self.report.num_tokens = 0

    def add(self, scanned: Scanned) -> Scanned:
        """The same, without its example where that is too long."""
        report = self.report
        scanned = self._measure(scanned)
        report.num_lines += scanned.line > 0
        report.num_bytes += scanned.num_bytes + 1
        report.num_bad += scanned.is_bad and scanned.line > 0
        report.num_blank += scanned.is_blank
        self._num_wide += not scanned.is_ascii and not scanned.is_bad
        for finding in scanned.findings:
            self._note(finding)
        if scanned.example is not None:
            report.num_examples += 1
            self._duplicates.add(scanned.line, scanned.key)
        return scanned

    def finish(self) -> Report:
        report = self.report
        report.num_duplicates, first = self._duplicates.find(MAX_WARNINGS)
        for line, of in first:
            self._warn(line, "duplicate", f"It says the same as line {of}; both are kept.")
        if first:
            report.warnings["duplicate"] = report.num_duplicates
        if report.errors.get("not_utf8") and self._num_wide:
            self._warn(
                0,
                "mixed_encodings",
                f"{self._num_wide} lines are UTF-8 and {report.errors['not_utf8']} are not: files of different "
                "encodings were put together. Convert each by itself, then join them.",
            )
        if not report.num_examples and not report.errors:
            self._note(Finding(line=0, field="", code="empty_file", message="There is no example in it."))
        return report

    def _measure(self, scanned: Scanned) -> Scanned:
        if self._lengths is None or scanned.example is None:
            return scanned
        report, most = self.report, self._lengths.max_tokens
        try:
            length = self._lengths.count(scanned.example)
        except InvalidRequest as error:
            return _without_example(scanned, error.param or "", error.code or "template_error", str(error))
        report.num_tokens = (report.num_tokens or 0) + length
        if length > (report.longest_tokens or 0):
            report.longest_tokens, report.longest_line = length, scanned.line
        if length <= most:
            return scanned
        return _without_example(
            scanned,
            "",
            "too_long",
            f"It has {length} tokens, {length - most} more than the {most} that fit. Shorten it, or part it in two.",
        )

    def _warn(self, line: int, code: str, message: str) -> None:
        self._note(Finding(line=line, field="", code=code, message=message, is_error=False))

    def _note(self, finding: Finding) -> None:
        counts, most = (self.report.errors, MAX_ERRORS) if finding.is_error else (self.report.warnings, MAX_WARNINGS)
        if sum(counts.values()) < most:
            self.report.findings.append(finding)
        counts[finding.code] = counts.get(finding.code, 0) + 1


def _without_example(scanned: Scanned, field: str, code: str, message: str) -> Scanned:
    finding = Finding(line=scanned.line, field=field, code=code, message=message)
    return scanned._replace(example=None, findings=[*scanned.findings, finding])
