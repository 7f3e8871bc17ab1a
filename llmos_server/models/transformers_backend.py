"""Any decoder of Transformers over our pages: what the own decoder doesn't cover.

The network is Transformers' own code in float32; attention goes through its attention interface to our kernels, and
matrix products are replaced by ours. Nothing is believed about an architecture: one pass at load records what each
layer asks for, and further ones compare logits over pages with those of the plain model.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from transformers import PreTrainedModel

from llmos_server.errors import UnsupportedModel
from llmos_server.kernels.base import Kernels, LayerCache, PagedBatch, Span
from llmos_server.models.adapter_files import Updates
from llmos_server.models.adapter_sites import AdapterSites, SiteAdapter
from llmos_server.models.attention_sites import record_sites
from llmos_server.models.paged_interface import PAGED, PagedAttention
from llmos_server.models.tiled_modules import use_tiled_products
from llmos_server.models.transformers_loading import context_length, first_line, load_transformers_model

PROBE_TOKENS = 12
PROBE_CUT = 7
"""The prompt runs in two chunks: what is carried over otherwise than in pages gets lost, and is seen."""
PROBE_SEEDS = (1, 2, 3)
"""A near tie between experts may once be decided otherwise; what is computed wrongly differs for every prompt."""
TOLERANCE = 1e-3
"""Of the largest logit: float32 in another order stays below, what is left out is above."""

BATCH_INVARIANT = frozenset((
    "arcee", "biogpt", "cohere", "cohere2", "deepseek_v2", "deepseek_v3", "exaone4", "gemma", "gemma2",
    "gemma3_text", "gemma4_text", "glm", "glm4", "glm4_moe", "gpt2", "gpt_bigcode", "gpt_neox", "gpt_oss",
    "granite", "granitemoe", "helium", "llama", "mixtral", "nemotron", "olmo", "olmo2", "olmo3", "olmoe", "opt",
    "phi", "phi3", "phimoe", "qwen3", "qwen3_moe", "seed_oss", "smollm3", "stablelm", "starcoder2", "vaultgemma",
))  # fmt: skip
"""Types whose rows have been found to have the same bits in any batch, by tests/models/test_architectures.py."""


def open_transformers_model(
    folder: Path,
    values: Mapping[str, Any],
    weights: Sequence[Path],
    kernels: Kernels,
    device: torch.device,
    page_size: int,
    code: Mapping[str, str],
) -> TransformersModel:
    """values: of config.json in the folder. code: as in models/opening.py.

    Raises UnsupportedModel, which names the model type and the reason.
    """
    model = load_transformers_model(folder, values, weights, device, code)
    with _refusal(model.config.model_type):
        return TransformersModel(model, kernels, page_size)


@contextmanager
def _refusal(model_type: str) -> Iterator[None]:
    """Whatever goes wrong in an architecture's code while it is tried out means that it can't be served."""
    try:
        yield
    except Exception as error:
        reason = str(error) if isinstance(error, UnsupportedModel) else f"trying it out failed ({first_line(error)})"
        raise UnsupportedModel(f"model_type {model_type!r} can't be served over the paged cache: {reason}.") from error


class TransformersModel:
    """A models.paged_model.PagedModel."""

    def __init__(self, model: PreTrainedModel, kernels: Kernels, page_size: int) -> None:
        """model: float32, on its device, in evaluation mode, with eager attention. It is changed and taken over."""
        self.architecture: str = model.config.model_type
        is_own_code = not type(model).__module__.startswith("transformers.")
        self.is_batch_invariant = self.architecture in BATCH_INVARIANT and not is_own_code
        self.context_length = context_length(model.config)
        embedding: Any = model.get_input_embeddings()
        num_embeddings: int = embedding.weight.shape[0]
        generators = [torch.Generator().manual_seed(seed) for seed in PROBE_SEEDS]
        self._prompts = [torch.randint(num_embeddings, (PROBE_TOKENS,), generator=g) for g in generators]
        self._device = model.device
        self._expected = [model(**self._inputs(prompt), use_cache=False).logits[0] for prompt in self._prompts]
        self.vocab_size = min(num_embeddings, self._expected[0].shape[-1])
        with _watched(model) as calls:
            sites = record_sites(model, self._inputs(self._prompts[0]), page_size, self.context_length)
        _check_layers(len(sites), model.config.get_text_config().num_hidden_layers)
        self.layouts = tuple(site.layout for site in sites.values())
        use_tiled_products(model, kernels)
        self._sites = AdapterSites(model, kernels)
        model.set_attn_implementation(PAGED)
        self._attention = PagedAttention(sites, kernels)
        self._trunk, output = calls[0]
        self.hidden_size = output.last_hidden_state.shape[-1]
        self._head = model
        _replace(model, self._trunk, _PassOn(self._trunk, type(output)))

    def _inputs(self, token_ids: torch.Tensor, positions: torch.Tensor | None = None) -> dict[str, torch.Tensor]:
        places = torch.arange(len(token_ids)) if positions is None else positions
        return {"input_ids": token_ids[None].to(self._device), "position_ids": places[None].to(self._device)}

    def prepare(self, cache: Sequence[LayerCache], max_positions: int) -> None:
        """Compares logits over pages with the plain model's, for a short prompt in two chunks."""
        page_size = self.layouts[0].page_size
        num_tokens = min(PROBE_TOKENS, max_positions)
        pages = range(-(-num_tokens // page_size))[::-1]
        with _refusal(self.architecture):
            errors = [
                self._error(prompt[:num_tokens], expected[:num_tokens], pages, cache)
                for prompt, expected in zip(self._prompts, self._expected, strict=True)
            ]
            if not min(errors) <= TOLERANCE:
                raise UnsupportedModel(
                    f"its logits over pages differ from those of the plain model, by {min(errors):.1g} of the largest: "
                    "it computes something that neither pages nor the attention interface carry"
                )
        del self._expected

    def _error(
        self, prompt: torch.Tensor, expected: torch.Tensor, pages: Sequence[int], cache: Sequence[LayerCache]
    ) -> float:
        """Largest difference, as a part of the largest logit."""
        hidden = []
        for start, end in ((0, min(PROBE_CUT, len(prompt))), (PROBE_CUT, len(prompt))):
            if start < end:
                batch = PagedBatch((Span(0, start, end - start, pages),), end - start)
                hidden.append(self.forward(prompt[start:end], torch.arange(start, end), batch, cache))
        difference = (self.logits(torch.cat(hidden)) - expected).abs().max()
        return float(difference / expected.abs().max().clamp(min=1e-6))

    def forward(
        self, token_ids: torch.Tensor, positions: torch.Tensor, batch: PagedBatch, cache: Sequence[LayerCache]
    ) -> torch.Tensor:
        """token_ids, positions: int64 [rows]. Writes keys and values. Returns hidden states [rows, hidden_size]."""
        with self._attention.step(batch, cache), self._sites.step(batch, self._device):
            hidden: torch.Tensor = self._trunk(**self._inputs(token_ids, positions), use_cache=False).last_hidden_state
        return hidden[0]

    def load_adapter(self, updates: Updates) -> SiteAdapter:
        """See models.paged_model.PagedModel."""
        return self._sites.load(updates, self._device)

    def logits(self, hidden: torch.Tensor) -> torch.Tensor:
        """Whatever the architecture does after its trunk: the head, and scaling or softcapping."""
        logits: torch.Tensor = self._head(inputs_embeds=hidden[None], use_cache=False).logits
        return logits[0, :, : self.vocab_size].float()


class _PassOn(torch.nn.Module):
    """Stands where the trunk was: the hidden states come in as if they were embeddings, and go out."""

    def __init__(self, trunk: torch.nn.Module, output_class: type) -> None:
        super().__init__()
        self._trunk = (trunk,)  # In a tuple, so that it is no child of the model.
        self._output_class = output_class

    def forward(self, input_ids: None = None, *, inputs_embeds: torch.Tensor, **_: Any) -> Any:
        return self._output_class(last_hidden_state=inputs_embeds)

    def __getattr__(self, name: str) -> Any:
        """Some heads read numbers off the trunk."""
        return getattr(self.__dict__["_trunk"][0], name)


@contextmanager
def _watched(model: PreTrainedModel) -> Iterator[list[tuple[torch.nn.Module, Any]]]:
    """Collects (module, output) of the models inside the model that run, in the order in which they are entered."""
    entered: list[torch.nn.Module] = []
    outputs: dict[torch.nn.Module, Any] = {}
    calls: list[tuple[torch.nn.Module, Any]] = []
    inner = [module for module in model.modules() if isinstance(module, PreTrainedModel) and module is not model]
    handles = [module.register_forward_pre_hook(lambda m, _: entered.append(m)) for module in inner]
    handles += [module.register_forward_hook(lambda m, _, out: outputs.__setitem__(m, out)) for module in inner]
    try:
        yield calls
    finally:
        for handle in handles:
            handle.remove()
    calls += [(module, outputs[module]) for module in entered]


def _check_layers(num_calls: int, num_layers: int) -> None:
    if num_calls == 0:
        raise UnsupportedModel("its attention does not go through Transformers' attention interface")
    if num_calls < num_layers:
        raise UnsupportedModel(
            f"only {num_calls} of its {num_layers} layers attend through Transformers' attention interface; the others "
            "(convolutions, recurrences or attention of another kind) keep state that pages don't hold"
        )
    if num_calls > num_layers:
        raise UnsupportedModel(f"it attends {num_calls} times in {num_layers} layers")


def _replace(model: torch.nn.Module, old: torch.nn.Module, new: torch.nn.Module) -> None:
    for parent in model.modules():
        for name, child in parent.named_children():
            if child is old:
                setattr(parent, name, new)
                return
