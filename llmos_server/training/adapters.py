"""LoRA by TRL's keys, and what comes of it: a PEFT folder that says which base it is for."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any

import torch
from peft import PeftModel
from safetensors import safe_open
from safetensors.torch import save_file
from transformers import AutoModelForCausalLM
from trl import ModelConfig, get_peft_config

from llmos_server.adapter_contracts import ADAPTER_CONFIG, ADAPTER_WEIGHTS, BASE_DIGEST, AdapterVersion, unquantised
from llmos_server.contracts import ModelVersion
from llmos_server.registry.adapter_folders import import_adapter
from llmos_server.registry.disk import fresh_folder
from llmos_server.training.run import Run
from llmos_server.training.served_as import is_served_as_adapter as is_served_as_adapter


def model_arguments(values: Mapping[str, Any]) -> ModelConfig:
    """The keys that are the model's."""
    names = {field.name for field in fields(ModelConfig)}
    return ModelConfig(**{key: value for key, value in values.items() if key in names})


def peft_config(values: Mapping[str, Any]) -> Any:
    """What PEFT calls it; None trains all weights."""
    return get_peft_config(model_arguments(values))


def publish_adapter(run: Run, source: Path, suffix: str) -> AdapterVersion:
    """A PEFT folder into LLMOS_HOME/adapters, by content. Nothing answers to it yet."""
    staging = fresh_folder(run.context.folder / "export")
    try:
        _export(source, staging, run.version)
        return import_adapter(
            run.context.settings.home,
            staging,
            run.version,
            suffix,
            owner=run.context.job.owner,
            job_id=run.context.job.id,
        )
    finally:
        shutil.rmtree(staging, ignore_errors=True)


def in_float32(run: Run, model: Any, folder: Path) -> Any:
    """The model, or, where it was trained in fewer bits, the same with the adapter of `folder` on a base as it is."""
    if all(parameter.dtype == torch.float32 for parameter in model.parameters()):
        return model
    base = AutoModelForCausalLM.from_pretrained(run.base, dtype=torch.float32)
    return PeftModel.from_pretrained(base, folder)


def _export(source: Path, target: Path, version: ModelVersion) -> None:
    """With the base's name and digest instead of the folder that the trainer had it from."""
    config = json.loads((source / ADAPTER_CONFIG).read_text(encoding="utf-8"))
    config["base_model_name_or_path"] = version.source
    for name in ("target_modules", "modules_to_save", "exclude_modules"):  # Sets, in PEFT, of any order.
        if isinstance(config.get(name), list):
            config[name] = sorted(config[name])
    (target / ADAPTER_CONFIG).write_text(json.dumps(config, indent=2, sort_keys=True) + "\n", encoding="utf-8")
    with safe_open(source / ADAPTER_WEIGHTS, framework="pt") as file:
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (not a dict)
    metadata = {"format": "pt", BASE_DIGEST: unquantised(version.digest)}
    save_file(tensors, target / ADAPTER_WEIGHTS, metadata=metadata)
    _sort_metadata(target / ADAPTER_WEIGHTS)


def _sort_metadata(path: Path) -> None:
    """safetensors writes it in an order that changes with every call; equal adapters are to have equal digests."""
    with path.open("r+b") as file:
        size = int.from_bytes(file.read(8), "little")
        header = json.loads(file.read(size))
        header["__metadata__"] = dict(sorted(header["__metadata__"].items()))
        text = json.dumps(header, separators=(",", ":"), ensure_ascii=False).encode().ljust(size)
        assert len(text) == size
        file.seek(8)
        file.write(text)
