"""Rows for tests."""

from __future__ import annotations

from typing import Any

from llmos_server.key_contracts import StoredKey, UsageRow


def key(key_id: str = "abcdefgh", name: str = "laptop", **fields: Any) -> StoredKey:
    return StoredKey(id=key_id, name=name, secret_hash="ab" * 32, **{"created": 1000, **fields})


def usage(owner: str = "a", **fields: Any) -> UsageRow:
    given = {
        "request_id": "req_1",
        "model": "tiny",
        "endpoint": "/v1/completions",
        "prompt_tokens": 10,
        "completion_tokens": 5,
        "seconds": 0.5,
        "status": "stop",
        "created": 1_700_000_000_000,
    }
    return UsageRow(owner=owner, **{**given, **fields})
