"""What happens when clients leave, workers die and the operator stops the server."""

from __future__ import annotations

import os
import signal
import threading

import openai
import pytest

MODEL = "smollm2:135m"
STORY = [{"role": "user", "content": "Tell me a very long story."}]

pytestmark = pytest.mark.real_model


def open_stream(server, **options):
    client = openai.OpenAI(base_url=server.url + "/v1", api_key="none", max_retries=0)
    return client.chat.completions.create(
        model=MODEL, messages=STORY, stream=True, extra_body={"ignore_eos": True}, **options
    )


def test_a_client_that_leaves_frees_its_pages(server):
    server.wait_for(lambda: server.metric("llmos:num_requests_running") == 0, "idle")
    stream = open_stream(server, max_tokens=4000)
    for _ in range(3):
        next(stream)
    assert server.metric("llmos:num_requests_running") == 1
    stream.response.close()
    server.wait_for(lambda: server.metric("llmos:num_requests_running") == 0, "idle")


def test_an_unstreamed_client_that_leaves_frees_its_pages(server):
    client = openai.OpenAI(base_url=server.url + "/v1", api_key="none", max_retries=0, timeout=2)
    with pytest.raises(openai.APITimeoutError):
        client.chat.completions.create(model=MODEL, messages=STORY, max_tokens=4000, extra_body={"ignore_eos": True})
    server.wait_for(lambda: server.metric("llmos:num_requests_running") == 0, "idle")


def test_a_killed_worker_ends_streams_with_an_error_and_comes_back(own_server):
    stream = open_stream(own_server, max_tokens=4000)
    next(stream)
    os.kill(own_server.worker_pid(), signal.SIGKILL)
    with pytest.raises(openai.APIError) as broken:
        list(stream)
    assert "engine" in str(broken.value).lower()
    own_server.wait_until_ready()
    stream = open_stream(own_server, max_tokens=8)
    assert list(stream)[-1].choices[0].finish_reason == "length"


def test_sigterm_lets_a_running_stream_finish(own_server):
    stream = open_stream(own_server, max_tokens=40)
    next(stream)
    own_server.process.send_signal(signal.SIGTERM)
    chunks = list(stream)
    assert chunks[-1].choices[0].finish_reason == "length"
    assert own_server.process.wait(timeout=60) == 0


def test_a_killed_server_leaves_no_worker(own_server):
    worker = own_server.worker_pid()
    own_server.process.kill()
    own_server.process.wait()
    gone = threading.Event()
    for _ in range(200):
        try:
            os.kill(worker, 0)
            with open(f"/proc/{worker}/stat") as stat:
                if stat.read().rsplit(")", 1)[1].split()[0] == "Z":
                    return
        except (ProcessLookupError, FileNotFoundError):
            return
        gone.wait(0.05)
    raise AssertionError("the worker outlived its server")
