"""What is stored, on a real server: the stock SDK, another key, and a server that is killed amid its work."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import openai
import pytest

MODEL = "smollm2:135m"

pytestmark = pytest.mark.real_model


def llmos(home: Path, *arguments: str) -> str:
    done = subprocess.run(
        [sys.executable, "-m", "llmos_server", *arguments],
        env={**os.environ, "LLMOS_HOME": str(home)},
        cwd=home.parent,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def client(server, key: str) -> openai.OpenAI:
    return openai.OpenAI(base_url=server.url + "/v1", api_key=key, max_retries=0)


def test_all_of_it_survives_a_kill(own_server, start_server, tmp_path):
    """One live server from its first request to its kill, and the next one."""
    home = tmp_path / "home"
    mine, theirs = (json.loads(llmos(home, "keys", "create", name, "--json"))["key"] for name in ("mine", "theirs"))
    sdk = client(own_server, mine)
    conversation = sdk.conversations.create(metadata={"of": "mine"}, items=[{"role": "user", "content": "I am Ada."}])
    said = sdk.responses.create(
        model=MODEL, input="Who am I?", conversation=conversation.id, max_output_tokens=8, temperature=0
    )
    first = sdk.responses.create(model=MODEL, input="Say one.", max_output_tokens=8, temperature=0)
    second = sdk.responses.create(
        model=MODEL, input="Say two.", previous_response_id=first.id, max_output_tokens=8, temperature=0
    )
    assert second.usage.input_tokens > first.usage.input_tokens + first.usage.output_tokens
    cancelled = sdk.responses.create(model=MODEL, input="Count.", background=True, max_output_tokens=4000)
    assert sdk.responses.cancel(cancelled.id).status == "cancelled"
    left = sdk.responses.create(model=MODEL, input="Count to a million.", background=True, max_output_tokens=4000)
    assert left.status in ("queued", "in_progress")
    own_server.wait_for(lambda: sdk.responses.retrieve(left.id).status == "in_progress", "begun")
    own_server.process.kill()
    own_server.process.wait()

    again = start_server(tmp_path, MODEL)
    try:
        again.wait_until_ready()
        sdk = client(again, mine)
        for response in (said, first, second):
            assert sdk.responses.retrieve(response.id) == response
        assert sdk.responses.retrieve(cancelled.id).status == "cancelled"
        failed = sdk.responses.retrieve(left.id)
        assert (failed.status, failed.error.code) == ("failed", "server_error")
        assert "server was stopped" in failed.error.message
        assert [item.content[0].text for item in sdk.responses.input_items.list(left.id)] == ["Count to a million."]
        assert sdk.conversations.retrieve(conversation.id) == conversation
        items = list(sdk.conversations.items.list(conversation.id, order="asc"))
        assert [item.role for item in items] == ["user", "user", "assistant"]
        assert items[2].content[0].text == said.output_text
        third = sdk.responses.create(
            model=MODEL, input="Say three.", previous_response_id=second.id, max_output_tokens=8, temperature=0
        )
        assert third.usage.input_tokens > second.usage.input_tokens
        with pytest.raises(openai.NotFoundError):
            client(again, theirs).responses.retrieve(first.id)
        sdk.responses.delete(first.id)
        with pytest.raises(openai.NotFoundError):
            sdk.responses.retrieve(first.id)
        counted = json.loads(llmos(home, "keys", "erase", "mine", "--json", "--url", again.url))["data"]
        found = {one["kind"]: one["num_objects"] for one in counted}
        assert {kind: count for kind, count in found.items() if count} == {"responses": 5, "conversations": 1}
        with pytest.raises(openai.NotFoundError):
            sdk.conversations.retrieve(conversation.id)
    finally:
        again.stop()
