"""Simon Willison's `llm`: the command line, with a user folder whose extra-openai-models.yaml names the server."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

from scenarios import QUESTION, Target, run

SCHEMA = {"type": "object", "properties": {"city": {"type": "string"}}}


def llm(target: Target, *arguments: str) -> str:
    with tempfile.TemporaryDirectory() as folder:
        common = {
            "model_name": target.chat_model,
            "api_base": target.base_url,
            "supports_schema": True,
            "supports_tools": True,
        }
        models = [{"model_id": "local", **common}, {"model_id": "local-text", "completion": True, **common}]
        Path(folder, "extra-openai-models.yaml").write_text(json.dumps(models))  # YAML reads JSON.
        environment = {
            **os.environ,
            "LLM_USER_PATH": folder,
            "OPENAI_BASE_URL": target.base_url,
            "OPENAI_API_KEY": "none",
        }
        done = subprocess.run(
            [sys.executable, "-m", "llm", *arguments],
            env=environment,
            capture_output=True,
            text=True,
            stdin=subprocess.DEVNULL,
        )
    if done.returncode:
        raise RuntimeError(done.stderr.strip())
    return done.stdout.strip()


def prompt(target: Target) -> str:
    return llm(
        target, "prompt", "-m", "local", "-o", "temperature", "0", "-o", "max_tokens", "20", "--no-stream", QUESTION
    )


def stream(target: Target) -> str:
    return llm(
        target,
        "prompt",
        "-m",
        "local",
        "-o",
        "temperature",
        "0",
        "-o",
        "max_tokens",
        "20",
        "-s",
        "You are a helpful assistant.",
        QUESTION,
    )


def completion(target: Target) -> str:
    return llm(
        target, "prompt", "-m", "local-text", "-o", "temperature", "0", "-o", "max_tokens", "8", "Once upon a time"
    )


def schema(target: Target) -> str:
    return llm(target, "prompt", "-m", "local", "--schema", json.dumps(SCHEMA), QUESTION)


def tools(target: Target) -> str:
    return llm(target, "prompt", "-m", "local", "--functions", "def get_weather(city: str): return 'sunny'", QUESTION)


def embed(target: Target) -> int:
    """`llm` knows OpenAI's embedding models only; an alias of that name reaches ours."""
    return len(json.loads(llm(target, "embed", "-m", "text-embedding-3-small", "-c", "one")))


if __name__ == "__main__":
    run({f.__name__: f for f in (prompt, stream, completion, schema, tools, embed)})
