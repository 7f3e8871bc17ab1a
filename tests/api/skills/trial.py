"""Skills to try the server with: one that behaves, and one that does what its text says."""

from __future__ import annotations

import asyncio
import json
import threading
from typing import Annotated, Any, Literal

import msgspec

from llmos_server import HOOK_API, InputError, Skill, SkillContext, hookimpl


class EchoInput(msgspec.Struct, kw_only=True):
    text: Annotated[str, msgspec.Meta(min_length=1, max_length=100)]
    times: Annotated[int, msgspec.Meta(ge=1)] = 1
    mood: Literal["plain", "loud"] = "plain"
    labels: list[str] = []


class EchoOutput(msgspec.Struct, kw_only=True):
    result: str
    times: int
    seen: list[str]


class Echo(Skill[EchoInput, EchoOutput]):
    """Asks the model once for each time."""

    name = "echo"
    version = "1.2"
    description = "Asks and tells."
    input_type = EchoInput
    output_type = EchoOutput
    metric = "likeness"
    minimum_score = 0.5

    async def run(self, input: EchoInput, context: SkillContext) -> EchoOutput:
        if input.text == "bad":
            raise InputError("this text can't be echoed", field="text")
        texts = []
        for number in range(input.times):
            context.progress(number, input.times, "asking")
            reply = await context.chat([{"role": "user", "content": input.text}], on_text=context.write, max_tokens=50)
            texts.append(reply.text)
        return EchoOutput(result="".join(texts), times=input.times, seen=[context.model, input.mood, *input.labels])


class Point(msgspec.Struct):
    x: int


class AnyOutput(msgspec.Struct):
    result: Any


class Odd(Skill[EchoInput, AnyOutput]):
    """Does what its text says."""

    name = "odd"
    version = "1"
    description = "x"
    input_type = EchoInput
    output_type = AnyOutput
    timeout_seconds = 60.0
    gate = threading.Event()
    entered = threading.Event()
    cancelled = threading.Event()

    async def run(self, input: EchoInput, context: SkillContext) -> AnyOutput:
        message = [{"role": "user", "content": "q"}]
        match input.text:
            case "raise":
                raise ValueError("a secret text")
            case "exit":
                raise SystemExit
            case "wrong":
                return EchoOutput(result="x", times=1, seen=[])  # type: ignore[return-value]
            case "unlike":
                context.write("something")
                return AnyOutput("else")
            case "later":
                context.write("something")
                await asyncio.to_thread(self.gate.wait, 60)
                return AnyOutput("else")
            case "block":
                self.entered.set()
                self.gate.wait(60)
                return AnyOutput("late")
            case "long":
                await context.chat([{"role": "user", "content": "x" * 1000}])
            case "misuse":
                await context.chat(message, schema={}, regex="x")
            case "ask":
                return AnyOutput((await context.ask(message, Point)).x)
            case "score":
                scores = await context.score(message, ["yes", "no"])
                return AnyOutput([(s.answer, s.logprob, s.num_tokens) for s in scores])
            case "count":
                return AnyOutput([await context.count_tokens("abc"), context.max_model_len, context.model_digest])
            case "wait":
                try:
                    await context.chat(message)
                except asyncio.CancelledError:
                    self.cancelled.set()
                    raise
            case "many":
                replies = await asyncio.gather(*(context.chat(message) for _ in range(20)))
                return AnyOutput(len(replies))
        return AnyOutput({"text": input.text})


class Plugin:
    hook_api = ".".join(map(str, HOOK_API))

    @hookimpl
    def register_skills(self) -> list[Skill[Any, Any]]:
        return [Echo(), Odd()]


def events(text: str) -> list[tuple[str, Any]]:
    """(event, data) of a stream."""
    found = []
    for block in text.split("\n\n"):
        lines = dict(line.split(": ", 1) for line in block.splitlines() if not line.startswith(":"))
        if "data" in lines:
            data = lines["data"] if lines["data"] == "[DONE]" else json.loads(lines["data"])
            found.append((lines.get("event", ""), data))
    return found
