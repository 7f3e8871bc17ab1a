"""Keys of recipes that begin from a config, by the names of Transformers' own scripts. Torch-free."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass
class ScratchKeys:
    """A model that is made, not loaded."""

    model_type: str = ""
    """As Transformers names its configurations: llama, qwen3, gpt2, bert ..."""
    config_overrides: dict = field(default_factory=dict)  # type: ignore[type-arg]
    """Of that configuration; the vocabulary is the tokenizer's."""
    tokenizer_name: str = ""
    """The folder of a tokenizer: what the method tokenizer makes, or that of any model."""
    max_length: int = 512
    """Tokens of a row, and what the model sees at once."""
    mlm_probability: float = 0.15
    """masked_lm: the share of tokens that are hidden."""
