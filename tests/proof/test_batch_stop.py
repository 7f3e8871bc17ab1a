"""A server that is told to stop while a batch runs: the batch waits, and the next server answers what is left."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tiny_server import MODEL, TinyServer

pytestmark = pytest.mark.proof

NUM_REQUESTS = 300


def test_a_batch_outlives_a_stop_of_its_server(tmp_path: Path, start_server: Callable[..., Any]) -> None:
    made = TinyServer(tmp_path, start_server)
    made.start()
    try:
        body = {"model": MODEL, "prompt": "The sea is", "max_tokens": 24, "temperature": 0}
        url = "/v1/completions"
        lines = [
            {"custom_id": f"r{place}", "method": "POST", "url": url, "body": body} for place in range(NUM_REQUESTS)
        ]
        content = "\n".join(map(json.dumps, lines)).encode()
        file = made.client.files.create(file=("in.jsonl", content), purpose="batch")
        batch = made.client.batches.create(input_file_id=file.id, endpoint=url, completion_window="24h")
        made.until(lambda: made.client.batches.retrieve(batch.id).request_counts.completed > 20)
        assert made.server.stop() == 0
        status, _ = made.row(batch.id)
        assert status == "queued"
        made.kill_server()  # It is over: what is left is the client.
        made.start()
        before = made.client.batches.retrieve(batch.id).request_counts.completed
        assert 20 < before < NUM_REQUESTS
        made.until(lambda: made.has_ended(batch.id))
        done = made.client.batches.retrieve(batch.id)
        assert (done.status, done.request_counts.completed) == ("completed", NUM_REQUESTS)
        answers = list(map(json.loads, made.client.files.content(done.output_file_id).text.splitlines()))
        assert [answer["custom_id"] for answer in answers] == [line["custom_id"] for line in lines]
        assert len({answer["response"]["body"]["choices"][0]["text"] for answer in answers}) == 1
        print(f"{before} of {NUM_REQUESTS} were answered when the server stopped")
    finally:
        made.kill_server()
