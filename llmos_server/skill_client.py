"""Behind `llmos skills run` and `eval`: skills of a running server, over HTTP like any other client."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import quote

import httpx2
import msgspec

from llmos_server.errors import InvalidRequest, LLMOSError
from llmos_server.http_client import check_status, create_client, errors_in_words, get_json
from llmos_server.skills.cases import Case, Outcome
from llmos_server.skills.skill import Skill

Answer = dict[str, Any]
"""As /v1/skills/{name}/run gives it."""


class Evaluation(msgspec.Struct, frozen=True, kw_only=True):
    """One model's."""

    model: str
    model_digest: str
    figures: dict[str, float]
    num_cases: int
    num_failed: int
    errors: list[str]
    """Different ones, the first few."""


def run_skill(
    root: str, name: str, text: str | None, fields: Mapping[str, str], model: str | None, *, is_quiet: bool = False
) -> Answer:
    """Streams progress to the terminal's stderr and text to stdout as they come, unless it is_quiet; gives the whole
    answer, with `has_written` added.

    text: the skill's main field. fields: others, as text; read as JSON where the skill doesn't want text."""
    with errors_in_words(root):
        return asyncio.run(_run(root, name, text, fields, model, is_quiet))


async def _run(
    root: str, name: str, text: str | None, fields: Mapping[str, str], model: str | None, is_quiet: bool
) -> Answer:
    async with create_client(root) as client:
        quoted = quote(name, safe="")
        details = await get_json(client, f"{root}/v1/llmos/skills/{quoted}")
        body = read_fields(details["input_schema"], fields)
        if text is not None:
            body[details["text_field"]] = text
        if model is not None:
            body["model"] = model
        address = f"{root}/v1/skills/{quoted}/run"
        async with client.stream("POST", address, json={**body, "stream": True}) as response:
            await check_status(response)
            return await _read_events(response, is_quiet)


def read_fields(schema: Mapping[str, Any], fields: Mapping[str, str]) -> dict[str, Any]:
    """Values as the skill's input has them. Raises InvalidRequest that names the field."""
    known = schema.get("properties", {})
    found: dict[str, Any] = {}
    for name, text in fields.items():
        if name not in known:
            raise InvalidRequest(f"The skill has no field {name!r}; it has: {', '.join(known)}.", param=name)
        kinds = str(known[name])
        try:
            found[name] = text if "'string'" in kinds and "'array'" not in kinds else msgspec.json.decode(text)
        except msgspec.DecodeError:
            if "'enum'" not in kinds:
                raise InvalidRequest(f"{name}: {text!r} is no JSON; write lists as '[\"a\"]'.", param=name) from None
            found[name] = text
    return found


async def _read_events(response: httpx2.Response, is_quiet: bool) -> Answer:
    has_written = False
    async for line in response.aiter_lines():
        if not line.startswith("data: {"):
            continue
        event = msgspec.json.decode(line.removeprefix("data: "))
        if "error" in event:
            raise LLMOSError(f"The skill failed: {event['error']['message']}")
        if event["type"] == "progress" and sys.stderr.isatty() and not is_quiet and not has_written:
            of = f" of {event['total']:g}" if event.get("total") else ""
            print(f"{event['done']:g}{of} {event.get('note', '')}", file=sys.stderr)
        elif event["type"] == "text" and not is_quiet:
            has_written = True
            print(event["text"], end="", flush=True)
        elif event["type"] == "result":
            answer: Answer = event["result"]
            return {**answer, "has_written": has_written}
    raise LLMOSError("The answer broke off: the stream ended without a result.")


def evaluate(
    root: str, skill: Skill[Any, Any], cases: Sequence[Case], model: str | None, concurrency: int, *, keeps: bool
) -> Evaluation:
    """Run all cases with one model and measure; keeps: the server keeps the score. Raises LLMOSError."""
    with errors_in_words(root):
        return asyncio.run(_evaluate(root, skill, cases, model, concurrency, keeps))


async def _evaluate(
    root: str, skill: Skill[Any, Any], cases: Sequence[Case], model: str | None, concurrency: int, keeps: bool
) -> Evaluation:
    places = asyncio.Semaphore(concurrency)
    async with create_client(root, concurrency) as client:

        async def run(case: Case) -> tuple[Outcome[Any, Any], Answer | None]:
            async with places:
                return await _run_case(client, root, skill, case, model)

        ran = await asyncio.gather(*(run(case) for case in cases))
        answers = [answer for _, answer in ran if answer is not None]
        outcomes = [outcome for outcome, _ in ran]
        errors = list(dict.fromkeys(outcome.error for outcome in outcomes if outcome.error))[:3]
        if not answers:
            raise LLMOSError(f"No case of {skill.name} could be run: {errors[0]}")
        _check_sameness(skill, answers)
        evaluation = Evaluation(
            model=answers[0]["model"],
            model_digest=answers[0]["model_digest"],
            figures=_measure(skill, outcomes),
            num_cases=len(outcomes),
            num_failed=len(outcomes) - len(answers),
            errors=errors,
        )
        if keeps and skill.metric in evaluation.figures:  # Some metrics need what not every machine has.
            await _store(client, root, skill, evaluation)
        return evaluation


def _measure(skill: Skill[Any, Any], outcomes: Sequence[Outcome[Any, Any]]) -> dict[str, float]:
    """A measure may need a package that serving doesn't."""
    try:
        return skill.measure(outcomes)
    except ImportError as error:
        raise LLMOSError(f"{skill.name} can't be measured: {error}") from None


async def _run_case(
    client: httpx2.AsyncClient, root: str, skill: Skill[Any, Any], case: Case, model: str | None
) -> tuple[Outcome[Any, Any], Answer | None]:
    """A run that the server refuses is a failed case; an unreachable server is an error."""
    given = msgspec.convert(case.input, skill.input_type)
    body = {**case.input, **({} if model is None else {"model": model})}
    response = await client.post(f"{root}/v1/skills/{skill.name}/run", json=body)
    try:
        await check_status(response)
    except LLMOSError as error:
        return Outcome(case=case, input=given, error=str(error)), None
    answer: Answer = response.json()
    output = msgspec.convert({"result": answer["result"], **answer["details"]}, skill.output_type)
    return Outcome(case=case, input=given, output=output), answer


def _check_sameness(skill: Skill[Any, Any], answers: Sequence[Answer]) -> None:
    versions = {answer["version"] for answer in answers}
    if versions != {skill.version}:
        raise LLMOSError(
            f"The server runs version {', '.join(sorted(versions))} of {skill.name}; the one here is {skill.version}. "
            "Install the same one here, or restart the server."
        )
    if len({answer["model_digest"] for answer in answers}) > 1:
        raise LLMOSError("The model's files changed during the evaluation. Run it again.")


async def _store(client: httpx2.AsyncClient, root: str, skill: Skill[Any, Any], evaluation: Evaluation) -> None:
    fields = msgspec.structs.asdict(evaluation)
    del fields["errors"]
    response = await client.post(
        f"{root}/admin/v1/skills/{skill.name}/scores", json={"version": skill.version, **fields}
    )
    await check_status(response)
