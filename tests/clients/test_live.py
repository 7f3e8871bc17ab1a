"""Other people's clients against a live server with the real model: the programs that were recorded, each in a process.

They run in an environment of their own (`make clients`); without it they are skipped.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

HERE = Path(__file__).parent
PYTHON = HERE.parents[1] / ".venv-clients" / "bin" / "python"
SECONDS = 300

CHATS = {
    "openai_client.py": ["chat", "stream"],
    "langchain_client.py": ["invoke", "stream", "stream_usage", "ainvoke"],
    "litellm_client.py": ["completion", "acompletion", "stream", "astream", "hosted_vllm"],
    "llm_client.py": ["prompt", "stream"],
    "ollama_client.py": ["chat", "stream", "achat", "astream", "generate", "generate_stream", "logprobs"],
    "langchain_ollama_client.py": ["invoke", "stream", "ainvoke"],
    "anthropic_client.py": ["chat", "stream", "raw_stream"],
    "openai_client.mjs": ["chat", "stream", "helper"],
    "ai_sdk_client.mjs": ["generate_text", "stream_text", "openai_generate_text", "openai_stream_text"],
}
CALLS = {
    "openai_client.py": ["call", "call_streamed"],
    "anthropic_client.py": ["call", "call_streamed"],
    "langchain_client.py": ["call", "call_streamed"],
    "ollama_client.py": ["call", "call_streamed"],
    "openai_client.mjs": ["call"],
    "ai_sdk_client.mjs": ["call", "call_streamed"],
}
COMPLETIONS = {
    "openai_client.py": ["completion", "completion_stream"],
    "langchain_client.py": ["complete"],
    "litellm_client.py": ["text_completion"],
    "llm_client.py": ["completion"],
    "ollama_client.py": ["raw"],
    "openai_client.mjs": ["completion"],
    "ai_sdk_client.mjs": ["completion"],
}
EMBEDDINGS = {
    "openai_client.py": ["embed"],
    "langchain_client.py": ["embed"],
    "litellm_client.py": ["embedding"],
    "ollama_client.py": ["embed", "embeddings"],
    "langchain_ollama_client.py": ["embed"],
    "openai_client.mjs": ["embed"],
    "ai_sdk_client.mjs": ["embed_many", "openai_embed_many"],
}
OBJECTS = {
    "anthropic_client.py": ["form", "form_streamed"],
    "openai_client.py": ["parse_limited", "parse_streamed"],
    "langchain_client.py": ["structured_schema"],
    "ollama_client.py": ["structured"],
    "langchain_ollama_client.py": ["structured"],
    "ai_sdk_client.mjs": ["object_limited", "object_streamed", "openai_object"],
}
"""Of a schema, which the client has parsed and checked; all of one client ask the same."""
OTHERS: dict[str, dict[str, Any]] = {
    "openai_client.py": {"models": "smollm2:135m", "retrieve": "smollm2:135m"},
    "openai_client.mjs": {"models": "smollm2:135m", "retrieve": "smollm2:135m"},
    "langchain_client.py": {"batch": "Paris"},
    "ollama_client.py": {
        "listed": "Q4_1",
        "shown": "8192",
        "loaded": "smollm2:135m",
        "load": "load",
        "missing": "[404, True]",
        "pull": "['success', True, False]",
        "unload": "['unload', False, 'load']",
    },
    "langchain_ollama_client.py": {"tools": "True"},
    "anthropic_client.py": {"count": "counted", "models": "smollm2:135m", "missing": "not_found_error"},
}
"""Scenario -> what its value holds."""
RESPONSES: dict[str, dict[str, str]] = {
    "openai_responses_client.py": {
        "create": "Paris",
        "events": "Paris",
        "helper": "Paris",
        "parse": "Capital(city=",
        "parse_streamed": "Capital(city=",
        "chain": "Paris",
        "call": "city",
        "call_streamed": "city",
        "skill": "mcp_call",
    },
    "agents_client.py": {
        "answer": "Paris",
        "answer_streamed": "Paris",
        "tool": "tool_call_output_item",
        "tool_streamed": "tool_call_output_item",
        "turns": "Paris",
        "hosted": "mcp_approval_response_item",
    },
    "ai_sdk_agents_client.mjs": {
        f"{api}_{name}": part
        for api in ("responses", "anthropic")
        for name, part in {
            "text": "Paris",
            "stream": "Paris",
            "object": '{"city":',
            "call": "sunny in 2 steps",
            "call_streamed": "sunny in 2 steps",
            "missing": "404 The model 'none-such' isn't served here",
            "too_long": "8191",
        }.items()
    }
    | {"anthropic_skill": "star"},
}
"""The same, of clients of the Responses API, and of Anthropic's by the same SDK."""


@pytest.fixture(scope="module")
def live_server(smollm2: Any, tmp_path_factory: pytest.TempPathFactory, start_server: Any) -> Iterator[Any]:
    """A server of this module's own."""
    folder = tmp_path_factory.mktemp("clients")
    command = {"command": sys.executable, "args": [str(HERE.parent / "agents/mcp/stdio_server.py")]}
    server = start_server(folder, smollm2.name, env={"LLMOS_MCP__SERVERS": json.dumps({"echo": command})})
    server.wait_until_ready()
    yield server
    server.stop()


@pytest.fixture(scope="module")
def live(live_server: Any) -> str:
    """Its URL."""
    return str(live_server.url)


@pytest.fixture
def of_an_administrator(live_server: Any, smollm2: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What a program needs to pull a model, the default one's file under another name, and to remove it again."""
    monkeypatch.setenv("OLLAMA_API_KEY", (live_server.log.parent / "home" / "admin.token").read_text().strip())
    path = tmp_path / "pulled.gguf"
    path.symlink_to(smollm2.weights[0])
    monkeypatch.setenv("PULLED", f"file:{path}")


def command_for(program: str) -> list[str]:
    path = str(HERE / "programs" / program)
    if program.endswith(".py"):
        if not PYTHON.exists():
            pytest.skip("the Python clients aren't set up; run: make clients")
        return [str(PYTHON), path]
    node = shutil.which("node")
    if node is None or not (HERE / "node_modules").exists():
        pytest.skip("Node or the Node clients aren't set up; run: make clients")
    return [node, path]


def run(program: str, url: str, *names: str) -> dict[str, Any]:
    """Scenario -> value. Fails with the client's own words."""
    environment = {name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "OPENAI_API_KEY")}
    command = [*command_for(program), url, *names]
    done = subprocess.run(command, capture_output=True, text=True, timeout=SECONDS, env=environment, check=False)
    assert done.returncode == 0, done.stderr
    results = [json.loads(line) for line in done.stdout.splitlines() if line.startswith('{"name":')]
    assert [result for result in results if "error" in result] == []
    assert [result["name"] for result in results] == list(names)
    return {result["name"]: result["value"] for result in results}


@pytest.fixture(scope="module")
def has_encoder(live: str) -> bool:
    with urllib.request.urlopen(f"{live}/v1/models", timeout=30) as answer:
        return "all-minilm-l6-v2" in [model["id"] for model in json.load(answer)["data"]]


@pytest.mark.real_model
def test_embeddings_are_among_what_follows(has_encoder: bool) -> None:
    if not has_encoder:
        pytest.skip("the default encoder isn't pulled: the clients are asked for no embeddings")


@pytest.mark.real_model
@pytest.mark.parametrize("program", CHATS)
@pytest.mark.usefixtures("of_an_administrator")
def test_client(live: str, has_encoder: bool, program: str) -> None:
    """One process for all that a client does: importing it is most of the work. llm starts one for each."""
    chats, completions, others = CHATS[program], COMPLETIONS.get(program, []), OTHERS.get(program, {})
    embeddings = EMBEDDINGS.get(program, []) if has_encoder else []
    objects = OBJECTS.get(program, [])
    calls = CALLS.get(program, [])
    values = run(program, live, *chats, *calls, *completions, *objects, *others, *embeddings)
    for name in calls:
        assert "city" in values[name], name
    for name in chats:
        assert "Paris" in values[name], name
    if program.startswith(("openai_client", "ollama_client", "anthropic_client")):  # The same, streamed and not.
        assert values["stream"] == values["chat"]
    for name in completions:
        assert values[name].strip(), name
    for name in objects:
        assert values[name] == values[objects[0]], name
        assert len(values[name]) >= 2
    for name, expected in others.items():
        assert expected in str(values[name]), name
    for name in embeddings:
        assert values[name] == [384, 384], name


@pytest.mark.real_model
@pytest.mark.parametrize("program", RESPONSES)
def test_client_of_responses(live: str, program: str) -> None:
    expected = RESPONSES[program]
    values = run(program, live, *expected)
    for name, part in expected.items():
        assert part in values[name], (name, values[name])
    if "events" in values:  # The same input, streamed and not.
        assert values["events"] == values["create"]
        assert values["call_streamed"] == values["call"]
