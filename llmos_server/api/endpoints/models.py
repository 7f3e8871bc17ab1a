"""GET /v1/models and /v1/models/{id}."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from datetime import UTC, datetime

import msgspec
from litestar import delete, get
from litestar.openapi.datastructures import ResponseSpec
from litestar.params import FromPath
from litestar.types import ASGIApp

from llmos_server.adapter_contracts import Promotion
from llmos_server.api.adapters.names import list_adapted, list_promoted
from llmos_server.api.adapters.removing import remove_adapter
from llmos_server.api.capabilities import capabilities
from llmos_server.api.generation.starting import AnyRequest
from llmos_server.api.http.access import find_model, may_use, principal_of
from llmos_server.api.http.responses import ERRORS, json_response
from llmos_server.api.schemas.models import Model, ModelDeleted, ModelList
from llmos_server.api.served import Directory, ListedModel
from llmos_server.api.services import services_of, store_of
from llmos_server.api.skills.access import PREFIX, find_skill, list_skills
from llmos_server.errors import Forbidden, ModelNotFound
from llmos_server.plugins.loading import Offer


@get(
    "/v1/models",
    tags=["Models"],
    summary="List the served models that this key may use, chat models first, skills last",
    responses={200: ResponseSpec(ModelList, description="All of them.")},
)
async def list_models(request: AnyRequest) -> ASGIApp:
    return json_response(request, await describe_models(request))


async def describe_models(request: AnyRequest) -> ModelList:
    services = services_of(request)
    directory = services.directory
    listed = directory.list()
    bases = {served.id: served for served in listed}
    adapters = await list_adapted(services, principal_of(request).key_id)
    adapted = [dataclasses.replace(bases[a.base], id=a.name, created=a.created, adapter=a) for a in adapters]
    visible = [served for served in [*listed, *adapted] if may_use(request, served)]
    promoted = [(one, _promoted(bases, one)) for one in await list_promoted(services)]
    aliases = [_describe_promoted(directory, one, served) for one, served in promoted if may_use(request, served)]
    skills = [_describe_skill(directory, offer) for offer in list_skills(request)]
    found = [*(describe_model(directory, served) for served in visible), *aliases, *skills]
    models = [_for_client(request, model) for model in found]
    first, last = (models[0].id, models[-1].id) if models else (None, None)
    return ModelList(data=models, first_id=first, last_id=last)


@get(
    "/v1/models/{model_id:path}",
    tags=["Models"],
    summary="One model, by name or alias",
    responses={200: ResponseSpec(Model, description="The model."), 404: ERRORS[404]},
)
async def retrieve_model(request: AnyRequest, model_id: FromPath[str]) -> ASGIApp:
    """Names may hold slashes and colons; Litestar hands a path parameter over with a slash before it."""
    directory = services_of(request).directory
    name = str(model_id).removeprefix("/")
    if name.startswith(PREFIX):
        model = _describe_skill(directory, find_skill(request, name.removeprefix(PREFIX)))
    else:
        model = describe_model(directory, await find_model(request, name))
    return json_response(request, _for_client(request, model))


@delete(
    "/v1/models/{model_id:path}",
    status_code=200,
    tags=["Models"],
    summary="Delete an adapter that this key has made; administrators delete any that they may use",
    responses={200: ResponseSpec(ModelDeleted, description="It is gone."), 404: ERRORS[404]},
)
async def delete_model(request: AnyRequest, model_id: FromPath[str]) -> ASGIApp:
    """Requests that run on it end on it."""
    served = await find_model(request, str(model_id).removeprefix("/"))
    adapter = served.adapter
    if served.promoted_as:
        raise Forbidden(
            f"{served.promoted_as!r} is an alias. An administrator takes it away, at DELETE /admin/v1/promotions.",
            code="model_not_deletable",
        )
    if adapter is None:
        raise Forbidden(
            f"{model_id!r} is no adapter. A model that was pulled is removed by an administrator, at DELETE "
            "/admin/v1/models.",
            code="model_not_deletable",
        )
    principal = principal_of(request)
    if adapter.owner != principal.key_id and not principal.is_admin:
        raise Forbidden(
            f"{adapter.name!r} was made by somebody else. Ask an administrator.", code="model_not_deletable"
        )
    await remove_adapter(store_of(request), adapter, served.generator)
    return json_response(request, ModelDeleted(id=adapter.name))


def _promoted(bases: Mapping[str, ListedModel], made: Promotion) -> ListedModel:
    base = bases[made.model if made.adapter is None else made.adapter.base]
    alias = made.alias
    return dataclasses.replace(base, id=alias, created=made.created, adapter=made.adapter, promoted_as=alias)


def _describe_promoted(directory: Directory, made: Promotion, served: ListedModel) -> Model:
    described = describe_model(directory, served)
    return described if made.adapter is not None else msgspec.structs.replace(described, root=made.model)


def _for_client(request: AnyRequest, model: Model) -> Model:
    """Anthropic's clients, who alone send this header, read another thing in capabilities."""
    if "anthropic-version" not in request.headers:
        return model
    return msgspec.structs.replace(model, capabilities=None, max_input_tokens=model.max_model_len)


def _describe_skill(directory: Directory, offer: Offer) -> Model:
    """A skill under a model's name, for chat programs: as ready as the default model is."""
    try:
        default = directory.default()
    except ModelNotFound:
        default = None
    created = default.created if default is not None else 0
    return Model(
        id=PREFIX + offer.name,
        created=created,
        display_name=offer.name,
        created_at=_rfc3339(created),
        owned_by=offer.plugin,
        max_model_len=None,
        root=PREFIX + offer.name,
        parent=None,
        capabilities=["chat", "skill", "streaming"],
        aliases=[],
        state=default.engine.state if default is not None else "unloaded",
    )


def describe_model(directory: Directory, served: ListedModel) -> Model:
    return Model(
        id=served.id,
        created=served.created,
        display_name=served.id,
        created_at=_rfc3339(served.created),
        max_model_len=served.max_model_len,
        root=served.id if served.adapter is None else served.adapter.digest,
        parent=None if served.adapter is None else served.adapter.base,
        capabilities=capabilities(served),
        aliases=list(directory.aliases_of(served.id)),
        digest=served.digest,
        state=served.engine.state,
    )


def _rfc3339(seconds: int) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
