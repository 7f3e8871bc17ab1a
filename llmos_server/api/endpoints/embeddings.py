"""POST /v1/embeddings."""

from __future__ import annotations

import time
from typing import NamedTuple

import msgspec
from litestar import post
from litestar.openapi.datastructures import ResponseSpec
from litestar.params import JSONBody
from litestar.types import ASGIApp
from msgspec import UNSET

from llmos_server.api.accounting.charges import charged
from llmos_server.api.accounting.visits import Visit
from llmos_server.api.bodies import fields
from llmos_server.api.bodies.body import WireBody
from llmos_server.api.encoders.embedding_inputs import Inputs, encode_inputs, read_inputs
from llmos_server.api.encoders.embedding_vectors import check_dimensions, to_embeddings
from llmos_server.api.encoders.encoding import find_encoder
from llmos_server.api.filters.filtered_texts import filter_texts
from llmos_server.api.generation.plans import new_id
from llmos_server.api.generation.starting import AnyRequest
from llmos_server.api.http.access import principal_of
from llmos_server.api.http.context import TRUNCATED, response_headers
from llmos_server.api.http.disconnect import run_until_disconnect
from llmos_server.api.http.responses import ERRORS, json_bytes_response
from llmos_server.api.schemas.embeddings import EmbeddingList, EmbeddingRequest, EmbeddingUsage
from llmos_server.api.served import ServedModel
from llmos_server.api.services import services_of
from llmos_server.contracts import EncodeRequest

BYTES_PER_CHARACTER = 16
"""Of a vector, when its wire form is counted against the text pool's threshold: packing is quicker than tokenising."""


class EmbeddingBody(WireBody[EmbeddingRequest]):
    table = fields.EMBEDDING


@post(
    "/v1/embeddings",
    dto=EmbeddingBody,
    return_dto=None,
    status_code=200,
    tags=["Embeddings"],
    summary="Turn texts into vectors",
    responses={200: ResponseSpec(EmbeddingList, description="A vector for each input, in order."), **ERRORS},
)
async def create_embeddings(request: AnyRequest, data: JSONBody[EmbeddingRequest]) -> ASGIApp:
    services = services_of(request)
    data = await filter_texts(request, data, "embeddings")
    served = await find_encoder(request, data.model)
    given = read_inputs(data)
    work = embed(request, served, data, given)
    vectors, inputs, _ = await run_until_disconnect(request.receive, work)
    if data.truncate_prompt_tokens is not None:
        response_headers(request)[TRUNCATED] = str(inputs.num_truncated)
    size = sum(map(len, vectors)) // BYTES_PER_CHARACTER
    return json_bytes_response(request, await services.pool.run(size, _pack, data, served.id, vectors, inputs))


class Embedded(NamedTuple):
    vectors: list[bytes]
    inputs: Inputs
    load_seconds: float
    """That the request has waited for its model."""


async def embed(
    request: AnyRequest, served: ServedModel, data: EmbeddingRequest, given: list[str] | list[list[int]]
) -> Embedded:
    """Cancelling gives the engine's work up."""
    services, owner = services_of(request), principal_of(request).key_id
    arrival = time.perf_counter()
    encoder, metrics = served.encoder, services.metrics.of(served.id)
    with Visit(request, served.id) as visit, encoder.hold():
        info = await encoder.wait_ready(services.settings.load_timeout_seconds)
        load_seconds = time.perf_counter() - arrival
        check_dimensions(data.dimensions, info)
        inputs = await encode_inputs(services, served.renderer, info, data, given)
        with charged(visit, encoder, metrics, inputs.num_tokens, arrival):
            vectors = await encoder.encode(EncodeRequest(request_id=new_id("embd"), inputs=inputs.ids, owner=owner))
    return Embedded(vectors, inputs, load_seconds)


def _pack(data: EmbeddingRequest, model: str, vectors: list[bytes], inputs: Inputs) -> bytes:
    usage = EmbeddingUsage(
        prompt_tokens=inputs.num_tokens,
        total_tokens=inputs.num_tokens,
        truncated_inputs=UNSET if data.truncate_prompt_tokens is None else inputs.num_truncated,
    )
    embeddings = to_embeddings(vectors, data.dimensions, as_base64=data.encoding_format == "base64")
    return msgspec.json.encode(EmbeddingList(data=embeddings, model=model, usage=usage))
