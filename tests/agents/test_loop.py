"""The loop over a scripted model: what is told, what is run, and where it ends, whatever tools do."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from llmos_server.agents.calls import Call
from llmos_server.agents.limits import create_limits
from llmos_server.agents.loop import (
    AgentLoop,
    ApprovalNeeded,
    CallBegan,
    CallEnded,
    LoopEvent,
    OutOfTokens,
    Turn,
    Wrote,
)
from llmos_server.agents.tool import ServerTool, ToolOutput
from llmos_server.chat.deltas import CallDelta, TextDelta
from llmos_server.errors import AgentTimedOut, EngineFailed, InvalidRequest
from llmos_server.settings import AgentsSettings

NUMBER = {"type": "object", "properties": {"n": {"type": "integer"}}, "additionalProperties": False}


def delta(text: str = "", calls: list[tuple[str, str]] | None = None, *, finish: str | None = "stop") -> TextDelta:
    found = []
    for place, (name, arguments) in enumerate(calls or []):
        found += [CallDelta(place, f"c{place}", name), CallDelta(place, arguments=arguments)]
    return TextDelta(
        index=0,
        text=text,
        tokens=None,
        token_ids=[],
        finish_reason=finish,  # type: ignore[arg-type]
        num_tokens=10,
        stop=None,
        calls=found,
        has_calls=bool(calls) and finish == "stop",
    )


class ScriptedModel:
    """One delta a turn; the last one again and again."""

    def __init__(self, *answers: TextDelta) -> None:
        self.answers = list(answers)
        self.turns: list[Turn] = []

    async def ask(self, turn: Turn, tell: Callable[[TextDelta], None]) -> None:
        self.turns.append(turn)
        tell(self.answers[min(len(self.turns), len(self.answers)) - 1])


def tool(run: Callable[[dict[str, Any]], Awaitable[ToolOutput]], name: str = "t", **fields: Any) -> ServerTool:
    given = {"description": "d", "parameters": NUMBER, "source": "test", "label": "test", "timeout_seconds": 5.0}
    return ServerTool(name=name, run=run, **{**given, **fields})


async def double(arguments: dict[str, Any]) -> ToolOutput:
    return ToolOutput(text=str(2 * arguments.get("n", 0)))


async def run(
    model: Any, *tools: ServerTool, max_tokens: int | None = None, max_calls: int | None = None, **options: Any
) -> list[LoopEvent]:
    approved = options.pop("approved", ())
    events: list[LoopEvent] = []
    limits = create_limits(AgentsSettings(**options), has_tools=bool(tools), max_tokens=max_tokens, max_calls=max_calls)
    named = {each.name: each for each in tools}
    await AgentLoop(model=model, tools=named, limits=limits, tell=events.append, approved=approved).run()
    return events


def outputs(events: list[LoopEvent]) -> list[ToolOutput]:
    return [event.output for event in events if isinstance(event, CallEnded)]


async def test_results_go_back_to_the_model() -> None:
    model = ScriptedModel(delta("Let me see.", [("t", '{"n": 2}'), ("t", '{"n": 5}')]), delta("4 and 10."))
    events = await run(model, tool(double))
    assert [type(event) for event in events] == [Wrote, CallBegan, CallBegan, CallEnded, CallEnded, Wrote]
    assert outputs(events) == [ToolOutput(text="4"), ToolOutput(text="10")]
    assistant, *results = model.turns[1].messages
    assert assistant["content"] == "Let me see."
    assert [call["function"]["arguments"] for call in assistant["tool_calls"]] == ['{"n": 2}', '{"n": 5}']
    assert results == [
        {"role": "tool", "tool_call_id": "c0", "content": "4"},
        {"role": "tool", "tool_call_id": "c1", "content": "10"},
    ]
    assert [turn.is_first for turn in model.turns] == [True, False]


async def test_calls_of_the_client_end_the_loop() -> None:
    model = ScriptedModel(delta(calls=[("theirs", "{}"), ("t", "{}")]))
    events = await run(model, tool(double))
    assert len(model.turns) == 1
    assert outputs(events) == [ToolOutput(text="0")]


async def test_a_cut_answer_runs_nothing() -> None:
    events = await run(ScriptedModel(delta(calls=[("t", '{"n"')], finish="length")), tool(double))
    assert [type(event) for event in events] == [Wrote]


async def test_turns_end_with_one_that_cannot_call() -> None:
    model = ScriptedModel(delta(calls=[("t", "{}")]), delta(calls=[("t", "{}")]), delta("Enough."))
    await run(model, tool(double), max_turns=3)
    assert [turn.may_call for turn in model.turns] == [True, True, False]


async def test_no_more_calls_than_were_asked_for() -> None:
    model = ScriptedModel(delta(calls=[("t", "{}")] * 3), delta("Enough."))
    events = await run(model, tool(double), max_calls=2)
    assert sorted(output.is_error for output in outputs(events)) == [False, False, True]
    assert model.turns[1].may_call is False


async def test_tokens_are_shared_by_all_turns() -> None:
    model = ScriptedModel(delta(calls=[("t", "{}")]))
    events = await run(model, tool(double), max_tokens=25)
    assert [turn.max_tokens for turn in model.turns] == [25, 15, 5]
    assert isinstance(events[-1], OutOfTokens)


async def test_without_tools_no_setting_bounds_the_answer() -> None:
    model = ScriptedModel(delta("Hi"))
    await run(model, max_turns=1, max_seconds=1.0)
    assert (model.turns[0].max_tokens, model.turns[0].may_call) == (None, True)


async def test_calls_run_beside_each_other_as_far_as_may_be() -> None:
    running = most = 0

    async def count(arguments: dict[str, Any]) -> ToolOutput:
        nonlocal running, most
        running += 1
        most = max(most, running)
        await asyncio.sleep(0.01)
        running -= 1
        return ToolOutput(text="")

    await run(ScriptedModel(delta(calls=[("t", "{}")] * 9), delta("")), tool(count), max_parallel_calls=3)
    assert most == 3


async def test_approval_stops_the_turn() -> None:
    asked = tool(double, "a", needs_approval=True)
    model = ScriptedModel(delta(calls=[("a", "{}"), ("t", "{}")]))
    events = await run(model, asked, tool(double))
    assert [event.call.name for event in events if isinstance(event, ApprovalNeeded)] == ["a"]
    assert len(outputs(events)) == 1
    assert len(model.turns) == 1


async def test_what_was_approved_is_run_first() -> None:
    asked = tool(double, "a", needs_approval=True)
    model = ScriptedModel(delta("So 8."))
    approved = [Call(id="x", name="a", arguments='{"n": 4}'), Call(id="y", name="gone", arguments="{}")]
    events = await run(model, asked, approved=approved)
    assert {output.text: output.is_error for output in outputs(events)}["8"] is False
    assert [message["role"] for message in model.turns[0].messages] == ["assistant", "tool", "tool"]
    assert "no such tool" in model.turns[0].messages[2]["content"]


async def fail(arguments: dict[str, Any]) -> ToolOutput:
    raise ValueError("secret")


async def refuse(arguments: dict[str, Any]) -> ToolOutput:
    raise InvalidRequest("Send less.")


async def hang(arguments: dict[str, Any]) -> ToolOutput:
    await asyncio.sleep(60)
    raise AssertionError


async def hang_on(arguments: dict[str, Any]) -> ToolOutput:
    """Not even a cancellation ends it at once."""
    try:
        await asyncio.sleep(60)
    except asyncio.CancelledError:
        await asyncio.sleep(10)
    raise AssertionError


async def cancel_itself(arguments: dict[str, Any]) -> ToolOutput:
    raise asyncio.CancelledError


async def recurse(arguments: dict[str, Any]) -> ToolOutput:
    return await recurse(arguments)


async def answer_wrongly(arguments: dict[str, Any]) -> Any:
    return {"text": "no"}


async def answer_at_length(arguments: dict[str, Any]) -> ToolOutput:
    return ToolOutput(text="x" * 10**7)


async def answer_no_text(arguments: dict[str, Any]) -> ToolOutput:
    return ToolOutput(text="a\ud800b")


@pytest.mark.parametrize(
    ("misbehave", "says"),
    [
        (fail, "failed (ValueError)"),
        (refuse, "Send less."),
        (hang, "longer than its 0.2 s"),
        (hang_on, "longer than its 0.2 s"),
        (cancel_itself, "failed (RuntimeError)"),
        (recurse, "failed (RecursionError)"),
        (answer_wrongly, "failed (TypeError)"),
    ],
)
async def test_a_tool_that_misbehaves_is_told_and_the_loop_goes_on(misbehave: Any, says: str) -> None:
    model = ScriptedModel(delta(calls=[("bad", "{}"), ("t", '{"n": 1}')]), delta("Well."))
    events = await run(model, tool(misbehave, "bad", timeout_seconds=0.2), tool(double))
    told = {output.is_error: output.text for output in outputs(events)}
    assert says in told[True]
    assert "secret" not in told[True]
    assert told[False] == "2"
    assert len(model.turns) == 2


async def test_outputs_are_cut_and_made_text() -> None:
    model = ScriptedModel(delta(calls=[("long", "{}"), ("odd", "{}")]), delta("Well."))
    await run(model, tool(answer_at_length, "long"), tool(answer_no_text, "odd"), max_tool_output=100)
    _, long, odd = model.turns[1].messages
    assert long["content"] == "x" * 100 + "\n[cut: these are the first 100 of 10000000 characters]"
    assert odd["content"] == "a?b"


async def test_time_is_bounded_as_a_whole() -> None:
    with pytest.raises(AgentTimedOut, match=r"agents\.max_seconds"):
        await run(ScriptedModel(delta(calls=[("t", "{}")])), tool(double), max_seconds=0.3, max_turns=10**6)


async def test_cancelling_ends_the_tools() -> None:
    ended = threading.Event()

    async def wait(arguments: dict[str, Any]) -> ToolOutput:
        try:
            await asyncio.sleep(60)
        finally:
            ended.set()
        raise AssertionError

    task = asyncio.ensure_future(run(ScriptedModel(delta(calls=[("t", "{}")])), tool(wait)))
    await asyncio.sleep(0.1)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    await asyncio.sleep(0.01)
    assert ended.is_set()


async def test_a_failing_engine_fails_the_loop() -> None:
    class Broken(ScriptedModel):
        async def ask(self, turn: Turn, tell: Callable[[TextDelta], None]) -> None:
            raise EngineFailed("It died.")

    with pytest.raises(EngineFailed):
        await run(Broken(), tool(double))


ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=20,
)


@settings(max_examples=150, deadline=None)
@given(arguments=st.text() | st.just("[" * 5000) | st.just('{"n": 1e400}') | ANYTHING.map(repr))
async def test_arguments_of_any_kind_end_in_an_output(arguments: str) -> None:
    """Only what fits the schema reaches the tool."""
    reached: list[dict[str, Any]] = []

    async def note(given: dict[str, Any]) -> ToolOutput:
        reached.append(given)
        return ToolOutput(text="ok")

    [output] = outputs(await run(ScriptedModel(delta(calls=[("t", arguments)]), delta("")), tool(note)))
    assert output.is_error is not bool(reached)
    assert all(set(given) <= {"n"} and isinstance(given.get("n", 0), int) for given in reached)


async def test_each_call_is_one_line_in_the_log_without_content(capsys: pytest.CaptureFixture[str]) -> None:
    await run(ScriptedModel(delta(calls=[("t", '{"n": 123456}')]), delta("")), tool(double))
    lines = [line for line in capsys.readouterr().out.splitlines() if "tool call" in line]
    assert len(lines) == 1
    assert "name=t" in lines[0]
    assert "outcome=ok" in lines[0]
    assert "source=test" in lines[0]
    assert "123456" not in lines[0]
