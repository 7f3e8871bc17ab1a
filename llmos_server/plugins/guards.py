"""Calls of filters: in their plugin's threads, with their deadline, their failures counted and kept from others."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, TypeVar

from llmos_server.plugins.failures import FailureKind, Switch
from llmos_server.plugins.filters import (
    ChoiceFilter,
    EndAnswer,
    FilteredRequest,
    Part,
    Refusal,
    RequestFilter,
    ResponseFilter,
)
from llmos_server.plugins.host import PluginHost
from llmos_server.plugins.loading import Offer

T = TypeVar("T")


class FilterFailed(Exception):
    """A filter that lets nothing pass when it fails has failed, or is switched off."""

    def __init__(self, message: str, retry_after: float | None) -> None:
        super().__init__(message)
        self.retry_after = retry_after


class Guard:
    """One filter of a plugin."""

    def __init__(self, host: PluginHost, offer: Offer) -> None:
        self.offer = offer
        self._host = host
        self._filter: RequestFilter | ResponseFilter = offer.value
        self._switch: Switch = host.failures.switch(offer.plugin, offer.hook, offer.name)

    @property
    def label(self) -> str:
        return f"the filter {self.offer.name} of the plugin {self.offer.plugin}"

    def is_passed_over(self) -> bool:
        """Asked before a request, or an answer, meets the filter: whether it goes on without, because the filter is off
        and leaves the door open then. Raises FilterFailed if it keeps it closed."""
        if self._switch.admits() and not self._host.threads_of(self.offer.plugin).is_exhausted:
            return False
        if self._filter.on_failure == "open":
            return True
        raise FilterFailed(
            f"{self.label[0].upper()}{self.label[1:]} failed too often and is switched off; nothing passes without it. "
            "Try again later.",
            retry_after=max(self._switch.retry_after, 1.0),
        )

    async def call(self, fn: Callable[[], T], kind: Any, *, is_whole: bool = True) -> T | None:
        """What fn returns, which has to be a `kind`; None when it failed and the filter leaves the door open. Raises
        FilterFailed when it doesn't, and Refusal and EndAnswer as fn does.

        is_whole False: more calls follow until the filter has done its work, so this one's success says little."""
        threads = self._host.threads_of(self.offer.plugin)
        try:
            found = await threads.call(fn, self._filter.deadline_ms / 1000)
        except (Refusal, EndAnswer):
            self._switch.succeeded()
            raise
        except TimeoutError as error:
            self._fail("timeout", f"took longer than its {self._filter.deadline_ms} ms", error)
            return None
        except Exception as error:
            self._fail("raised", "failed", error)
            return None
        if not isinstance(found, kind):
            self._fail("invalid", f"returned a {type(found).__name__}", None)
            return None
        if is_whole:
            self._switch.succeeded()
        return found

    def reject(self, what: str) -> None:
        """What it returned can't be used. Raises FilterFailed unless it leaves the door open."""
        self._fail("invalid", what, None)

    def _fail(self, kind: FailureKind, what: str, error: BaseException | None) -> None:
        self._switch.failed()
        self._host.failures.note(self.offer.plugin, self.offer.hook, self.offer.name, kind, error)
        if self._filter.on_failure == "closed":
            label = f"{self.label[0].upper()}{self.label[1:]}"
            raise FilterFailed(f"{label} {what}; nothing passes without it.", retry_after=None)


class ChoiceGuard:
    """A filter's view of a part of a choice. After a failure that leaves the door open, the rest passes unseen."""

    def __init__(self, guard: Guard, choice: ChoiceFilter) -> None:
        self._guard = guard
        self._choice = choice
        self._fed = ""
        self._shown = ""
        self._is_out = False

    async def feed(self, text: str, *, is_last: bool) -> str:
        """Raises EndAnswer, FilterFailed."""
        if self._is_out or not (text or is_last):
            return text
        self._fed += text
        feed = functools.partial(_feed, self._choice, text, is_last)
        shown: str | None = await self._guard.call(feed, str, is_whole=is_last)
        if shown is None:
            self._is_out = True
            return self._fed.removeprefix(self._shown) if self._fed.startswith(self._shown) else text
        self._shown += shown
        return shown


def _feed(choice: ChoiceFilter, text: str, is_last: bool) -> str:
    shown = choice.feed(text) if text else ""
    if not is_last:
        return shown
    try:
        return shown + choice.finish()
    except EndAnswer as end:
        raise EndAnswer(shown + end.last) from None


async def open_part(host: PluginHost, request: FilteredRequest, part: Part) -> list[ChoiceGuard]:
    """Of all filters of answers that want to see it, in their order. Raises FilterFailed."""
    found: list[ChoiceGuard] = []
    for offer in host.offers("register_response_filters"):
        guard = Guard(host, offer)
        if guard.is_passed_over():
            continue
        choice = await guard.call(
            functools.partial(offer.value.open, request, part), ChoiceFilter | None, is_whole=False
        )
        if choice is not None:
            found.append(ChoiceGuard(guard, choice))
    return found
