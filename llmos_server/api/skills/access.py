"""Which skill a request means. All ways to a skill go through find_skill: what keys may use is decided here."""

from __future__ import annotations

from typing import Any

from llmos_server.api.errors import NotFound
from llmos_server.api.http.access import may_run_skill, require_skill
from llmos_server.api.services import services_of
from llmos_server.errors import Forbidden
from llmos_server.plugins.loading import Offer

HOOK = "register_skills"
PREFIX = "skill:"
"""Of a skill's name where a model's name is expected."""


def find_skill(connection: Any, name: str, *, param: str | None = None) -> Offer:
    """param: the field that named it. Raises NotFound, which lists those that the key may run, and Forbidden, also for
    one that is disabled."""
    host = services_of(connection).plugins
    offer = host.find(HOOK, name)
    if offer is None:
        known = ", ".join(offer.name for offer in list_skills(connection)) or "none"
        raise NotFound(
            f"There is no skill {name[:100]!r} here. Skills: {known}. `llmos plugins list` tells why one is missing.",
            param=param,
            code="skill_not_found",
        )
    require_skill(connection, name, param=param)
    if _is_disabled(connection, name):
        raise disabled(name, param=param)
    return offer


def list_skills(connection: Any) -> list[Offer]:
    """Those that the request's key may run, in the order of loading."""
    offers = services_of(connection).plugins.offers(HOOK)
    return [
        offer for offer in offers if may_run_skill(connection, offer.name) and not _is_disabled(connection, offer.name)
    ]


def disabled(name: str, *, param: str | None = None) -> Forbidden:
    return Forbidden(
        f"The skill {name!r} is disabled by this server's administrator.", param=param, code="skill_disabled"
    )


def _is_disabled(connection: Any, name: str) -> bool:
    store = services_of(connection).store
    return store is not None and store.skill_switches.was_disabled(name)
