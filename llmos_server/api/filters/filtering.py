"""Plugins' filters of requests, one after the other, over whatever a request's wire struct is."""

from __future__ import annotations

import functools
from typing import Any, Protocol, TypeVar

import msgspec

from llmos_server.errors import InvalidRequest, PluginFailed
from llmos_server.plugins.filters import FilteredRequest, Refusal
from llmos_server.plugins.guards import FilterFailed, Guard
from llmos_server.plugins.host import PluginHost

REQUESTS = "register_request_filters"

R = TypeVar("R")


class Form(Protocol[R]):
    """How filters see one kind of request."""

    def check_readable(self, data: R, guard: Guard) -> None:
        """Raises InvalidRequest for a request that holds what no filter can read."""
        ...

    def to_wire(self, seen: FilteredRequest, data: R) -> R:
        """data with what a filter has changed. Raises InvalidRequest for what can't be."""
        ...

    def param(self, data: R) -> str:
        """The field that a refusal is of."""
        ...


async def pass_filters(host: PluginHost, form: Form[R], data: R, seen: FilteredRequest) -> tuple[R, FilteredRequest]:
    """The request as its filters leave it.

    Raises InvalidRequest with a filter's reason, PluginFailed when a filter fails that nothing passes without."""
    for offer in host.offers(REQUESTS):
        data, seen = await _filter_once(Guard(host, offer), form, data, seen)
    return data, seen


async def _filter_once(guard: Guard, form: Form[R], data: R, seen: FilteredRequest) -> tuple[R, FilteredRequest]:
    form.check_readable(data, guard)
    try:
        if guard.is_passed_over():
            return data, seen
        check = functools.partial(guard.offer.value.check, seen)
        changed: Any = await guard.call(check, FilteredRequest | None)
        if changed is None or changed == seen:
            return data, seen
        kept = msgspec.structs.replace(changed, endpoint=seen.endpoint, key_id=seen.key_id)
        return form.to_wire(kept, data), kept
    except Refusal as refusal:
        raise InvalidRequest(
            f"{guard.label[0].upper()}{guard.label[1:]} refuses this request: {refusal}",
            param=form.param(data),
            code="refused_by_plugin",
        ) from None
    except FilterFailed as failure:
        raise PluginFailed(str(failure), retry_after=failure.retry_after) from None
    except InvalidRequest as error:
        _reject(guard, error)
        return data, seen


def _reject(guard: Guard, error: InvalidRequest) -> None:
    """What a filter made of the request is no request."""
    try:
        guard.reject(f"made a request of it that can't be ({error.param or 'body'})")
    except FilterFailed as failure:
        raise PluginFailed(str(failure), retry_after=failure.retry_after) from None
