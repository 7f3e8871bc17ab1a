"""One response being made: a task that runs the loop and writes its events, whoever waits for them."""

from __future__ import annotations

import asyncio
import functools
import time
import uuid
from contextlib import ExitStack
from typing import Any, Literal

import msgspec

from llmos_server.access.limits import Lease
from llmos_server.agents.calls import Call
from llmos_server.agents.toolbox import Listing, Toolbox
from llmos_server.api.accounting.visits import take_place
from llmos_server.api.agents.asking import ChatModel
from llmos_server.api.agents.looping import create_loop, create_model
from llmos_server.api.agents.renaming import renamed
from llmos_server.api.errors import describe, report
from llmos_server.api.flights import flight_of
from llmos_server.api.generation.answers import Answer
from llmos_server.api.http.event_stream import SHUTTING_DOWN
from llmos_server.api.responding.event_log import EventLog, pack
from llmos_server.api.responding.output import Output
from llmos_server.api.responding.preparing import Prepared
from llmos_server.api.responding.shown import ending_event, to_usage
from llmos_server.api.responding.toolset import choose
from llmos_server.api.schemas.responses import IncompleteDetails, Response, ResponseFault
from llmos_server.api.services import services_of
from llmos_server.errors import EngineBusy

Ending = Literal["failed", "cancelled"]


class ResponseRun:
    """start() it once; then wait for its end, or follow `log`."""

    def __init__(self, request: Any, prepared: Prepared) -> None:
        self.request = request
        self.response: Response = prepared.response
        is_followed = bool(prepared.data.stream or prepared.data.background)
        self.log = EventLog(keeps=is_followed, replays=bool(prepared.data.background))
        self.error: Exception | None = None
        self.has_begun = False
        """What could be refused, has been."""
        self.began: float | None = None
        """When it had; Unix seconds, as ended."""
        self.ended: float | None = None
        self._prepared = prepared
        self._state = prepared.state
        self._services = services_of(request)
        self._output = Output(self.log.put, prepared.ids.item, seals_reasoning=prepared.seals_reasoning)
        self._toolbox = Toolbox(prepared.toolset.sources)
        self._listings: list[Listing] = []
        self._model: ChatModel | None = None
        self._task: asyncio.Task[None] | None = None
        self._place = ExitStack()
        self._lease: Lease | None = None
        self._is_announced = False
        self._ends_as: Ending | None = None
        self._told: Exception | None = None

    @property
    def is_told(self) -> bool:
        """Whether the client knows of the response."""
        return self.has_begun or self._is_announced

    def start(self) -> asyncio.Task[None]:
        """Raises RateLimited when its key has no place left."""
        if self._lease is None:
            self.take_place()
        self._task = asyncio.create_task(self._run())
        return self._task

    def take_place(self) -> None:
        """Of its key, until the run has ended. start() does it, too. Raises RateLimited."""
        self._lease = self._place.enter_context(take_place(self.request, uses_tokens=True))
        self._place.enter_context(flight_of(self.request).kept())

    def give_back_place(self) -> None:
        """Of a run that won't be started."""
        self._place.close()

    def announce(self) -> None:
        """Of background work, before it begins: what is answered at once."""
        self.response.status = "queued"
        self._is_announced = True
        self.log.put("response.created", response=self.response)
        self.log.put("response.queued", response=self.response)

    def cancel(self, ends_as: Ending | None = None) -> None:
        """ends_as: how it is told and stored; None where nobody asks."""
        if self._task is not None and not self._task.done() and self._ends_as is None:
            self._ends_as = ends_as
            self._task.cancel()

    def expire(self, told: Exception) -> None:
        """End soon, with this error: the server's grace time is over, or an administrator has ended the request."""
        self._told = self._told or told
        self.cancel("failed")

    async def wait(self) -> None:
        if self._task is not None:
            await asyncio.wait({self._task})

    def result(self) -> Response:
        """Of a run that has ended. What failed before a tool was run is raised; after that a client has to know what
        was, so it gets the response, whose status is failed."""
        if self.error is not None and not (self.has_begun and self._output.num_calls):
            raise self.error
        return self.response

    async def _run(self) -> None:
        try:
            await self._work()
            await self._complete()
        except asyncio.CancelledError:
            if self._ends_as is None:
                raise
            if self._ends_as == "failed":
                await self._fail(self._told or EngineBusy(SHUTTING_DOWN))
            else:
                await self._end("cancelled")
        except Exception as error:
            await self._fail(error)
        finally:
            self.ended = time.time()
            self.log.end()
            self._place.close()
            await self._toolbox.close()

    async def _work(self) -> None:
        assert self._lease is not None
        prepared, services = self._prepared, self._services
        toolset = prepared.toolset
        self._listings = await self._toolbox.open(toolset.functions, services.settings.max_tools)
        for function, label in prepared.history.server_calls:
            if (tool := self._toolbox.find(label, function["name"])) is not None:
                function["name"] = tool.name
        self._output.functions, self._output.tools = toolset.functions, self._toolbox.tools
        chat = msgspec.structs.replace(
            prepared.chat,
            tools=toolset.definitions,
            tool_choice=choose(prepared.data.tool_choice, toolset, self._toolbox),
        )
        rename = functools.partial(renamed, messages=prepared.history.places, tools=toolset.places)
        self._model = create_model(self.request, chat, self._toolbox, self._lease, rename)
        self._model.on_begin = self._begin
        loop = create_loop(
            self.request,
            self._model,
            self._toolbox,
            self._output.hear,
            max_tokens=prepared.data.max_output_tokens,
            max_calls=prepared.data.max_tool_calls,
            approved=await self._approved(),
        )
        await loop.run()

    async def _approved(self) -> list[Call]:
        calls = []
        for asked in self._prepared.history.approved:
            tool = self._toolbox.find(asked.server_label, asked.name)
            name = asked.name if tool is None else tool.name
            call = Call(id=f"call_{uuid.uuid4().hex}", name=name, arguments=asked.arguments)
            self._output.approvals[call.id] = asked
            calls.append(call)
        if calls:
            await self._begin(None)
        return calls

    async def _begin(self, answer: Answer | None) -> None:
        """answer: None where tools are run before the model is asked."""
        if answer is not None:
            self.response.model = answer.plan.served.id
        if self.has_begun:
            return
        self.has_begun = True
        self.began = time.time()
        self.response.status = "in_progress"
        if not self._is_announced:
            self.log.put("response.created", response=self.response)
        elif not await self._state.update(self.response):
            self._ends_as = "cancelled"
            raise asyncio.CancelledError
        self.log.put("response.in_progress", response=self.response)
        for listing in self._listings:
            if listing.source.is_listed:
                self._output.show_listing(listing)

    async def _complete(self) -> None:
        reason = {"length": "max_output_tokens", "content_filter": "content_filter"}.get(self._output.finish_reason)
        if reason is None:
            await self._end("completed")
        else:
            self.response.incomplete_details = IncompleteDetails(reason=reason)  # type: ignore[arg-type]
            await self._end("incomplete")

    async def _fail(self, error: Exception) -> None:
        wire = describe(error)
        report(error, wire)
        self.error = error
        if not self.is_told:
            self.log.put("error", code=wire.code, message=wire.message, param=wire.param)
            return
        code = {429: "rate_limit_exceeded"}.get(wire.status, "server_error" if wire.status >= 500 else "invalid_prompt")
        self.response.error = ResponseFault(code=code, message=wire.message)
        await self._end("failed")

    async def _end(self, status: Any) -> None:
        """Stored before it is told, so that whoever has heard of the end finds it."""
        self._output.close()
        self.response.status = status
        self.response.output = self._output.items
        if status == "completed":
            self.response.completed_at = int(time.time())
        if self._model is not None:
            self.response.usage = to_usage(self._model.usage)
        if self._output.format_error is not None:
            self.response.format_error = self._output.format_error
        events = await asyncio.to_thread(pack, self.log.read(0)) if self.response.background else None
        await self._state.save(self.response, self._prepared.input_items, events)
        self.log.put(ending_event(self.response.status), response=self.response)
