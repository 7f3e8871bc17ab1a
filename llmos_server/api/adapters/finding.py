"""Adapters as administrators name them: everybody's, by name and owner; and what engines have of them."""

from __future__ import annotations

from llmos_server.adapter_contracts import AdapterVersion, LoadedAdapter
from llmos_server.api.errors import NotFound
from llmos_server.api.schemas.admin_adapters import AdapterInfo
from llmos_server.api.served import Directory
from llmos_server.errors import InvalidRequest
from llmos_server.store.adapters import AdapterRepository


async def find_version(adapters: AdapterRepository, name: str, owner: str | None) -> AdapterVersion:
    """owner: None takes nobody's, or else the only one of that name. Raises NotFound; InvalidRequest for several."""
    found = await adapters.of_name(name)
    matching = [one for one in found if one.owner == (owner or "")]
    if not matching and owner is None:
        matching = found
    if len(matching) > 1:
        owners = ", ".join(one.owner for one in matching)
        raise InvalidRequest(f"Several keys have an adapter {name[:100]!r}. Say whose: {owners}.", param="owner")
    if not matching:
        whose = "No adapter" if owner is None else "No adapter of this owner"
        raise NotFound(f"{whose} is named {name[:100]!r}.", param="name", code="model_not_found")
    return matching[0]


def loaded_adapters(directory: Directory) -> dict[tuple[str, str], LoadedAdapter]:
    """By the base's name and the digest."""
    decoders = [model for model in directory.list() if model.kind == "decoder"]
    return {(model.id, one.digest): one for model in decoders for one in model.generator.adapters}


def describe_version(adapter: AdapterVersion, found: LoadedAdapter | None) -> AdapterInfo:
    """found: what an engine has of it."""
    return AdapterInfo(
        name=adapter.name,
        base=adapter.base,
        owner=adapter.owner,
        is_shared=adapter.is_shared,
        digest=adapter.digest,
        rank=adapter.rank,
        num_bytes=adapter.num_bytes,
        job_id=adapter.job_id,
        created=adapter.created,
        is_loaded=found is not None,
        loaded_bytes=0 if found is None else found.num_bytes,
        last_used=None if found is None else found.last_used,
    )
