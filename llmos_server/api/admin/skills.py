"""/admin/v1/skills: all skills with what became of their runs; disable and enable them."""

from __future__ import annotations

import msgspec
import structlog
from litestar import get, post
from litestar.openapi.datastructures import ResponseSpec
from litestar.params import FromPath
from litestar.types import ASGIApp

from llmos_server.api.errors import NotFound
from llmos_server.api.generation.starting import AnyRequest
from llmos_server.api.http.access import require_admin
from llmos_server.api.http.responses import ERRORS, json_response
from llmos_server.api.schemas.admin_skills import AdminSkill, AdminSkillList
from llmos_server.api.services import Services, services_of, store_of
from llmos_server.api.skills.access import HOOK
from llmos_server.api.skills.describing import describe_skill
from llmos_server.api.skills.evaluations import MAX_SCORES
from llmos_server.plugins.loading import Offer
from llmos_server.skill_contracts import SkillScore
from llmos_server.skills.forms import input_schema

log = structlog.get_logger(__name__)

_OK = {200: ResponseSpec(AdminSkill, description="The skill, as it is now."), 404: ERRORS[404]}


@get(
    "/admin/v1/skills",
    guards=[require_admin],
    tags=["Administration"],
    summary="All skills, disabled ones, too: their scores, their runs and what went wrong in them",
    responses={200: ResponseSpec(AdminSkillList, description="In the order of loading.")},
)
async def admin_list_skills(request: AnyRequest) -> ASGIApp:
    services = services_of(request)
    if services.store is not None:
        await services.store.skill_switches.refresh()
    rows = [await _describe(services, offer) for offer in services.plugins.offers(HOOK)]
    return json_response(request, AdminSkillList(data=rows))


@post(
    "/admin/v1/skills/{name:str}/disable",
    status_code=200,
    guards=[require_admin],
    tags=["Administration"],
    summary="Disable a skill, until it is enabled: nobody can run it, wherever it could be reached",
    responses=_OK,
)
async def disable_skill(request: AnyRequest, name: FromPath[str]) -> ASGIApp:
    offer = _find(request, str(name))
    await store_of(request).skill_switches.disable(offer.name)
    log.info("skill disabled", skill=offer.name)
    return json_response(request, await _describe(services_of(request), offer))


@post(
    "/admin/v1/skills/{name:str}/enable",
    status_code=200,
    guards=[require_admin],
    tags=["Administration"],
    summary="Enable a skill that was disabled",
    responses=_OK,
)
async def enable_skill(request: AnyRequest, name: FromPath[str]) -> ASGIApp:
    offer = _find(request, str(name))
    await store_of(request).skill_switches.enable(offer.name)
    log.info("skill enabled", skill=offer.name)
    return json_response(request, await _describe(services_of(request), offer))


def _find(request: AnyRequest, name: str) -> Offer:
    offer = services_of(request).plugins.find(HOOK, name)
    if offer is None:
        raise NotFound(
            f"There is no skill {name[:100]!r} here. GET /admin/v1/skills lists all of them.",
            param="name",
            code="skill_not_found",
        )
    return offer


async def _describe(services: Services, offer: Offer) -> AdminSkill:
    history, store = services.skill_history, services.store
    scores = await store.skill_scores.list(offer.name, MAX_SCORES) if store is not None else []
    return AdminSkill(
        **msgspec.structs.asdict(describe_skill(offer)),
        enabled=store is None or not store.skill_switches.was_disabled(offer.name),
        is_switched_off=not services.plugins.failures.switch(offer.plugin, HOOK, offer.name).is_on,
        scores=_newest_by_model(scores),
        last_errors=history.last_errors(offer.name),
        runs=history.runs[offer.name],
        failures=history.failures[offer.name],
        input_schema=input_schema(offer.value),
    )


def _newest_by_model(scores: list[SkillScore]) -> list[SkillScore]:
    """scores: the newest first."""
    found: dict[str, SkillScore] = {}
    for score in scores:
        found.setdefault(score.model, score)
    return list(found.values())
