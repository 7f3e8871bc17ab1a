"""Strategies of hypothesis: good bodies in which something is not as it should be."""

from __future__ import annotations

import copy
import json
import math
from typing import Any

from good_bodies import ROUTES
from hypothesis import strategies as st

NUMBERS = (0, -1, 1, 2**31, 2**63 - 1, 2**63, -(2**63) - 1, 2**64, 10**30, 0.5, -0.0, 1e-320, 1e308)
BROKEN_NUMBERS = (math.nan, math.inf, -math.inf)
TEXTS = ("", "x", "\x00", "\ud800", "a\udc00b", "\ud83d\ude00", "\U0010ffff", "<|im_end|>", "{{ 1/0 }}", "x" * 10**6)
DIGITS = ("9" * 400, "-" + "9" * 5000, "1e400", "0." + "1" * 500)
depths = st.sampled_from((1, 50, 400, 900, 980, 5000))


class Raw(str):
    """Text that stands in the body as it is."""


leaves = st.one_of(
    st.none(),
    st.booleans(),
    st.sampled_from(NUMBERS),
    st.sampled_from(BROKEN_NUMBERS),
    st.sampled_from(DIGITS).map(Raw),
    st.sampled_from(range(len(TEXTS))).map(TEXTS.__getitem__),
)


@st.composite
def deep_values(draw: st.DrawFn) -> Raw:
    depth, inner = draw(depths), draw(st.sampled_from(("1", '"x"', "null", "")))
    opening, closing = draw(st.sampled_from((("[", "]"), ('{"a":', "}"))))
    return Raw(opening * depth + (inner if inner or opening == "[" else "0") + closing * depth)


values = st.one_of(
    leaves,
    st.recursive(
        leaves, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(("a", "type")), inner)
    ),
    deep_values(),
)


def encode(value: Any) -> bytes:
    """As JSON, with what JSON doesn't allow; lone surrogates escaped."""
    if isinstance(value, Raw):
        return value.encode()
    if isinstance(value, dict):
        pairs = (encode(name) + b":" + encode(item) for name, item in value.items())
        return b"{" + b",".join(pairs) + b"}"
    if isinstance(value, list):
        return b"[" + b",".join(map(encode, value)) + b"]"
    return json.dumps(value).encode()


def places(value: Any) -> list[tuple[dict[str, Any] | list[Any], Any]]:
    """(container, key) of everything inside."""
    found: list[tuple[dict[str, Any] | list[Any], Any]] = []
    pairs = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, item in pairs:
        found += [(value, key), *places(item)]
    return found


class Body(bytes):
    """Shown cut when an example fails."""

    def __repr__(self) -> str:
        return f"<{len(self)} bytes: {bytes(self[:500])!r}>"


@st.composite
def bodies(draw: st.DrawFn, path: str) -> Body:
    """A good body in which up to three values are replaced, left out or added to; sometimes its bytes are broken."""
    good, table = ROUTES[path]
    body = copy.deepcopy(good)
    names = st.sampled_from(sorted(table)) | st.sampled_from(("strange", "", "a.b", "x" * 5000, "\ud800", "é\n"))
    for _ in range(draw(st.integers(1, 3))):
        container, key = draw(st.sampled_from([*places(body), (body, "model")]))
        action = draw(st.sampled_from(("replace", "replace", "add", "leave out")))
        if action == "replace":
            container[key] = draw(values)
        elif action == "leave out" and key in (container if isinstance(container, dict) else range(len(container))):
            del container[key]
        elif isinstance(container, dict):
            container[draw(names)] = draw(values)
        else:
            container.append(draw(values))
    breaking = draw(st.sampled_from((break_nothing, break_nothing, double_keys, cut, spoil)))
    return Body(breaking(encode(body), draw(st.integers(0))))


def break_nothing(raw: bytes, _: int) -> bytes:
    return raw


def double_keys(raw: bytes, _: int) -> bytes:
    return raw[:-1] + (b"," if len(raw) > 2 else b"") + raw[1:]


def cut(raw: bytes, place: int) -> bytes:
    return raw[: place % (len(raw) + 1)]


def spoil(raw: bytes, place: int) -> bytes:
    place %= len(raw) + 1
    return raw[:place] + b"\xed\xa0\x80" + raw[place:]
