"""The output head at the positions that are learned, and at no other.

TRL does so on GPUs; on a CPU it multiplies every position by the whole vocabulary, which for small models and short
answers is a third of the work.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch.utils.checkpoint import checkpoint
from trl.trainer.utils import FusedCausalLMOutput

from llmos_server.training.tokens import IGNORED

CHUNK_ROWS = 512
"""Rows times the vocabulary are in memory at once; more rows are computed again in the backward pass."""
SCALED = ("final_logit_softcapping", "logit_scale", "output_multiplier", "lm_head_multiplier", "logits_scaling")
"""Config keys of models that do more to logits than multiply: TRL's head is left to those."""


class Scores(NamedTuple):
    """Of each row; what TRL's trainers log beside the loss has no gradient."""

    log_probs: torch.Tensor
    entropy: torch.Tensor
    is_top1: torch.Tensor
    mean_logits: torch.Tensor
    log_sum_sq_probs: torch.Tensor


def add_compact_head(model: Any) -> None:
    """model: what TRL's add_fused_lm_head was given; call it after that. Does nothing where TRL does it as well."""
    config = model.config.get_text_config()
    is_scaled = any(getattr(config, name, None) is not None for name in SCALED)
    if model.device.type != "cpu" or is_scaled or hasattr(config, "output_router_logits"):
        return
    fused_forward = model.forward

    @functools.wraps(fused_forward)
    def forward(*args: Any, fused_lm_head: bool = False, **kwargs: Any) -> Any:
        if not fused_lm_head or "shift_labels" in kwargs:
            return fused_forward(*args, fused_lm_head=fused_lm_head, **kwargs)
        return _score(model, *args, **kwargs)

    model.forward = forward


def _score(
    model: Any, *args: Any, labels: torch.Tensor, num_items_in_batch: Any = None, **kwargs: Any
) -> FusedCausalLMOutput:
    kwargs["use_cache"] = False
    hidden = model.base_model(*args, **kwargs).last_hidden_state[:, :-1]
    labels = labels[:, 1:]
    mask = labels != IGNORED
    head = model.get_output_embeddings()
    chunks = list(_in_chunks(hidden[mask], labels[mask], head.weight, head.bias))
    rows = Scores(*(torch.cat(column) for column in zip(*chunks, strict=True)))
    placed = Scores(*(x.new_zeros(mask.shape).masked_scatter(mask, x) for x in rows))
    num_items = mask.sum().clamp(min=1) if num_items_in_batch is None else num_items_in_batch
    return FusedCausalLMOutput(loss=-placed.log_probs.sum() / num_items, label_mask=mask, **placed._asdict())


def _in_chunks(
    hidden: torch.Tensor, labels: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None
) -> Iterator[Scores]:
    """At least one, so that a batch without labels still has a gradient, of zeros."""
    pairs = zip(hidden.split(CHUNK_ROWS), labels.split(CHUNK_ROWS), strict=True)
    if len(labels) <= CHUNK_ROWS:
        yield _score_rows(hidden, labels, weight, bias)
        return
    for some_hidden, some_labels in pairs:
        scores: Scores = checkpoint(_score_rows, some_hidden, some_labels, weight, bias, use_reentrant=False)
        yield scores


def _score_rows(hidden: torch.Tensor, labels: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None) -> Scores:
    logits = F.linear(hidden, weight, bias).float()
    logprobs = logits.log_softmax(-1)
    with torch.no_grad():
        entropy = -(logprobs.exp() * logprobs).sum(-1)
        is_top1 = logprobs.argmax(-1) == labels
        others = entropy, is_top1, logits.mean(-1), (2 * logprobs).logsumexp(-1)
    return Scores(logprobs.gather(-1, labels[:, None]).squeeze(-1), *others)
