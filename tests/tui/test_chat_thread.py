"""Chats as data: what is kept at the server is what was said, and what is sent is what was written."""

from __future__ import annotations

import asyncio
from typing import Any

import msgspec
import pytest
from chat_fake import ChatFake
from hypothesis import given
from hypothesis import strategies as st
from llmos_tui.client import Client
from llmos_tui.screens.chat.export import fenced, to_markdown
from llmos_tui.screens.chat.items import Reading, items_of
from llmos_tui.screens.chat.keeping import Keeper
from llmos_tui.screens.chat.options import Options, WrongOption
from llmos_tui.screens.chat.thread import Answer, Call, Question, Thread
from llmos_tui.wire.conversations import Item
from tui_fake_server import ADMIN_KEY, FakeServer

words = st.text(min_size=1, max_size=20)
questions = st.builds(Question, words)
answers = st.builds(Answer, st.just("m"), words, st.just("") | words)
open_calls = st.builds(Call, id=words, name=words, arguments=words)
calls = st.builds(Call, id=words, name=words, arguments=words, output=words)
unanswered = st.builds(lambda text, call: Answer("m", text, calls=[call]), words, open_calls)
callers = st.builds(lambda text, call: Answer("m", text, calls=[call]), st.just("") | words, calls)
turns = st.tuples(questions, answers | unanswered) | st.tuples(questions, callers, answers) | st.tuples(questions)
threads = st.lists(turns, max_size=5).map(lambda turns: [entry for turn in turns for entry in turn])


def told(thread: Thread) -> list[dict[str, Any]]:
    return thread.messages("")


@given(threads)
def test_a_chat_comes_back_from_its_items(entries: list[Any]) -> None:
    thread = Thread(entries)
    items = [{**item, "id": "i"} for entry in entries for item in items_of(entry)]
    read = Reading(msgspec.convert(items, list[Item]), "m")
    assert read.num_others == 0
    assert told(read.thread) == told(thread)
    for entry in read.thread.entries:
        assert len(entry.item_ids) == len(items_of(entry))


def test_what_is_added_to_an_entry_comes_behind_what_is_saved() -> None:
    answer = Answer("m", "Look.", calls=[Call("a", "f", "{}"), Call("b", "g", "{}")])
    before = items_of(answer)
    answer.calls[0].output = "1"
    assert items_of(answer)[: len(before)] == before
    answer.calls[1].output = "2"
    assert items_of(answer)[: len(before)] == before
    assert answer.messages()[-1] == {"role": "tool", "tool_call_id": "b", "content": "2"}


@pytest.fixture
def client(server: FakeServer) -> Client:
    return Client("http://llmos.test", lambda: ADMIN_KEY, transport=server)


def long_thread() -> Thread:
    return Thread([each for n in range(15) for each in (Question(f"q{n}"), Answer("m", f"a{n}"))])


async def test_a_long_chat_is_saved_in_parts_and_two_at_a_time_add_nothing_twice(client, chats: ChatFake) -> None:
    thread, keeper = long_thread(), Keeper()
    options = Options("Be brief.")
    await asyncio.gather(*(keeper.save(client, thread, options, "m", "Title") for _ in range(2)))
    said = [text for _, text in chats.said("conv_1")]
    assert said == ["Be brief.", *(f"{kind}{n}" for n in range(15) for kind in "qa")]
    opened, kept, _ = await Keeper().open(client, chats.kept["conv_1"])
    assert told(opened) == told(thread)
    assert kept.system == "Be brief."


async def test_what_is_taken_out_while_it_is_saved_is_deleted_afterwards(client, chats, server) -> None:
    thread, keeper = Thread([Question("q"), Answer("m", "a")]), Keeper()

    def add_late(asked: Any) -> Any:
        thread.cut(thread.entries[-1])
        server.on("POST", "/v1/conversations/{}/items", chats._add_items)
        return chats._add_items(asked)

    server.on("POST", "/v1/conversations/{}/items", add_late)
    await keeper.save(client, thread, Options(), "m", "Title")
    thread.entries.append(Answer("m", "other"))
    await keeper.save(client, thread, Options(), "m")
    assert chats.said("conv_1") == [("user", "q"), ("assistant", "other")]


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("temperature", "hot", "'hot' is no number"),
        ("top_k", "1.5", "no whole number"),
        ("response_format", "{", "no JSON"),
        ("response_format", "[]", "has to be a JSON Schema"),
        ("tools", "{}", "has to be a list"),
        ("more", '{"model": "x", "stream": false}', "model, stream can't be set here"),
    ],
)
def test_what_is_no_option_is_told(name: str, text: str, message: str) -> None:
    with pytest.raises(WrongOption, match=message) as raised:
        Options("", {name: text}).fields()
    assert raised.value.name == name


def test_options_as_they_are_sent() -> None:
    texts = {"temperature": " 0.5 ", "top_p": "", "stop": '["a", "b"]', "response_format": "json", "more": '{"n": 2}'}
    with pytest.raises(WrongOption):
        Options("", texts).fields()
    fields = Options("", {**texts, "more": '{"logit_bias": {"3": 1}}'}).fields()
    assert fields == {
        "temperature": 0.5,
        "stop": ["a", "b"],
        "response_format": {"type": "json_object"},
        "logit_bias": {"3": 1},
    }
    assert Options("", {"stop": "\\n\\n"}).fields() == {"stop": ["\n\n"]}


def test_an_export_holds_all_of_it() -> None:
    answer = Answer("m", "It is.", "Hm.", [Call("c", "look", "```", "wet")], error="It broke.")
    answer.opinion.rating, answer.opinion.correction = -1, "It\nisn't."
    text = to_markdown(Thread([Question("Rain?"), answer]), Options("Be brief."), "Title")
    parts = ("# Title", "Be brief.", "Rain?", "Hm.", "look", "wet", "It is.", "> It broke.", "> Rated -", "> isn't.")
    assert [part for part in parts if part not in text] == []
    assert fenced("```").startswith("````\n")
