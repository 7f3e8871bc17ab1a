"""Small tokenizers built in code, model folders around them, and SmolLM2's own where it is at hand."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import settings
from tokenizers import AddedToken, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers

from llmos_server.chat.renderer import Renderer

sys.path.insert(0, str(Path(__file__).parent))  # for chat_templates

# A slow machine is no failure.
settings.register_profile("llmos", parent=settings(), deadline=None)
settings.load_profile("llmos")

SPECIAL = ["<s>", "</s>", "<|im_start|>", "<|im_end|>", "<|end|>"]
TEXTS = [
    "The quick brown fox jumps over the lazy dog, and the dog only said: the end.",
    "def add(a, b):\n    return a + b  # 1 + 2 == 3\n\n<div class='x'>&amp;</div>",
    "Grüße aus Köln, s'il vous plaît; привет, мир! こんにちは 世界 🙂🙃 e\u0301",
    "user assistant system system user end start im <|im_ start|> <tool> </tool>",
]
CHATML = (
    "{% for message in messages %}{{ '<|im_start|>' + message['role'] + '\\n' + message['content'] + '<|im_end|>\\n' }}"
    "{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}"
)


def create_byte_level(vocab_size: int = 400) -> Tokenizer:
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocab_size,
        special_tokens=SPECIAL,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(TEXTS, trainer)
    tokenizer.add_tokens([AddedToken("<think>", normalized=False), AddedToken("</think>", normalized=False)])
    tokenizer.post_processor = processors.TemplateProcessing(single="<s> $A", special_tokens=[("<s>", 0)])
    return tokenizer


def create_sentencepiece(kind: str = "legacy") -> Tokenizer:
    """kind: "legacy" (normaliser puts the space before the text), "first" (Metaspace), or "gemma" (no space)."""
    pieces = ["<unk>", "<s>", "</s>", *(f"<0x{byte:02X}>" for byte in range(256)), "▁"]
    pieces += sorted(set("Helowrd,therfoxuckbwn!<>/s[]INSTabc") | {"é", "ö"})
    merges = [("▁", "H"), ("▁H", "e"), ("l", "l"), ("▁He", "ll"), ("▁Hell", "o"), ("▁", "w"), ("o", "r"), ("▁", "▁")]
    pieces += [left + right for left, right in merges]
    vocab = {piece: i for i, piece in enumerate(dict.fromkeys(pieces))}
    tokenizer = Tokenizer(models.BPE(vocab, merges, unk_token="<unk>", fuse_unk=True, byte_fallback=True))
    if kind == "first":
        tokenizer.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="first", split=False)
    else:
        prepend = [normalizers.Prepend("▁")] if kind == "legacy" else []
        tokenizer.normalizer = normalizers.Sequence([*prepend, normalizers.Replace(" ", "▁")])
    strip = [] if kind == "gemma" else [decoders.Strip(" ", 1, 0)]
    tokenizer.decoder = decoders.Sequence(
        [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(), *strip]
    )
    tokenizer.add_special_tokens([AddedToken(token, special=True, normalized=False) for token in pieces[:3]])
    return tokenizer


class Folders:
    """Model folders as the registry writes them, without weights."""

    def __init__(self, root: Callable[[], Path]) -> None:
        self._root = root

    def create(self, tokenizer: Tokenizer, template: str | None = CHATML, **files: dict[str, Any]) -> Path:
        """files: tokenizer_config, config, generation_config."""
        folder = self._root()
        tokenizer.save(str(folder / "tokenizer.json"))
        named = {"bos_token": "<s>", "eos_token": "</s>"}
        contents = {"tokenizer_config": named, "config": {"eos_token_id": 1}, "generation_config": {}, **files}
        for name, content in contents.items():
            (folder / f"{name}.json").write_text(json.dumps(content), encoding="utf-8")
        if template is not None:
            (folder / "chat_template.jinja").write_text(template, encoding="utf-8", newline="")
        return folder

    def load(self, tokenizer: Tokenizer, template: str | None = CHATML, **files: dict[str, Any]) -> Renderer:
        return Renderer.load(self.create(tokenizer, template, **files))


@pytest.fixture(scope="session")
def folders(tmp_path_factory: pytest.TempPathFactory) -> Folders:
    return Folders(lambda: tmp_path_factory.mktemp("model"))


@pytest.fixture(scope="session")
def byte_level() -> Tokenizer:
    return create_byte_level()


@pytest.fixture(scope="session")
def renderer(folders: Folders, byte_level: Tokenizer) -> Renderer:
    """Byte-level BPE with a ChatML template."""
    return folders.load(byte_level)


@pytest.fixture(scope="session", params=["legacy", "first", "gemma"])
def sentencepiece(request: pytest.FixtureRequest) -> Tokenizer:
    return create_sentencepiece(request.param)


@pytest.fixture(scope="session")
def spaced(folders: Folders) -> Renderer:
    """A renderer whose decoder drops the space at the begin of a text."""
    return folders.load(create_sentencepiece())


@pytest.fixture(scope="session")
def smollm2_folder(request: pytest.FixtureRequest) -> Path:
    """LLMOS_TEST_MODEL_FOLDER, else the registry's; skips where neither is."""
    folder = os.environ.get("LLMOS_TEST_MODEL_FOLDER") or request.getfixturevalue("smollm2").folder
    return Path(folder)


@pytest.fixture(scope="session")
def smollm2_renderer(smollm2_folder: Path) -> Renderer:
    return Renderer.load(smollm2_folder)
