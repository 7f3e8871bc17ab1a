"""Plugins' filters of requests and answers: what they may do, and what becomes of others when one of them fails."""

from __future__ import annotations

import asyncio
import json
import threading
from typing import Any

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from llmos_server import (
    ChoiceFilter,
    EndAnswer,
    FilteredRequest,
    Refusal,
    RequestFilter,
    ResponseFilter,
    hookimpl,
)
from llmos_server.access.gate import Gate
from llmos_server.plugins.host import PluginHost
from llmos_server.plugins.sources import Candidate
from llmos_server.settings import PluginsSettings

PLENTY_MS = 600_000


class Check(RequestFilter):
    """Does what the last message says."""

    name = "check"
    deadline_ms = PLENTY_MS

    def __init__(self) -> None:
        self.seen: list[FilteredRequest] = []

    def check(self, request: FilteredRequest) -> FilteredRequest | None:
        self.seen.append(request)
        word = request.messages[-1]["content"] if request.messages else request.prompts[0]
        match word:
            case "refuse":
                raise Refusal("that word is not said here")
            case "change":
                last = {**request.messages[-1], "content": "changed"}
                params = {**request.params, "max_completion_tokens": 2}
                return msgspec.structs.replace(
                    request, messages=[last], params=params, key_id="root", endpoint="skill", model="gpt-4o-mini"
                )
            case "spoil":
                return msgspec.structs.replace(request, params={"temperature": "hot"})
            case "wrong":
                return "yes"  # type: ignore[return-value]
            case "raise":
                raise ValueError(word)
            case "prompt":
                return msgspec.structs.replace(request, prompts=["other"])
        return None


class Secret(ChoiceFilter):
    """ "secret" becomes "******", "[end]" ends the answer; cut as they come."""

    def __init__(self, owner: Guards) -> None:
        self._owner = owner
        self._held = ""

    def feed(self, text: str) -> str:
        self._owner.fed.append(text)
        if "raise" in text:
            raise ValueError(text)
        if "block" in text:
            self._owner.blocked.set()
            self._owner.gate.wait(60)
        if "wrong" in text:
            return 3  # type: ignore[return-value]
        self._held = (self._held + text).replace("secret", "******")
        before, end, _ = self._held.partition("[end]")
        if end:
            raise EndAnswer(before)
        held = max(_overlap(self._held, word) for word in ("secret", "[end]"))
        shown, self._held = self._held[: len(self._held) - held], self._held[len(self._held) - held :]
        return shown

    def finish(self) -> str:
        return self._held


def _overlap(text: str, word: str) -> int:
    return next((n for n in range(len(word) - 1, 0, -1) if text.endswith(word[:n])), 0)


class Guards(ResponseFilter):
    name = "guards"
    deadline_ms = PLENTY_MS

    def __init__(self) -> None:
        self.gate, self.blocked = threading.Event(), threading.Event()
        self.fed: list[str] = []
        self.opened: list[tuple[str, FilteredRequest]] = []

    def open(self, request: FilteredRequest, part: str) -> ChoiceFilter | None:
        self.opened.append((part, request))
        if request.messages and request.messages[-1]["content"] == "unseen":
            return None
        return Secret(self)


class Plugin:
    hook_api = "1.0"

    def __init__(self, requests: list[RequestFilter], answers: list[ResponseFilter]) -> None:
        self.requests, self.answers = requests, answers

    @hookimpl
    def register_request_filters(self) -> list[RequestFilter]:
        return self.requests

    @hookimpl
    def register_response_filters(self) -> list[ResponseFilter]:
        return self.answers


def create_host(
    requests: list[RequestFilter] | None = None, answers: list[ResponseFilter] | None = None, **options: Any
) -> PluginHost:
    host = PluginHost(PluginsSettings(**options))
    host.add(Candidate(name="guarding", source="built-in", load=lambda: Plugin(requests or [], answers or [])), {})
    assert host.plugins["guarding"].state == "on", host.plugins["guarding"].reason
    return host


def content(reply: Any) -> str:
    text: str = reply.json()["choices"][0]["message"]["content"]
    return text


def streamed(reply: Any) -> tuple[str, list[str]]:
    """The text, and the finish reasons."""
    lines = [line.removeprefix("data: ") for line in reply.text.split("\n\n") if line.startswith("data: {")]
    choices = [choice for line in lines for choice in json.loads(line)["choices"]]
    text = "".join(choice["delta"].get("content", "") for choice in choices)
    return text, [choice["finish_reason"] for choice in choices if choice["finish_reason"]]


def events(text: str) -> list[Any]:
    lines = [line.removeprefix("data: ") for line in text.split("\n\n")]
    return [json.loads(line) for line in lines if line.startswith("{")]


class TestRequests:
    @pytest.fixture
    def check(self) -> Check:
        return Check()

    @pytest.fixture
    def api(self, make_api, check):
        return make_api("Hello", plugins=create_host([check], max_failures=1000))

    async def test_a_filter_sees_messages_model_key_and_params(self, make_api, check, fakes):
        keys = fakes.MemoryKeys()
        key = keys.add()
        api = make_api("Hello", plugins=create_host([check]), gate=Gate(keys))
        headers = {"Authorization": f"Bearer {key}"}
        assert (await api.chat("Hi", temperature=0.5, stream=True, headers=headers)).status_code == 200
        [seen] = check.seen
        assert (seen.endpoint, seen.model, [seen.key_id]) == ("chat.completions", "tiny", list(keys.stored))
        assert seen.messages == [{"role": "user", "content": "Hi"}]
        assert seen.params == {"temperature": 0.5}

    async def test_a_refusal_is_a_400_with_its_reason_and_the_plugins_name(self, api):
        reply = await api.chat("refuse")
        assert reply.status_code == 400
        error = reply.json()["error"]
        assert (error["param"], error["code"]) == ("messages", "refused_by_plugin")
        told = "The filter check of the plugin guarding refuses this request: that word is not said here"
        assert error["message"] == told
        assert (await api.complete("refuse")).json()["error"]["param"] == "prompt"
        assert api.generator.requests == []

    async def test_a_change_is_what_the_model_gets(self, api, check):
        reply = await api.chat("change", max_completion_tokens=4)
        assert content(reply) == "He"
        [request] = api.generator.requests
        assert b"changed" in bytes(i for i in request.prompt_ids if i < 256)
        assert request.owner == ""
        assert (await api.complete("prompt")).status_code == 200
        assert bytes(api.generator.requests[-1].prompt_ids) == b"other"
        render = await api.post("/v1/chat/completions/render", {"messages": [{"role": "user", "content": "change"}]})
        assert "changed" in render.json()["prompt"]

    @pytest.mark.parametrize(("word", "kind"), [("raise", "raised"), ("spoil", "invalid"), ("wrong", "invalid")])
    async def test_one_that_fails_keeps_the_door_closed_or_open(self, make_api, api, check, monkeypatch, word, kind):
        reply = await api.chat(word)
        assert reply.status_code == 500
        error = reply.json()["error"]
        assert error["code"] == "plugin_failed"
        assert "filter check of the plugin guarding" in error["message"]
        assert "nothing passes without it" in error["message"]
        exposed = (await api.http.get("/metrics")).text
        labels = f'hook="register_request_filters",kind="{kind}",plugin="guarding"'
        assert f"llmos:plugin_failures_total{{{labels}}} 1.0" in exposed
        assert api.generator.requests == []
        monkeypatch.setattr(Check, "on_failure", "open")
        assert content(await api.chat(word)) == "Hello"

    async def test_token_ids_cant_be_read(self, api):
        reply = await api.complete([72, 105])
        assert (reply.status_code, reply.json()["error"]["param"]) == (400, "prompt")

    async def test_what_skills_ask_is_filtered_too(self, make_api, check, fakes):
        host = create_host([check])
        host.add(Candidate(name="shouting", source="built-in", load=fakes.ShoutPlugin), {})
        api = make_api("Hello", plugins=host)
        assert (await api.post("/v1/skills/shout/run", {"text": "Hi"})).json()["result"] == "HELLO"
        assert check.seen[0].endpoint == "skill"
        reply = await api.post("/v1/skills/shout/run", {"text": "refuse"})
        assert (reply.status_code, reply.json()["error"]["code"]) == (400, "refused_by_plugin")


class TestAnswers:
    @pytest.fixture
    def guards(self) -> Guards:
        return Guards()

    @pytest.fixture
    def create(self, make_api, guards):
        def create(script: Any, **options: Any) -> Any:
            return make_api(script, plugins=create_host([], [guards], max_failures=1000), **options)

        return create

    async def test_text_is_changed_streamed_as_unstreamed(self, create):
        api = create("a secret is secre, secret", tokens_per_step=3)
        assert content(await api.chat()) == "a ****** is secre, ******"
        assert streamed(await api.chat(stream=True)) == ("a ****** is secre, ******", ["stop"])
        assert (await api.complete()).json()["choices"][0]["text"] == "a ****** is secr"
        usage = (await api.chat()).json()["usage"]
        assert usage["completion_tokens"] == 25

    async def test_an_answer_is_ended(self, create, guards):
        api = create("go on[end] and on and on")
        reply = await api.chat(max_tokens=300)
        assert content(reply) == "go on"
        assert reply.json()["choices"][0]["finish_reason"] == "content_filter"
        assert api.generator.generations[0].aborted.is_set()
        assert streamed(await api.chat(stream=True)) == ("go on", ["content_filter"])
        assert (await api.complete("x", max_tokens=30)).json()["choices"][0]["finish_reason"] == "content_filter"
        exposed = (await api.http.get("/metrics")).text
        assert 'finished_reason="content_filter",model_name="tiny"} 3.0' in exposed

    async def test_each_choice_has_a_filter_of_its_own(self, create, guards):
        scripts = ["one[end]x", "secret two", "three"]
        api = create(lambda request, index: list(scripts[index].encode()))
        choices = (await api.chat(n=3)).json()["choices"]
        assert [choice["message"]["content"] for choice in choices] == ["one", "****** two", "three"]
        assert [choice["finish_reason"] for choice in choices] == ["content_filter", "stop", "stop"]
        assert len(guards.opened) == 3

    async def test_a_filter_may_let_an_answer_pass(self, create, guards):
        assert content(await create("a secret").chat("unseen")) == "a secret"
        assert guards.fed == []

    async def test_logprobs_would_show_what_was_hidden(self, create):
        for fields in ({"logprobs": True}, {"logprobs": True, "top_logprobs": 2}):
            reply = await create("x").chat(**fields)
            assert (reply.status_code, reply.json()["error"]["param"]) == (400, "logprobs")
        assert (await create("x").complete("a", logprobs=0)).status_code == 400
        assert (await create("x").complete("a", return_token_ids=True)).status_code == 400
        assert (await create("x").chat(logprobs=False)).status_code == 200

    @pytest.mark.parametrize(("word", "kind"), [("raise", "raised"), ("wrong", "invalid")])
    async def test_one_that_fails_ends_the_answer_or_lets_it_pass(self, create, monkeypatch, word, kind):
        script = ["Hello secr", f" {word} ", "and more"]
        api = create(lambda request, index: list("".join(script).encode()), tokens_per_step=10)
        reply = await api.chat()
        assert (reply.status_code, reply.json()["error"]["code"]) == (500, "plugin_failed")
        assert api.generator.generations[0].aborted.is_set()
        assert api.generator.num_holds == 0
        monkeypatch.setattr(Guards, "on_failure", "open")
        assert content(await api.chat()) == "".join(script), "what was held back comes out"
        assert streamed(await api.chat(stream=True))[0] == "".join(script)

    @pytest.mark.parametrize("step", [1, 4, 100])
    async def test_reasoning_and_arguments_have_filters_of_their_own(self, create, guards, fakes, step):
        parameters = {"type": "object", "properties": {"city": {"type": "string"}}}
        tool = {"type": "function", "function": {"name": "w", "parameters": parameters}}
        calls = "".join(
            f'<tool_call>\n{{"name": "w", "arguments": {{"city": "{city}"}}}}\n</tool_call>'
            for city in ("secret", "Rome")
        )
        script = f"<think>\na secret\n</think>\nmy secre{calls}"
        renderer = fakes.ByteRenderer(template="<think></think><tool_call></tool_call>")
        api = create(script, renderer=renderer, tokens_per_step=step, max_model_len=4000)
        choice = (await api.chat(tools=[tool])).json()["choices"][0]
        message = choice["message"]
        assert (message["reasoning"], message["content"]) == ("a ******", "my secre")
        arguments = [call["function"]["arguments"] for call in message["tool_calls"]]
        assert arguments == ['{"city": "******"}', '{"city": "Rome"}']
        assert choice["finish_reason"] == "tool_calls"
        parts = [part for part, _ in guards.opened]
        assert parts == ["reasoning", "content", "arguments", "arguments"]
        streamed = [
            delta["choices"][0]["delta"]
            for delta in events((await api.chat(tools=[tool], stream=True)).text)
            if delta["choices"]
        ]
        assert "".join(delta.get("reasoning") or "" for delta in streamed) == "a ******"
        assert "".join(delta.get("content") or "" for delta in streamed) == "my secre"
        written = [call for delta in streamed for call in delta.get("tool_calls") or []]
        for place, whole in enumerate(arguments):
            pieces = [call["function"].get("arguments") or "" for call in written if call["index"] == place]
            assert "".join(pieces) == whole

    async def test_an_end_within_arguments_ends_the_choice(self, create, fakes):
        parameters = {"type": "object", "properties": {"city": {"type": "string"}}}
        tool = {"type": "function", "function": {"name": "w", "parameters": parameters}}
        script = 'So.<tool_call>\n{"name": "w", "arguments": {"city": "x[end]y"}}\n</tool_call>'
        renderer = fakes.ByteRenderer(template="<tool_call></tool_call>")
        api = create(script, renderer=renderer, tokens_per_step=5, max_model_len=4000)
        choice = (await api.chat(tools=[tool])).json()["choices"][0]
        assert choice["finish_reason"] == "content_filter"
        assert choice["message"]["content"] == "So."
        assert choice["message"]["tool_calls"][0]["function"]["arguments"] == '{"city": "x'

    async def test_several_filters_see_each_others_text(self, make_api, guards):
        class Star(ChoiceFilter):
            def feed(self, text: str) -> str:
                return text.replace("*", "-")

        class Stars(ResponseFilter):
            name = "stars"
            deadline_ms = PLENTY_MS

            def open(self, request: FilteredRequest, part: str) -> ChoiceFilter | None:
                return Star()

        api = make_api("a secret[end]b", plugins=create_host([], [guards, Stars()]))
        assert content(await api.chat()) == "a ------"


@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    words=st.lists(st.sampled_from(["secret", "secre", "[end]", "[e", "x", " ", "sec"]), max_size=8),
    step=st.integers(1, 9),
)
async def test_however_a_text_is_cut_the_answer_is_the_same(make_api, words, step):
    text = "".join(words)
    shown = text.partition("[end]")[0].replace("secret", "******")
    api = make_api(text, plugins=create_host([], [Guards()]), tokens_per_step=step)
    assert content(await api.chat()) == shown
    assert streamed(await api.chat(stream=True))[0] == shown


class TestOthers:
    async def test_streams_go_on_while_a_filter_blocks_another(self, make_api):
        """Order, no clock: all other streams, through the same filter, end while one call of it never does."""
        guards = Guards()
        host = create_host([], [guards])

        def script(request: Any, index: int) -> list[int]:
            return list(b"block me" if b"victim" in bytes(i for i in request.prompt_ids if i < 256) else b"a secret")

        api = make_api(script, plugins=host, tokens_per_step=8)
        victim = asyncio.create_task(api.chat("victim"))
        assert await asyncio.to_thread(guards.blocked.wait, 60)
        others = await asyncio.gather(*(api.chat("Hi", stream=bool(i % 2)) for i in range(40)))
        assert {streamed(r)[0] if i % 2 else content(r) for i, r in enumerate(others)} == {"a ******"}
        assert not victim.done()
        assert not host.failures.counts
        guards.gate.set()
        assert content(await victim) == "block me"

    async def test_a_filter_that_takes_too_long_ends_its_own_request(self, make_api, monkeypatch):
        monkeypatch.setattr(Guards, "deadline_ms", 20)
        guards = Guards()
        host = create_host([], [guards])
        api = make_api("block", plugins=host, tokens_per_step=8)
        reply = await api.chat()
        assert (reply.status_code, reply.json()["error"]["code"]) == (500, "plugin_failed")
        assert "took longer than its 20 ms" in reply.json()["error"]["message"]
        assert host.failures.counts["guarding", "register_response_filters", "timeout"] == 1
        guards.gate.set()

    async def test_one_that_keeps_failing_is_switched_off_and_streams_that_run_go_on(self, make_api):
        guards = Guards()
        host = create_host([], [guards], max_failures=2, rest_seconds=3600)
        fails = True

        def script(request: Any, index: int) -> list[int]:
            return list(b"raise") if fails else list(b"fine")

        api = make_api(script, plugins=host, tokens_per_step=8)
        for _ in range(2):
            assert (await api.chat()).status_code == 500
        fails = False
        reply = await api.chat()
        assert (reply.status_code, reply.json()["error"]["code"]) == (503, "plugin_failed")
        assert int(reply.headers["Retry-After"]) > 0
        assert host.failures.switched_off("guarding") == ["register_response_filters guards"]
        guards.__class__.on_failure = "open"  # type: ignore[misc]
        try:
            assert content(await api.chat()) == "fine"
        finally:
            guards.__class__.on_failure = "closed"  # type: ignore[misc]

    async def test_a_plugin_whose_threads_are_lost_is_passed_by(self, make_api):
        guards = Guards()
        host = create_host([], [guards], max_threads=2, max_failures=1000)
        guards.__class__.deadline_ms = 20  # type: ignore[misc]
        try:
            api = make_api("block", plugins=host, tokens_per_step=8)
            assert (await api.chat()).status_code == 500
            reply = await api.chat()
            assert (reply.status_code, reply.json()["error"]["code"]) == (503, "plugin_failed")
        finally:
            guards.__class__.deadline_ms = PLENTY_MS  # type: ignore[misc]
            guards.gate.set()
