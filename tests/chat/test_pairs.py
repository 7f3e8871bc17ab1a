"""Pairs of texts against the tokenizers library's own."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tokenizers import Tokenizer
from tokenizers.models import BPE
from tokenizers.processors import BertProcessing, RobertaProcessing

from llmos_server.chat.pairs import PairEncoder
from llmos_server.chat.renderer import Renderer
from llmos_server.errors import UnsupportedModel

ALPHABET = "The dog end,12 \n.é🙂<s>"


@pytest.fixture(scope="module", params=["bert", "roberta", "none"])
def pair_of(request: pytest.FixtureRequest, folders: Any, byte_level: Tokenizer) -> tuple[Renderer, Tokenizer]:
    tokenizer = Tokenizer.from_str(byte_level.to_str())
    if request.param == "bert":
        tokenizer.post_processor = BertProcessing(("</s>", 1), ("<s>", 0))
    elif request.param == "roberta":
        tokenizer.post_processor = RobertaProcessing(("</s>", 1), ("<s>", 0), add_prefix_space=False)
    else:
        tokenizer.post_processor = None
    return folders.load(tokenizer, None), tokenizer


@given(st.text(ALPHABET, max_size=20), st.text(ALPHABET, max_size=20))
def test_a_pair_is_what_the_library_makes(pair_of: tuple[Renderer, Tokenizer], first: str, second: str) -> None:
    renderer, tokenizer = pair_of
    pair = renderer.pair_encoder().pair(first, second)
    tokenizer.encode_special_tokens = True
    expected = tokenizer.encode(first, second)
    assert pair.ids == expected.ids
    kinds = [int(place >= pair.second_start) for place in range(len(pair.ids))]
    assert kinds == expected.type_ids
    assert not pair.is_cut


@given(st.text("ab c", max_size=30), st.text("ab c", max_size=30), st.integers(1, 40), st.none() | st.integers(1, 9))
def test_only_the_second_text_is_cut(
    pair_of: tuple[Renderer, Tokenizer], first: str, second: str, max_tokens: int, max_second: int | None
) -> None:
    encoder = pair_of[0].pair_encoder()
    pair = encoder.pair(first, second, max_tokens=max_tokens, max_second=max_second)
    whole = encoder.pair(first, second)
    head = encoder.num_tokens(first) + encoder.num_special
    num_second = len(pair.ids) - head
    assert num_second == min(encoder.num_tokens(second), max(0, max_tokens - head), max_second or 99)
    assert pair.is_cut == (num_second < encoder.num_tokens(second))
    num_after = {0: 0, 3: 1, 4: 1}[encoder.num_special]
    assert pair.ids == whole.ids[: head - num_after + num_second] + whole.ids[len(whole.ids) - num_after :]


def test_a_tokenizer_without_tokens_for_letters_makes_no_pairs() -> None:
    with pytest.raises(UnsupportedModel, match="no pairs"):
        PairEncoder(Tokenizer(BPE({"b": 0}, [])), lambda text: [0])
