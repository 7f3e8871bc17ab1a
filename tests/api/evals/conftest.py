"""A real server over a scripted model, and its runs done in this process as jobs."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import openai
import pytest
from job_fakes import job_context

from llmos_server.evaluation.job import run
from llmos_server.job_contracts import Interrupted, JobContext, ServerAddress
from llmos_server.settings import EvalsSettings, Settings
from llmos_server.store.database import Database
from llmos_server.store.store import Store

CAPITALS = {"France": "Paris", "Italy": "Rome", "Spain": "Madrid", "Peru": "Lima"}


class Stopping:
    """A job's context whose server stops."""

    def __init__(self, context: JobContext, num_items: int) -> None:
        self._context = context
        self._left = num_items + len(CAPITALS) * 2  # Which are looked at before.

    def check(self) -> None:
        self._left -= 1
        if self._left < 0:
            raise Interrupted

    def __getattr__(self, name: str) -> Any:
        return getattr(self._context, name)


class Evals:
    """client: the stock SDK's. answers: what the model says to a country, by it."""

    def __init__(self, url: str, home: Path, generator: Any, answers: dict[str, str]) -> None:
        self.url = url
        self.home = home
        self.generator = generator
        self.answers = answers
        self.client = openai.OpenAI(base_url=f"{url}/v1", api_key="x", max_retries=0)

    def create(self, **fields: Any) -> Any:
        same = {
            "type": "string_check",
            "name": "same",
            "input": "{{ sample.output_text }}",
            "reference": "{{ item.capital }}",
            "operation": "eq",
        }
        schema = {
            "type": "object",
            "properties": {"country": {"type": "string"}, "capital": {"type": "string"}},
            "required": ["country", "capital"],
        }
        config = {"type": "custom", "item_schema": schema, "include_sample_schema": True}
        return self.client.evals.create(
            **{"name": "Capitals", "data_source_config": config, "testing_criteria": [same], **fields}
        )

    def source(self, countries: Any = CAPITALS, **fields: Any) -> dict[str, Any]:
        rows = [{"item": {"country": country, "capital": CAPITALS.get(country, "?")}} for country in countries]
        return {
            "type": "completions",
            "model": "tiny",
            "source": {"type": "file_content", "content": rows},
            "input_messages": {
                "type": "template",
                "template": [{"role": "user", "content": "{{ item.country }}"}],
            },
            **fields,
        }

    def begin(self, eval_id: str, source: dict[str, Any] | None = None, **fields: Any) -> Any:
        return self.client.evals.runs.create(eval_id, data_source=source or self.source(), **fields)

    def do(self, run_id: str, stop_after: int | None = None, **settings: Any) -> Any:
        """The run's job, to its end or to what it raises. stop_after: so many items, as when the server stops."""
        where = Settings(home=self.home, evals=EvalsSettings(**settings))
        with job_context(
            self.home, "eval", None, job_id=run_id, settings=where, server=ServerAddress(self.url, "x")
        ) as context:
            run(context if stop_after is None else Stopping(context, stop_after))

    def done(self, eval_id: str, source: dict[str, Any] | None = None, **fields: Any) -> Any:
        """A run, at its end."""
        begun = self.begin(eval_id, source, **fields)
        self.do(begun.id)
        return self.client.evals.runs.retrieve(begun.id, eval_id=eval_id)

    def items(self, found: Any, **query: Any) -> list[Any]:
        return list(self.client.evals.runs.output_items.list(found.id, eval_id=found.eval_id, **query))


@pytest.fixture
def conforms_if_there(request: pytest.FixtureRequest) -> Any:
    """conforms(), where OpenAI's document is at hand; else nothing is checked."""
    if "OPENAI_OPENAPI" not in os.environ:
        return lambda body, name: None
    return request.getfixturevalue("conforms")


@pytest.fixture
def evals(make_api: Any, run_app: Any, tmp_path: Path) -> Iterator[Evals]:
    answers = dict(CAPITALS)

    def script(request: Any, index: int) -> list[int]:
        prompt = bytes(token for token in request.prompt_ids if token < 256).decode()
        named = [country for country in answers if country in prompt]
        return list(answers[max(named, key=prompt.rindex)].encode() if named else b"no idea")

    api = make_api(script, store=Store(Database(tmp_path)))
    with run_app(api.app) as url:
        evals = Evals(url, tmp_path, api.generator, answers)
        with evals.client:
            yield evals
