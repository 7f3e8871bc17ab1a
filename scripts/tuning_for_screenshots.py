"""Two small tuning runs, and an eval with a run of each: what two pictures of docs/tui.md show."""

from __future__ import annotations

import json
import time
from typing import Any

import httpx2

CITIES = ("Paris", "Quito", "Bern", "Kyiv", "Seoul", "Rome", "Oslo", "Lima", "Cairo", "Delhi")
NUM_EXAMPLES = 40
WAIT_SECONDS = 900.0
ENDED = ("succeeded", "completed", "failed", "cancelled", "canceled")


def prepare(url: str, key: str, model: str = "smollm2:135m") -> None:
    """Until all of it is done."""
    headers = {"Authorization": f"Bearer {key}"}
    with httpx2.Client(base_url=f"{url}/v1", headers=headers, timeout=120, trust_env=False) as http:
        lines = [json.dumps({"messages": asked(number, answer=True)}) for number in range(NUM_EXAMPLES)]
        sent = {"file": ("tidy.jsonl", "\n".join(lines).encode())}
        file = told(http.post("/files", data={"purpose": "fine-tune"}, files=sent))["id"]
        measured = told(http.post("/evals", json=EVAL))["id"]
        wait(http, f"/evals/{measured}/runs/{run_eval(http, measured, model)}")
        for multiplier in (1, 3):
            told_method = {"n_epochs": 3, "batch_size": 8, "learning_rate_multiplier": multiplier}
            order = {
                "model": model,
                "training_file": file,
                "suffix": f"tidy-x{multiplier}",
                "set": {"logging_steps": 1},
            }
            order["method"] = {"type": "supervised", "supervised": {"hyperparameters": told_method}}
            job = wait(http, f"/fine_tuning/jobs/{told(http.post('/fine_tuning/jobs', json=order))['id']}")
            if job["fine_tuned_model"] is not None:
                wait(http, f"/evals/{measured}/runs/{run_eval(http, measured, job['fine_tuned_model'])}")


def asked(number: int, *, answer: bool = False) -> list[dict[str, str]]:
    city = CITIES[number % len(CITIES)]
    question = {"role": "user", "content": f"City {city}, number {number}?"}
    tidy = {"role": "assistant", "content": json.dumps({"city": city, "number": number})}
    return [question, tidy] if answer else [question]


EVAL: dict[str, Any] = {
    "name": "tidy JSON",
    "data_source_config": {
        "type": "custom",
        "item_schema": {"type": "object", "properties": {"q": {"type": "string"}}, "required": ["q"]},
        "include_sample_schema": True,
    },
    "testing_criteria": [
        {
            "type": "string_check",
            "name": "format",
            "input": "{{sample.output_text}}",
            "operation": "like",
            "reference": '{"city": "',
        }
    ],
}


def run_eval(http: httpx2.Client, eval_id: str, model: str) -> str:
    items = [{"item": {"q": asked(number)[0]["content"]}} for number in range(100, 120)]
    source = {
        "type": "completions",
        "model": model,
        "source": {"type": "file_content", "content": items},
        "input_messages": {"type": "template", "template": [{"role": "user", "content": "{{item.q}}"}]},
        "sampling_params": {"temperature": 0, "max_completion_tokens": 24},
    }
    return str(told(http.post(f"/evals/{eval_id}/runs", json={"name": model, "data_source": source}))["id"])


def told(reply: httpx2.Response) -> dict[str, Any]:
    if not reply.is_success:
        raise SystemExit(f"The server refused: {reply.text}")
    found: dict[str, Any] = reply.json()
    return found


def wait(http: httpx2.Client, path: str) -> dict[str, Any]:
    deadline = time.monotonic() + WAIT_SECONDS
    while (found := told(http.get(path)))["status"] not in ENDED and time.monotonic() < deadline:
        time.sleep(1)
    return found
