"""A skill under a model's name, `skill:NAME`, in Ollama's API."""

from __future__ import annotations

import hashlib
import time

import msgspec
from litestar.types import ASGIApp

from llmos_server.api.bodies.unknown_fields import tell_unknown
from llmos_server.api.errors import WireError
from llmos_server.api.generation.starting import AnyRequest
from llmos_server.api.http.disconnect import run_until_disconnect
from llmos_server.api.http.responses import json_response
from llmos_server.api.ollama.answers import Piece, Shape, without_text
from llmos_server.api.ollama.describe import NO_DETAILS, modified_at
from llmos_server.api.ollama.names import LATEST
from llmos_server.api.ollama.ndjson import FORM, line, timestamp, to_nanoseconds
from llmos_server.api.schemas.chat import ChatCompletionRequest, ChatMessage
from llmos_server.api.schemas.ollama import OllamaAnswer, OllamaGenerationFields
from llmos_server.api.schemas.ollama_models import OllamaModel, OllamaShown
from llmos_server.api.schemas.skills import SkillEvent, SkillResult
from llmos_server.api.services import services_of
from llmos_server.api.skills.access import PREFIX, find_skill, list_skills
from llmos_server.api.skills.chat import to_text
from llmos_server.api.skills.input import read_chat
from llmos_server.api.skills.run import create_run
from llmos_server.api.skills.stream import open_run_stream
from llmos_server.errors import ModelNotFound
from llmos_server.plugins.loading import Offer

_FOLLOWED = frozenset({"model", "messages", "prompt", "system", "stream"})


async def answer_by_skill(
    request: AnyRequest, data: OllamaGenerationFields, messages: list[ChatMessage], shape: Shape
) -> ASGIApp:
    """The last message is its text. Without one there is nothing to load."""
    name = data.model.removeprefix(PREFIX).removesuffix(LATEST)
    offer = find_skill(request, name, param="model")
    if not messages:
        return json_response(request, without_text(shape, data.model, "load"))
    sent = {field for field, value in msgspec.structs.asdict(data).items() if value}
    if without_effect := sorted(sent - _FOLLOWED):
        tell_unknown(request, without_effect)
    given, model = read_chat(request, offer.value, ChatCompletionRequest(model=data.model, messages=messages))
    run = await create_run(request, offer, model, given)
    frames = OllamaSkillFrames(data.model, shape)
    if data.stream is not False:
        return await open_run_stream(run, frames, FORM)
    result = await run_until_disconnect(request.receive, run.run())
    return json_response(request, frames.whole(result))


class OllamaSkillFrames:
    """RunFrames as lines. There is no place for progress."""

    def __init__(self, model: str, shape: Shape) -> None:
        self._model = model
        self._shape = shape
        self._arrival = time.perf_counter()

    def event(self, event: SkillEvent) -> bytes:
        return self._text(event.text) if event.type == "text" and isinstance(event.text, str) else b""

    def result(self, result: SkillResult, written: str) -> bytes:
        return self._text(to_text(result)[len(written) :]) + line(self._ending(result, ""))

    def error(self, wire: WireError) -> bytes:
        return FORM.error(wire)

    def whole(self, result: SkillResult) -> OllamaAnswer:
        return self._ending(result, to_text(result))

    def _text(self, text: str) -> bytes:
        if not text:
            return b""
        return line(self._shape(Piece(text), model=self._model, created_at=timestamp(), done=False))

    def _ending(self, result: SkillResult, text: str) -> OllamaAnswer:
        """Of the figures, what is known of all that the skill has asked of models."""
        return self._shape(
            Piece(text),
            model=self._model,
            created_at=timestamp(),
            done=True,
            done_reason="stop",
            total_duration=to_nanoseconds(time.perf_counter() - self._arrival),
            prompt_eval_count=result.usage.prompt_tokens,
            eval_count=result.usage.completion_tokens,
        )


def list_as_models(request: AnyRequest) -> list[OllamaModel]:
    """Those that this key may run."""
    since = _since(request)
    return [_to_model(offer, since) for offer in list_skills(request)]


def _to_model(offer: Offer, since: str) -> OllamaModel:
    """Its digest is of its name and version: clients take what has equal ones for one model."""
    name = PREFIX + offer.name
    digest = hashlib.sha256(f"{name}@{offer.value.version}".encode()).hexdigest()
    return OllamaModel(name=name, model=name, modified_at=since, size=0, digest=digest, details=NO_DETAILS)


def show_skill(request: AnyRequest, name: str) -> OllamaShown:
    """Raises NotFound."""
    offer = find_skill(request, name.removeprefix(PREFIX), param="model")
    return OllamaShown(
        modelfile=f"FROM {PREFIX}{offer.name}\n",
        template="",
        details=NO_DETAILS,
        model_info={"general.architecture": NO_DETAILS.family, "general.description": offer.value.description},
        capabilities=["completion"],
        modified_at=_since(request),
    )


def _since(request: AnyRequest) -> str:
    """As new as the default model, as in /v1/models."""
    try:
        return modified_at(services_of(request).directory.default())
    except ModelNotFound:
        return timestamp(0)
