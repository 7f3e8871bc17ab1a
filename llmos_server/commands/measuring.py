"""The verb perplexity: what quantising costs a model, told in numbers."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from cyclopts import Parameter

from llmos_server.commands.models import JsonFlag, Name
from llmos_server.commands.shared import ConfigFlag, print_json, print_table, read_settings
from llmos_server.errors import InvalidRequest

if TYPE_CHECKING:
    from llmos_server.perplexity import Measured

QuantizationFlag = Annotated[
    Literal["none", "int8", "int4"] | None,
    Parameter(help="How to round float weights; without it, as models.options has it for this model."),
]


def perplexity(
    name: Name,
    /,
    *,
    quantization: QuantizationFlag = None,
    text: Annotated[Path | None, Parameter(help="A UTF-8 text; without it, Python's own reference manual.")] = None,
    tokens: Annotated[int, Parameter(help="How many of its tokens, at most.")] = 6144,
    json: JsonFlag = False,
    config: ConfigFlag = None,
) -> None:
    """Measure how well a model foretells a text, and what quantising it costs. Loads it in this process.

    Example: llmos perplexity hf:org/name --quantization int4
    """
    from llmos_server.engine.quantization import check_quantization
    from llmos_server.perplexity import built_in_text, measure
    from llmos_server.registry.parameters import with_elements
    from llmos_server.registry.registry import create_registry

    settings = read_settings(config)
    version = with_elements(create_registry(settings).get(name))
    wanted = version.quantization if quantization is None else quantization
    check_quantization(version, wanted, settings.engine)
    content = built_in_text() if text is None else read_text(text)
    measured = []
    for how in dict.fromkeys(("none", wanted)):
        print(f"Measuring {version.name}, quantization {how} ...", file=sys.stderr)
        measured.append(measure(version, how, settings.engine, content, tokens))
    if json:
        print_json([_as_row(run, measured[0]) for run in measured])
        return
    rows = [("WEIGHTS", "TOKENS", "PERPLEXITY", "CHANGE", "MEAN |DIFFERENCE| OF LOG-PROBABILITIES")]
    for run in measured:
        change, difference = f"{run.perplexity / measured[0].perplexity - 1:+.2%}", run.mean_difference(measured[0])
        told = ("", "") if run is measured[0] else (change, f"{difference:.4f}")
        rows.append((run.dtype, str(len(run.logprobs)), f"{run.perplexity:.4f}", *told))
    print_table(rows)


def _as_row(run: Measured, first: Measured) -> dict[str, object]:
    return {
        "weights": run.dtype,
        "tokens": len(run.logprobs),
        "perplexity": run.perplexity,
        "change": run.perplexity / first.perplexity - 1,
        "mean_difference": run.mean_difference(first),
    }


def read_text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except OSError as error:
        raise InvalidRequest(f"{path}: can't be read ({error.strerror}).") from None
    except UnicodeDecodeError:
        raise InvalidRequest(f"{path}: is not UTF-8.") from None
