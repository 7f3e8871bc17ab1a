"""The chat's screen: asking, streaming, stopping, asking again, comparing."""

from __future__ import annotations

from chat_fake import MODEL, OTHER, SKILL, ChatFake
from llmos_tui.screens.chat.answer_view import AnswerView
from llmos_tui.screens.chat.fold import Fold
from llmos_tui.screens.chat.lane import Lane
from llmos_tui.screens.chat.prompt import Prompt
from llmos_tui.screens.chat.question_view import QuestionView
from llmos_tui.screens.chat.screen import ChatScreen
from llmos_tui.screens.chat.thread import Answer, Question
from llmos_tui.screens.dialog import ConfirmScreen
from textual import events
from textual.pilot import Pilot
from textual.widgets import Input, Markdown, TextArea
from tui_fake_server import Refusal


def screen_of(pilot: Pilot[None]) -> ChatScreen:
    screen = pilot.app.screen
    assert isinstance(screen, ChatScreen)
    return screen


def lanes(pilot: Pilot[None]) -> list[Lane]:
    return list(screen_of(pilot).query(Lane))


def said(pilot: Pilot[None], lane: int = 0) -> list[str]:
    return [entry.text for entry in lanes(pilot)[lane].thread.entries]


def last(pilot: Pilot[None], lane: int = 0) -> Answer:
    answer = lanes(pilot)[lane].thread.last_answer
    assert answer is not None
    return answer


def view(pilot: Pilot[None], lane: int = 0) -> AnswerView:
    return lanes(pilot)[lane].query(AnswerView).last()


def text_on(widget) -> str:
    """What can be read on it."""
    return "\n".join(
        "".join(segment.text for segment in strip).rstrip()
        for strip in widget.screen._compositor.render_strips()[widget.region.y : widget.region.bottom]
    )


def lines_on(widget) -> list[str]:
    """Without the scroll bar."""
    return [line[: widget.size.width - 1].rstrip() for line in text_on(widget).splitlines()]


def figures(pilot: Pilot[None]) -> str:
    return lanes(pilot)[0].query_one("#lane-status").text


async def send(pilot: Pilot[None], text: str) -> None:
    prompt = screen_of(pilot).query_one(Prompt)
    prompt.text = text
    prompt.focus()
    await pilot.press("enter")


async def ask(pilot: Pilot[None], wait_for, text: str) -> None:
    await send(pilot, text)
    await wait_for(pilot, lambda: last(pilot).is_over and not screen_of(pilot).is_busy)


async def toast(pilot: Pilot[None], wait_for) -> str:
    await wait_for(pilot, lambda: pilot.app.screen.query("Toast"))
    return "\n".join(str(each.render()) for each in pilot.app.screen.query("Toast"))


async def test_a_question_is_answered_as_it_is_written(open_app, chats: ChatFake, wait_for) -> None:
    chats.hold()
    async with open_app(place="chat") as pilot:
        await pilot.press(*"Hi!", "enter")
        await wait_for(pilot, lambda: chats.answers)
        assert chats.requests[0]["messages"] == [{"role": "user", "content": "Hi!"}]
        assert chats.requests[0]["model"] == MODEL
        assert chats.requests[0]["stream"] is True
        assert set(chats.requests[0]) == {"model", "messages", "stream", "stream_options"}
        await wait_for(pilot, lambda: "waiting" in text_on(view(pilot)))
        for word in ("A **bold**", " word.\n\n", "```python\nx = 1\n", "```\n"):
            chats.answers[0].say(word)
        await wait_for(pilot, lambda: "x = 1" in text_on(view(pilot)))
        assert "A bold word." in text_on(view(pilot))
        assert "writing" in text_on(view(pilot))
        chats.answers[0].end()
        await wait_for(pilot, lambda: last(pilot).state == "done")
        await wait_for(pilot, lambda: "stop" in figures(pilot))
        assert "tok/s" in figures(pilot)
        assert "TTFT" in figures(pilot)
        assert "7 in (2 cached) · 4 out" in figures(pilot)
        assert screen_of(pilot).query_one(Prompt).text == ""


async def test_what_was_said_is_sent_again(open_app, chats: ChatFake, wait_for) -> None:
    async with open_app(place="chat") as pilot:
        await ask(pilot, wait_for, "One")
        await ask(pilot, wait_for, "Two")
        assert [message["content"] for message in chats.requests[1]["messages"]] == ["One", "Hello there.", "Two"]


async def test_enter_sends_and_ctrl_j_breaks_the_line(open_app, chats: ChatFake, wait_for) -> None:
    async with open_app(place="chat") as pilot:
        await pilot.press("enter", "a", "ctrl+j", "b", "enter")
        await wait_for(pilot, lambda: said(pilot)[1:])
        assert said(pilot)[0] == "a\nb"
        assert len(chats.requests) == 1


async def test_enter_comes_after_what_was_typed_fast(open_app, chats: ChatFake, wait_for) -> None:
    async with open_app(place="chat") as pilot:
        for key in "typedfast":
            pilot.app.post_message(events.Key(key, key))
        pilot.app.post_message(events.Key("enter", "\r"))
        await wait_for(pilot, lambda: said(pilot)[1:])
        assert said(pilot)[0] == "typedfast"


async def test_html_in_an_answer_is_shown(open_app, chats: ChatFake, wait_for) -> None:
    chats.words = ["<div>kept</div>\n\nand <b>this</b>"]
    async with open_app(place="chat") as pilot:
        await ask(pilot, wait_for, "Hi")
        await wait_for(pilot, lambda: "and <b>this</b>" in text_on(view(pilot)))
        assert "<div>kept</div>" in text_on(view(pilot))


async def test_a_link_is_shown_before_it_is_followed(open_app, chats: ChatFake, wait_for, monkeypatch) -> None:
    chats.words = ["[here](https://example.org/a) [there](mailto:a@example.org)"]
    async with open_app(place="chat") as pilot:
        opened: list[str] = []
        monkeypatch.setattr(pilot.app, "open_url", lambda url, **_: opened.append(url))
        await ask(pilot, wait_for, "Hi")
        await wait_for(pilot, lambda: "here there" in text_on(view(pilot)))
        for key, followed in (("n", []), ("y", ["https://example.org/a"])):
            await pilot.click(view(pilot).query_one(Markdown), offset=(1, 0))
            await wait_for(pilot, lambda: isinstance(pilot.app.screen, ConfirmScreen))
            assert "https://example.org/a" in text_on(pilot.app.screen)
            await pilot.press(key)
            await wait_for(pilot, lambda: isinstance(pilot.app.screen, ChatScreen))
            await wait_for(pilot, lambda followed=followed: opened == followed)
        await pilot.click(view(pilot).query_one(Markdown), offset=(6, 0))
        assert "Not opened: mailto:a@example.org" in await toast(pilot, wait_for)
        assert len(opened) == 1


async def test_esc_closes_the_stream(open_app, chats: ChatFake, wait_for) -> None:
    chats.hold()
    async with open_app(place="chat") as pilot:
        await send(pilot, "Hi")
        await wait_for(pilot, lambda: chats.answers)
        chats.answers[0].say("Half")
        await wait_for(pilot, lambda: last(pilot).text == "Half")
        await pilot.press("escape")
        await wait_for(pilot, lambda: chats.answers[0].is_closed)
        await wait_for(pilot, lambda: "stopped" in text_on(view(pilot)))
        assert last(pilot).state == "stopped"
        assert pilot.app.focused is screen_of(pilot).query_one(Prompt)
        assert "Half" in text_on(view(pilot))


async def test_stopped_before_a_word_it_is_asked_again(open_app, chats: ChatFake, wait_for) -> None:
    chats.hold()
    async with open_app(place="chat") as pilot:
        await send(pilot, "Hi")
        await pilot.press("escape")
        await wait_for(pilot, lambda: last(pilot).state == "stopped")
        await pilot.press("alt+g")
        await wait_for(pilot, lambda: last(pilot).state == "waiting")
        await wait_for(pilot, lambda: len(chats.answers) == 2 or chats.answers[-1:])
        chats.answers[-1].say("Yes")
        chats.answers[-1].end()
        await wait_for(pilot, lambda: last(pilot).state == "done")
        assert said(pilot) == ["Hi", "Yes"]


async def test_g_asks_again_and_drops_what_followed(open_app, chats: ChatFake, wait_for) -> None:
    async with open_app(place="chat") as pilot:
        await ask(pilot, wait_for, "One")
        await ask(pilot, wait_for, "Two")
        chats.words = ["Better"]
        await pilot.press("escape", "up", "up")
        assert isinstance(pilot.app.focused, AnswerView)
        await pilot.press("g")
        await wait_for(pilot, lambda: said(pilot) == ["One", "Better"])
        await wait_for(pilot, lambda: len(screen_of(pilot).query(AnswerView)) == 1)
        assert len(screen_of(pilot).query(QuestionView)) == 1
        assert chats.requests[-1]["messages"] == [{"role": "user", "content": "One"}]


async def test_an_edited_question_takes_the_place_of_the_old_one(open_app, chats: ChatFake, wait_for) -> None:
    async with open_app(place="chat") as pilot:
        await ask(pilot, wait_for, "One")
        await ask(pilot, wait_for, "Two")
        screen_of(pilot).query_one(Prompt).text = "a draft"
        await pilot.press("escape", "up", "up", "up", "e")
        prompt = screen_of(pilot).query_one(Prompt)
        assert prompt.text == "One"
        await pilot.press("escape")
        assert prompt.text == "a draft"
        await pilot.press("escape", "up", "up", "up", "e", "!", "enter")
        await wait_for(pilot, lambda: said(pilot) == ["One!", "Hello there."])
        assert chats.requests[-1]["messages"] == [{"role": "user", "content": "One!"}]
        assert prompt.text == "a draft"


async def test_options_are_sent_and_wrong_ones_are_told(open_app, chats: ChatFake, wait_for) -> None:
    async with open_app(place="chat", size=(80, 24)) as pilot:
        await pilot.press("alt+o")
        await pilot.press(*"Be brief.", "tab", *"0.5x", "escape")
        await send(pilot, "Hi")
        panel = screen_of(pilot).options_panel
        await wait_for(pilot, lambda: "is no number" in text_on(panel))
        assert pilot.app.focused.id == "option-temperature"
        assert chats.requests == []
        await pilot.press("backspace", "escape")
        panel.query_one("#option-stop", Input).value = "END"
        panel.query_one("#option-seed", Input).value = "7"
        panel.query_one("#option-response_format", TextArea).text = '{"type": "object"}'
        panel.query_one("#option-more", TextArea).text = '{"logit_bias": {"1": 5}}'
        await pilot.press("enter")
        await wait_for(pilot, lambda: chats.requests)
        sent = chats.requests[0]
        assert sent["messages"][0] == {"role": "system", "content": "Be brief."}
        assert (sent["temperature"], sent["seed"], sent["stop"]) == (0.5, 7, ["END"])
        assert sent["logit_bias"] == {"1": 5}
        assert sent["response_format"]["json_schema"]["schema"] == {"type": "object"}


REFUSALS = (
    (Refusal(400, "temperature has to be at most 2.", "invalid_value"), "o shows"),
    (Refusal(404, "There is no model 'x'.", "model_not_found"), "m chooses"),
    (Refusal(429, "Too many wait.", "queue_full"), "Wait a moment"),
    (Refusal(400, "Too long by 9 tokens.", "context_length_exceeded"), "n begins a new chat"),
)


async def test_a_refusal_is_in_the_servers_words(open_app, chats, server, wait_for) -> None:
    async with open_app(place="chat") as pilot:
        for refusal, remedy in REFUSALS:
            server.on("POST", "/v1/chat/completions", refusal)
            await ask(pilot, wait_for, "Hi")
            await wait_for(pilot, lambda refusal=refusal: refusal.message in text_on(view(pilot)))
            assert remedy in text_on(view(pilot))
        ChatFake(server)
        await pilot.press("escape", "g")
        await wait_for(pilot, lambda: said(pilot)[-2:] == ["Hi", "Hello there."])


async def test_a_failure_in_the_middle_keeps_what_was_written(open_app, chats: ChatFake, wait_for) -> None:
    chats.hold()
    async with open_app(place="chat") as pilot:
        await send(pilot, "Hi")
        await wait_for(pilot, lambda: chats.answers)
        chats.answers[0].say("Half")
        chats.answers[0].fail("The worker of the model died.", "engine_failed")
        await wait_for(pilot, lambda: "The worker of the model died." in text_on(view(pilot)))
        assert "Half" in text_on(view(pilot))
        await send(pilot, "Again")
        await wait_for(pilot, lambda: len(chats.answers) == 2)
        chats.answers[1].say("On")
        chats.answers[1].cut()
        await wait_for(pilot, lambda: "ended the stream before" in text_on(view(pilot)))
        assert [m["content"] for m in chats.requests[1]["messages"]] == ["Hi", "Half", "Again"]


async def test_a_failure_without_a_word_is_no_part_of_the_chat(open_app, chats, server, wait_for) -> None:
    async with open_app(place="chat") as pilot:
        server.on("POST", "/v1/chat/completions", Refusal(503, "Loading.", "engine_busy"))
        await ask(pilot, wait_for, "One")
        fresh = ChatFake(server)
        await ask(pilot, wait_for, "Two")
        assert [m["content"] for m in fresh.requests[-1]["messages"]] == ["One", "Two"]
        assert said(pilot) == ["One", "Two", "Hello there."]


async def test_reasoning_and_calls_are_folded_and_a_result_is_asked_for(open_app, chats, wait_for) -> None:
    chats.hold()
    async with open_app(place="chat") as pilot:
        await send(pilot, "Weather?")
        await wait_for(pilot, lambda: chats.answers)
        answer = chats.answers[0]
        answer.say(reasoning="I should look.")
        await wait_for(pilot, lambda: "Reasoning, 3 words …" in text_on(view(pilot)))
        answer.call(0, "weather", '{"city": ', '"Oslo"}')
        answer.end("tool_calls")
        await wait_for(pilot, lambda: 'Calls weather({"city": "Oslo"})' in text_on(view(pilot)))
        assert "I should look." not in text_on(view(pilot))
        await pilot.press("escape", "f")
        await wait_for(pilot, lambda: "I should look." in text_on(view(pilot)))
        assert '"city": "Oslo"' in text_on(view(pilot))
        assert all(not fold.collapsed for fold in view(pilot).query(Fold) if fold.display)
        await pilot.press("f", "escape")
        assert screen_of(pilot).query_one(Prompt).border_title == "Result of weather"
        await send(pilot, "Rain")
        await wait_for(pilot, lambda: len(chats.requests) == 2)
        assert chats.requests[1]["messages"][1:] == [
            {
                "role": "assistant",
                "content": "",
                "reasoning_content": "I should look.",
                "tool_calls": [
                    {
                        "id": "call_0",
                        "type": "function",
                        "function": {"name": "weather", "arguments": '{"city": "Oslo"}'},
                    }
                ],
            },
            {"role": "tool", "tool_call_id": "call_0", "content": "Rain"},
        ]


async def test_the_model_is_chosen_with_keys(open_app, chats: ChatFake, wait_for) -> None:
    async with open_app(place="chat") as pilot:
        await pilot.press("alt+m")
        await wait_for(pilot, lambda: not isinstance(pilot.app.screen, ChatScreen))
        shown = pilot.app.export_screenshot().replace("&#160;", " ")
        assert OTHER in shown
        assert SKILL in shown
        assert "all-minilm" not in shown
        await pilot.press(*"skill", "enter")
        await wait_for(pilot, lambda: isinstance(pilot.app.screen, ChatScreen))
        await ask(pilot, wait_for, "Hi")
        assert chats.requests[0]["model"] == SKILL


async def test_while_it_writes_nothing_else_is_sent(open_app, chats: ChatFake, wait_for) -> None:
    chats.hold()
    async with open_app(place="chat") as pilot:
        await send(pilot, "One")
        await wait_for(pilot, lambda: chats.answers)
        await send(pilot, "Two")
        assert "esc stops it" in await toast(pilot, wait_for)
        assert screen_of(pilot).query_one(Prompt).text == "Two"
        assert len(chats.requests) == 1


async def test_without_a_model_it_says_what_to_do(open_app, chats, server, wait_for) -> None:
    server.on("GET", "/v1/models", {"object": "list", "data": []})
    async with open_app(place="chat") as pilot:
        await send(pilot, "Hi")
        assert "Pull one: screen 3" in await toast(pilot, wait_for)


def test_questions_of_the_same_words_are_two() -> None:
    assert Question("a") != Question("a")
