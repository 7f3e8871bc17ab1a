"""Which models can be quantised when they are loaded; torch-free, so that a server can refuse at its start."""

from __future__ import annotations

from llmos_server.contracts import ModelVersion
from llmos_server.engine.footprint import explain_unpacked, read_model_config
from llmos_server.errors import UnsupportedModel
from llmos_server.models.packed_types import FLOATS, LAYOUTS
from llmos_server.settings import EngineSettings, Quantization

NEEDS_FAST = (
    'The compiled kernels compute with such weights: they need engine.numerics = "fast" and engine.device = "cpu".'
)


def cant_quantize(name: str, quantization: str, reason: str) -> UnsupportedModel:
    return UnsupportedModel(
        f'{name}: quantization = "{quantization}" can\'t be honoured. {reason} To serve it as it is, remove '
        "quantization from its table below [models.options]."
    )


def check_quantization(version: ModelVersion, quantization: Quantization, settings: EngineSettings) -> None:
    """Raises UnsupportedModel for what is sure to be refused when it is loaded, too."""
    reason = None if quantization == "none" else _reason(version, settings)
    if reason:
        raise cant_quantize(version.name, quantization, reason)


def _reason(version: ModelVersion, settings: EngineSettings) -> str | None:
    if version.kind != "decoder":
        return "It is an encoder, and only decoders can be."
    if version.code:
        return "Its own code computes it."
    integers = [name for name in version.elements if name in LAYOUTS and name not in FLOATS]
    if integers:
        return f"Its file holds integers already ({', '.join(integers)}): take one of the same model in F16 or BF16."
    if settings.numerics != "fast" or settings.device != "cpu":
        return NEEDS_FAST
    return explain_unpacked(read_model_config(version), settings)
