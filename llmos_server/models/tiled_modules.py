"""Our matrix products in the place of a Transformers model's own, so that a row's bits don't depend on its batch.

Linear layers and GPT-2's Conv1D get a forward of ours, experts are computed by a function that is registered with
Transformers' experts interface, and in small modules that hold a matrix themselves, as routers do, calls of
torch.nn.functional.linear are intercepted.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any

import torch
from torch.overrides import TorchFunctionMode
from transformers import PreTrainedModel
from transformers.integrations.moe import ALL_EXPERTS_FUNCTIONS
from transformers.pytorch_utils import Conv1D

from llmos_server.kernels.base import Kernels, Linear

TILED_EXPERTS = "llmos_tiled"


def use_tiled_products(model: PreTrainedModel, kernels: Kernels) -> None:
    """Changes the model in place. Its weights must be float32 and stay where they are."""
    for module in model.modules():
        _use_tiled_product(module, type(module), kernels)
    if model._can_set_experts_implementation():
        model.set_experts_implementation(TILED_EXPERTS)


def _use_tiled_product(module: Any, kind: type, kernels: Kernels) -> None:
    """Subclasses of Linear are left alone: they compute something else."""
    if kind is torch.nn.Linear:
        module.forward = _rowwise(kernels.linear(module.weight, module.bias))
    elif kind is Conv1D:
        module.forward = _rowwise(kernels.linear(module.weight.t(), module.bias))
    elif hasattr(module, "is_transposed") and hasattr(module, "has_gate"):
        module.tiled = _Experts(module, kernels)
    elif _holds_matrix(module):
        module.forward = _intercepted(module.forward, module.weight, kernels.linear(module.weight, None))


def _rowwise(linear: Linear) -> Callable[[torch.Tensor], torch.Tensor]:
    def forward(x: torch.Tensor) -> torch.Tensor:
        return linear(x.reshape(-1, x.shape[-1])).view(*x.shape[:-1], -1)

    return forward


def _holds_matrix(module: torch.nn.Module) -> bool:
    weight = getattr(module, "weight", None)
    if isinstance(module, torch.nn.Embedding) or next(module.children(), None) is not None:
        return False
    return isinstance(weight, torch.Tensor) and weight.dim() == 2


class _TiledProduct(TorchFunctionMode):
    """Within it, linear() with this weight is ours."""

    def __init__(self, weight: torch.Tensor, linear: Linear) -> None:
        super().__init__()
        self._weight, self._linear = weight, _rowwise(linear)

    def __torch_function__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        options = kwargs or {}
        if function is torch.nn.functional.linear and len(args) >= 2 and args[1] is self._weight:
            bias = args[2] if len(args) > 2 else options.get("bias")
            out = self._linear(args[0])
            return out if bias is None else out + bias
        return function(*args, **options)


def _intercepted(forward: Callable[..., Any], weight: torch.Tensor, linear: Linear) -> Callable[..., Any]:
    @wraps(forward)
    def run(*args: Any, **kwargs: Any) -> Any:
        with _TiledProduct(weight, linear):
            return forward(*args, **kwargs)

    return run


class _Experts:
    """The prepared matrices of one layer's experts, which the module holds stacked."""

    def __init__(self, module: Any, kernels: Kernels) -> None:
        self._module = module
        first = "gate_up_proj" if module.has_gate else "up_proj"
        self._up, self._down = (self._prepare(name, kernels) for name in (first, "down_proj"))

    def _prepare(self, name: str, kernels: Kernels) -> list[Linear]:
        weights = getattr(self._module, name)
        biases = getattr(self._module, f"{name}_bias") if self._module.has_bias else [None] * len(weights)
        is_transposed = self._module.is_transposed
        return [kernels.linear(w.t() if is_transposed else w, b) for w, b in zip(weights, biases, strict=True)]

    def __call__(self, hidden: torch.Tensor, experts: torch.Tensor, shares: torch.Tensor) -> torch.Tensor:
        """hidden: [rows, hidden]; experts, shares: [rows, experts a token]. Returns [rows, hidden]."""
        module, num_each = self._module, experts.shape[1]
        chosen = experts.reshape(-1)
        parts = hidden.new_zeros(len(chosen), hidden.shape[1])
        for expert in chosen.unique().tolist():
            places = (chosen == expert).nonzero()[:, 0]
            inner = self._up[expert](hidden[places // num_each])
            inner = module._apply_gate(inner) if module.has_gate else module.act_fn(inner)
            out = self._down[expert](inner)
            parts[places] = module.post_expert_norm(out) if module.has_post_expert_norm else out
        return (parts.view(-1, num_each, hidden.shape[1]) * shares[..., None]).sum(1)


def _tiled_experts(
    module: Any, hidden_states: torch.Tensor, top_k_index: torch.Tensor, top_k_weights: torch.Tensor
) -> torch.Tensor:
    out: torch.Tensor = module.tiled(hidden_states, top_k_index, top_k_weights)
    return out


ALL_EXPERTS_FUNCTIONS.register(TILED_EXPERTS, _tiled_experts)
