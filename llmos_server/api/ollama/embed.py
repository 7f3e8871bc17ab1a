"""POST /api/embed, and its older form /api/embeddings."""

from __future__ import annotations

import time
from typing import cast

import msgspec
from litestar import post
from litestar.openapi.datastructures import ResponseSpec
from litestar.params import JSONBody
from litestar.types import ASGIApp

from llmos_server.api.encoders.embedding_inputs import WHOLE_MODEL, Inputs, read_inputs
from llmos_server.api.encoders.embedding_vectors import to_embeddings
from llmos_server.api.endpoints.embeddings import BYTES_PER_CHARACTER, Embedded, embed
from llmos_server.api.filters.filtered_texts import filter_texts
from llmos_server.api.generation.starting import AnyRequest
from llmos_server.api.http.context import TRUNCATED, response_headers
from llmos_server.api.http.disconnect import run_until_disconnect
from llmos_server.api.http.responses import json_bytes_response, json_response
from llmos_server.api.ollama import tables
from llmos_server.api.ollama.body import OllamaBody
from llmos_server.api.ollama.generation import load, unload
from llmos_server.api.ollama.keep_alive import asks_to_unload, end_of
from llmos_server.api.ollama.names import find
from llmos_server.api.ollama.ndjson import to_nanoseconds
from llmos_server.api.ollama.words import own_words
from llmos_server.api.schemas.embeddings import EmbeddingRequest
from llmos_server.api.schemas.ollama import (
    KeepAlive,
    OllamaEmbedAnswer,
    OllamaEmbeddingsAnswer,
    OllamaEmbeddingsRequest,
    OllamaEmbedRequest,
)
from llmos_server.api.served import ServedModel
from llmos_server.api.services import services_of


class OllamaEmbedBody(OllamaBody[OllamaEmbedRequest]):
    table = tables.EMBED


class OllamaEmbeddingsBody(OllamaBody[OllamaEmbeddingsRequest]):
    table = tables.EMBEDDINGS


@post(
    "/api/embed",
    dto=OllamaEmbedBody,
    return_dto=None,
    status_code=200,
    tags=["Ollama"],
    summary="Turn texts into vectors",
    description="Without a text the model is loaded.",
    responses={200: ResponseSpec(OllamaEmbedAnswer, description="A vector for each text, in order.")},
)
async def ollama_embed(request: AnyRequest, data: JSONBody[OllamaEmbedRequest]) -> ASGIApp:
    arrival = time.perf_counter()
    asked = EmbeddingRequest(
        model=data.model,
        input=list(data.input) if isinstance(data.input, list) else data.input,
        dimensions=data.dimensions,
        truncate_prompt_tokens=None if data.truncate is False else WHOLE_MODEL,
    )
    with own_words():
        embedded = await _embed(request, asked, data.keep_alive)

    def pack() -> bytes:
        answer = OllamaEmbedAnswer(
            model=data.model,
            embeddings=_to_lists(embedded.vectors, data.dimensions),
            total_duration=to_nanoseconds(time.perf_counter() - arrival),
            load_duration=to_nanoseconds(embedded.load_seconds),
            prompt_eval_count=embedded.inputs.num_tokens,
        )
        return msgspec.json.encode(answer)

    return json_bytes_response(request, await services_of(request).pool.run(_size(embedded), pack))


@post(
    "/api/embeddings",
    dto=OllamaEmbeddingsBody,
    return_dto=None,
    status_code=200,
    tags=["Ollama"],
    summary="Turn one text into a vector (older form)",
    description="Without a text the model is loaded.",
    responses={200: ResponseSpec(OllamaEmbeddingsAnswer, description="Its vector.")},
)
async def ollama_embeddings(request: AnyRequest, data: JSONBody[OllamaEmbeddingsRequest]) -> ASGIApp:
    asked = EmbeddingRequest(model=data.model, input=data.prompt or "", truncate_prompt_tokens=WHOLE_MODEL)
    with own_words({"input": "prompt"}):
        embedded = await _embed(request, asked, data.keep_alive)
    [vector] = _to_lists(embedded.vectors, None) or [[]]
    return json_response(request, OllamaEmbeddingsAnswer(embedding=vector))


async def _embed(request: AnyRequest, asked: EmbeddingRequest, keep_alive: KeepAlive | None) -> Embedded:
    """Raises InvalidRequest, and as the engine does."""
    if asked.input:
        asked = await filter_texts(request, asked, "embeddings")
    served = await find(request, asked.model or "")
    if not asked.input:
        return await _without_text(request, served, keep_alive)
    given = read_inputs(asked)
    end = end_of(request, served.id, keep_alive)
    embedded = await run_until_disconnect(request.receive, embed(request, served, asked, given))
    end()
    if asked.truncate_prompt_tokens is not None:
        response_headers(request)[TRUNCATED] = str(embedded.inputs.num_truncated)
    return embedded


async def _without_text(request: AnyRequest, served: ServedModel, keep_alive: KeepAlive | None) -> Embedded:
    _ = served.encoder  # A model without embeddings is refused.
    started = time.perf_counter()
    if asks_to_unload(keep_alive):
        await unload(request, served)
    else:
        await load(request, served, keep_alive)
    return Embedded([], Inputs([], 0), time.perf_counter() - started)


def _to_lists(vectors: list[bytes], dimensions: int | None) -> list[list[float]]:
    if not vectors:
        return []
    return [cast(list[float], item.embedding) for item in to_embeddings(vectors, dimensions, as_base64=False)]


def _size(embedded: Embedded) -> int:
    return sum(map(len, embedded.vectors)) // BYTES_PER_CHARACTER
