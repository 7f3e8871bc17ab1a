"""Try a prompt: one chat, or two beside each other that compare two models."""

from __future__ import annotations

from typing import Any, ClassVar

from textual import work
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal, Vertical
from textual.widgets import Markdown

from llmos_tui.calls.chat import list_chat_models
from llmos_tui.screens.chat.answer_view import AnswerView
from llmos_tui.screens.chat.choosing import ModelChooser
from llmos_tui.screens.chat.entry_view import EntryView
from llmos_tui.screens.chat.keeping import Keeper
from llmos_tui.screens.chat.kept_chat import KeptChat
from llmos_tui.screens.chat.lane import Lane, is_about_the_connection
from llmos_tui.screens.chat.options import WrongOption
from llmos_tui.screens.chat.prompt import Prompt
from llmos_tui.screens.chat.question_view import QuestionView
from llmos_tui.screens.chat.thread import Answer, Question, Thread
from llmos_tui.screens.chat.token_view import NUM_ALTERNATIVES, TokenView, described
from llmos_tui.screens.dialog import ConfirmScreen
from llmos_tui.wire.chat import ServedModel

BUSY = "An answer is being written: wait for it, or esc stops it."
WEB = ("http://", "https://")


class ChatScreen(KeptChat):
    """Keys that are letters hold where nothing is being written; with alt they hold everywhere."""

    DEFAULT_CSS = """
    ChatScreen #chat { width: 1fr; }
    ChatScreen #lanes { height: 1fr; }
    ChatScreen Lane.-second { border-left: solid $secondary; }
    ChatScreen.-narrow.-options #chat { display: none; }
    ChatScreen.-narrow OptionsPanel { width: 100%; }
    ChatScreen.-tall Prompt { max-height: 14; }
    """
    BINDING_GROUP_TITLE = "Chat"
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding(
            "escape", "stop", "Stop", tooltip="Stop the answer; the server frees what it holds for it", id="chat.stop"
        ),
        Binding(
            "escape",
            "back",
            "Keys/write",
            tooltip="From writing to what was said, where letters are keys, and back",
            id="chat.back",
        ),
        Binding("m,alt+m", "model", "Model", tooltip="Another model, or a skill", id="chat.model"),
        Binding(
            "o,alt+o",
            "options",
            "Options",
            tooltip="System prompt, sampling, form, tools",
            id="chat.options",
        ),
        Binding(
            "g,alt+g",
            "regenerate",
            "Again",
            tooltip="Another answer in place of this one, or of the last",
            id="chat.again",
        ),
        Binding(
            "v,alt+v",
            "compare",
            "Compare",
            tooltip="A second model beside it; again: only the one with the cursor stays",
            id="chat.compare",
        ),
        Binding(
            "p,alt+p",
            "probabilities",
            "Tokens",
            tooltip="Answers token by token: probabilities as colours",
            id="chat.tokens",
        ),
        Binding("n,alt+n", "new", "New", tooltip="Begin a new chat", id="chat.new"),
    ]

    def __init__(self, place_name: str = "chat") -> None:
        super().__init__(place_name)
        self._prompt = Prompt()
        self._lanes: list[Lane] = []
        self._models: list[ServedModel] = []
        self._shows_tokens = False
        self._wanted = ""
        """A model's name that another screen asked for."""

    def compose_body(self) -> ComposeResult:
        self._lanes = [Lane(self.client)]
        with Horizontal():
            with Vertical(id="chat"):
                with Horizontal(id="lanes"):
                    yield from self._lanes
                yield self._prompt
            yield self.options_panel

    def on_mount(self) -> None:
        self._prompt.focus()

    @property
    def lane(self) -> Lane:
        return next((lane for lane in self._lanes if lane.has_focus_within), self._lanes[0])

    @property
    def is_busy(self) -> bool:
        return any(lane.is_busy for lane in self._lanes)

    # Models

    def came_online(self) -> None:
        self.run_worker(self._look_for_models(), group="models", exclusive=True)

    def talk_to(self, model: str) -> None:
        """Called before it is shown."""
        self._wanted = model

    async def _look_for_models(self) -> None:
        models = await self.ask(list_chat_models(self.client))
        if models is None:
            return
        self._models = models
        by_name = {model.id: model for model in models}
        if self._wanted:
            if self._wanted in by_name:
                self.lane.choose(by_name[self._wanted])
            else:
                self.notify(f"{self._wanted} is not among the models.", severity="warning", markup=False)
            self._wanted = ""
        for lane in self._lanes:
            lane.choose(by_name.get(lane.model.id, lane.model) if lane.model else first_choice(models))

    @work
    async def action_model(self) -> None:
        lane = self.lane
        await self._look_for_models()
        if chosen := await self.app.push_screen_wait(ModelChooser("Chat with", self._models)):
            lane.choose(chosen)

    # Asking

    async def on_prompt_sent(self, message: Prompt.Sent) -> None:
        if not await self._can_ask():
            return
        if message.edited is not None:
            await self._take_out(message.edited)
        self._prompt.sent()
        for lane in self._lanes:
            await lane.ask(message.text, *self._sent_along(lane))
        self._settle()

    async def _can_ask(self) -> bool:
        """Tells why not."""
        try:
            self.options_panel.read().fields()
        except WrongOption as error:
            await self.options_panel.tell(error)
            return False
        if self.is_busy:
            self.notify(BUSY)
        elif any(lane.model is None for lane in self._lanes):
            self.notify("There is no model to chat with. Pull one: screen 3.", severity="warning")
        else:
            return True
        return False

    def _sent_along(self, lane: Lane) -> tuple[str, dict[str, Any]]:
        """System prompt and fields."""
        options = self.options_panel.read()
        fields = options.fields()
        if self._shows_tokens and lane.model is not None and lane.model.has_logprobs:
            fields |= {"logprobs": True, "top_logprobs": NUM_ALTERNATIVES}
        return options.system, fields

    async def _take_out(self, question: Question) -> None:
        """Where two are compared, the question in the same place of the other goes, too."""
        places = [lane.thread.entries.index(question) for lane in self._lanes if question in lane.thread.entries]
        for lane in self._lanes:
            for entry in lane.thread.entries[places[0] : places[0] + 1] if places else []:
                if isinstance(entry, Question):
                    await lane.cut(entry)

    async def action_regenerate(self) -> None:
        if not await self._can_ask():
            return
        view = self.focused
        if isinstance(view, AnswerView):
            await self.lane.ask_again(view.answer, *self._sent_along(self.lane))
        else:
            for lane in self._lanes:
                await lane.answer_last(*self._sent_along(lane))
        self._settle()

    def on_question_view_edited(self, message: QuestionView.Edited) -> None:
        if self.is_busy:
            self.notify(BUSY)
        else:
            self._prompt.edit_question(message.question)

    async def on_lane_ended(self, message: Lane.Ended) -> None:
        self._settle()
        if is_about_the_connection(message.error):
            self.llmos.watch_server.doubt()
        lane = message.lane
        if lane.keeper.conversation is not None:
            self.run_worker(self.keep(lane))
        if lane.model is not None and lane.model.state != "ready":
            self.came_online()

    def _settle(self) -> None:
        """After an answer began or ended."""
        self._prompt.wait_for(self._lanes[0].thread.open_call)
        self.refresh_bindings()  # Stop is among the keys only while there is something to stop.

    def action_stop(self) -> None:
        for lane in self._lanes:
            lane.stop()

    async def action_back(self) -> None:
        if self._prompt.edited is not None:
            self._prompt.give_up_edit()
        elif self.options_panel.has_focus_within:
            await self.action_options()
        elif not self._prompt.has_focus or not self.lane.transcript.enter():
            self._prompt.focus()

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        if action == "stop":
            return self.is_busy
        if action == "back":
            return not self.is_busy
        return True

    # Options, tokens, links

    async def action_options(self) -> None:
        if self.options_panel.is_shown:
            self.options_panel.end()
            self._prompt.focus()
        else:
            await self.options_panel.begin()

    async def action_probabilities(self) -> None:
        self._shows_tokens = not self._shows_tokens
        answers = [entry for lane in self._lanes for entry in lane.thread.entries if isinstance(entry, Answer)]
        for lane in self._lanes:
            await lane.transcript.show_tokens(self._shows_tokens)
            if self._shows_tokens and lane.model is not None and not lane.model.has_logprobs:
                self.notify(f"{lane.model.id} tells no probabilities.", severity="warning", markup=False)
        if self._shows_tokens and not any(answer.tokens for answer in answers):
            self.notify("Probabilities are asked for from the next answer on; g asks for the last one again.")

    def on_token_view_pointed(self, message: TokenView.Pointed) -> None:
        lane = next(lane for lane in self._lanes if message.view in lane.query(TokenView))
        lane.tell(described(message.token))

    @work
    async def on_markdown_link_clicked(self, message: Markdown.LinkClicked) -> None:
        """A model wrote it: it is shown before it is followed."""
        if not message.href.startswith(WEB):
            self.notify(f"Not opened: {message.href}", markup=False)
        elif await self.app.push_screen_wait(ConfirmScreen("Open this address?", message.href, yes="Open")):
            self.app.open_url(message.href)

    # Which chats are shown

    @work
    async def action_new(self) -> None:
        if await self.may_leave():
            await self.show_chat(Thread(), Keeper())
            self._prompt.focus()

    async def show_chat(self, thread: Thread, keeper: Keeper, model: str = "") -> None:
        await self._keep_only(self._lanes[0])
        lane = self._lanes[0]
        lane.stop()
        lane.keeper = keeper
        await lane.show(thread)
        if model and (found := next((each for each in self._models if each.id == model), None)):
            lane.choose(found)
        self._settle()

    @work
    async def action_compare(self) -> None:
        if len(self._lanes) > 1:
            await self._keep_only(self.lane)
            self._prompt.focus()
            return
        if self.is_busy:
            self.notify(BUSY)
            return
        await self._look_for_models()
        chosen = await self.app.push_screen_wait(ModelChooser("Compare with", self._models))
        if chosen is not None and len(self._lanes) == 1:
            lane = Lane(self.client)
            lane.add_class("-second")
            lane.model = chosen
            self._lanes.append(lane)
            await self.query_one("#lanes").mount(lane)
            await lane.transcript.show_tokens(self._shows_tokens)
            await lane.show(self._lanes[0].thread.copy())
            self._prompt.focus()

    async def _keep_only(self, kept: Lane) -> None:
        for lane in self._lanes:
            if lane is not kept:
                lane.stop()
                await lane.remove()
        kept.remove_class("-second")
        self._lanes = [kept]
        self.refresh_bindings()

    def on_entry_view_moving_aside(self, message: EntryView.MovingAside) -> None:
        """To the other chat."""
        if len(self._lanes) > 1:
            self._lanes[0 if message.direction < 0 else 1].transcript.enter()


def first_choice(models: list[ServedModel]) -> ServedModel | None:
    """One that is loaded, else the first."""
    return next((model for model in models if model.state == "ready"), models[0] if models else None)
