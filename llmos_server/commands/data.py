"""The verb about training files."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from cyclopts import App, Parameter

from llmos_server.commands.shared import ConfigFlag, Switch, open_registry, print_json, read_settings

if TYPE_CHECKING:
    from llmos_server.data.report import Lengths, Report

data = App(
    name="data",
    help="Look at files of training examples.\n\nExample: llmos data check examples.jsonl",
    help_format="plaintext",
)


@data.command
def check(
    file: Path,
    /,
    *,
    format: Annotated[
        Literal["supervised", "preference", "reinforcement", "text", "rating", "label"],
        Parameter(help="What a line holds."),
    ] = "supervised",
    model: Annotated[str | None, Parameter(help="Count tokens as this model has them.")] = None,
    max_tokens: Annotated[int | None, Parameter(help="Most tokens of an example; else the model's own limit.")] = None,
    json: Annotated[bool, Switch, Parameter(help="Print JSON.")] = False,
    config: ConfigFlag = None,
) -> None:
    """Check a file of training examples line by line, as tuning does before it begins.

    The exit status is 1 where a line can't be trained on.

    Example: llmos data check examples.jsonl --model smollm2:135m
    """
    from llmos_server.data.report import check_file
    from llmos_server.data.scanning import Scan
    from llmos_server.errors import InvalidRequest

    lengths = None if model is None else _lengths(model, max_tokens, config)
    scan = Scan(format, is_plain=format == "text" and file.suffix != ".jsonl")
    try:
        report = check_file(file, scan, lengths)
    except OSError as error:
        raise InvalidRequest(f"{file}: can't be read ({error.strerror}).") from None
    if json:
        print_json(report)
    else:
        print("\n".join(_lines(report)))
    if not report.is_good:
        sys.exit(1)


def _lengths(model: str, max_tokens: int | None, config: Path | None) -> Lengths:
    from llmos_server.chat.renderer import Renderer
    from llmos_server.data.lengths import RenderedLengths
    from llmos_server.settings import ModelOptions

    version = open_registry(config).get(model)
    options = read_settings(config).models.options.get(version.name, ModelOptions())
    return RenderedLengths(
        Renderer.load(Path(version.folder)),
        max_tokens or version.context_length,
        tool_format=options.tool_format,
        turns=options.turns,
    )


def _lines(report: Report) -> list[str]:
    shown = [str(finding) for finding in report.findings]
    hidden = sum(report.errors.values()) + sum(report.warnings.values()) - len(shown)
    more = [f"... and {hidden} more"] if hidden > 0 else []
    tokens = []
    if report.num_tokens is not None:
        tokens.append(f"{report.num_tokens} tokens; the longest example has {report.longest_tokens or 0}")
        tokens[-1] += f" (line {report.longest_line})" if report.longest_line else ""
    verdict = "all can be trained on" if report.is_good else f"{report.num_bad} lines can't be trained on"
    return [
        *shown,
        *more,
        f"{report.num_lines} lines: {report.num_examples} examples ({report.num_duplicates} repeat others), "
        f"{report.num_blank} blank; {verdict}",
        *tokens,
    ]
