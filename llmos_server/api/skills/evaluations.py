"""What skills were measured at: kept by /admin/v1/skills/{name}/scores, listed by /v1/llmos/skills/{name}/scores,
told by runs."""

from __future__ import annotations

from typing import Any

import structlog
from litestar import get, post
from litestar.openapi.datastructures import ResponseSpec
from litestar.params import FromPath, JSONBody
from litestar.types import ASGIApp

from llmos_server.api.bodies import fields
from llmos_server.api.bodies.body import WireBody
from llmos_server.api.generation.starting import AnyRequest
from llmos_server.api.http.access import find_model, require_admin
from llmos_server.api.http.responses import ERRORS, json_response
from llmos_server.api.schemas.skills import SkillResult, SkillScoreList, StoreScoreRequest
from llmos_server.api.services import Services, store_of
from llmos_server.api.skills.access import find_skill
from llmos_server.errors import InvalidRequest, StoreUnavailable
from llmos_server.skill_contracts import SkillScore
from llmos_server.skills.skill import Skill

log = structlog.get_logger(__name__)

MAX_SCORES = 100


class ScoreBody(WireBody[StoreScoreRequest]):
    table = fields.STORE_SCORE


@post(
    "/admin/v1/skills/{name:str}/scores",
    guards=[require_admin],
    dto=ScoreBody,
    return_dto=None,
    status_code=200,
    tags=["Administration"],
    summary="Keep what `llmos skills eval` has measured",
    responses={200: ResponseSpec(SkillScore, description="As it was kept."), **ERRORS},
)
async def store_score(request: AnyRequest, name: FromPath[str], data: JSONBody[StoreScoreRequest]) -> ASGIApp:
    skill: Skill[Any, Any] = find_skill(request, str(name)).value
    _check(skill, data)
    served = await find_model(request, data.model)
    info = served.engine.info
    digest = served.version.digest if served.version is not None else info.model_digest if info else ""
    if digest != data.model_digest:
        raise InvalidRequest(
            f"model_digest: {served.id} has other weights now than those that were measured. Evaluate it again.",
            param="model_digest",
            code="invalid_value",
        )
    score = SkillScore(
        skill=skill.name,
        version=skill.version,
        model=served.id,
        model_digest=digest,
        metric=skill.metric,
        score=data.figures[skill.metric],
        figures=data.figures,
        num_cases=data.num_cases,
        num_failed=data.num_failed,
    )
    await store_of(request).skill_scores.add(score)
    return json_response(request, score)


def _check(skill: Skill[Any, Any], data: StoreScoreRequest) -> None:
    if data.version != skill.version:
        raise InvalidRequest(
            f"version: the server has version {skill.version} of the skill {skill.name}, not {data.version}.",
            param="version",
            code="invalid_value",
        )
    if not skill.metric or skill.metric not in data.figures:
        raise InvalidRequest(
            f"figures has no {skill.metric or 'metric'!r}, by which the skill {skill.name} is judged.",
            param="figures",
            code="invalid_value",
        )


@get(
    "/v1/llmos/skills/{name:str}/scores",
    tags=["Skills"],
    summary=f"What a skill was measured at, the newest {MAX_SCORES} first",
    responses={200: ResponseSpec(SkillScoreList, description="Of all models."), 404: ERRORS[404]},
)
async def list_scores(request: AnyRequest, name: FromPath[str]) -> ASGIApp:
    skill = find_skill(request, str(name))
    return json_response(
        request, SkillScoreList(data=await store_of(request).skill_scores.list(skill.name, MAX_SCORES))
    )


async def tell_score(services: Services, skill: Skill[Any, Any], result: SkillResult) -> None:
    """Add to a run's answer what this version was last measured at with these weights. An answer is given, too, while
    the database can't be read."""
    if services.store is None or not skill.metric:
        return
    try:
        measured = await services.store.skill_scores.latest(skill.name, skill.version, result.model_digest)
    except StoreUnavailable:
        log.warning("score not read", skill=skill.name)
        return
    if measured is not None:
        result.score = measured.score
        if skill.minimum_score is not None:
            result.below_minimum = measured.score < skill.minimum_score
