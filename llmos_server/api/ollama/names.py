"""Model names as Ollama's clients write them."""

from __future__ import annotations

from contextlib import suppress

from llmos_server.api.generation.starting import AnyRequest
from llmos_server.api.http.access import find_model
from llmos_server.api.schemas.ollama_models import OllamaNameRequest
from llmos_server.api.served import ServedModel
from llmos_server.errors import InvalidRequest, ModelNotFound

LATEST = ":latest"
"""What a name without a tag stands for there, and what some clients put behind it."""


async def find(request: AnyRequest, name: str) -> ServedModel:
    """Raises ModelNotFound, and Forbidden for a model that this key may not use."""
    if name.endswith(LATEST):
        with suppress(ModelNotFound):
            return await find_model(request, name)
    return await find_model(request, name.removesuffix(LATEST))


def plain_name(data: OllamaNameRequest) -> str:
    """Of a model that may not be here. Raises InvalidRequest when none is named."""
    if not (name := data.model or data.name):
        raise InvalidRequest("model is missing.", param="model", code="missing_required_parameter")
    return name.removesuffix(LATEST)
