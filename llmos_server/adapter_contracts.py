"""Adapters, small weights beside a base model's: a chapter of contracts.py, with the same rules."""

from __future__ import annotations

from typing import Literal

import msgspec

ADAPTERS = "adapters"
"""The folder below LLMOS_HOME: adapters/<64 hex digits of the content's digest>/."""
ADAPTER_WEIGHTS = "adapter_model.safetensors"
ADAPTER_CONFIG = "adapter_config.json"
"""These two as PEFT writes them."""
ADAPTER_SPEC = "adapter.json"
"""The file beside them that holds the AdapterSpec."""
BASE_DIGEST = "llmos_base_digest"
"""Key in the safetensors file's metadata: the digest of the base that it was trained on. Other tools write none."""


TEMPORARY = "."
"""Begins the suffix of an adapter that a job asks while it trains it: no list shows it, and nobody can choose a name
that begins so."""


class AdapterSpec(msgspec.Struct, frozen=True, kw_only=True):
    """What an engine needs to know beside the tensors: for each module, y += scale * B(A x)."""

    rank: int
    """The largest of all modules."""
    scales: dict[str, float]
    """Module's name in the base ("model.layers.0.self_attn.q_proj") -> its scale. Its tensors are
    "base_model.model.<module>.lora_A.weight" [rank, in] and "...lora_B.weight" [out, rank]."""


class AdapterVersion(msgspec.Struct, frozen=True, kw_only=True):
    """One adapter, whose files are under LLMOS_HOME, and the name that it answers to."""

    name: str
    """The base's, and a suffix: "smollm2:135m:tidy"."""
    base: str
    """The base model's canonical name."""
    base_digest: str
    """Of the base that it was made for, without how it was quantised; it is served with no other."""
    digest: str
    """sha256 over its tensors and its spec: "sha256:<64 hex>"."""
    folder: str
    """Absolute; holds the three files above."""
    rank: int
    num_bytes: int
    owner: str = ""
    """The key that made it, and that alone may use it; "" is everybody's."""
    is_shared: bool = False
    """Everybody may use it, by an administrator's word."""
    job_id: str = ""
    """The job that made it, if one did."""
    created: int = 0
    """Unix seconds."""


PromotionAction = Literal["promote", "rollback"]


class Promotion(msgspec.Struct, frozen=True, kw_only=True):
    """A change of an alias, a name that applications ask for; the last one holds."""

    alias: str
    number: int
    """Of the alias's changes, from 1 on."""
    action: PromotionAction
    model: str
    """What answers: a model's name, or an adapter's."""
    adapter: AdapterVersion | None
    """As it was when it was promoted: it answers, whatever its name leads to by now."""
    digest: str
    """The adapter's, else the model's when it was promoted."""
    maker: str
    """The key whose adapter it is, or ""."""
    previous: int | None
    """The number of what a rollback makes hold again."""
    made_by: str
    """The administrator's key; "" is the machine's own."""
    created: int
    """Unix seconds."""


class LoadedAdapter(msgspec.Struct, frozen=True, kw_only=True):
    """One that an engine has in its memory."""

    digest: str
    num_bytes: int
    """There; in its file it may be more, or less."""
    last_used: float | None = None
    """Unix seconds of the last request for it; None: none came since it was loaded."""


class AdapterStats(msgspec.Struct, frozen=True, array_like=True):
    """Of an engine's adapters: what it has, and counters since its worker started."""

    num_loaded: int = 0
    num_bytes: int = 0
    num_loads: int = 0
    num_evictions: int = 0
    """That made room for others."""
    load_seconds: float = 0.0
    """Of all loads together."""


def unquantised(digest: str) -> str:
    """A model's digest without how its weights are rounded at the load: adapters don't depend on that."""
    return digest.partition("+")[0]
