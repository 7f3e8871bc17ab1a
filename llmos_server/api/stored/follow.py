"""The events of a response that was made in the background, or is being made, for whoever asks."""

from __future__ import annotations

from llmos_server.api.generation.starting import AnyRequest
from llmos_server.api.http.access import principal_of
from llmos_server.api.http.event_stream import EventStream
from llmos_server.api.services import services_of, store_of
from llmos_server.api.stored.replay import replay
from llmos_server.errors import InvalidRequest
from llmos_server.store.responses import StoredResponse


async def follow(request: AnyRequest, stored: StoredResponse, starting_after: int) -> EventStream:
    """When its reader leaves, it is made all the same. Raises InvalidRequest where no events are known."""
    services = services_of(request)
    response_id = stored.response["id"]
    owner = principal_of(request).key_id
    job = services.jobs.find(owner, response_id)
    if job is not None:
        body = job.follow(starting_after)
    elif (recorded := await store_of(request).responses.recorded(owner, response_id)) is not None:
        body = replay(recorded, starting_after)
    else:
        raise InvalidRequest(
            f"The response {response_id!r} is {stored.response['status']}, and there are no events of it here: they "
            "are kept of what was made with background: true. Get it without stream=true.",
            param="stream",
            code="nothing_to_stream",
        )
    settings = services.settings
    return EventStream(
        body,
        expire=lambda _: None,  # At the server's end the job itself is stopped, which ends its events.
        close=lambda: None,
        ping_seconds=settings.ping_seconds,
        grace_seconds=settings.grace_seconds,
    )
