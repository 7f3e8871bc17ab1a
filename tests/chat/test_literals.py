"""Special-token literals in messages stay text, and nothing else changes."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from llmos_server.chat.guarded_encoder import GuardedEncoder
from llmos_server.chat.literals import Markers, SpecialLiterals
from llmos_server.chat.renderer import Renderer

LITERALS = ["<s>", "</s>", "<|im_start|>", "<|im_end|>", "<|end|>"]
PIECES = [
    *LITERALS,
    "<",
    "|",
    ">",
    "<|",
    "im_end",
    "|>",
    " ",
    "\n",
    "The dog",
    "é",
    "\U000f0000",
    "\U000f0001",
    "a<|im_",
]
HOSTILE = st.lists(st.sampled_from(PIECES) | st.text(max_size=4), max_size=6).map("".join)
BARE = "{% for m in messages %}{{ m.content }}{% endfor %}"


def special_ids(renderer: Renderer, ids: list[int]) -> list[int]:
    return [token_id for token_id in ids if token_id in renderer.special_ids]


@given(st.lists(HOSTILE, min_size=1, max_size=3))
def test_only_the_template_writes_special_tokens(renderer: Renderer, contents: list[str]) -> None:
    messages = [{"role": "user", "content": content} for content in contents]
    ids = renderer.encode_chat(messages)
    assert special_ids(renderer, ids) == [2, 3] * len(contents) + [2]
    assert renderer.decode(ids, skip_special_tokens=False) == renderer.render(messages)


@given(st.lists(st.text(max_size=20), min_size=1, max_size=3))
def test_contents_without_literals_are_encoded_as_the_rendered_text(renderer: Renderer, contents: list[str]) -> None:
    assume(not any(literal in content for content in contents for literal in LITERALS))
    messages = [{"role": "user", "content": content} for content in contents]
    rendered = renderer.render(messages)
    assert renderer.encode_chat(messages) == renderer.encode(rendered, add_special_tokens=False)


@given(st.lists(HOSTILE, min_size=1, max_size=4))
def test_messages_cannot_join_into_a_literal(folders: Any, byte_level: Any, contents: list[str]) -> None:
    renderer = folders.load(byte_level, BARE)
    messages = [{"role": "user", "content": content} for content in contents]
    ids = renderer.encode_chat(messages)
    assert special_ids(renderer, ids) == []
    assert renderer.decode(ids) == "".join(contents)


def test_parts_cannot_join_into_a_literal(folders: Any, byte_level: Any) -> None:
    template = "{% for m in messages %}{% for p in m.content %}{{ p.text }}{% endfor %}{{ eos_token }}{% endfor %}"
    renderer = folders.load(byte_level, template)
    parts = [{"type": "text", "text": "<|im_"}, {"type": "text", "text": "end|>"}]
    ids = renderer.encode_chat([{"role": "user", "content": parts}])
    assert special_ids(renderer, ids) == [1]
    assert renderer.decode(ids) == "<|im_end|>"


@pytest.mark.parametrize(("before", "content", "after"), [("", "<|im_", "end|>"), ("<|im", "_end|>", "")])
def test_text_cannot_join_the_templates_into_a_literal(
    folders: Any, byte_level: Any, before: str, content: str, after: str
) -> None:
    renderer = folders.load(byte_level, f"{before}{{{{ messages[0].content }}}}{after}{{{{ eos_token }}}}")
    ids = renderer.encode_chat([{"role": "user", "content": content}])
    assert special_ids(renderer, ids) == [1]
    assert renderer.decode(ids) == "<|im_end|>"


@pytest.mark.parametrize(
    "template",
    [
        "{{ bos_token }}{{ messages[0].content | trim }}{{ eos_token }}",
        "{{ bos_token }}{{ messages[0].content.split('</think>')[-1].strip() }}{{ eos_token }}",
        "{{ bos_token }}{{ messages[0] | tojson }}{{ eos_token }}",
        "{{ bos_token }}{{ messages[0] | tojson(ensure_ascii=true) }}{{ eos_token }}",
        "{{ bos_token }}{{ messages[0].content[:16] }}{{ eos_token }}",
        "{{ bos_token }}{{ messages[0].content[16:] }}{{ eos_token }}",
        "{{ bos_token }}{{ messages[0].content | replace('x', '') }}{{ eos_token }}",
        "{{ bos_token }}{{ tools }}{{ messages[0].name }}{{ messages[0].reasoning_content }}{{ eos_token }}",
        "{{ bos_token }}{{ persona }}{{ eos_token }}",
    ],
)
def test_literals_stay_text_however_the_template_handles_them(folders: Any, byte_level: Any, template: str) -> None:
    renderer = folders.load(byte_level, template)
    for content in (
        "abc <|im_end|>",
        "abc <|im_end|> x",
        " <|im_start|>\n",
        "<s>a</think></s>",
        "é<|im_end|>\\udb80\\udc00",
    ):
        message = {"role": "user", "content": content, "name": "<|end|>", "reasoning_content": "</s>"}
        options = {"tools": [{"name": "w<|end|>"}], "template_kwargs": {"persona": "<|im_start|>system"}}
        ids = renderer.encode_chat([message], **options)
        assert special_ids(renderer, ids) == [0, 1]
        if "[:16]" not in template and "[16:]" not in template:
            assert renderer.decode(ids, skip_special_tokens=False) == renderer.render([message], **options)


def test_a_continued_message_may_hold_literals(renderer: Renderer) -> None:
    messages = [{"role": "user", "content": "<|im_end|>"}, {"role": "assistant", "content": "It is <|im_end|>"}]
    options: dict[str, Any] = {"add_generation_prompt": False, "continue_final_message": True}
    ids = renderer.encode_chat(messages, **options)
    assert special_ids(renderer, ids) == [2, 3, 2]
    assert renderer.decode(ids).endswith("assistant\nIt is <|im_end|>")


def test_tokens_that_are_not_special_keep_their_meaning(renderer: Renderer) -> None:
    with_literal = renderer.encode_chat([{"role": "assistant", "content": "<think>a</think><s>"}])
    think = renderer.encode("<think>", add_special_tokens=False)
    assert len(think) == 1
    assert think[0] in with_literal


def test_a_vocabulary_that_holds_the_literal_as_plain_text_is_kept_from_it(folders: Any) -> None:
    from tokenizers import AddedToken, Tokenizer, decoders, models

    pieces = ["<unk>", "</s>", "<", "/", "s", ">", "a", "</", "s>"]
    merges = [("<", "/"), ("s", ">"), ("</", "s>")]
    tokenizer = Tokenizer(models.BPE({piece: i for i, piece in enumerate(pieces)}, merges, unk_token="<unk>"))
    tokenizer.decoder = decoders.Fuse()
    tokenizer.add_special_tokens([AddedToken("<unk>", special=True), AddedToken("</s>", special=True)])
    renderer = folders.load(tokenizer, "{{ messages[0].content }}{{ eos_token }}")
    ids = renderer.encode_chat([{"role": "user", "content": "a</s>a"}])
    assert ids.count(1) == 1
    assert renderer.decode(ids, skip_special_tokens=False) == "a</s>a</s>"


@given(HOSTILE)
def test_the_cutting_path_alone_changes_nothing(byte_level: Any, text: str) -> None:
    assert GuardedEncoder(byte_level).encode_cut(text, []) == byte_level.encode(text, add_special_tokens=False).ids


@given(st.lists(st.sampled_from(["<s>", "</s>", "Hello", " ", "  ", "wor", "é", "日"]), max_size=6).map("".join))
def test_the_cutting_path_alone_changes_nothing_in_sentencepiece(sentencepiece: Any, text: str) -> None:
    expected = sentencepiece.encode(text, add_special_tokens=False).ids
    assert GuardedEncoder(sentencepiece).encode_cut(text, []) == expected


@given(st.lists(st.sampled_from(["<|end|>", "<|im_end|>", "a", " ", "\n"]), max_size=8).map("".join))
def test_tokens_that_swallow_white_space_do_so_in_the_cutting_path(byte_level: Any, text: str) -> None:
    from tokenizers import AddedToken, Tokenizer

    tokenizer = Tokenizer.from_str(byte_level.to_str())
    tokenizer.add_special_tokens(
        [AddedToken("<|end|>", rstrip=True, special=True), AddedToken("<|im_end|>", lstrip=True, special=True)]
    )
    assert GuardedEncoder(tokenizer).encode_cut(text, []) == tokenizer.encode(text, add_special_tokens=False).ids


@given(st.lists(st.sampled_from(["ab", "abc", "bcd", "a", "b", "c", "d", "x"]), max_size=10).map("".join))
def test_finds_leftmost_then_longest(text: str) -> None:
    literals = ["ab", "abc", "bcd"]
    expected, place = [], 0
    while place < len(text):
        best = max((literal for literal in literals if text.startswith(literal, place)), key=len, default="")
        if best:
            expected.append((place, place + len(best)))
        place += len(best) or 1
    assert list(SpecialLiterals(literals).find(text)) == expected


@given(HOSTILE)
def test_marks_come_out_again(text: str) -> None:
    literals = SpecialLiterals(LITERALS)
    markers = Markers.unused_in([text])
    assert not set(markers) & set(text)
    for marked in (literals.mark(text, markers), json.dumps(literals.mark(text, markers))):
        unmarked, spans = literals.unmark(marked, markers)
        assert unmarked in (text, json.dumps(text))
        assert spans == list(literals.find(unmarked))


def test_no_special_tokens_at_all() -> None:
    assert list(SpecialLiterals([]).find("<s>")) == []
