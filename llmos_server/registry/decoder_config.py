"""What the registry needs of a decoder's config.json, and what it refuses before any weights are fetched.

Which architectures can be computed is settled by the engine's worker when it loads the model: it has torch and
Transformers, tries the model out and refuses it by name. Here is turned away what is known to fail there, so that
nobody waits for a download in vain.
"""

from __future__ import annotations

from typing import Any

from llmos_server.errors import UnsupportedModel
from llmos_server.registry.known_types import causal_types, transformers_version
from llmos_server.registry.remote_code import NO_CODE, CodeRule

GENERATES_TEXT = ("ForCausalLM", "LMHeadModel")
"""How the names of architectures end that continue a text."""
CONTEXT_LENGTH = ("max_position_embeddings", "n_positions", "max_seq_len", "seq_length", "n_ctx")
"""What families call their longest sequence."""

NOT_PAGED = frozenset(
    {
        "bamba", "bloom", "codegen", "diffllama", "falcon", "falcon_h1", "falcon_mamba", "gpt_neo", "gptj", "mamba",
        "mamba2", "mpt", "qwen3_next", "recurrent_gemma", "rwkv", "xglm",
    }
)  # fmt: skip
"""Values of model_type whose attention doesn't go through Transformers' attention interface, or that keep state that
pages don't hold (tests/models/test_refused.py tries each)."""


def check_config(config: dict[str, Any], rule: CodeRule = NO_CODE) -> None:
    """Refuse, by name, what can't be served. Needs no weights: a hub's config is checked before they are fetched.

    rule: of the model; where code of its own computes it, only the worker can tell more.
    """
    if config.get("quantization_config"):
        raise UnsupportedModel("config.json: quantised safetensors can't be read; take the full version, or a GGUF.")
    context_length(config)
    if not rule.lets_run(config):
        _check_type(config, rule)
        _check_architectures(config)


def _check_type(config: dict[str, Any], rule: CodeRule) -> None:
    model_type = config.get("model_type")
    if not isinstance(model_type, str) or not model_type:
        raise UnsupportedModel(f"config.json: model_type is {model_type!r}; a name is needed.")
    if model_type in NOT_PAGED:
        raise UnsupportedModel(
            f"config.json: model_type {model_type!r} can't be served: it attends by code of its own, or keeps more "
            "than the keys and values of each layer. docs/model-names.md lists what is served."
        )
    known = causal_types()
    if known is not None and model_type not in known:
        raise UnsupportedModel(
            f"config.json: Transformers {transformers_version()} has no model_type {model_type!r} that generates text."
            f"{rule.advice(config)} Take a model of an architecture that it has."
        )


def _check_architectures(config: dict[str, Any]) -> None:
    architectures = config.get("architectures") or []
    if not isinstance(architectures, list) or not all(isinstance(name, str) for name in architectures):
        raise UnsupportedModel(f"config.json: architectures is {architectures!r}; a list of names is needed.")
    if architectures and not any(name.endswith(GENERATES_TEXT) for name in architectures):
        raise UnsupportedModel(
            f"config.json: architectures is {architectures}; what is served generates text from text alone, and its "
            f"architecture's name ends in {' or '.join(GENERATES_TEXT)}."
        )


def context_length(config: dict[str, Any]) -> int:
    """Longest sequence that the config allows, in tokens. Raises UnsupportedModel when it says none."""
    for name in CONTEXT_LENGTH:
        value = config.get(name)
        if value is not None:
            if type(value) is not int or value < 1:
                raise UnsupportedModel(f"config.json: {name} is {value!r}; a positive number is needed.")
            return value
    raise UnsupportedModel(f"config.json says no context length ({', '.join(CONTEXT_LENGTH)}). Add the first of these.")
