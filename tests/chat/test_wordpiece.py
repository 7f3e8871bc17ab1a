"""The renderer over BERT's WordPiece, and texts in batches between their special tokens."""

from __future__ import annotations

import pytest
from tokenizers import AddedToken, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors

from llmos_server.chat.model_files import ModelFiles
from llmos_server.chat.renderer import Renderer
from llmos_server.errors import InvalidRequest

WORDS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "hello", "##s", "world", "!", "é"]
PAD, UNK, CLS, SEP, HELLO, S, WORLD, BANG, E = range(9)


def to_renderer(tokenizer: Tokenizer) -> Renderer:
    return Renderer(ModelFiles(tokenizer=tokenizer, template=None, named_tokens={}, eos_ids=frozenset(), bos_id=None))


@pytest.fixture(scope="module")
def renderer() -> Renderer:
    tokenizer = Tokenizer(models.WordPiece({word: i for i, word in enumerate(WORDS)}, unk_token="[UNK]"))
    tokenizer.add_special_tokens([AddedToken(word, special=True) for word in WORDS[:4]])
    tokenizer.normalizer = normalizers.Lowercase()
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.post_processor = processors.BertProcessing(("[SEP]", SEP), ("[CLS]", CLS))
    tokenizer.decoder = decoders.WordPiece()
    return to_renderer(tokenizer)


def test_text_comes_back_word_by_word(renderer: Renderer) -> None:
    ids = renderer.encode("Hellos world!")
    assert ids == [CLS, HELLO, S, WORLD, BANG, SEP]
    assert renderer.decode(ids) == "hellos world !"
    assert [renderer.token_text(i) for i in ids] == ["[CLS]", " hello", "s", " world", " !", "[SEP]"]


def test_a_batch_is_each_text_alone(renderer: Renderer) -> None:
    texts = ["hello", "world hellos é!", "hello 日 world", ""]
    assert renderer.encode_batch(texts, param="input") == [renderer.encode(text) for text in texts]


def test_special_tokens_that_a_text_to_embed_spells_out_stay_text(renderer: Renderer) -> None:
    given = ["hello [SEP] world", "[CLS]hello", "hello"]
    first, second, third = renderer.encode_batch(given, param="input")
    assert first == [CLS, HELLO, UNK, UNK, UNK, WORLD, SEP]
    assert second == [CLS, UNK, UNK, UNK, HELLO, SEP]
    assert third == [CLS, HELLO, SEP]


def test_so_do_those_that_are_found_after_the_text_was_folded() -> None:
    """all-mpnet-base-v2's <s> is such a token."""
    vocab = {word: i for i, word in enumerate(["<s>", "</s>", "<unk>", "<", ">", "/", "s", "hello"])}
    tokenizer = Tokenizer(models.WordPiece(vocab, unk_token="<unk>"))
    tokenizer.normalizer = normalizers.Lowercase()
    tokenizer.add_special_tokens([AddedToken(word, special=True, normalized=True) for word in ("<s>", "</s>")])
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.post_processor = processors.BertProcessing(("</s>", 1), ("<s>", 0))
    tokenizer.decoder = decoders.WordPiece()
    renderer = to_renderer(tokenizer)
    assert renderer.encode("hello </S>") == [0, 7, 1, 1]
    assert renderer.encode_batch(["hello </S>"], param="input") == [[0, 7, 3, 5, 6, 4, 1]]


def test_so_do_those_that_the_vocabulary_itself_holds() -> None:
    """XLM-R's Unigram model finds the piece </s> in any text."""
    vocab = [("<s>", 0.0), ("</s>", 0.0), ("<unk>", 0.0), ("▁", -1.0), *((letter, -2.0) for letter in "</s>")]
    tokenizer = Tokenizer(models.Unigram(vocab, unk_id=2))
    tokenizer.add_special_tokens([AddedToken(word, special=True) for word in ("<s>", "</s>", "<unk>")])
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="always")
    tokenizer.decoder = decoders.Metaspace()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="<s> $A </s>", special_tokens=[("<s>", 0), ("</s>", 1)]
    )
    renderer = to_renderer(tokenizer)
    (ids,) = renderer.encode_batch(["s </s>"], param="input")
    assert (ids[0], ids[-1]) == (0, 1)
    assert {0, 1}.isdisjoint(ids[1:-1])
    assert renderer.encode("s </s>")[1:-1].count(1) == 1


def test_a_text_that_is_no_unicode_is_named(renderer: Renderer) -> None:
    with pytest.raises(InvalidRequest) as caught:
        renderer.encode_batch(["fine", "\ud800"], param="input")
    assert caught.value.param == "input[1]"


def test_truncation_keeps_the_special_tokens_around_the_text(renderer: Renderer) -> None:
    ids = renderer.encode("hello world ! hellos")
    assert renderer.affixes == ([CLS], [SEP])
    assert renderer.truncate(ids, 4) == [CLS, HELLO, WORLD, SEP]
    assert renderer.truncate(ids, 4, side="left") == [CLS, HELLO, S, SEP]
    assert renderer.truncate(ids, 100) == ids
    assert renderer.truncate(ids, 100, side="left") == ids


def test_ids_of_a_clients_own_are_cut_as_they_are(renderer: Renderer) -> None:
    assert renderer.truncate([HELLO, WORLD, BANG], 2) == [HELLO, WORLD]
    assert renderer.truncate([HELLO, WORLD, BANG], 2, side="left") == [WORLD, BANG]
    assert renderer.truncate([CLS, HELLO, WORLD, BANG], 3) == [CLS, HELLO, WORLD]
