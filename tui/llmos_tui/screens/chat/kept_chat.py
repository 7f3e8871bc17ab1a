"""What can be done with a chat that is there: keep it at the server, open another, say what one thinks, export it."""

from __future__ import annotations

import asyncio
from io import StringIO
from pathlib import Path
from typing import ClassVar

from textual import work
from textual.binding import Binding, BindingType

from llmos_tui.client import ClientError
from llmos_tui.screens.base import LLMOSScreen
from llmos_tui.screens.chat.answer_view import AnswerView
from llmos_tui.screens.chat.choosing import AskLine
from llmos_tui.screens.chat.correcting import CorrectionScreen
from llmos_tui.screens.chat.export import Exists, ExportFailed, exported, path_of, write_export
from llmos_tui.screens.chat.keeping import Keeper
from llmos_tui.screens.chat.lane import Lane
from llmos_tui.screens.chat.opinions import keep_opinion
from llmos_tui.screens.chat.options_panel import OptionsPanel
from llmos_tui.screens.chat.saved import SavedScreen
from llmos_tui.screens.chat.thread import Opinion, Question, Thread
from llmos_tui.screens.dialog import ConfirmScreen

TITLE_CHARACTERS = 60


class KeptChat(LLMOSScreen):
    """Half of the chat's screen. The other half says which lane is meant, and shows another chat."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding(
            "s,alt+s",
            "save",
            "Save",
            tooltip="Keep this chat at the server, or rename it",
            id="chat.save",
        ),
        Binding("l,alt+l", "saved", "Saved", tooltip="Chats that the server keeps", id="chat.saved"),
        Binding(
            "x,alt+x",
            "export",
            "Export",
            tooltip="As Markdown or JSON, to a file here",
            id="chat.export",
        ),
    ]

    def __init__(self, place_name: str) -> None:
        super().__init__(place_name)
        self.options_panel = OptionsPanel()

    @property
    def lane(self) -> Lane:
        """The one that is meant."""
        raise NotImplementedError

    async def show_chat(self, thread: Thread, keeper: Keeper, model: str = "") -> None:
        """In place of what is there. model: its name, if it is to be another."""
        raise NotImplementedError

    # Saving

    @work
    async def action_save(self) -> None:
        lane = self.lane
        if not lane.thread.entries:
            self.notify("There is nothing to save yet.")
            return
        title = await self.app.push_screen_wait(
            AskLine(
                "Another name for this chat" if lane.keeper.conversation else "Save this chat as",
                lane.keeper.title or proposed_title(lane.thread),
                "The server keeps it for this key, with its system prompt; what is said later is added by itself.",
            )
        )
        if title is not None:
            await self.keep(lane, title)

    async def keep(self, lane: Lane, title: str = "") -> None:
        """Bring the server's up to date."""
        model = lane.model.id if lane.model else ""
        await self.ask(lane.keeper.save(self.client, lane.thread, self.options_panel.read(), model, title))
        lane.show_head()

    @work
    async def action_saved(self) -> None:
        chosen = await self.app.push_screen_wait(SavedScreen(self.client))
        if chosen is None or not await self.may_leave():
            return
        keeper = Keeper()
        opened = await self.ask(keeper.open(self.client, chosen))
        if opened is None:
            return
        thread, options, num_others = opened
        self.options_panel.write(options)
        await self.show_chat(thread, keeper, chosen.metadata.get("model", ""))
        if num_others:
            self.notify(f"{num_others} items of it are no part of a chat, and aren't shown.", severity="warning")

    async def may_leave(self) -> bool:
        """A chat that is kept nowhere is asked about before it goes."""
        lane = self.lane
        if not lane.thread.entries or lane.keeper.conversation is not None:
            return True
        question = ConfirmScreen("Leave this chat?", "It isn't saved: s keeps it at the server.", yes="Leave it")
        may_go = await self.app.push_screen_wait(question)
        return bool(may_go)

    # Opinions

    @work
    async def on_answer_view_rated(self, message: AnswerView.Rated) -> None:
        before = message.view.answer.opinion
        rating = None if before.rating == message.rating else message.rating
        await self._say(message.view, Opinion(rating, before.correction, before.comment))

    @work
    async def on_answer_view_corrected(self, message: AnswerView.Corrected) -> None:
        view = message.view
        corrected = await self.app.push_screen_wait(CorrectionScreen(view.answer))
        if corrected is not None:
            await self._say(view, Opinion(view.answer.opinion.rating, corrected.text, corrected.comment))

    async def _say(self, view: AnswerView, opinion: Opinion) -> None:
        lane = next(lane for lane in self.query(Lane) if view in lane.query(AnswerView))
        system = self.options_panel.read().system
        try:
            await keep_opinion(self.client, lane, view.answer, opinion, system)
        except ClientError as error:
            self.notify(str(error), title="Not kept", severity="error", timeout=10, markup=False)
        await view.paint()

    # Export

    @work
    async def action_export(self) -> None:
        lane = self.lane
        if not lane.thread.entries:
            self.notify("There is nothing to export yet.")
            return
        options, title = self.options_panel.read(), lane.keeper.title
        answer = "chat.md"
        help = "A file on this machine: .md to read, .json for programs (messages as the API takes them)."
        while True:
            given: str | None = await self.app.push_screen_wait(AskLine("Export to", answer, help))
            if given is None:
                return
            try:
                path = path_of(given)
                await self._export(path, exported(path, lane.thread, options, title))
            except ExportFailed as error:
                answer, help = given, str(error)
                continue
            return

    async def _export(self, path: Path, text: str) -> None:
        """Raises ExportFailed."""
        if self.app.is_web:
            self.app.deliver_text(StringIO(text), save_filename=path.name)  # To the browser's machine.
            return
        try:
            await asyncio.to_thread(write_export, path, text, may_replace=False)
        except Exists:
            question = ConfirmScreen("Replace it?", f"{path} exists.", yes="Replace")
            may_replace = await self.app.push_screen_wait(question)
            if not may_replace:
                raise
            await asyncio.to_thread(write_export, path, text, may_replace=True)
        self.notify(f"Written: {path}", markup=False)


def proposed_title(thread: Thread) -> str:
    """What was asked first."""
    first = next((entry.text for entry in thread.entries if isinstance(entry, Question)), "Chat")
    line = " ".join(first.split())
    return line if len(line) <= TITLE_CHARACTERS else line[: TITLE_CHARACTERS - 1] + "…"
