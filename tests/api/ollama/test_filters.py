"""Plugins' filters see what comes over Ollama's API, too."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from llmos_server import FilteredRequest, Refusal, RequestFilter, hookimpl
from llmos_server.plugins.host import PluginHost
from llmos_server.plugins.sources import Candidate
from llmos_server.settings import PluginsSettings

TEXT = "the word"
REQUESTS: dict[str, dict[str, Any]] = {
    "/api/chat": {"model": "tiny", "messages": [{"role": "user", "content": TEXT}]},
    "/api/generate": {"model": "tiny", "prompt": TEXT, "raw": True},
    "/api/embed": {"model": "small", "input": TEXT},
    "/api/embeddings": {"model": "small", "prompt": TEXT},
}


class Words(RequestFilter):
    name = "words"
    deadline_ms = 600_000

    def __init__(self) -> None:
        self.refuses = False
        self.seen: list[FilteredRequest] = []

    def check(self, request: FilteredRequest) -> FilteredRequest | None:
        self.seen.append(request)
        if self.refuses:
            raise Refusal("not said here")
        if request.prompts:
            return msgspec.structs.replace(request, prompts=["other"])
        return msgspec.structs.replace(request, messages=[{"role": "user", "content": "other"}])


@pytest.fixture
def words() -> Words:
    return Words()


@pytest.fixture
def filtered(make_api: Any, fakes: Any, words: Words) -> Any:
    class Plugin:
        hook_api = "1.1"

        @hookimpl
        def register_request_filters(self) -> list[RequestFilter]:
            return [words]

    host = PluginHost(PluginsSettings())
    host.add(Candidate(name="guarding", source="built-in", load=Plugin), {})
    return make_api(encoder=fakes.ScriptedEncoder(), plugins=host)


@pytest.mark.parametrize("path", REQUESTS)
async def test_they_see_and_change(filtered: Any, words: Words, path: str) -> None:
    reply = await filtered.post(path, REQUESTS[path])
    assert reply.status_code == 200, reply.text
    [seen] = words.seen
    assert [*seen.prompts, *(message["content"] for message in seen.messages)] == [TEXT]
    if path == "/api/embeddings":
        assert reply.json()["embedding"][0] == len("other")
    elif path == "/api/embed":
        assert reply.json()["embeddings"][0][0] == len("other")
    else:
        assert "other" in filtered.renderer.decode(filtered.generator.requests[0].prompt_ids)


@pytest.mark.parametrize("path", REQUESTS)
async def test_they_refuse(filtered: Any, words: Words, path: str) -> None:
    words.refuses = True
    reply = await filtered.post(path, REQUESTS[path])
    assert reply.status_code == 400
    assert "not said here" in reply.json()["error"]
