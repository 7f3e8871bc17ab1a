"""Valid JSON that no client sends, refused before anything is made of it."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmos_server.api.bodies.body import decode_json
from llmos_server.api.bodies.json_outline import MAX_CONTAINERS, MAX_PIECES, Outline
from llmos_server.api.bodies.json_shape import MAX_DEPTH
from llmos_server.errors import InvalidRequest

JSON = {"content-type": "application/json"}


def nested(depth: int, opening: str = "[", closing: str = "]") -> bytes:
    return b'{"x":' + (opening * (depth - 1)).encode() + b"1" + (closing * (depth - 1)).encode() + b"}"


@pytest.mark.parametrize(("opening", "closing"), [("[", "]"), ('{"a":', "}")])
def test_depth(opening, closing) -> None:
    decode_json(nested(MAX_DEPTH, opening, closing))
    for depth in (MAX_DEPTH + 1, 500, 5000, 99_000, 10_000_000):
        with pytest.raises(InvalidRequest, match=r"nested too deeply|holds more than") as caught:
            decode_json(nested(depth, opening, closing))
        assert caught.value.code == "invalid_json"


def test_pieces() -> None:
    decode_json(b'{"x":[' + b",".join([b"[]"] * (MAX_CONTAINERS - 2)) + b"]}")
    with pytest.raises(InvalidRequest, match="objects and lists"):
        decode_json(b'{"x":[' + b",".join([b"{}"] * MAX_CONTAINERS) + b"]}")


def of_many(piece: bytes, count: int) -> bytes:
    return b'{"x":[' + b",".join([piece] * count) + b"]}"


@pytest.mark.parametrize("piece", [b"1", b'""', b'"\\\\"', b'"\\""', b'"[{,:"', b"null", b' "a,b" \n'])
def test_values(piece) -> None:
    most = MAX_PIECES - 3  # The object, the field's name and the list are pieces, too.
    assert len(decode_json(of_many(piece, most))["x"]) == most
    with pytest.raises(InvalidRequest, match="more than 500000 values and field names; send less") as caught:
        decode_json(of_many(piece, MAX_PIECES + 1))
    assert caught.value.code == "invalid_json"


def test_field_names_count() -> None:
    fields = {str(n): n for n in range(MAX_PIECES // 2 + 1)}
    with pytest.raises(InvalidRequest, match="field names"):
        decode_json(json.dumps(fields).encode())


@pytest.mark.parametrize("text", ["1,2;3:4,", 'x["a"] = {"b": [1, 2]}\\\n', '\\"', "\\\\", ":", '{"a":["b\\"",1]},'])
def test_a_long_text_may_hold_anything(text) -> None:
    body = {"prompt": text * (2**20 // len(text)), "n": 1}
    assert decode_json(json.dumps(body).encode()) == body


def test_a_prompt_of_token_ids() -> None:
    body = {"prompt": list(range(200_000))}
    assert decode_json(json.dumps(body).encode()) == body


@pytest.mark.parametrize(
    ("body", "name"),
    [
        (b'{"model":"a","model":"b"}', "model"),
        (b'{"model" : "a", "model":"b"}', "model"),
        (b'{"m":[{"role":"user","role":"system"}]}', "role"),
        (b'{"a":{"\\u0061":1,"a":2}}', "a"),
        (b'{"text":"a:b::","n":1,"n":1}', "n"),
        (b'{"":1,"":2}', ""),
    ],
)
def test_a_field_that_stands_twice_is_named(body, name) -> None:
    with pytest.raises(InvalidRequest, match="stands twice") as caught:
        decode_json(body)
    assert caught.value.param == name


values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**63 - 1) | st.text(st.characters(exclude_categories=["Cs"])),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text('ab:"\\ é', max_size=3), inner, max_size=4),
    max_leaves=20,
)


@given(st.dictionaries(st.text('ab:"\\', max_size=3), values), st.booleans(), st.sampled_from([None, 1]))
def test_everything_else_passes(body, ensure_ascii, indent) -> None:
    raw = json.dumps(body, ensure_ascii=ensure_ascii, indent=indent).encode()
    assert decode_json(raw) == body
    assert Outline(raw).num_names == _num_names(body)


def _num_names(value) -> int:
    if isinstance(value, dict):
        return len(value) + sum(map(_num_names, value.values()))
    return sum(map(_num_names, value)) if isinstance(value, list) else 0


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (b"\xef\xbb\xbf{}", "byte order mark"),
        ("{}".encode("utf-16"), "byte order mark"),
        (b"\xfe\xff\x00{\x00}", "byte order mark"),
        (b"[]", "must be a JSON object"),
        (b"null", "must be a JSON object"),
    ],
)
async def test_other_encodings_and_values_are_refused_in_words(api, body, words) -> None:
    reply = await api.http.post("/v1/completions", content=body, headers=JSON)
    assert reply.status_code == 400
    assert words in reply.json()["error"]["message"]


async def test_a_nul_is_text(api) -> None:
    assert (await api.chat("a\x00b")).status_code == 200
    assert api.generator.requests[0].prompt_ids.count(0) == 1
