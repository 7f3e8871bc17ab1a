"""The events of a response that is being made in the background, for whoever asks."""

from __future__ import annotations

from llmos_server.api.generation.starting import AnyRequest
from llmos_server.api.http.access import principal_of
from llmos_server.api.http.event_stream import EventStream
from llmos_server.api.services import services_of
from llmos_server.errors import InvalidRequest
from llmos_server.store.responses import StoredResponse


def follow(request: AnyRequest, stored: StoredResponse, starting_after: int) -> EventStream:
    """When its reader leaves, it is made all the same. Raises InvalidRequest where there is nothing to follow."""
    services = services_of(request)
    response_id = stored.response["id"]
    job = services.jobs.find(principal_of(request).key_id, response_id)
    if job is None:
        raise InvalidRequest(
            f"The response {response_id!r} is {stored.response['status']}, and this server has no events of it. Get it "
            "without stream=true.",
            param="stream",
            code="nothing_to_stream",
        )
    settings = services.settings
    return EventStream(
        job.follow(starting_after),
        expire=lambda _: None,  # At the server's end the job itself is stopped, which ends its events.
        close=lambda: None,
        ping_seconds=settings.ping_seconds,
        grace_seconds=settings.grace_seconds,
    )
