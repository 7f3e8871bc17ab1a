"""Filters for benchmarks/blocked_filter.py: both sleep where they are asked to, and let all else pass at once."""

from __future__ import annotations

import time

import msgspec

from llmos_server import ChoiceFilter, FilteredRequest, RequestFilter, ResponseFilter, hookimpl

hook_api = "1.0"


class Settings(msgspec.Struct):
    seconds: float = 30.0


settings_type = Settings


class SleepyRequests(RequestFilter):
    name = "sleepy-requests"
    deadline_ms = 120_000

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds

    def check(self, request: FilteredRequest) -> None:
        if _last(request) == "Sleep in the request.":
            time.sleep(self.seconds)


class PassOn(ChoiceFilter):
    """seconds: slept once, at the first text."""

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds

    def feed(self, text: str) -> str:
        time.sleep(self.seconds)
        self.seconds = 0.0
        return text


class SleepyAnswers(ResponseFilter):
    name = "sleepy-answers"
    deadline_ms = 120_000

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds

    def open(self, request: FilteredRequest, part: str) -> ChoiceFilter:
        return PassOn(self.seconds if _last(request) == "Sleep in the answer." else 0.0)


def _last(request: FilteredRequest) -> object:
    return request.messages[-1]["content"] if request.messages else None


@hookimpl
def register_request_filters(settings: Settings) -> list[RequestFilter]:
    return [SleepyRequests(settings.seconds)]


@hookimpl
def register_response_filters(settings: Settings) -> list[ResponseFilter]:
    return [SleepyAnswers(settings.seconds)]
