"""Config and model classes from a checkpoint's own Python files.

They run with all rights of this process, so only where the operator has named the model (models.remote_code) and the
registry has therefore taken its code.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from transformers import AutoConfig, PretrainedConfig, PreTrainedModel
from transformers.dynamic_module_utils import get_class_from_dynamic_module

from llmos_server.errors import UnsupportedModel


def check_code(folder: Path, code: Mapping[str, str]) -> None:
    """code: name -> sha256, of every Python file in the folder. Raises UnsupportedModel when it isn't that."""
    found = {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in folder.glob("*.py")}
    changed = sorted(name for name in found.keys() | code.keys() if found.get(name) != code.get(name))
    if changed:
        raise UnsupportedModel(
            f"{folder}: {', '.join(changed)} changed since the pull. Remove the model, pull it again."
        )


def load_own_config(folder: Path) -> PretrainedConfig:
    config: PretrainedConfig = AutoConfig.from_pretrained(folder, local_files_only=True, trust_remote_code=True)
    return config


def load_own_class(folder: Path, values: Mapping[str, Any]) -> type[PreTrainedModel]:
    """values: of config.json. Raises UnsupportedModel for what is no model of Transformers' kind."""
    reference = values["auto_map"]["AutoModelForCausalLM"]
    if not isinstance(reference, str) or "--" in reference:
        raise UnsupportedModel(f"config.json: auto_map names {reference!r}, which is no class in a file beside it.")
    found: Any = get_class_from_dynamic_module(reference, str(folder), local_files_only=True)
    if not (isinstance(found, type) and issubclass(found, PreTrainedModel)):
        raise UnsupportedModel(f"config.json: auto_map names {reference!r}, which is no PreTrainedModel.")
    return found
