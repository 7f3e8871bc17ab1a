"""POST /api/generate."""

from __future__ import annotations

from litestar import post
from litestar.openapi.datastructures import ResponseSpec
from litestar.params import JSONBody
from litestar.types import ASGIApp

from llmos_server.api.bodies.unknown_fields import tell_unknown
from llmos_server.api.chats.start import start_chat
from llmos_server.api.completions.start import start_completion
from llmos_server.api.generation.starting import AnyRequest, Start
from llmos_server.api.ollama import tables
from llmos_server.api.ollama.answers import generate_shape
from llmos_server.api.ollama.body import OllamaBody
from llmos_server.api.ollama.chat import to_chat
from llmos_server.api.ollama.generation import answer, answer_without_prompt
from llmos_server.api.ollama.names import find
from llmos_server.api.ollama.options import read_format, read_logprobs, read_options
from llmos_server.api.ollama.skills import answer_by_skill
from llmos_server.api.ollama.words import own_words
from llmos_server.api.schemas.chat import ChatMessage
from llmos_server.api.schemas.completions import CompletionRequest
from llmos_server.api.schemas.ollama import OllamaGenerateAnswer, OllamaGenerateRequest
from llmos_server.api.served import ServedModel
from llmos_server.api.skills.chat import is_skill
from llmos_server.errors import InvalidRequest


class OllamaGenerateBody(OllamaBody[OllamaGenerateRequest]):
    table = tables.GENERATE


@post(
    "/api/generate",
    dto=OllamaGenerateBody,
    return_dto=None,
    status_code=200,
    tags=["Ollama"],
    summary="Answer one prompt, or continue text (raw)",
    description="A JSON object a line, unless stream is false. Without a prompt the model is loaded.",
    responses={200: ResponseSpec(OllamaGenerateAnswer, description="The whole answer, or a line of it.")},
)
async def ollama_generate(request: AnyRequest, data: JSONBody[OllamaGenerateRequest]) -> ASGIApp:
    if is_skill(data.model):
        text = [ChatMessage(role="user", content=data.prompt)] if data.prompt else []
        return await answer_by_skill(request, data, text, generate_shape)
    served = await find(request, data.model)
    if not data.prompt:
        return await answer_without_prompt(request, served, data, generate_shape)
    with own_words():
        start = await _start(request, served, data, data.prompt)
    return await answer(request, start, data, generate_shape)


async def _start(request: AnyRequest, served: ServedModel, data: OllamaGenerateRequest, prompt: str) -> Start:
    """Through the chat template, where there is one and the request wants it."""
    if data.raw or not served.has_template:
        return await _start_raw(request, served, data, prompt)
    system = [ChatMessage(role="system", content=data.system)] if data.system else []
    messages = [*system, ChatMessage(role="user", content=prompt)]
    return await start_chat(request, to_chat(request, served, data, messages))


async def _start_raw(request: AnyRequest, served: ServedModel, data: OllamaGenerateRequest, prompt: str) -> Start:
    for name in ("system", "think"):
        if getattr(data, name):
            reason = "the prompt is given to the model as it is; put it into the prompt, or leave it out"
            raise InvalidRequest(f"{name}: without a chat template {reason}.", param=name, code="invalid_value")
    if data.truncate:
        tell_unknown(request, ["truncate"])
    wire = CompletionRequest(
        model=served.id,
        prompt=prompt,
        response_format=read_format(data.format),
        stream=data.stream is not False,
        logprobs=read_logprobs(data),
        **read_options(request, data.options),
    )
    start, _, _ = await start_completion(request, wire)
    return start
