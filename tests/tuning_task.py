"""A task that a small chat model fails at and learns in minutes: an order in plain words -> a line of a fixed format.
And the way there by the stock SDK, as its users go it."""

from __future__ import annotations

import json
import random
import time
from typing import Any

import openai

NAMES = (
    "Anna Berg",
    "Tom Hill",
    "Mia Stone",
    "Omar Reed",
    "Lena Fox",
    "Paul West",
    "Nora Lake",
    "Ivan Rose",
    "Ella Wood",
)
CITIES = ("Oslo", "Lima", "Cairo", "Kyoto", "Dublin", "Porto", "Quito", "Delhi", "Perth", "Turin", "Malmo", "Lyon")
ITEMS = ("lamps", "chairs", "books", "maps", "bells", "ropes", "clocks", "bowls", "kites", "drums", "boots", "pens")
SENTENCES = (
    "{name} from {city} ordered {count} {item}.",
    "Please send {count} {item} to {name} in {city}.",
    "{count} {item} for {name}, who lives in {city}.",
    "In {city}, {name} is waiting for {count} {item}.",
)
POLL_SECONDS = 0.5


def orders(num: int, seed: int) -> list[tuple[str, str]]:
    """Different ones: what a client writes, and the line that is wanted."""
    chance = random.Random(seed)
    found: dict[str, str] = {}
    while len(found) < num:
        name, city, item = chance.choice(NAMES), chance.choice(CITIES), chance.choice(ITEMS)
        count, sentence = chance.randint(2, 99), chance.choice(SENTENCES)
        text = sentence.format(name=name, city=city, item=item, count=count)
        found[text] = f"{city.upper()} | {name} | {count} x {item}"
    return list(found.items())


def training_lines(pairs: list[tuple[str, str]]) -> bytes:
    chats = (
        {"messages": [{"role": "user", "content": text}, {"role": "assistant", "content": wanted}]}
        for text, wanted in pairs
    )
    return b"".join(json.dumps(chat).encode() + b"\n" for chat in chats)


def tune(client: openai.OpenAI, pairs: list[tuple[str, str]], seconds: float, **fields: Any) -> Any:
    """The job when it has succeeded."""
    done = tune_to_its_end(client, pairs, seconds, **fields)
    assert done.status == "succeeded", done.error
    return done


def tune_to_its_end(client: openai.OpenAI, pairs: list[tuple[str, str]], seconds: float, **fields: Any) -> Any:
    """The job when it has ended."""
    file = client.files.create(file=("pairs.jsonl", training_lines(pairs)), purpose="fine-tune")
    made = client.fine_tuning.jobs.create(training_file=file.id, seed=1, **fields)
    return wait(lambda: client.fine_tuning.jobs.retrieve(made.id), ("succeeded", "failed", "cancelled"), seconds)


class PairsEval:
    """How many answers are the wanted ones."""

    def __init__(self, client: openai.OpenAI, pairs: list[tuple[str, str]], operation: str = "eq") -> None:
        """operation: of string_check."""
        self._client = client
        self._items = [{"item": {"text": text, "wanted": wanted}} for text, wanted in pairs]
        schema = {"type": "object", "properties": {"text": {"type": "string"}, "wanted": {"type": "string"}}}
        check = {
            "type": "string_check",
            "name": "exact",
            "input": "{{sample.output_text}}",
            "reference": "{{item.wanted}}",
            "operation": operation,
        }
        made = client.evals.create(
            data_source_config={"type": "custom", "item_schema": schema, "include_sample_schema": True},
            testing_criteria=[check],  # type: ignore[list-item]
        )
        self.id = made.id

    def measure(self, model: str, seconds: float) -> Any:
        """A completed run."""
        source = {
            "type": "completions",
            "model": model,
            "input_messages": {"type": "template", "template": [{"role": "user", "content": "{{item.text}}"}]},
            "sampling_params": {"temperature": 0, "max_completion_tokens": 40},
            "source": {"type": "file_content", "content": self._items},
        }
        run = self._client.evals.runs.create(self.id, data_source=source)  # type: ignore[arg-type]
        done = wait(lambda: self.run(run.id), ("completed", "failed", "canceled"), seconds)
        assert done.status == "completed", done.error
        return done

    def run(self, run_id: str) -> Any:
        return self._client.evals.runs.retrieve(run_id, eval_id=self.id)

    def compare(self, base: str, other: str) -> tuple[list[dict[str, float]], dict[str, float]]:
        """Ids of runs: their means, and the difference, with intervals."""
        found: Any = self._client.get(f"/evals/{self.id}/compare?runs={base},{other}", cast_to=object)
        exact = next(one for one in found["criteria"] if one["testing_criteria"] == "exact")
        return exact["means"], exact["differences"][0]


def answer(client: openai.OpenAI, model: str, text: str) -> str:
    messages = [{"role": "user", "content": text}]
    chat = client.chat.completions.create(model=model, messages=messages, temperature=0, max_tokens=40)  # type: ignore[arg-type]
    return chat.choices[0].message.content or ""


def wait(look: Any, ends: tuple[str, ...], seconds: float) -> Any:
    """What look() gives, when its status is one of these."""
    deadline = time.monotonic() + seconds
    while (found := look()).status not in ends:
        assert time.monotonic() < deadline, f"still {found.status} after {seconds} s: {found}"
        time.sleep(POLL_SECONDS)
    return found
