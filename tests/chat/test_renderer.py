"""Loading a model folder, text to ids and back."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tokenizers import AddedToken, Tokenizer

from llmos_server.chat.renderer import Renderer
from llmos_server.errors import InvalidRequest, UnsupportedModel

MESSAGES = [{"role": "user", "content": "The dog?"}]


@pytest.mark.parametrize("name", ["tokenizer.json", "tokenizer_config.json", "config.json"])
def test_a_missing_file_is_named(folders: Any, byte_level: Any, name: str) -> None:
    folder = folders.create(byte_level)
    (folder / name).unlink()
    with pytest.raises(UnsupportedModel, match=name):
        Renderer.load(folder)


@pytest.mark.parametrize("name", ["tokenizer.json", "tokenizer_config.json", "generation_config.json"])
@pytest.mark.parametrize("content", ["{", "[]"])
def test_a_broken_file_is_named(folders: Any, byte_level: Any, name: str, content: str) -> None:
    folder = folders.create(byte_level)
    (folder / name).write_text(content)
    with pytest.raises(UnsupportedModel, match=name):
        Renderer.load(folder)


@pytest.mark.parametrize(
    ("files", "eos_ids", "bos_id"),
    [
        ({}, {1}, 0),
        ({"generation_config": {"eos_token_id": [3, 4]}}, {1, 3, 4}, 0),
        ({"tokenizer_config": {"eos_token": {"content": "<|im_end|>"}}}, {1, 3}, None),
        ({"tokenizer_config": {}, "config": {"text_config": {"eos_token_id": 4, "bos_token_id": 2}}}, {4}, 2),
        ({"tokenizer_config": {"bos_token": None}, "config": {"bos_token_id": 2}}, set(), None),
    ],
)
def test_begin_and_end_tokens(
    folders: Any, byte_level: Any, files: dict[str, Any], eos_ids: set[int], bos_id: int | None
) -> None:
    renderer = folders.load(byte_level, **files)
    assert renderer.eos_ids == eos_ids
    assert renderer.bos_id == bos_id


def test_a_folder_without_generation_config_uses_config(folders: Any, byte_level: Any) -> None:
    folder = folders.create(byte_level, tokenizer_config={}, config={"eos_token_id": 3})
    (folder / "generation_config.json").unlink()
    assert Renderer.load(folder).eos_ids == {3}


@pytest.mark.parametrize("template", ["{{ eos_token }}", [{"name": "default", "template": "{{ eos_token }}"}]])
def test_a_template_in_the_tokenizer_config(folders: Any, byte_level: Any, template: Any) -> None:
    config = {"eos_token": "</s>", "chat_template": template}
    assert folders.load(byte_level, None, tokenizer_config=config).render(MESSAGES) == "</s>"


def test_a_model_without_a_template_points_to_completions(folders: Any, byte_level: Any) -> None:
    renderer = folders.load(byte_level, None)
    assert not renderer.has_template
    assert renderer.template_variables == frozenset()
    for method in (renderer.render, renderer.encode_chat):
        with pytest.raises(InvalidRequest, match="/v1/completions") as caught:
            method(MESSAGES)
        assert caught.value.code == "no_chat_template"


def test_a_chat_gets_no_second_begin_token(folders: Any, byte_level: Any) -> None:
    renderer = folders.load(byte_level, "{{ bos_token }}{{ messages[0].content }}")
    ids = renderer.encode_chat(MESSAGES)
    assert ids == renderer.encode("The dog?")
    assert ids.count(0) == 1


def test_encode_adds_and_parses_what_it_is_told(renderer: Renderer) -> None:
    assert renderer.encode("a<|im_end|>")[0] == 0
    assert 0 not in renderer.encode("a<|im_end|>", add_special_tokens=False)
    assert 3 in renderer.encode("a<|im_end|>")
    assert 3 not in renderer.encode("a<|im_end|>", parse_special=False)
    assert renderer.encode("a", parse_special=False)[0] == 0


def test_decode_skips_special_tokens_on_request(renderer: Renderer) -> None:
    ids = renderer.encode("a <|im_end|>b<think>")
    assert renderer.decode(ids) == "a b<think>"
    assert renderer.decode(ids, skip_special_tokens=False) == "<s>a <|im_end|>b<think>"


def test_encode_refuses_half_a_surrogate_pair_by_field(renderer: Renderer) -> None:
    with pytest.raises(InvalidRequest, match="surrogate") as caught:
        renderer.encode("a\ud800")
    assert caught.value.param == "prompt"


@given(st.text())
def test_any_text_comes_back(renderer: Renderer, text: str) -> None:
    ids = renderer.encode(text, add_special_tokens=False, parse_special=False)
    assert renderer.decode(ids, skip_special_tokens=False) == text
    assert b"".join(renderer.token_bytes(token_id) for token_id in ids) == text.encode()


@given(st.data())
def test_decode_equals_the_tokenizers_library(renderer: Renderer, byte_level: Any, data: st.DataObject) -> None:
    ids = data.draw(st.lists(st.integers(0, renderer.vocab_size - 1)))
    for skip in (True, False):
        assert renderer.decode(ids, skip_special_tokens=skip) == byte_level.decode(ids, skip_special_tokens=skip)


def test_ids_outside_the_vocabulary_have_no_bytes(renderer: Renderer) -> None:
    for token_id in (-1, renderer.vocab_size, 10**9):
        assert renderer.token_bytes(token_id) == b""
        assert renderer.token_text(token_id) == ""
    assert renderer.token_bytes(renderer.vocab_size - 1) != b""


def test_a_token_that_is_part_of_a_character(renderer: Renderer) -> None:
    first, *_ = renderer.encode("\U0001f9ff", add_special_tokens=False)
    assert renderer.token_text(first) == "\ufffd"
    assert b"\xf0\x9f\xa7\xbf".startswith(renderer.token_bytes(first))


@given(st.text(alphabet="Helo wrdéö日 </s>", max_size=30), st.booleans())
def test_sentencepiece_decodes_as_the_tokenizers_library(
    folders: Any, sentencepiece: Any, text: str, plain: bool
) -> None:
    renderer = folders.load(sentencepiece)
    ids = renderer.encode(text, parse_special=not plain)
    for skip in (True, False):
        assert renderer.decode(ids, skip_special_tokens=skip) == sentencepiece.decode(ids, skip_special_tokens=skip)


def test_sentencepiece_tokens_have_exact_bytes(folders: Any, sentencepiece: Any) -> None:
    renderer = folders.load(sentencepiece)
    ids = {token: sentencepiece.token_to_id(token) for token in ("▁Hello", "<0xE6>", "</s>", "é")}
    assert {token: renderer.token_bytes(token_id) for token, token_id in ids.items()} == {
        "▁Hello": b" Hello",
        "<0xE6>": b"\xe6",
        "</s>": b"</s>",
        "é": "é".encode(),
    }


@pytest.mark.parametrize("decoder", [None, {"type": "BPEDecoder", "suffix": "</w>"}])
def test_a_decoder_of_another_kind_is_refused_by_name(folders: Any, byte_level: Any, decoder: Any) -> None:
    folder = folders.create(byte_level)
    source = json.loads((folder / "tokenizer.json").read_text())
    (folder / "tokenizer.json").write_text(json.dumps({**source, "decoder": decoder}))
    with pytest.raises(UnsupportedModel, match=decoder["type"] if decoder else "none"):
        Renderer.load(folder)


def test_a_tokenizer_that_truncates_and_pads_is_told_not_to(folders: Any, byte_level: Any) -> None:
    folder = folders.create(byte_level)
    source = json.loads((folder / "tokenizer.json").read_text())
    source["truncation"] = {"max_length": 3, "strategy": "LongestFirst", "stride": 0, "direction": "Right"}
    (folder / "tokenizer.json").write_text(json.dumps(source))
    renderer = Renderer.load(folder)
    assert renderer.decode(renderer.encode("The quick brown fox")) == "The quick brown fox"


def test_chat_imports_no_torch() -> None:
    program = (
        "import sys, llmos_server.chat.renderer, llmos_server.chat.choice, llmos_server.chat.pool;"
        "assert not {'torch', 'transformers'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", program], check=True)


def test_user_defined_pieces_are_spelled_with_spaces(folders: Any, sentencepiece: Any) -> None:
    """Gemma's tokenizer.json has ▁▁ among its added tokens."""
    tokenizer = Tokenizer.from_str(sentencepiece.to_str())
    tokenizer.add_tokens([AddedToken("▁▁▁", normalized=True), AddedToken("<b>", normalized=False)])
    renderer = folders.load(tokenizer)
    ids = renderer.encode("Hello   <b>", add_special_tokens=False)
    assert tokenizer.token_to_id("<b>") in ids
    assert renderer.decode(ids) == tokenizer.decode(ids)
    assert renderer.token_bytes(tokenizer.token_to_id("▁▁▁")) == b"   "


def test_a_continuation_is_what_the_model_would_write(renderer: Renderer) -> None:
    for prompt, text in (("The dog", " said"), ("The", " end"), ("user\n", "The")):
        ids = renderer.encode(prompt)
        continuation = renderer.encode_continuation(ids, text, param="labels")
        assert ids + continuation == renderer.encode(prompt + text)


def test_a_continuation_never_joins_the_prompts_last_token(renderer: Renderer) -> None:
    ids = renderer.encode("The do", add_special_tokens=False)
    whole = renderer.encode("The dog", add_special_tokens=False)
    assert whole[: len(ids)] != ids  # "dog" is one token.
    continuation = renderer.encode_continuation(ids, "g", param="labels")
    assert continuation == renderer.encode("g", add_special_tokens=False)


def test_a_continuation_holds_no_special_token(renderer: Renderer) -> None:
    ids = renderer.encode_chat(MESSAGES)
    assert renderer.special_ids.isdisjoint(renderer.encode_continuation(ids, "<|im_end|>", param="labels"))
    assert renderer.encode_continuation(ids, "", param="labels") == []


def test_a_continuation_gets_no_space_of_the_tokenizer(folders: Any, sentencepiece: Tokenizer) -> None:
    """Behind a line's begin the model writes no space; behind a special token, where a text begins, it may."""
    template = "{% for m in messages %}{{ m.content }}{% endfor %}{% if add_generation_prompt %}<s>a\n{% endif %}"
    renderer = folders.load(sentencepiece, template)
    prompt = renderer.encode_chat([{"role": "user", "content": "Hello"}])
    continuation = renderer.encode_continuation(prompt, "bob", param="x")
    assert sentencepiece.token_to_id("▁") not in continuation
    assert renderer.decode([*prompt, *continuation]) == renderer.decode(prompt) + "bob"
    expected = sentencepiece.encode("bob", add_special_tokens=False).ids
    assert renderer.encode_continuation(renderer.encode("<s>"), "bob", param="x") == expected
