"""The real server's and its worker's log at level debug holds nothing of what clients sent."""

from __future__ import annotations

import httpx2
import pytest

pytestmark = pytest.mark.real_model

CANARY = "canary-51c0d7"


def test_the_log_of_a_real_server_holds_no_prompt(server) -> None:
    user = {"role": "user", "content": f"Repeat: {CANARY}"}
    headers = {"Authorization": f"Bearer {CANARY}", "Cookie": CANARY}
    bodies = [
        {"messages": [user], "max_tokens": 8},
        {"messages": [user], "max_tokens": 8, "stream": True, "stop": [CANARY]},
        {"messages": [{"role": "user", "content": CANARY * 20_000}]},
        {"messages": [user], "temperature": CANARY},
    ]
    with httpx2.Client(base_url=server.url, timeout=60, trust_env=False, headers=headers) as client:
        statuses = [client.post(f"/v1/chat/completions?k={CANARY}", json=body) for body in bodies]
    assert [reply.status_code for reply in statuses] == [200, 200, 400, 400]
    text = server.log.read_text()
    assert "path" in text
    assert CANARY not in text
