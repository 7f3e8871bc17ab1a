"""A folder's config and weights to a Transformers model in float32. No pickle; no code from the checkpoint, but for
what is handed in as such.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from transformers import AutoConfig, PretrainedConfig, PreTrainedModel, __version__
from transformers.models.auto.configuration_auto import CONFIG_MAPPING
from transformers.models.auto.modeling_auto import MODEL_FOR_CAUSAL_LM_MAPPING
from transformers.utils import logging as transformers_log

from llmos_server.errors import UnsupportedModel
from llmos_server.models.gguf_zoo import GGUFParameters
from llmos_server.models.repository_code import check_code, load_own_class, load_own_config
from llmos_server.models.weights import SafetensorsSource, is_ignored, some

transformers_log.set_verbosity_error()  # What matters of its warnings is checked.
transformers_log.disable_progress_bar()


def load_transformers_model(
    folder: Path, values: Mapping[str, Any], weights: Sequence[Path], device: torch.device, code: Mapping[str, str]
) -> PreTrainedModel:
    """folder: with config.json, which holds `values`. code: as in models/opening.py.

    Raises UnsupportedModel with the reason.
    """
    if code:
        check_code(folder, code)
    config = _load_config(folder, values, runs_code=bool(code))
    try:
        model_class: Any = load_own_class(folder, values) if code else _model_class(config)
    except UnsupportedModel:
        raise
    except Exception as error:  # whatever the model's own code raises
        raise UnsupportedModel(f"{config.model_type}: its own code can't be loaded: {first_line(error)}") from None
    source = GGUFParameters(weights[0], values) if weights[0].suffix == ".gguf" else SafetensorsSource(weights)
    # Copied, because what is mapped from a file changes with the file.
    tensors = {name: source.read(name).to(torch.float32, copy=True) for name in source.shapes if not is_ignored(name)}
    try:
        loaded = model_class.from_pretrained(
            None,
            config=config,
            state_dict=tensors,
            dtype=torch.float32,
            attn_implementation="eager",
            output_loading_info=True,
            ignore_mismatched_sizes=True,  # They are refused below, by name.
            local_files_only=True,
        )
    except Exception as error:  # whatever the architecture's code raises at a config that it doesn't expect
        raise UnsupportedModel(f"{config.model_type}: Transformers can't build it: {first_line(error)}") from None
    model: PreTrainedModel
    report: dict[str, Any]
    model, report = loaded
    misshapen = [f"{name} is {list(found)}, not {list(shape)}" for name, found, shape in report["mismatched_keys"]]
    for label, names in (
        ("lack", report["missing_keys"]),
        ("hold unexpected", report["unexpected_keys"]),
        ("don't fit config.json:", misshapen),
    ):
        if names:
            raise UnsupportedModel(
                f"The weights {label} {some(sorted(names))}. Does config.json belong to these files?"
            )
    return model.to(device)  # type: ignore[no-any-return, arg-type]


def context_length(config: PretrainedConfig) -> int:
    """Longest sequence for which the position embedding is that of the config, in tokens."""
    config = config.get_text_config()
    length = getattr(config, "max_position_embeddings", None)
    if not isinstance(length, int) or length < 1:
        raise UnsupportedModel(f"config.json says no context length (max_position_embeddings is {length!r})")
    rope: Any = getattr(config, "rope_parameters", None) or {}
    kinds = [rope, *(value for value in rope.values() if isinstance(value, dict))]
    # LongRoPE rotates a sequence otherwise as soon as another one in the batch passes this length.
    limits = [
        kind.get("original_max_position_embeddings", length) for kind in kinds if kind.get("rope_type") == "longrope"
    ]
    return min(length, *limits) if limits else length


def first_line(error: Exception) -> str:
    text = str(error).strip() or type(error).__name__
    return text.splitlines()[0]


def _load_config(folder: Path, values: Mapping[str, Any], *, runs_code: bool) -> PretrainedConfig:
    model_type = values.get("model_type")
    if not runs_code and model_type not in CONFIG_MAPPING:
        own_code = " Its code is in the repository (auto_map), which models.remote_code doesn't name, so it is not run."
        raise UnsupportedModel(
            f"config.json: Transformers {__version__} has no model_type {model_type!r}."
            f"{own_code if values.get('auto_map') else ''} Take a model of an architecture that it has."
        )
    try:
        config: PretrainedConfig = (
            load_own_config(folder)
            if runs_code
            else AutoConfig.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
        )
    except Exception as error:  # one of many kinds, none of them narrow
        raise UnsupportedModel(f"config.json: Transformers {__version__} can't read it: {first_line(error)}") from None
    # A checkpoint may switch on what only training or research reads.
    config.return_dict, config.use_cache = True, False
    config.output_hidden_states = config.output_attentions = False
    return config


def _model_class(config: PretrainedConfig) -> type[PreTrainedModel]:
    found: Any = MODEL_FOR_CAUSAL_LM_MAPPING.get(type(config), None)
    candidates = found if isinstance(found, tuple) else (found,) if found else ()
    named = {name.lower() for name in config.architectures or ()}
    for candidate in candidates:
        if not named or candidate.__name__.lower() in named:
            return candidate  # type: ignore[no-any-return]
    known = ", ".join(candidate.__name__ for candidate in candidates) or "none"
    raise UnsupportedModel(
        f"config.json: architectures is {config.architectures} with model_type {config.model_type!r}; what generates "
        f"text of this type in Transformers {__version__} is {known}."
    )
