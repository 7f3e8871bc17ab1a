"""What chat and generate do with a request that has been translated, or that only wants a model loaded."""

from __future__ import annotations

from litestar.types import ASGIApp

from llmos_server.api.accounting.visits import take_place
from llmos_server.api.bodies.unknown_fields import tell_unknown
from llmos_server.api.flights import Use, flight_of
from llmos_server.api.generation.answers import Answer
from llmos_server.api.generation.starting import AnyRequest, Start, collect, open_stream
from llmos_server.api.http.access import principal_of
from llmos_server.api.http.disconnect import run_until_disconnect
from llmos_server.api.http.responses import json_response
from llmos_server.api.ollama.answers import OllamaFrames, Shape, without_text
from llmos_server.api.ollama.keep_alive import asks_to_unload, end_of
from llmos_server.api.ollama.ndjson import FORM
from llmos_server.api.ollama.window import narrow
from llmos_server.api.schemas.ollama import KeepAlive, OllamaGenerationFields
from llmos_server.api.served import ServedModel
from llmos_server.api.services import model_admin_of, services_of
from llmos_server.errors import Forbidden


async def answer(request: AnyRequest, start: Start, data: OllamaGenerationFields, shape: Shape) -> ASGIApp:
    """A stream unless the request says otherwise."""
    end = end_of(request, start.served.id, data.keep_alive)
    narrow(start, data.options.num_ctx if data.options else None)

    def make_frames(answer: Answer) -> OllamaFrames:
        close = answer.on_close

        def close_and_end() -> None:
            close()
            end()

        answer.on_close = close_and_end
        return OllamaFrames(answer, data.model, shape)

    if data.stream is not False:
        return await open_stream(request, start, make_frames, FORM)
    whole, texts = await collect(request, start)
    end()
    return json_response(request, OllamaFrames(whole, data.model, shape).whole(texts))


async def answer_without_prompt(
    request: AnyRequest, served: ServedModel, data: OllamaGenerationFields, shape: Shape
) -> ASGIApp:
    """Loads the model, or, with keep_alive: 0, unloads it. One object, streamed or not."""
    if asks_to_unload(data.keep_alive):
        await unload(request, served)
        return json_response(request, without_text(shape, data.model, "unload"))
    await load(request, served, data.keep_alive)
    return json_response(request, without_text(shape, data.model, "load"))


async def load(request: AnyRequest, served: ServedModel, keep_alive: KeepAlive | None) -> None:
    """Raises EngineBusy, EngineFailed."""
    if keep_alive is not None:
        tell_unknown(request, ["keep_alive"])
    with take_place(request), served.engine.hold(), flight_of(request).using(Use(served.id)):
        timeout = services_of(request).settings.load_timeout_seconds
        await run_until_disconnect(request.receive, served.engine.wait_ready(timeout))


async def unload(request: AnyRequest, served: ServedModel) -> None:
    """Raises Forbidden for anybody but an administrator, EngineBusy."""
    if not principal_of(request).is_admin:
        raise Forbidden(
            "Only an administrator may unload a model; others may let it stay until its memory is needed. Send a key "
            "with the scope admin or, on the server's own machine, the content of LLMOS_HOME/admin.token, as "
            "'Authorization: Bearer ...'.",
            code="admin_required",
        )
    timeout = services_of(request).settings.load_timeout_seconds
    await run_until_disconnect(request.receive, model_admin_of(request).unload(served.id, timeout))
