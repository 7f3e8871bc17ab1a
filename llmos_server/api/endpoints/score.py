"""POST /v1/score: how alike, or how relevant to each other, pairs of texts are."""

from __future__ import annotations

from litestar import post
from litestar.openapi.datastructures import ResponseSpec
from litestar.params import JSONBody
from litestar.types import ASGIApp

from llmos_server.api.bodies import decision_fields
from llmos_server.api.bodies.body import WireBody
from llmos_server.api.encoders.encoding import find_encoder
from llmos_server.api.encoders.pair_inputs import Judged, spread
from llmos_server.api.encoders.relevance import judge
from llmos_server.api.endpoints.rerank import as_string
from llmos_server.api.filters.filtered_texts import filter_texts
from llmos_server.api.generation.plans import new_id
from llmos_server.api.generation.starting import AnyRequest
from llmos_server.api.http.disconnect import run_until_disconnect
from llmos_server.api.http.responses import ERRORS, json_response
from llmos_server.api.schemas.relevance import MAX_DOCUMENTS, ScoreData, ScoreList, ScoreRequest
from llmos_server.errors import InvalidRequest

FIELDS = (("text_1", "text_2"), ("queries", "documents"), ("queries", "items"), ("data_1", "data_2"))


class ScoreBody(WireBody[ScoreRequest]):
    table = decision_fields.SCORE


async def _score(request: AnyRequest, data: JSONBody[ScoreRequest]) -> ASGIApp:
    read_pairs(data)  # What is wrong is told before a filter is asked.
    data = await filter_texts(request, data, "score")
    judged = read_pairs(data)
    served = await find_encoder(request, data.model)
    found = await run_until_disconnect(request.receive, judge(request, served, judged))
    items = [ScoreData(index=index, score=value) for index, value in enumerate(found.scores)]
    return json_response(request, ScoreList(id=new_id("score"), model=served.id, data=items, usage=found.usage))


score = post(
    "/v1/score",
    dto=ScoreBody,
    return_dto=None,
    status_code=200,
    tags=["Decisions"],
    summary="Score pairs of texts",
    responses={200: ResponseSpec(ScoreList, description="A score for each pair, in order."), **ERRORS},
)(_score)
score_elsewhere = post(["/score"], dto=ScoreBody, return_dto=None, status_code=200, include_in_schema=False)(_score)
"""The same where other servers have it."""


def read_pairs(data: ScoreRequest) -> Judged:
    """Raises InvalidRequest unless one of FIELDS is there, both of it and nothing else."""
    given = [name for name in dict.fromkeys(sum(FIELDS, ())) if getattr(data, name) is not None]
    names = next((pair for pair in FIELDS if set(pair) == set(given)), None)
    if names is None:
        known = "; ".join(f"{first} and {second}" for first, second in FIELDS)
        raise InvalidRequest(
            f"Send one pair of fields ({known}), not {', '.join(given) or 'none'}.",
            param=given[0] if given else FIELDS[0][0],
            code="invalid_value" if given else "missing_required_parameter",
        )
    firsts, seconds = _texts(data, names[0]), _texts(data, names[1])
    if len(firsts) == 1 < len(seconds):
        first_names = [names[0]] * len(seconds)
    else:
        first_names = [_name(names[0], place, len(firsts)) for place in range(len(firsts))]
    second_names = [_name(names[1], place, len(seconds)) for place in range(len(seconds))]
    firsts, seconds = spread(firsts, seconds, names)
    return Judged(
        firsts=firsts,
        seconds=seconds,
        first_names=first_names,
        second_names=second_names,
        truncate=data.truncate_prompt_tokens,
        use_activation=data.use_activation,
    )


def _texts(data: ScoreRequest, name: str) -> list[str]:
    given = getattr(data, name)
    texts = [as_string(text) for text in (given if isinstance(given, list) else [given])]
    if not 1 <= len(texts) <= MAX_DOCUMENTS:
        raise InvalidRequest(
            f"{name} holds {len(texts)} texts; send 1 to {MAX_DOCUMENTS}.", param=name, code="invalid_value"
        )
    return texts


def _name(field: str, place: int, num: int) -> str:
    return field if num == 1 else f"{field}[{place}]"
