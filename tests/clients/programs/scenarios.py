"""Runs a client's scenarios against ROOT (http://HOST:PORT), and prints a JSON line for each: name, value or error.

    python langchain_client.py ROOT [--label] [--chat-model M] [--embedding-model M] [NAME ...]

With --label the base URL tells the recorder the scenario's name.
"""

from __future__ import annotations

import argparse
import asyncio
import inspect
import json
from collections.abc import Callable
from typing import Any

QUESTION = "What is the capital of France?"


class Target:
    """Where a scenario is to go."""

    def __init__(self, options: argparse.Namespace, name: str) -> None:
        self.chat_model: str = options.chat_model
        self.embedding_model: str = options.embedding_model
        self.root: str = f"{options.root}/@{name}" if options.label else options.root
        self.base_url = self.root + "/v1"


def run(scenarios: dict[str, Callable[[Target], Any]]) -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("root")
    parser.add_argument("names", nargs="*", metavar="NAME")
    parser.add_argument("--label", action="store_true")
    parser.add_argument("--chat-model", default="smollm2:135m")
    parser.add_argument("--embedding-model", default="all-minilm-l6-v2")
    options = parser.parse_intermixed_args()
    for name in options.names or scenarios:
        try:
            value = scenarios[name](Target(options, name))
            result = {"value": asyncio.run(value) if inspect.iscoroutine(value) else value}
        except Exception as error:
            result = {"error": f"{type(error).__name__}: {error}"}
        print(json.dumps({"name": name} | result, default=str), flush=True)
