"""POST /v1/classify: which of a classifier's labels a text gets, with probabilities."""

from __future__ import annotations

from dataclasses import dataclass

from litestar import post
from litestar.openapi.datastructures import ResponseSpec
from litestar.params import JSONBody
from litestar.types import ASGIApp
from msgspec import UNSET

from llmos_server.api.bodies import decision_fields
from llmos_server.api.bodies.body import WireBody
from llmos_server.api.encoders.embedding_inputs import Inputs, read_inputs, to_inputs
from llmos_server.api.encoders.encoding import run_encoder
from llmos_server.api.encoders.relevance import activate, unpack
from llmos_server.api.filters.filtered_texts import filter_texts
from llmos_server.api.generation.plans import new_id
from llmos_server.api.generation.starting import AnyRequest
from llmos_server.api.http.access import find_model
from llmos_server.api.http.context import TRUNCATED, response_headers
from llmos_server.api.http.disconnect import run_until_disconnect
from llmos_server.api.http.responses import ERRORS, json_response
from llmos_server.api.schemas.relevance import Classification, ClassificationList, ClassifyRequest, RelevanceUsage
from llmos_server.api.served import ServedModel
from llmos_server.contracts import EncoderInfo


class ClassifyBody(WireBody[ClassifyRequest]):
    table = decision_fields.CLASSIFY


@dataclass(frozen=True, slots=True)
class _Classified:
    """An Encodable."""

    inputs: Inputs
    info: EncoderInfo
    second_starts: list[int]

    @property
    def ids(self) -> list[list[int]]:
        return self.inputs.ids


async def _handle(request: AnyRequest, data: JSONBody[ClassifyRequest]) -> ASGIApp:
    data = await filter_texts(request, data, "classify")
    served = await find_model(request, data.model)
    served.require_classifier()
    given = read_inputs(data)
    work = _classify(request, served, data, given)
    return json_response(request, await run_until_disconnect(request.receive, work))


classify = post(
    "/v1/classify",
    dto=ClassifyBody,
    return_dto=None,
    status_code=200,
    tags=["Decisions"],
    summary="Sort texts into a classifier's classes",
    responses={200: ResponseSpec(ClassificationList, description="A label for each input, in order."), **ERRORS},
)(_handle)
classify_elsewhere = post(["/classify"], dto=ClassifyBody, return_dto=None, status_code=200, include_in_schema=False)(
    _handle
)
"""The same where other servers have it."""


async def _classify(
    request: AnyRequest, served: ServedModel, data: ClassifyRequest, given: list[str] | list[list[int]]
) -> ClassificationList:
    def prepare(info: EncoderInfo) -> _Classified:
        return _Classified(to_inputs(served.renderer, info, data, given), info, [])

    num_chars = sum(len(item) for item in given)
    prepared, vectors = await run_encoder(request, served, num_chars, prepare)
    inputs, info = prepared.inputs, prepared.info
    if data.truncate_prompt_tokens is not None:
        response_headers(request)[TRUNCATED] = str(inputs.num_truncated)
    activation = "identity" if data.use_activation is False else info.activation
    items = []
    for index, vector in enumerate(vectors):
        probabilities = activate(unpack(vector), activation)
        best = max(range(len(probabilities)), key=probabilities.__getitem__)
        items.append(
            Classification(index=index, label=info.labels[best], probs=probabilities, num_classes=len(probabilities))
        )
    usage = RelevanceUsage(
        prompt_tokens=inputs.num_tokens,
        total_tokens=inputs.num_tokens,
        truncated_inputs=UNSET if data.truncate_prompt_tokens is None else inputs.num_truncated,
    )
    return ClassificationList(id=new_id("classify"), model=served.id, data=items, labels=info.labels, usage=usage)
