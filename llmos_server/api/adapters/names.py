"""Which adapter a name means to whoever asks: one's own, else one that everybody may use."""

from __future__ import annotations

from collections.abc import Sequence

from llmos_server.adapter_contracts import AdapterVersion, Promotion, unquantised
from llmos_server.api.adapters.adapted import adapt
from llmos_server.api.adapters.promoting import find_promoted
from llmos_server.api.errors import NotFound
from llmos_server.api.served import ServedModel
from llmos_server.api.services import Services
from llmos_server.errors import InvalidRequest, ModelNotFound

MAX_KNOWN_NAMES = 10_000
"""Names that were adapters' once are looked for there first; beyond so many all are forgotten."""


async def find_served(services: Services, name: str | None, owner: str) -> ServedModel:
    """The model, or the adapter, of a name; None is the default model. Raises ModelNotFound.

    A model's name costs no look into the database, and an adapter's one. What isn't a model's is always looked up:
    another process may have registered it.
    """
    if name is None or services.store is None:
        return await services.directory.get(name)
    if name in services.adapter_names and (served := await _find_in_store(services, name, owner)) is not None:
        return served
    try:
        return await services.directory.get(name)
    except ModelNotFound:
        served = await _find_in_store(services, name, owner)
        if served is None:
            raise
    if len(services.adapter_names) >= MAX_KNOWN_NAMES:
        services.adapter_names.clear()
    services.adapter_names.add(name)
    return served


async def list_promoted(services: Services) -> Sequence[Promotion]:
    """Aliases that lead to what is here as it was."""
    if services.store is None:
        return []
    versions = {model.id: model.version for model in services.directory.list()}

    def is_here(promotion: Promotion) -> bool:
        adapter = promotion.adapter
        if adapter is None:
            return promotion.model in versions
        version = versions.get(adapter.base)
        return adapter.base in versions and (version is None or unquantised(version.digest) == adapter.base_digest)

    return [promotion for promotion in await services.store.promotions.list() if is_here(promotion)]


async def find_chosen(services: Services, name: str | None, adapter: str, owner: str) -> ServedModel:
    """The model of a name with an adapter of its, which is named by its suffix or in full. One that the name leads to
    already may be named again. Raises ModelNotFound, InvalidRequest, NotFound."""
    base = await find_served(services, name, owner)
    whole, _, suffix = adapter.rpartition(":")
    if base.adapter is not None:
        if adapter in (base.id, base.id.rpartition(":")[2]):
            return base
        raise InvalidRequest(
            f"The model names the adapter {base.id!r}, and the field adapter another one, {adapter[:100]!r}. Leave one "
            "of them out.",
            param="adapter",
            code="conflicting_adapters",
        )
    if whole not in ("", base.id, *services.directory.aliases_of(base.id)):
        raise InvalidRequest(
            f"{adapter[:200]!r} is no adapter of {base.id}, the model that is asked. Name its own model, or leave the "
            "field model out of an adapter's full name: send that as the model.",
            param="adapter",
            code="conflicting_adapters",
        )
    found = None if services.store is None else await services.store.adapters.find(owner, f"{base.id}:{suffix}")
    if found is None:
        raise NotFound(
            f"{base.id} has no adapter {suffix[:100]!r} here. GET /v1/models lists those that this key may use, with "
            "their base as parent.",
            param="adapter",
            code="model_not_found",
        )
    return adapt(base, found)


async def list_adapted(services: Services, owner: str) -> Sequence[AdapterVersion]:
    """All that this owner may use and that some base is here for, by name; its own hide others' of the same name."""
    if services.store is None:
        return []
    versions = {model.id: model.version for model in services.directory.list() if model.kind == "decoder"}
    found: dict[str, AdapterVersion] = {}
    for adapter in await services.store.adapters.list(owner):
        version = versions.get(adapter.base)
        is_served = version is None or unquantised(version.digest) == adapter.base_digest
        if adapter.base in versions and is_served and (adapter.name not in found or adapter.owner == owner):
            found[adapter.name] = adapter
    return list(found.values())


async def _find_in_store(services: Services, name: str, owner: str) -> ServedModel | None:
    """An alias that something was promoted to, or an adapter, whose base may be named by an alias of the settings."""
    base_name, _, suffix = name.rpartition(":")
    if services.store is None:
        return None
    if not base_name:
        return await find_promoted(services, services.store, name)
    try:
        base = await services.directory.get(base_name)
    except ModelNotFound:
        return None
    adapter = await services.store.adapters.find(owner, f"{base.id}:{suffix}")
    return None if adapter is None else adapt(base, adapter)
