"""How a text is split before BPE, for each `tokenizer.ggml.pre` whose rules are known for sure.

A GGUF file names its split rules and holds none of them, so a name that isn't in this table can't be guessed:
a wrong split gives wrong tokens wherever digits, white space or punctuation meet.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from tokenizers import Regex, normalizers, pre_tokenizers

from llmos_server.errors import UnsupportedModel
from llmos_server.registry.split_patterns import (
    BLOOM,
    DEEPSEEK_CODER,
    DEEPSEEK_LLM,
    DEEPSEEK_V3,
    GPT4O,
    LLAMA3,
    QWEN2,
    QWEN35,
    SEED_CODER,
    TEKKEN,
)


@dataclass(frozen=True, kw_only=True)
class PreTokenizer:
    """One split rule and the tokenizer defaults that go with its name."""

    build: Callable[[], pre_tokenizers.PreTokenizer]
    normalize: Callable[[], normalizers.Normalizer] | None = None
    ignore_merges: bool = False
    """A piece that is a whole token is taken as it is, even if merges would not lead there."""
    add_bos: bool = False
    """What holds when the file has no tokenizer.ggml.add_bos_token."""


def _byte_level(*, split: bool) -> pre_tokenizers.PreTokenizer:
    return pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=split)


def _gpt2() -> pre_tokenizers.PreTokenizer:
    return _byte_level(split=True)


def _digits_then_gpt2() -> pre_tokenizers.PreTokenizer:
    digits = pre_tokenizers.Split(Regex(r"\p{N}"), behavior="isolated")
    return pre_tokenizers.Sequence([digits, _byte_level(split=True)])


def _regex(*patterns: str) -> Callable[[], pre_tokenizers.PreTokenizer]:
    """Each pattern cuts, before and behind its matches, what the ones before it have left."""

    def build() -> pre_tokenizers.PreTokenizer:
        splits = [pre_tokenizers.Split(Regex(pattern), behavior="isolated") for pattern in patterns]
        return pre_tokenizers.Sequence([*splits, _byte_level(split=False)])

    return build


GPT2 = PreTokenizer(build=_gpt2)
DIGITS_THEN_GPT2 = PreTokenizer(build=_digits_then_gpt2)
LLAMA3_BPE = PreTokenizer(build=_regex(LLAMA3), ignore_merges=True, add_bos=True)
CL100K = PreTokenizer(build=_regex(LLAMA3))
O200K = PreTokenizer(build=_regex(GPT4O))
# The tokenizers of Qwen, Cohere and GPT-NeoX compose characters (NFC) first; converters don't record it.
QWEN2_BPE = PreTokenizer(build=_regex(QWEN2), normalize=normalizers.NFC)
NEOX = PreTokenizer(build=_gpt2, normalize=normalizers.NFC)

PRE_TOKENIZERS: dict[str, PreTokenizer] = {
    "gpt-2": GPT2,
    "phi-2": GPT2,
    "exaone4": GPT2,
    "trillion": GPT2,
    "olmo": NEOX,
    "mpt": NEOX,
    "smollm": DIGITS_THEN_GPT2,
    "starcoder": DIGITS_THEN_GPT2,
    "refact": DIGITS_THEN_GPT2,
    "codeshell": DIGITS_THEN_GPT2,
    "exaone": DIGITS_THEN_GPT2,
    "minerva-7b": DIGITS_THEN_GPT2,
    "command-r": PreTokenizer(build=_digits_then_gpt2, normalize=normalizers.NFC),
    "llama-bpe": LLAMA3_BPE,
    "llama-v3": LLAMA3_BPE,
    "llama3": LLAMA3_BPE,
    "pixtral": LLAMA3_BPE,
    "dbrx": CL100K,
    "smaug-bpe": CL100K,
    "glm4": CL100K,
    "chatglm-bpe": CL100K,
    "gpt-4o": O200K,
    "llama4": O200K,
    "tekken": PreTokenizer(build=_regex(TEKKEN), ignore_merges=True, add_bos=True),
    "qwen2": QWEN2_BPE,
    "deepseek-r1-qwen": QWEN2_BPE,
    "qwen35": PreTokenizer(build=_regex(QWEN35), normalize=normalizers.NFC),
    "seed-coder": PreTokenizer(build=_regex(SEED_CODER)),
    "deepseek-llm": PreTokenizer(build=_regex(*DEEPSEEK_LLM)),
    "deepseek-coder": PreTokenizer(build=_regex(*DEEPSEEK_CODER)),
    "deepseek-v3": PreTokenizer(build=_regex(*DEEPSEEK_V3)),
    "poro-chat": PreTokenizer(build=_regex(BLOOM)),
    "viking": PreTokenizer(build=_regex(BLOOM, r"\p{N}")),
}


def pre_tokenizer_for(name: object) -> PreTokenizer:
    """The rules for one `tokenizer.ggml.pre`. Raises UnsupportedModel, naming it, when they aren't known."""
    if not isinstance(name, str) or not name:
        raise UnsupportedModel(
            "The GGUF file has no tokenizer.ggml.pre, so how to split text can't be known (files of old converters "
            "lack it). Take a newer conversion, or the safetensors version of the model."
        )
    found = PRE_TOKENIZERS.get(name)
    if found is None:
        raise UnsupportedModel(
            f"tokenizer.ggml.pre is {name!r}, whose split rules LLMOS doesn't know; guessing would give wrong tokens. "
            f"Known are {', '.join(sorted(PRE_TOKENIZERS))}. Take the safetensors version of the model: it brings its "
            "own tokenizer.json."
        )
    return found
