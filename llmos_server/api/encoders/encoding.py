"""From a wire request to what an encoder, with or without a head, makes of its texts."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Protocol, TypeVar

from llmos_server.access.limits import Lease
from llmos_server.api.accounting.charges import charged
from llmos_server.api.accounting.visits import Visit
from llmos_server.api.generation.plans import new_id
from llmos_server.api.generation.starting import AnyRequest
from llmos_server.api.http.access import find_model
from llmos_server.api.served import ServedModel
from llmos_server.api.services import services_of
from llmos_server.contracts import EncodeRequest, EncoderInfo
from llmos_server.errors import ModelNotFound


class Encodable(Protocol):
    """Ready for the engine; see EncodeRequest."""

    @property
    def ids(self) -> list[list[int]]: ...

    @property
    def second_starts(self) -> list[int]: ...


E = TypeVar("E", bound=Encodable)


async def find_encoder(request: AnyRequest, name: str | None) -> ServedModel:
    """None is the default for embeddings, where there is one, else the default model. Raises ModelNotFound."""
    default = services_of(request).embedding_default
    if name is not None or default is None:
        return await find_model(request, name)
    try:
        return await find_model(request, default)
    except ModelNotFound:
        raise ModelNotFound(
            f"The default model for embeddings, {default!r}, is not here. Fetch it with: llmos pull {default}; "
            "or name another model (GET /v1/models tells which there are)."
        ) from None


async def run_encoder(
    request: AnyRequest,
    served: ServedModel,
    num_chars: int,
    prepare: Callable[[EncoderInfo], E],
    lease: Lease | None = None,
) -> tuple[E, list[bytes]]:
    """prepare: tokenises num_chars of text, off the event loop where that is much, and refuses what can't be encoded.
    lease: the place of a request that asks models several times; None takes one.

    Returns what it prepared, and a vector for each input. Raises as the engine does, and InvalidRequest for a model
    that is no encoder. Cancelling gives it up.
    """
    services, arrival = services_of(request), time.perf_counter()
    engine, metrics = served.text_encoder, services.metrics.of(served.id)
    with Visit(request, served.id, lease) as visit, engine.hold():
        info = await engine.wait_ready(services.settings.load_timeout_seconds)
        prepared = await services.pool.run(num_chars, prepare, info)
        num_tokens = sum(map(len, prepared.ids))
        with charged(visit, engine, metrics, num_tokens, arrival):
            vectors = await engine.encode(
                EncodeRequest(
                    request_id=new_id("enc"),
                    inputs=prepared.ids,
                    owner=visit.principal.engine_owner,
                    second_starts=prepared.second_starts,
                )
            )
    return prepared, vectors
