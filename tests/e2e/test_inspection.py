"""What is inside the default model, as its own server tells it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import httpx2
import pytest

from llmos_server.contracts import ModelVersion

pytestmark = pytest.mark.real_model


@pytest.fixture
def admin(server: Any) -> Any:
    token = (server.log.parent / "home/admin.token").read_text().strip()
    with httpx2.Client(base_url=server.url, headers={"Authorization": f"Bearer {token}"}, timeout=120) as client:
        yield client


def test_the_attention_of_a_chat_is_computed_beside_the_worker(server: Any, admin: Any, smollm2: ModelVersion) -> None:
    messages = [{"role": "user", "content": "What is the capital of France?"}]
    body = {"model": smollm2.name, "messages": messages}
    shown = admin.post("/admin/v1/models/preview", json=body).json()
    assert shown["text"].count("<|im_start|>") == sum(token["text"] == "<|im_start|>" for token in shown["tokens"])
    one, mean = (
        admin.post("/admin/v1/models/attention", json={**body, "layer": 29, **choice}).json()
        for choice in ({"head": 8}, {})
    )
    assert one["token_ids"] == [token["id"] for token in shown["tokens"]]
    assert (one["num_layers"], one["num_heads"], one["layer"], one["head"]) == (30, 9, 29, 8)
    for answer in (one, mean):
        for place, row in enumerate(answer["weights"]):
            assert sum(row) == pytest.approx(1.0, abs=1e-4)
            assert not any(row[place + 1 :])
            assert len(row) == len(shown["tokens"])
    assert one["weights"] != mean["weights"]
    assert len(server.worker_pids()) == 2  # One process has answered both, beside the engine's worker.


def test_a_row_and_a_pin(admin: Any, smollm2: ModelVersion) -> None:
    [row] = [row for row in admin.get("/admin/v1/models").json()["data"] if row["is_default"]]
    assert (row["id"], row["quantization"], row["state"]) == (smollm2.name, "Q4_1", "ready")
    structure = admin.get("/admin/v1/models/structure").json()
    assert structure["parameters"] == row["num_parameters"]
    for verb, is_pinned in (("pin", True), ("unpin", False)):
        answer = admin.post(f"/admin/v1/models/{verb}", json={"model": smollm2.name}).json()
        assert answer["is_pinned"] is is_pinned
    template = admin.get("/admin/v1/models/template").json()
    assert "<|im_start|>" in template["template"]
    assert Path(smollm2.folder, template["source"]).read_text() == template["template"]
