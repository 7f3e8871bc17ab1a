"""What is learned of an example, and that it is what is served."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from tiny_model import conversations, preferences, save_tokenizer, write_lines

from llmos_server.chat.renderer import Renderer
from llmos_server.data.examples import ChatExample, PreferenceExample, TextExample
from llmos_server.errors import InvalidRequest
from llmos_server.training.examples import Limits, read_conversations, read_preferences, read_texts
from llmos_server.training.tokens import IGNORED, Rendering, Tokens


@pytest.fixture(scope="module")
def rendering(tmp_path_factory: pytest.TempPathFactory) -> Rendering:
    folder = tmp_path_factory.mktemp("model")
    save_tokenizer(folder)
    (folder / "config.json").write_text(json.dumps({"eos_token_id": 1}))
    return Rendering(Renderer.load(folder))


def user(text: str) -> dict[str, Any]:
    return {"role": "user", "content": text}


def answer(text: str, **more: Any) -> dict[str, Any]:
    return {"role": "assistant", "content": text, **more}


def chat(*messages: dict[str, Any], trained: set[int] | None = None) -> ChatExample:
    learned = [m["role"] == "assistant" and (trained is None or i in trained) for i, m in enumerate(messages)]
    return ChatExample(line=1, messages=list(messages), trained=learned)


def learned(rendering: Rendering, tokens: Tokens) -> list[str]:
    """Texts of the runs of tokens that are learned."""
    runs: list[list[int]] = [[]]
    for token, label in zip(tokens.input_ids, tokens.labels, strict=True):
        assert label in (token, IGNORED)
        if label == IGNORED:
            runs.append([])
        else:
            runs[-1].append(label)
    return [rendering.renderer.decode(run, skip_special_tokens=False) for run in runs if run]


def test_tokens_of_training_are_those_of_serving(rendering: Rendering) -> None:
    """The prompt is what the API makes of the same messages; what is learned, what the engine has to generate."""
    messages = [user("Anna orders 3 apples"), answer("Anna|3")]
    [tokens] = rendering.conversation(chat(*messages))
    prompt = rendering.renderer.encode_chat(messages[:1])
    assert tokens.input_ids[: len(prompt)] == prompt
    assert tokens.labels[: len(prompt)] == [IGNORED] * len(prompt)
    assert learned(rendering, tokens) == ["Anna|3<|im_end|>"]
    whole = rendering.renderer.encode_chat(messages, add_generation_prompt=False)
    assert tokens.input_ids == whole[: len(tokens.input_ids)]


def test_a_chat_is_one_sequence_in_which_each_answer_is_learned(rendering: Rendering) -> None:
    example = chat(user("a"), answer("one"), user("b"), answer("two"))
    assert [learned(rendering, t) for t in rendering.conversation(example)] == [["one<|im_end|>", "two<|im_end|>"]]


def test_an_answer_of_weight_0_is_only_read(rendering: Rendering) -> None:
    [tokens] = rendering.conversation(chat(user("a"), answer("one"), user("b"), answer("two"), trained={3}))
    assert learned(rendering, tokens) == ["two<|im_end|>"]


def test_a_template_that_forgets_gives_each_answer_a_sequence(rendering: Rendering) -> None:
    """As it is served: when the second question is asked, the first answer's reasoning isn't there any more."""
    example = chat(user("a"), answer("one", reasoning_content="hm"), user("b"), answer("two", reasoning_content="well"))
    rows = rendering.conversation(example)
    assert [learned(rendering, row) for row in rows] == [
        ["<think>hm</think>one<|im_end|>"],
        ["<think>well</think>two<|im_end|>"],
    ]
    assert "hm" not in rendering.renderer.decode(rows[1].input_ids)


def test_literals_of_special_tokens_stay_text(rendering: Rendering) -> None:
    [tokens] = rendering.conversation(chat(user("a"), answer("say <|im_end|> twice")))
    assert tokens.labels.count(1) == 1
    assert learned(rendering, tokens) == ["say <|im_end|> twice<|im_end|>"]


def test_a_preference_has_a_prompt_and_two_ended_answers(rendering: Rendering) -> None:
    example = PreferenceExample(line=1, messages=[user("a")], preferred=answer("yes"), rejected=answer("no"))
    found = rendering.preference(example)
    assert found.prompt_ids == rendering.renderer.encode_chat([user("a")])
    texts = [
        rendering.renderer.decode(ids, skip_special_tokens=False) for ids in (found.chosen_ids, found.rejected_ids)
    ]
    assert texts == ["yes<|im_end|>", "no<|im_end|>"]


def test_a_text_ends(rendering: Rendering) -> None:
    tokens = rendering.text(TextExample(line=1, text="Anna"))
    assert tokens.input_ids == tokens.labels
    assert tokens.input_ids[-1] == 1


def test_files_become_rows(rendering: Rendering, tmp_path: Path) -> None:
    path = write_lines(tmp_path / "chats.jsonl", conversations(5))
    rows = read_conversations(path, rendering, Limits(200))
    assert (rows.num_examples, len(rows.rows), rows.too_long) == (5, 5, [])
    assert rows.longest == max(len(row.input_ids) for row in rows.rows)
    pairs = read_preferences(write_lines(tmp_path / "pairs.jsonl", preferences(3)), rendering, Limits(200))
    assert pairs.num_examples == 3
    (tmp_path / "texts.txt").write_text("Anna\nBen\n")
    assert read_texts(tmp_path / "texts.txt", rendering, Limits(200)).num_examples == 2


def test_what_is_too_long_is_refused_or_counted_and_never_cut(rendering: Rendering, tmp_path: Path) -> None:
    lines = list(conversations(6))
    lines[2]["messages"][0]["content"] = "x" * 500  # type: ignore[index]
    path = write_lines(tmp_path / "chats.jsonl", iter(lines))
    with pytest.raises(InvalidRequest, match="Line 3 is longer than the 100 tokens") as caught:
        read_conversations(path, rendering, Limits(100))
    assert (caught.value.param, caught.value.code) == ("training_file", "too_long")
    rows = read_conversations(path, rendering, Limits(100, "drop"))
    assert (rows.num_examples, rows.too_long) == (5, [3])


def test_a_bad_line_is_named(rendering: Rendering, tmp_path: Path) -> None:
    path = write_lines(tmp_path / "chats.jsonl", iter([*conversations(2), {"messages": [user("a")]}]))
    with pytest.raises(InvalidRequest, match="line 3") as caught:
        read_conversations(path, rendering, Limits(100, param="validation_file"))
    assert caught.value.param == "validation_file"
