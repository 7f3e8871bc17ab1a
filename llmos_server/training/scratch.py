"""Models that are made of a config and a tokenizer: what they need before the first step, and their name at the end."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from transformers import AutoConfig, set_seed

from llmos_server.chat.renderer import Renderer
from llmos_server.errors import InvalidRequest
from llmos_server.registry.importing import CONFIG_FILES, write_json
from llmos_server.training.base import load_tokenizer
from llmos_server.training.ranks import rank
from llmos_server.training.run import Run
from llmos_server.training.tokens import Rendering

DEFAULT_SEED = 42
"""Transformers'."""


@dataclass(frozen=True)
class Scratch:
    """kind: the class of Transformers that makes the model, as AutoModelForCausalLM."""

    run: Run
    kind: Any

    @cached_property
    def folder(self) -> Path:
        """The tokenizer's files and the config, as a model's folder has them."""
        values = self.run.spec.values
        source = Path(str(values.get("tokenizer_name") or "")).expanduser()
        if not (source / "tokenizer.json").is_file():
            raise InvalidRequest(
                f"tokenizer_name: {str(source)!r} is no folder with a tokenizer.json. Make one with "
                "tokenizer_bpe.yaml, or name a model's folder.",
                param="tokenizer_name",
            )
        folder = self.run.context.folder / f"base-{rank()}"
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        for name in CONFIG_FILES:
            if name not in ("config.json", "generation_config.json") and (source / name).is_file():
                shutil.copyfile(source / name, folder / name)
        self._config(load_tokenizer(folder)).save_pretrained(folder)
        ends = load_tokenizer(folder).eos_token_id
        write_json(folder / "generation_config.json", {"eos_token_id": ends})
        return folder

    @cached_property
    def tokenizer(self) -> Any:
        return load_tokenizer(self.folder)

    @cached_property
    def rendering(self) -> Rendering:
        return Rendering(Renderer.load(self.folder))

    @property
    def length(self) -> int:
        return int(self.run.spec.values.get("max_length") or 512)

    @property
    def name(self) -> str:
        """Of the result."""
        return f"{self.run.spec.values.get('model_type')}:{self.run.suffix}"

    def create_model(self) -> Any:
        """With random weights, the same for the same seed."""
        set_seed(int(self.run.spec.values.get("seed", DEFAULT_SEED)))
        return self.kind.from_config(AutoConfig.from_pretrained(self.folder)).to(torch.float32)

    def _config(self, tokenizer: Any) -> Any:
        values: Mapping[str, Any] = self.run.spec.values
        model_type = str(values.get("model_type") or "")
        own = {
            "vocab_size": len(tokenizer),
            "max_position_embeddings": self.length,
            **{f"{name}_token_id": getattr(tokenizer, f"{name}_token_id") for name in ("bos", "eos", "pad")},
        }
        try:
            config = AutoConfig.for_model(model_type, **(own | dict(values.get("config_overrides") or {})))
            config.architectures = [type(self.kind.from_config(config)).__name__]
        except (ValueError, TypeError, KeyError) as error:
            raise InvalidRequest(f"model_type, config_overrides: {error}", param="config_overrides") from None
        return config
