"""What Ollama's clients want to know of a model, from its manifest and its config.json."""

from __future__ import annotations

from typing import Any

from llmos_server.api.ollama.ndjson import timestamp
from llmos_server.api.schemas.ollama_models import OllamaDetails, OllamaModel
from llmos_server.api.served import ListedModel, ServedModel
from llmos_server.contracts import ModelVersion
from llmos_server.registry.shape import quantization, read_config

NO_DETAILS = OllamaDetails(format="", family="skill", families=["skill"], parameter_size="", quantization_level="")
"""Of a skill, which has no weights of its own."""

_FACTS = {
    "embedding_length": "hidden_size",
    "block_count": "num_hidden_layers",
    "feed_forward_length": "intermediate_size",
    "attention.head_count": "num_attention_heads",
    "attention.head_count_kv": "num_key_value_heads",
    "rope.freq_base": "rope_theta",
    "vocab_size": "vocab_size",
}
"""Name behind "architecture." -> in config.json."""


def to_model(listed: ListedModel) -> OllamaModel:
    version = listed.version
    return OllamaModel(
        name=listed.id,
        model=listed.id,
        modified_at=modified_at(listed),
        size=version.size_bytes if version is not None else 0,
        digest=digest(listed),
        details=details(listed),
    )


def modified_at(listed: ListedModel) -> str:
    return timestamp(listed.created)


def digest(listed: ListedModel) -> str:
    """64 hex digits; "" where no version is known."""
    info = listed.engine.info
    known = listed.version.digest if listed.version is not None else info.model_digest if info is not None else ""
    return known.removeprefix("sha256:").partition("+")[0]


def details(listed: ListedModel) -> OllamaDetails:
    family = architecture(listed)
    version = listed.version
    return OllamaDetails(
        format="gguf" if version is not None and any(p.endswith(".gguf") for p in version.weights) else "safetensors",
        family=family,
        families=[family],
        parameter_size=_rounded(version.num_parameters) if version is not None else "",
        quantization_level=_level(version) if version is not None else "",
    )


def architecture(listed: ListedModel) -> str:
    return str(_config(listed).get("model_type") or getattr(listed.engine.info, "architecture", "unknown"))


def facts(listed: ListedModel) -> dict[str, Any]:
    """model_info, as GGUF files name it."""
    family, config, version = architecture(listed), _config(listed), listed.version
    found: dict[str, Any] = {"general.architecture": family}
    if version is not None and version.num_parameters:
        found["general.parameter_count"] = version.num_parameters
    if listed.max_model_len is not None:
        found[f"{family}.context_length"] = listed.max_model_len
    return found | {f"{family}.{name}": config[key] for name, key in _FACTS.items() if key in config}


def capabilities(served: ServedModel) -> list[str]:
    if served.kind == "encoder":
        return ["embedding"]
    if served.kind != "decoder":
        return []
    found = ["completion"]
    if served.has_template:
        found.append("tools")
    if served.has_reasoning:
        found.append("thinking")
    return found


def _config(listed: ListedModel) -> dict[str, Any]:
    return {} if listed.version is None else read_config(listed.version.folder)


def _rounded(num_parameters: int) -> str:
    for unit, size in (("B", 10**9), ("M", 10**6), ("K", 10**3)):
        if num_parameters >= size:
            return f"{num_parameters / size:.{1 if unit == 'B' else 2}f}{unit}"
    return str(num_parameters)


def _level(version: ModelVersion) -> str:
    """What most of the weights are, or are rounded to when they are loaded."""
    if version.quantization != "none":
        return version.quantization.upper()
    return quantization(version)
