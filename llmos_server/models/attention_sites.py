"""What each attention layer of a Transformers model asks of the attention interface, read off one recorded call.

The config would have to be understood per architecture; the call says it in one language. Head sizes, scale, softcap
and sinks are arguments. The window is what the mask says: the model builds its masks through Transformers' mask
interface, which hands the recorder the rule (a function of two positions) instead of a tensor.
"""

from __future__ import annotations

from collections.abc import Callable
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Any

import torch
from transformers import AttentionInterface, AttentionMaskInterface, PreTrainedModel

from llmos_server.errors import UnsupportedModel
from llmos_server.kernels.base import HeadLayout, Scoring

RECORDER = "llmos_recorder"
HARMLESS = frozenset({"position_ids", "cache_position", "use_cache", "output_router_logits", "sliding_window"})
"""Arguments that change nothing here: the batch and the mask say the same."""


@dataclass(frozen=True)
class AttentionSite:
    """One attention layer. `index` counts them in the order in which they run."""

    index: int
    layout: HeadLayout
    scoring: Scoring
    window: int | None
    sinks: torch.Tensor | None


@dataclass(frozen=True)
class MaskRule:
    """What the recorder gets in place of a mask."""

    is_seen: Callable[[int, int, torch.Tensor, torch.Tensor], torch.Tensor]
    """(batch index, head index, positions of queries, positions of keys) -> bool."""
    local_size: int | None


@dataclass
class Recording:
    """Calls of the interface during one forward pass."""

    page_size: int
    context_length: int
    sites: dict[torch.nn.Module, AttentionSite] = field(default_factory=dict)

    def add(
        self, module: torch.nn.Module, q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, mask: Any, options: Any
    ) -> None:
        """q, k, v: [1, heads, rows, head size]."""
        if module in self.sites:
            raise UnsupportedModel(f"{type(module).__name__} attends more than once in a pass")
        layout = HeadLayout(
            num_heads=q.shape[1],
            num_kv_heads=k.shape[1],
            head_dim=q.shape[3],
            page_size=self.page_size,
            value_dim=None if v.shape[3] == q.shape[3] else v.shape[3],
        )
        if k.shape[1] != v.shape[1] or k.shape[2] != q.shape[2] or layout.num_heads % layout.num_kv_heads:
            raise UnsupportedModel(f"{type(module).__name__} attends with shapes that pages don't have")
        scale, softcap, sinks = (options.pop(name, None) for name in ("scaling", "softcap", "s_aux"))
        options.pop("dropout", None)  # The model is in evaluation mode.
        if options.pop("is_causal", True) is False:
            raise UnsupportedModel(f"{type(module).__name__} lets tokens see later ones")
        unknown = [name for name, value in options.items() if name not in HARMLESS and value not in (None, False)]
        if unknown:
            raise UnsupportedModel(f"{type(module).__name__} passes {', '.join(unknown)}, which is not implemented")
        scoring = Scoring(float(layout.head_dim**-0.5 if scale is None else scale), softcap)
        self.sites[module] = AttentionSite(len(self.sites), layout, scoring, self._window(module, mask), sinks)

    def _window(self, module: torch.nn.Module, mask: Any) -> int | None:
        """From the rule, which must be that of a causal mask with or without a sliding window everywhere."""
        if not isinstance(mask, MaskRule):
            raise UnsupportedModel(f"{type(module).__name__} makes masks of its own")
        window = mask.local_size
        sizes = (window or self.context_length, self.context_length // 2)
        marks = {n * size + offset for size in sizes for n in range(4) for offset in range(-2, 3)}
        position = torch.tensor(sorted(mark for mark in marks if 0 <= mark < self.context_length))
        query, key = position[:, None], position[None, :]
        expected = key <= query if window is None else (key <= query) & (key > query - window)
        if not torch.equal(mask.is_seen(0, 0, query, key).expand_as(expected), expected):
            raise UnsupportedModel(f"{type(module).__name__} masks otherwise than causally or by a sliding window")
        return window


_recording: ContextVar[Recording] = ContextVar("recording")
"""Not an argument, because some architectures don't pass theirs on to the interface."""


def record_sites(
    model: PreTrainedModel, inputs: dict[str, torch.Tensor], page_size: int, context_length: int
) -> dict[torch.nn.Module, AttentionSite]:
    """Run the model once; attention gives zeros. Returns the layers that went through the interface, in order.

    Raises UnsupportedModel, without the model's name, for a layer that can't be computed over pages.
    """
    model.set_attn_implementation(RECORDER)
    recording = Recording(page_size, context_length)
    token = _recording.set(recording)
    try:
        model(**inputs, use_cache=False)
    finally:
        _recording.reset(token)
    return recording.sites


def _record_attention(
    module: torch.nn.Module, query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, mask: Any, **options: Any
) -> tuple[torch.Tensor, None]:
    _recording.get().add(module, query, key, value, mask, options)
    return query.new_zeros(1, query.shape[2], query.shape[1], value.shape[3]), None


def _record_mask(**options: Any) -> MaskRule:
    return MaskRule(options["mask_function"], options.get("local_size"))


AttentionInterface.register(RECORDER, _record_attention)
AttentionMaskInterface.register(RECORDER, _record_mask)
