"""POST /v1/rerank: documents in the order of their relevance to a query."""

from __future__ import annotations

from litestar import post
from litestar.openapi.datastructures import ResponseSpec
from litestar.params import JSONBody
from litestar.types import ASGIApp
from msgspec import UNSET

from llmos_server.api.bodies import decision_fields
from llmos_server.api.bodies.body import WireBody
from llmos_server.api.encoders.encoding import find_encoder
from llmos_server.api.encoders.pair_inputs import Judged
from llmos_server.api.encoders.relevance import judge
from llmos_server.api.filters.filtered_texts import filter_texts
from llmos_server.api.generation.plans import new_id
from llmos_server.api.generation.starting import AnyRequest
from llmos_server.api.http.disconnect import run_until_disconnect
from llmos_server.api.http.responses import ERRORS, json_response
from llmos_server.api.schemas.relevance import RerankRequest, RerankResponse, RerankResult, TextDocument


class RerankBody(WireBody[RerankRequest]):
    table = decision_fields.RERANK


async def _rerank(request: AnyRequest, data: JSONBody[RerankRequest]) -> ASGIApp:
    data = await filter_texts(request, data, "rerank")
    served = await find_encoder(request, data.model)
    documents = [as_string(document) for document in data.documents]
    judged = Judged(
        firsts=[as_string(data.query)] * len(documents),
        seconds=documents,
        first_names=["query"] * len(documents),
        second_names=[f"documents[{place}]" for place in range(len(documents))],
        truncate=data.truncate_prompt_tokens,
        max_second=data.max_tokens_per_doc,
        use_activation=data.use_activation,
    )
    found = await run_until_disconnect(request.receive, judge(request, served, judged))
    order = sorted(range(len(documents)), key=lambda place: -found.scores[place])
    results = [
        RerankResult(
            index=place,
            relevance_score=found.scores[place],
            document=UNSET if data.return_documents is False else TextDocument(text=documents[place]),
        )
        for place in order[: data.top_n or len(order)]
    ]
    return json_response(
        request, RerankResponse(id=new_id("rerank"), model=served.id, results=results, usage=found.usage)
    )


rerank = post(
    "/v1/rerank",
    dto=RerankBody,
    return_dto=None,
    status_code=200,
    tags=["Decisions"],
    summary="Order documents by their relevance to a query",
    responses={200: ResponseSpec(RerankResponse, description="Most relevant first."), **ERRORS},
)(_rerank)
rerank_elsewhere = post(
    ["/rerank", "/v2/rerank"], dto=RerankBody, return_dto=None, status_code=200, include_in_schema=False
)(_rerank)
"""The same where other servers have it."""


def as_string(text: str | TextDocument) -> str:
    return text if isinstance(text, str) else text.text
