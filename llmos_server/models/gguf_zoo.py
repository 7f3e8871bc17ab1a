"""The tensors of a GGUF file as the parameters of a Transformers model."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from llmos_server.errors import UnsupportedModel
from llmos_server.gguf.architectures import ARCHITECTURES, HEAD, SHARED_GATE, STORED_HEAD, architecture_name
from llmos_server.gguf.dequantize import dequantize
from llmos_server.gguf.reader import GGUFFile
from llmos_server.models.weights import unpermute


class GGUFParameters:
    """A models.weights.TensorSource. values: the config.json that the registry made of the file."""

    def __init__(self, path: Path, values: Mapping[str, Any]) -> None:
        self._file = GGUFFile.open(path)
        name = architecture_name(self._file.metadata)
        architecture = ARCHITECTURES.get(name)
        if architecture is None:
            raise UnsupportedModel(
                f"{path.name}: general.architecture is {name!r}; what Transformers' code computes of GGUF files is "
                f"{', '.join(ARCHITECTURES)}."
            )
        self._architecture = architecture
        self._parts = architecture.parameters(values["num_hidden_layers"])
        if STORED_HEAD in self._file.tensors:
            self._parts[HEAD] = (STORED_HEAD,)
        heads = {"q": values["num_attention_heads"], "k": values["num_key_value_heads"]}
        self._heads = heads if architecture.pairs_are_interleaved else {}
        missing = [part for parts in self._parts.values() for part in parts if part not in self._file.tensors]
        if missing:
            raise UnsupportedModel(f"{path.name}: has no tensor {missing[0]!r}. Pull the model again.")
        self.shapes = {parameter: self._shape(parameter, parts) for parameter, parts in self._parts.items()}

    def _shape(self, name: str, parts: tuple[str, ...]) -> tuple[int, ...]:
        shapes = [self._file.tensors[part].shape for part in parts]
        first = shapes[0]
        if name.endswith(SHARED_GATE):
            return 1, first[-1]
        if self._is_turned(name, first):
            return first[::-1]
        return first if len(parts) == 1 else (*first[:-2], sum(shape[-2] for shape in shapes), first[-1])

    def _is_turned(self, name: str, shape: tuple[int, ...]) -> bool:
        is_own = self._architecture.has_conv1d and name.startswith(self._architecture.layers)
        return is_own and len(shape) == 2

    def read(self, name: str) -> torch.Tensor:
        tensors = [self._read(part) for part in self._parts[name]]
        tensor = tensors[0] if len(tensors) == 1 else torch.cat(tensors, dim=-2)
        if name.endswith(SHARED_GATE):
            return tensor.view(1, -1)
        if self._is_turned(name, tuple(tensor.shape)):
            return tensor.t().contiguous()
        if self._architecture.norms_hold_one_more and name.endswith("norm.weight"):
            return tensor - 1
        for part, num_heads in self._heads.items():
            if name.endswith(f"self_attn.{part}_proj.weight"):
                return unpermute(tensor, num_heads)
        return tensor

    def _read(self, stored: str) -> torch.Tensor:
        info = self._file.tensors[stored]
        return torch.from_numpy(dequantize(self._file.raw(stored), info.type_name, info.shape))
