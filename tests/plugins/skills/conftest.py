"""Built-in skills on the test app: a scripted model answers what a function of the question says."""

from __future__ import annotations

import importlib.util
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from llmos_server.plugins.host import PluginHost, load_plugins
from llmos_server.settings import PluginsSettings

_path = Path(__file__).parents[2] / "api/conftest.py"
_spec = importlib.util.spec_from_file_location("llmos_test_api_app", _path)
assert _spec is not None
assert _spec.loader is not None
_module = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(_module)
make_api = _module.make_api
fakes = _module.fakes
run_app = _module.run_app_fixture
routes_built_once = _module.routes_built_once


@pytest.fixture(scope="session")
def built_in() -> PluginHost:
    host = load_plugins(PluginsSettings(), built_in=True)
    assert all(plugin.state == "on" for plugin in host.plugins.values()), host.plugins
    return host


class Ask:
    """POST to one skill over a model; requests: what that was asked, as [(role, content), ...]."""

    def __init__(self, api: Any, skill: str) -> None:
        self.api = api
        self._url = f"/v1/skills/{skill}/run"

    @property
    def requests(self) -> list[list[tuple[str, str]]]:
        return [read_messages(request) for request in self.api.generator.requests]

    async def __call__(self, text: str, **fields: Any) -> dict[str, Any]:
        """The body of a 200."""
        reply = await self.api.post(self._url, {"text": text, **fields})
        assert reply.status_code == 200, reply.text
        body: dict[str, Any] = reply.json()
        return body

    async def error(self, text: str, **fields: Any) -> dict[str, Any]:
        """Of a 400."""
        reply = await self.api.post(self._url, {"text": text, **fields})
        assert reply.status_code == 400, reply.text
        error: dict[str, Any] = reply.json()["error"]
        return error

    async def stream(self, text: str, **fields: Any) -> list[dict[str, Any]]:
        """All events but [DONE]."""
        reply = await self.api.post(self._url, {"text": text, "stream": True, **fields})
        assert reply.status_code == 200, reply.text
        data = [line.removeprefix("data: ") for line in reply.text.splitlines() if line.startswith("data: ")]
        assert data.pop() == "[DONE]"
        return [json.loads(line) for line in data]


@pytest.fixture
def make_ask(make_api: Callable[..., Any], built_in: PluginHost) -> Callable[..., Ask]:
    """make_ask(skill, answer): answer is a function of the model's messages to its reply."""

    def make(skill: str, answer: Callable[[list[tuple[str, str]]], str], max_model_len: int = 8000) -> Ask:
        def script(request: Any, index: int) -> Sequence[int]:
            return list(answer(read_messages(request)).encode())

        api = make_api(script, plugins=built_in, max_model_len=max_model_len, tokens_per_step=500)
        return Ask(api, skill)

    return make


def read_messages(request: Any) -> list[tuple[str, str]]:
    """The fake template's, back from its tokens: TURN, "role:content\\n"."""
    messages: list[bytearray] = []
    for token in request.prompt_ids:
        if token >= 256:
            messages.append(bytearray())
        else:
            messages[-1].append(token)
    read = [bytes(message).decode().partition(":") for message in messages[:-1]]
    return [(role, content.removesuffix("\n")) for role, _, content in read]
