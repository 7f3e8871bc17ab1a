"""A batch with the stock SDK on a real server: its job is a process, which asks the real model."""

from __future__ import annotations

import json

import openai
import pytest

pytestmark = pytest.mark.real_model

QUESTION = [{"role": "user", "content": "What is the capital of France?"}]


def test_a_file_of_requests_becomes_a_file_of_answers(server) -> None:
    with openai.OpenAI(base_url=server.url + "/v1", api_key="none", _strict_response_validation=True) as client:
        url = "/v1/chat/completions"
        bodies = [{"messages": QUESTION, "temperature": 0, "max_tokens": 8}, {"messages": "wrong"}]
        lines = [
            {"custom_id": f"r{number}", "method": "POST", "url": url, "body": {"model": "smollm2:135m", **body}}
            for number, body in enumerate(bodies)
        ]
        text = "".join(json.dumps(line) + "\n" for line in lines)
        file = client.files.create(file=("in.jsonl", text.encode()), purpose="batch")
        made = client.batches.create(input_file_id=file.id, endpoint=url, completion_window="24h")
        server.wait_for(lambda: client.batches.retrieve(made.id).status == "completed", "completed", 60)
        done = client.batches.retrieve(made.id)
        assert (done.request_counts.completed, done.request_counts.failed, done.model) == (1, 1, "smollm2:135m")
        [answer] = map(json.loads, client.files.content(done.output_file_id).text.splitlines())
        assert answer["custom_id"] == "r0"
        assert "Paris" in answer["response"]["body"]["choices"][0]["message"]["content"]
        assert done.usage.total_tokens == answer["response"]["body"]["usage"]["total_tokens"]
        [wrong] = map(json.loads, client.files.content(done.error_file_id).text.splitlines())
        assert (wrong["custom_id"], wrong["response"]["status_code"]) == ("r1", 400)
        assert client.files.retrieve(done.output_file_id).purpose == "batch_output"
