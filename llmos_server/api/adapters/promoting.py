"""A version that is to answer to a name of applications': found, checked, loaded ahead, then put in place at once."""

from __future__ import annotations

import asyncio
import dataclasses
import re
from pathlib import Path
from typing import TYPE_CHECKING

from llmos_server.adapter_contracts import TEMPORARY, AdapterVersion, Promotion
from llmos_server.api.adapters.adapted import adapt
from llmos_server.api.adapters.finding import find_version
from llmos_server.api.served import ServedModel
from llmos_server.errors import InvalidRequest, ModelNotFound
from llmos_server.registry.names import WORD

if TYPE_CHECKING:
    from llmos_server.api.services import Services
    from llmos_server.store.store import Store

MAX_ALIAS_LENGTH = 64


async def find_promoted(services: Services, store: Store, alias: str) -> ServedModel | None:
    """What answers to it, for whoever asks."""
    promotion = await store.promotions.find(alias)
    return None if promotion is None else await serve_promoted(services, promotion)


async def serve_promoted(services: Services, promotion: Promotion) -> ServedModel:
    """Raises ModelNotFound when its model, or the adapter's base, isn't here as it was."""
    adapter = promotion.adapter
    served = await services.directory.get(promotion.model if adapter is None else adapter.base)
    served = served if adapter is None else adapt(served, adapter)
    return dataclasses.replace(served, promoted_as=promotion.alias)


async def promote(
    services: Services, store: Store, name: str, owner: str | None, alias: str, made_by: str
) -> Promotion:
    """name: a model's, an adapter's, or another alias. Requests that run end on what they began with.

    Raises ModelNotFound, NotFound, InvalidRequest: then what answered does still.
    """
    await _check_alias(services, alias)
    served = await _find_target(services, store, name, owner)
    await make_ready(served)
    digest = served.digest or "" if served.adapter is None else served.adapter.digest
    return await store.promotions.promote(alias, served.id, digest, served.adapter, made_by)


async def roll_back(services: Services, store: Store, alias: str, made_by: str) -> Promotion:
    """To what answered before the last promotion. Raises as promote."""
    before = await store.promotions.previous(alias)
    await make_ready(await serve_promoted(services, before))
    return await store.promotions.roll_back(alias, made_by, before.number)


async def make_ready(served: ServedModel) -> None:
    """So that the first request finds it: loaded where its base is, and at least there. Raises InvalidRequest."""
    adapter = served.adapter
    if adapter is None:
        return
    if not await asyncio.to_thread(Path(adapter.folder).is_dir):
        raise InvalidRequest(
            f"The files of {adapter.name} ({adapter.digest[:19]}) are gone from LLMOS_HOME/adapters. Restore them from "
            "a backup, or promote another version.",
            code="adapter_failed",
        )
    if served.engine.state == "ready":
        with served.generator.hold():
            await served.generator.wait_ready(None)
            await served.generator.load_adapter(adapter.digest)


async def _check_alias(services: Services, alias: str) -> None:
    if len(alias) > MAX_ALIAS_LENGTH or not re.fullmatch(WORD, alias):
        raise InvalidRequest(
            f"{alias[:100]!r} can't be an alias: take 1 to {MAX_ALIAS_LENGTH} letters, digits, '.', '_' and '-', a "
            "letter or a digit first and last.",
            param="alias",
        )
    try:
        taken = await services.directory.get(alias)
    except ModelNotFound:
        return
    raise InvalidRequest(f"{alias!r} is a name of the model {taken.id} already. Choose another one.", param="alias")


async def _find_target(services: Services, store: Store, name: str, owner: str | None) -> ServedModel:
    base_name, _, suffix = name.rpartition(":")
    try:
        return await services.directory.get(name)
    except ModelNotFound:
        if suffix.startswith(TEMPORARY):
            raise
        if not base_name:
            if (promoted := await find_promoted(services, store, name)) is not None:
                return promoted
            raise
    base = await services.directory.get(base_name)
    adapter: AdapterVersion = await find_version(store.adapters, f"{base.id}:{suffix}", owner)
    return adapt(base, adapter)
