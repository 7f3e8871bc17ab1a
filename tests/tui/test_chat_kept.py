"""Chats that the server keeps, what the user says of answers, and exports."""

from __future__ import annotations

import json
from pathlib import Path

from chat_fake import MODEL, OTHER, ChatFake
from llmos_tui.screens.chat.choosing import AskLine
from llmos_tui.screens.chat.correcting import CorrectionScreen
from llmos_tui.screens.chat.question_view import QuestionView
from llmos_tui.screens.chat.saved import SavedScreen
from llmos_tui.screens.chat.screen import ChatScreen
from llmos_tui.screens.dialog import ConfirmScreen
from test_chat import ask, lanes, said, screen_of, text_on, toast, view
from textual.widgets import Input, TextArea
from tui_fake_server import Refusal


async def open_dialog(pilot, wait_for, key: str, kind: type) -> None:
    await pilot.press(key)
    await wait_for(pilot, lambda: isinstance(pilot.app.screen, kind))


async def closed(pilot, wait_for) -> None:
    await wait_for(pilot, lambda: isinstance(pilot.app.screen, ChatScreen))


async def save(pilot, wait_for, name: str = "") -> None:
    await open_dialog(pilot, wait_for, "alt+s", AskLine)
    if name:
        pilot.app.screen.query_one(Input).value = name
    await pilot.press("enter")
    await closed(pilot, wait_for)


async def test_a_chat_is_saved_goes_on_and_is_changed(open_app, chats: ChatFake, wait_for) -> None:
    async with open_app(place="chat") as pilot:
        await ask(pilot, wait_for, "What is\na page?")
        await save(pilot, wait_for)
        await wait_for(pilot, lambda: chats.items and len(chats.items["conv_1"]) == 2)
        assert chats.kept["conv_1"].metadata == {"title": "What is a page?", "model": MODEL}
        assert "kept as 'What is a page?'" in text_on(lanes(pilot)[0])
        await ask(pilot, wait_for, "And a block?")
        await wait_for(pilot, lambda: len(chats.items["conv_1"]) == 4)
        chats.words = ["Other"]
        await pilot.press("alt+g")
        await wait_for(pilot, lambda: ("assistant", "Other") in chats.said("conv_1"))
        assert chats.said("conv_1") == [
            ("user", "What is\na page?"),
            ("assistant", "Hello there."),
            ("user", "And a block?"),
            ("assistant", "Other"),
        ]
        await pilot.press("escape", "up", "up", "up", "e", "!", "enter")
        await wait_for(pilot, lambda: chats.said("conv_1") == [("user", "What is\na page?!"), ("assistant", "Other")])


async def test_a_saved_chat_is_opened_renamed_and_deleted(open_app, chats: ChatFake, wait_for) -> None:
    conversation = chats.keep(
        {"title": "Weather", "model": OTHER, "options": '{"temperature": "0.5", "unknown": "1"}'},
        {"type": "message", "role": "system", "content": [{"type": "input_text", "text": "Be brief."}]},
        {"type": "message", "role": "user", "content": [{"type": "input_text", "text": "Rain?"}]},
        {"type": "reasoning", "summary": [], "content": [{"type": "reasoning_text", "text": "Look."}]},
        {"type": "function_call", "call_id": "c1", "name": "weather", "arguments": "{}"},
        {"type": "function_call_output", "call_id": "c1", "output": "wet"},
        {"type": "mcp_approval_request", "name": "x", "arguments": "{}"},
        {"type": "message", "role": "assistant", "content": [{"type": "output_text", "text": "Yes."}]},
    )
    async with open_app(place="chat") as pilot:
        await open_dialog(pilot, wait_for, "alt+l", SavedScreen)
        await wait_for(pilot, lambda: "Weather" in text_on(pilot.app.screen))
        await open_dialog(pilot, wait_for, "e", AskLine)
        await pilot.press("!", "enter")
        await wait_for(pilot, lambda: chats.kept[conversation].metadata["title"] == "Weather!")
        await wait_for(pilot, lambda: isinstance(pilot.app.screen, SavedScreen))
        await wait_for(pilot, lambda: "Weather!" in text_on(pilot.app.screen))
        await pilot.press("enter")
        await closed(pilot, wait_for)
        assert "1 items of it are no part of a chat" in await toast(pilot, wait_for)
        await wait_for(pilot, lambda: "Yes." in text_on(view(pilot)))
        assert said(pilot) == ["Rain?", "", "Yes."]
        await ask(pilot, wait_for, "Thanks")
        request = chats.requests[-1]
        assert request["model"] == OTHER
        assert request["temperature"] == 0.5
        assert [(message["role"], message["content"]) for message in request["messages"]] == [
            ("system", "Be brief."),
            ("user", "Rain?"),
            ("assistant", ""),
            ("tool", "wet"),
            ("assistant", "Yes."),
            ("user", "Thanks"),
        ]
        await wait_for(pilot, lambda: len(chats.said(conversation)) == 9)
        assert chats.said(conversation)[-2:] == [("user", "Thanks"), ("assistant", "Hello there.")]
        await open_dialog(pilot, wait_for, "alt+l", SavedScreen)
        await wait_for(pilot, lambda: "Weather!" in text_on(pilot.app.screen))
        await open_dialog(pilot, wait_for, "x", ConfirmScreen)
        await pilot.press("y")
        await wait_for(pilot, lambda: not chats.kept)
        await wait_for(pilot, lambda: "keeps none of yours" in text_on(pilot.app.screen))
        await pilot.press("escape")
        await closed(pilot, wait_for)
        await ask(pilot, wait_for, "Still there?")
        assert "No conversation of yours" in await toast(pilot, wait_for)
        assert "kept as" not in text_on(lanes(pilot)[0])


async def test_a_changed_system_prompt_is_kept_once(open_app, chats: ChatFake, wait_for) -> None:
    async with open_app(place="chat") as pilot:
        panel = screen_of(pilot).options_panel
        await panel.begin()
        system = panel.query_one("#option-system", TextArea)
        system.text = "One"
        await ask(pilot, wait_for, "Hi")
        await save(pilot, wait_for, "Named")
        await wait_for(pilot, lambda: chats.items and len(chats.items["conv_1"]) == 3)
        assert chats.said("conv_1")[0] == ("system", "One")
        system.text = "Two"
        await ask(pilot, wait_for, "Hi")
        await wait_for(pilot, lambda: len(chats.items["conv_1"]) == 5)
        assert [text for role, text in chats.said("conv_1") if role == "system"] == ["Two"]


async def test_what_can_not_be_saved_is_told_and_saved_the_next_time(open_app, chats, server, wait_for) -> None:
    async with open_app(place="chat") as pilot:
        await ask(pilot, wait_for, "Hi")
        server.on("POST", "/v1/conversations/{}/items", Refusal(503, "The database is away.", "database_unavailable"))
        await save(pilot, wait_for, "Named")
        assert "The database is away." in await toast(pilot, wait_for)
        server.on("POST", "/v1/conversations/{}/items", chats._add_items)
        await ask(pilot, wait_for, "Again")
        await wait_for(pilot, lambda: len(chats.said("conv_1")) == 4)
        assert list(chats.kept) == ["conv_1"]


async def test_an_answer_is_rated_and_corrected(open_app, chats: ChatFake, wait_for) -> None:
    async with open_app(place="chat", size=(80, 24)) as pilot:
        await ask(pilot, wait_for, "Hi")
        await pilot.press("escape", "plus")
        await wait_for(pilot, lambda: [each["rating"] for each in chats.feedback.values()] == [1])
        await wait_for(pilot, lambda: "rated +" in text_on(view(pilot)))
        given = next(iter(chats.feedback.values()))
        assert given["messages"] == [{"role": "user", "content": "Hi"}]
        assert (given["model"], given["answer"]) == (MODEL, "Hello there.")
        assert given["response_id"] == "chatcmpl-1"
        await pilot.press("minus")
        await wait_for(pilot, lambda: [each["rating"] for each in chats.feedback.values()] == [-1])
        await open_dialog(pilot, wait_for, "c", CorrectionScreen)
        pilot.app.screen.query_one(TextArea).text = "Hello, you."
        pilot.app.screen.query_one(Input).value = "too short"
        await pilot.press("ctrl+s")
        await closed(pilot, wait_for)
        await wait_for(pilot, lambda: "Corrected: Hello, you." in text_on(view(pilot)))
        (given,) = chats.feedback.values()
        assert (given["rating"], given["correction"], given["comment"]) == (-1, "Hello, you.", "too short")
        await pilot.press("minus")
        await wait_for(pilot, lambda: "rating" not in next(iter(chats.feedback.values())))


async def test_an_opinion_that_is_not_kept_is_told(open_app, chats, server, wait_for) -> None:
    async with open_app(place="chat") as pilot:
        await ask(pilot, wait_for, "Hi")
        server.on("POST", "/v1/llmos/feedback", Refusal(400, "Nothing is stored here.", "storage_disabled"))
        await pilot.press("escape", "plus")
        assert "Nothing is stored here." in await toast(pilot, wait_for)
        assert "rated" not in text_on(view(pilot))


async def test_a_chat_is_exported_and_nothing_is_replaced_unasked(open_app, chats, tmp_path: Path, wait_for) -> None:
    chats.words = ["Use ", "```` ``` ````"]
    async with open_app(place="chat") as pilot:
        await ask(pilot, wait_for, "Hi")
        markdown, data = tmp_path / "chat.md", tmp_path / "chat.json"
        for path in (tmp_path / "chat.txt", tmp_path / "no" / "chat.md", markdown):
            await wait_for(pilot, lambda: isinstance(pilot.app.screen, ChatScreen | AskLine))
            if isinstance(pilot.app.screen, ChatScreen):
                await open_dialog(pilot, wait_for, "alt+x", AskLine)
            before = pilot.app.screen
            pilot.app.screen.query_one(Input).value = str(path)
            await pilot.press("enter")
            await wait_for(pilot, lambda before=before: pilot.app.screen is not before)
        await closed(pilot, wait_for)
        assert markdown.read_text() == f"# Chat\n\n## User\n\nHi\n\n## {MODEL}\n\nUse ```` ``` ````\n"
        assert markdown.stat().st_mode & 0o077 == 0
        data.write_text("mine")
        for key, is_replaced in (("n", False), ("y", True)):
            if isinstance(pilot.app.screen, ChatScreen):
                await open_dialog(pilot, wait_for, "alt+x", AskLine)
            pilot.app.screen.query_one(Input).value = str(data)
            await open_dialog(pilot, wait_for, "enter", ConfirmScreen)
            await pilot.press(key)
            await wait_for(pilot, lambda: isinstance(pilot.app.screen, ChatScreen | AskLine))
            if is_replaced:
                await closed(pilot, wait_for)
            else:
                assert data.read_text() == "mine"
        await wait_for(pilot, lambda: data.read_text() != "mine")
        kept = json.loads(data.read_text())
        assert kept["messages"][-1] == {"role": "assistant", "content": "Use ```` ``` ````"}
        assert kept["answers"][0]["usage"]["completion_tokens"] == 2


async def test_a_chat_that_is_kept_nowhere_is_asked_about(open_app, chats: ChatFake, wait_for) -> None:
    async with open_app(place="chat") as pilot:
        await ask(pilot, wait_for, "Hi")
        await open_dialog(pilot, wait_for, "alt+n", ConfirmScreen)
        await pilot.press("n")
        await closed(pilot, wait_for)
        assert said(pilot) == ["Hi", "Hello there."]
        await open_dialog(pilot, wait_for, "alt+n", ConfirmScreen)
        await pilot.press("y")
        await closed(pilot, wait_for)
        await wait_for(pilot, lambda: said(pilot) == [])
        assert not screen_of(pilot).query(QuestionView)
