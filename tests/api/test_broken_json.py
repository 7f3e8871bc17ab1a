"""A body that is no JSON is told in words that lead to the fault."""

from __future__ import annotations

import pytest

JSON = {"content-type": "application/json"}


@pytest.mark.parametrize(
    ("body", "param", "words"),
    [
        (b'{"messages":[{"role":"user","content":"a\\ud83d"}]}', "messages[0].content", "unpaired surrogate"),
        (b'{"prompt":"\\udc00b"}', "prompt", "unpaired surrogate"),
        (b'{"stop":["a","\\ud800\\u0041"]}', "stop[1]", "unpaired surrogate"),
        (b'{"metadata":{"\\ud800":1}}', "metadata", "a field whose name holds an unpaired surrogate"),
        (b'"\\ud800"', None, "The body holds an unpaired surrogate"),
        (b'{"temperature":1e400}', "temperature", "out of range"),
        (b'{"temperature":-Infinity}', "temperature", "NaN or Infinity"),
        (b'{"logit_bias":{"7":NaN}}', "logit_bias.7", "NaN or Infinity"),
        (b'{"seed":' + b"9" * 5000 + b"}", None, "out of range"),
        (b'{"prompt":"\xed\xa0\x80"}', None, "not valid UTF-8: the byte 0xed at 11"),
        (b'{"prompt":"a', None, "Unterminated string"),
        (b'{"prompt":"a",}', None, "not valid JSON"),
        (b'{"' + b"x" * 5000 + b'":"\\ud800"}', "x" * 200, "unpaired surrogate"),
        (b'{"prompt":"' + b"x" * 2**20 + b'\\ud800"}', None, "not valid JSON"),
        (b'{"a":' * 5000 + b'"\\ud800"', None, "nested too deeply"),
    ],
)
async def test_the_fault_is_named(api, body, param, words):
    reply = await api.http.post("/v1/completions", content=body, headers=JSON)
    error = reply.json()["error"]
    assert (reply.status_code, error["code"], error["param"]) == (400, "invalid_json", param)
    assert words in error["message"]
    assert len(error["message"]) < 400
