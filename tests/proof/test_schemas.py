"""Answers of the real model, under random JSON schemas, streamed and not: each that ends with "stop" parses and
validates, each other one says "length"; streamed equals unstreamed.

Temperatures up to 1.5 make the model write what nobody would expect; the grammar has to hold all the same.
"""

from __future__ import annotations

import asyncio
import importlib.util
import json
import sys
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import httpx2
import jsonschema
import pytest

SECONDS = 1800
NUM_CLIENTS = 8
TEMPERATURES = (0.0, 0.7, 1.0, 1.5)


def load(name: str, path: Path) -> Any:
    """tests/ is no package."""
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None
    assert spec.loader is not None
    module = sys.modules[name] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


schemas = load("llmos_schema_generator", Path(__file__).parent / "schema_generator.py")


@pytest.fixture(scope="module")
def url(smollm2: Any, tmp_path_factory: pytest.TempPathFactory, project: Path) -> Iterator[str]:
    e2e = load("llmos_e2e", project / "tests" / "e2e" / "conftest.py")
    server = e2e.start_server(tmp_path_factory.mktemp("schemas"), smollm2.name)
    server.wait_until_ready()
    yield server.url
    server.stop()


def body_for(number: int, case: Any, max_tokens: int) -> dict[str, Any]:
    """strict or not, as response_format or, for some, as vLLM's field."""
    body: dict[str, Any] = {
        "messages": [{"role": "user", "content": f"Write JSON about a thing with the number {number}."}],
        "max_tokens": max_tokens,
        "temperature": TEMPERATURES[number % len(TEMPERATURES)],
        "seed": number,
    }
    if case.strict and number % 5 == 4:
        return body | {"structured_outputs": {"json": case.sent}}
    wanted = {"name": "thing", "schema": case.sent, "strict": case.strict or (None if number % 2 else False)}
    return body | {"response_format": {"type": "json_schema", "json_schema": wanted}}


async def ask(http: httpx2.AsyncClient, body: dict[str, Any]) -> dict[str, Any]:
    reply = await http.post("/v1/chat/completions", json=body)
    assert reply.status_code == 200, (reply.text, body)
    choice: dict[str, Any] = reply.json()["choices"][0]
    return choice | {"text": choice["message"]["content"]}


async def byte_lines(reply: httpx2.Response) -> AsyncIterator[bytes]:
    """httpx's own would take U+2028 for the end of a line."""
    rest = b""
    async for data in reply.aiter_bytes():
        *lines, rest = (rest + data).split(b"\n")
        for line in lines:
            yield line


async def ask_streamed(http: httpx2.AsyncClient, body: dict[str, Any]) -> dict[str, Any]:
    made: dict[str, Any] = {"text": ""}
    async with http.stream("POST", "/v1/chat/completions", json=body | {"stream": True}) as reply:
        async for line in byte_lines(reply):
            if line.startswith(b"data: {"):
                event = json.loads(line.removeprefix(b"data: "))
                assert "error" not in event, (event, body)
                made |= {name: value for name, value in event["choices"][0].items() if value is not None}
                made["text"] += event["choices"][0]["delta"].get("content") or ""
    return made


def judge(case: Any, choice: dict[str, Any]) -> str:
    """What became of an answer. Raises AssertionError where it isn't what was promised."""
    if choice["finish_reason"] == "length":
        return "length"
    assert choice["finish_reason"] == "stop", choice
    try:
        value = json.loads(choice["text"])
    except ValueError as error:
        raise AssertionError((str(error), choice, case.meant)) from None
    validator = jsonschema.validators.validator_for(case.meant, default=jsonschema.Draft202012Validator)
    errors = list(validator(case.meant, format_checker=validator.FORMAT_CHECKER).iter_errors(value))
    if choice.get("format_error"):
        assert not case.strict, choice
        assert errors, (choice, case.meant)
        return "told as unfit"
    assert not errors, (choice["text"], case.meant, errors[0].message)
    return "valid" if case.strict else "valid, checked afterwards"


async def run(url: str, count: int, max_tokens: int, record: Callable[[str, object], None]) -> Counter[str]:
    found: Counter[str] = Counter()
    numbers = iter(range(count))

    async def client() -> None:
        async with httpx2.AsyncClient(base_url=url, timeout=SECONDS, trust_env=False) as http:
            for number in numbers:
                case = schemas.generate(number)
                body = body_for(number, case, max_tokens)
                plain, streamed = await ask(http, body), await ask_streamed(http, body)
                for name in ("text", "finish_reason", "format_error"):
                    assert streamed.get(name) == plain.get(name), (number, name, plain, streamed)
                found[judge(case, plain)] += 1

    await asyncio.gather(*(client() for _ in range(NUM_CLIENTS)))
    record("schemas, each answered streamed and not", count)
    record("what became of the answers", dict(found))
    return found


@pytest.mark.real_model
def test_some_schemas(url: str, record_property: Any) -> None:
    found = asyncio.run(run(url, 8, 48, record_property))
    assert found["valid"] >= 3


@pytest.mark.proof
@pytest.mark.real_model
def test_five_hundred_schemas(url: str, record_property: Any) -> None:
    found = asyncio.run(run(url, 500, 160, record_property))
    assert found.total() == 500
    assert found["valid"] > 300
    assert found["valid, checked afterwards"] > 10
