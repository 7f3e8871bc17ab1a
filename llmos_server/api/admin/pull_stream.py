"""A pull's progress as a stream, in whatever form."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable

from llmos_server.api.errors import WireError, describe
from llmos_server.api.generation.starting import OPENAI, AnyRequest, StreamForm
from llmos_server.api.http.event_stream import EventStream
from llmos_server.api.schemas.admin_models import PullEvent
from llmos_server.api.services import model_admin_of, services_of


def open_pull_stream(
    request: AnyRequest, name: str, write: Callable[[PullEvent | WireError], bytes], form: StreamForm = OPENAI
) -> EventStream:
    """write: an event as the bytes of its form. A client that leaves stops nothing. Raises InvalidRequest."""
    settings = services_of(request).settings
    events = model_admin_of(request).pulls.listen(name)

    async def body() -> AsyncGenerator[bytes, None]:
        while (event := await events.get()) is not None:
            yield write(event)

    def expire(told: Exception) -> None:
        events.put_nowait(describe(told))
        events.put_nowait(None)

    return EventStream(
        body(),
        expire=expire,
        close=lambda: None,
        ping_seconds=settings.ping_seconds if form.has_comments else 0,
        grace_seconds=settings.grace_seconds,
        media_type=form.media_type,
    )
