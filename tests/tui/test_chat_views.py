"""The chat's screen: two models side by side, tokens with their probabilities, scrolling."""

from __future__ import annotations

from chat_fake import MODEL, OTHER, ChatFake
from llmos_tui.screens.chat.screen import ChatScreen
from test_chat import ask, figures, lanes, last, lines_on, said, send, text_on, toast, view
from textual.widgets import Markdown


async def test_two_models_beside_each_other(open_app, chats: ChatFake, wait_for) -> None:
    chats.hold()
    async with open_app(place="chat", size=(80, 24)) as pilot:
        await pilot.press("alt+v")
        await wait_for(pilot, lambda: not isinstance(pilot.app.screen, ChatScreen))
        await pilot.press(*"qwen", "enter")
        await wait_for(pilot, lambda: isinstance(pilot.app.screen, ChatScreen) and len(lanes(pilot)) == 2)
        await pilot.press(*"Hi", "enter")
        await wait_for(pilot, lambda: len(chats.answers) == 2)
        assert [request["model"] for request in chats.requests] == [MODEL, OTHER]
        for answer, word in zip(chats.answers, ("left", "right"), strict=True):
            answer.say(word)
        await wait_for(pilot, lambda: "left" in text_on(view(pilot)) and "right" in text_on(view(pilot, 1)))
        left, right = lanes(pilot)
        assert left.region.right <= right.region.x
        assert right.region.right <= 80
        await pilot.press("escape")
        await wait_for(pilot, lambda: all(answer.is_closed for answer in chats.answers))
        await pilot.press("escape", "right", "v")
        await wait_for(pilot, lambda: len(lanes(pilot)) == 1)
        assert said(pilot) == ["Hi", "right"]


async def test_a_comparison_begins_with_what_was_said(open_app, chats: ChatFake, wait_for) -> None:
    async with open_app(place="chat") as pilot:
        await ask(pilot, wait_for, "One")
        await pilot.press("alt+v")
        await wait_for(pilot, lambda: not isinstance(pilot.app.screen, ChatScreen))
        await pilot.press(*"qwen", "enter")
        await wait_for(pilot, lambda: isinstance(pilot.app.screen, ChatScreen) and len(lanes(pilot)) == 2)
        await ask(pilot, wait_for, "Two")
        await wait_for(pilot, lambda: last(pilot, 1).is_over)
        assert said(pilot, 1) == ["One", "Hello there.", "Two", "Hello there."]
        chats.words = ["New"]
        await pilot.press("escape", "up", "up", "up", "e", "!", "enter")
        await wait_for(pilot, lambda: said(pilot) == said(pilot, 1) == ["One!", "New"])


async def test_probabilities_are_colours_and_alternatives_are_told(open_app, chats: ChatFake, wait_for) -> None:
    chats.hold()
    async with open_app(place="chat") as pilot:
        await pilot.press("alt+p")
        assert "from the next answer on" in await toast(pilot, wait_for)
        await send(pilot, "Hi")
        await wait_for(pilot, lambda: chats.answers)
        assert (chats.requests[0]["logprobs"], chats.requests[0]["top_logprobs"]) == (True, 5)
        chats.answers[0].say("Hello", probability=0.98)
        chats.answers[0].say(" there", probability=0.5, others={" world": 0.3, " you": 0.1})
        chats.answers[0].say(".", probability=0.01)
        chats.answers[0].end()
        await wait_for(pilot, lambda: last(pilot).is_over and "Hello there." in text_on(view(pilot)))
        backgrounds = backgrounds_of(view(pilot), ("Hello", " there", "."))
        assert len(set(backgrounds)) == 3
        await pilot.press("escape", "right", "right")
        assert figures(pilot) == "' there' 50.0 %   or  ' world' 30.0 %  ' you' 10.0 %"
        tokens = view(pilot).query_one("TokenView")
        await pilot.hover(tokens, offset=(1, 0))
        assert figures(pilot).startswith("'Hello' 98.0 %")
        await pilot.press("p")
        assert view(pilot).query_one(Markdown).display
        assert not tokens.display


def backgrounds_of(widget, texts: tuple[str, ...]) -> list[str]:
    """Of the segments that say this."""
    tokens = widget.query_one("TokenView")
    strip = widget.screen._compositor.render_strips()[tokens.region.y]
    found = {segment.text: str(segment.style.bgcolor) for segment in strip}
    return [found[text] for text in texts]


async def test_a_skill_is_not_asked_for_probabilities(open_app, chats: ChatFake, wait_for) -> None:
    async with open_app(place="chat") as pilot:
        await pilot.press("alt+p", "alt+m")
        await wait_for(pilot, lambda: not isinstance(pilot.app.screen, ChatScreen))
        await pilot.press(*"skill", "enter")
        await wait_for(pilot, lambda: isinstance(pilot.app.screen, ChatScreen))
        await ask(pilot, wait_for, "Hi")
        assert "logprobs" not in chats.requests[0]


async def test_it_stays_at_the_end_unless_scrolled_up(open_app, chats: ChatFake, wait_for) -> None:
    chats.hold()
    async with open_app(place="chat", size=(80, 24)) as pilot:
        await send(pilot, "Hi")
        await wait_for(pilot, lambda: chats.answers)
        transcript = lanes(pilot)[0].transcript
        for number in range(40):
            chats.answers[0].say(f"Line {number}\n\n")
        await wait_for(pilot, lambda: "Line 39" in text_on(transcript))
        transcript.scroll_relative(y=-10, animate=False)
        await pilot.pause()
        seen = lines_on(transcript)
        for number in range(40, 60):
            chats.answers[0].say(f"Line {number}\n\n")
        await wait_for(pilot, lambda: transcript.max_scroll_y > transcript.scroll_y + 30)
        assert lines_on(transcript) == seen
        transcript.scroll_end(animate=False)
        await pilot.pause()
        chats.answers[0].say("Line 60\n\n")
        await wait_for(pilot, lambda: "Line 60" in text_on(transcript))
        chats.answers[0].end()
