"""BERT's WordPiece as a `tokenizers.Tokenizer`, and from the vocab.txt of checkpoints that bring no tokenizer.json."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tokenizers import AddedToken, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors

from llmos_server.errors import PullError
from llmos_server.registry.json_files import read_flag

MAX_WORD_CHARS = 100
"""BERT's: a longer word is one unknown token."""
SPECIAL_TOKENS = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")


def build_wordpiece(vocab_file: Path, tokenizer_config: Mapping[str, Any]) -> Tokenizer:
    """The tokenizer that Transformers' BertTokenizer is. vocab_file: one token a line, its number the id.

    Raises PullError when there is no such file, or it is another kind of vocabulary.
    """
    try:
        with vocab_file.open(encoding="utf-8") as lines:  # Not str.splitlines: U+2028 and U+0085 are tokens of some.
            tokens = [line.rstrip("\n") for line in lines]
    except FileNotFoundError:
        raise PullError(
            f"{vocab_file.parent}: has neither tokenizer.json nor vocab.txt, and other tokenizer files are not read. "
            "Make one: transformers.AutoTokenizer.from_pretrained(FOLDER).save_pretrained(FOLDER)"
        ) from None
    except (OSError, UnicodeDecodeError) as error:
        raise PullError(f"{vocab_file}: can't be read as a vocabulary ({error}).") from None
    vocab = {token: token_id for token_id, token in enumerate(tokens)}
    missing = [token for token in SPECIAL_TOKENS if token not in vocab]
    if missing:
        raise PullError(f"{vocab_file}: has no {missing[0]}, so it is no BERT vocabulary; bring a tokenizer.json.")
    lowercase = read_flag(tokenizer_config, "do_lower_case", True)
    tokenizer = assemble_wordpiece(
        vocab,
        "[UNK]",
        handle_chinese_chars=read_flag(tokenizer_config, "tokenize_chinese_chars", True),
        strip_accents=read_flag(tokenizer_config, "strip_accents", lowercase),
        lowercase=lowercase,
    )
    tokenizer.add_special_tokens([AddedToken(token, special=True, normalized=False) for token in SPECIAL_TOKENS])
    tokenizer.post_processor = processors.BertProcessing(("[SEP]", vocab["[SEP]"]), ("[CLS]", vocab["[CLS]"]))
    return tokenizer


def assemble_wordpiece(
    vocab: dict[str, int],
    unknown: str,
    *,
    lowercase: bool,
    strip_accents: bool | None,
    handle_chinese_chars: bool = True,
) -> Tokenizer:
    """BERT's steps over a vocabulary in BERT's spelling; special tokens and what is put around a text are the caller's.

    strip_accents: None does it where case is dropped.
    """
    tokenizer = Tokenizer(models.WordPiece(vocab, unk_token=unknown, max_input_chars_per_word=MAX_WORD_CHARS))
    tokenizer.normalizer = normalizers.BertNormalizer(
        handle_chinese_chars=handle_chinese_chars, strip_accents=strip_accents, lowercase=lowercase
    )
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.decoder = decoders.WordPiece()
    return tokenizer
