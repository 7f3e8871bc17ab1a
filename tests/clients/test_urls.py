"""Base URLs as people type them."""

from __future__ import annotations

import httpx2
import pytest

CHAT = {"model": "smollm2:135m", "messages": [{"role": "user", "content": "Hi"}]}


@pytest.mark.parametrize("path", ["//v1/models", "/v1//models", "/v1/models/", "/v1/models?limit=20"])
async def test_slashes_too_many_make_no_difference(http: httpx2.AsyncClient, path: str) -> None:
    """A base URL that ends in a slash, joined by hand."""
    assert (await http.get(f"http://127.0.0.1:8000{path}")).json()["data"][0]["id"] == "smollm2:135m"


@pytest.mark.parametrize("path", ["/v1/models/smollm2:135m", "/v1/models/smollm2%3A135m"])
async def test_a_name_may_be_escaped(http: httpx2.AsyncClient, path: str) -> None:
    assert (await http.get(path)).json()["id"] == "smollm2:135m"


@pytest.mark.parametrize("path", ["/v1/models", "/v1/chat/completions"])
async def test_probes(http: httpx2.AsyncClient, path: str) -> None:
    assert (await http.options(path)).status_code == 204
    assert (await http.head("/v1/models")).status_code == 200


@pytest.mark.parametrize(
    ("method", "path", "remedy"),
    [
        ("POST", "/chat/completions", "lacks its end"),
        ("GET", "/models", "lacks its end"),
        ("POST", "/v1/v1/chat/completions", "without it"),
        ("POST", "/responses", "lacks its end"),
        ("POST", "/messages", "lacks its end"),
        ("GET", "/v1/responsible", "/docs lists"),
        ("GET", "/apiary", "/docs lists"),
        ("GET", "/admin/keys", "under /admin/v1"),
        ("GET", "/administrator", "/docs lists"),
        ("POST", "/v1/responses/compact", "send fewer items"),
    ],
)
async def test_a_wrong_url_says_what_to_do(http: httpx2.AsyncClient, method: str, path: str, remedy: str) -> None:
    answer = await http.request(method, path, json=CHAT if method == "POST" else None)
    assert answer.status_code == 404
    error = answer.json()["error"]
    assert error["code"] == "unknown_url"
    assert error["message"].startswith(f"There is no {method} {path}. ")
    assert remedy in error["message"]


async def test_a_wrong_url_below_api_says_so_in_its_own_form(http: httpx2.AsyncClient) -> None:
    """LM Studio's API; Ollama's, which is served, has the same form of errors."""
    answer = await http.get("/api/v0/models")
    assert answer.status_code == 404
    assert "OpenAI-compatible" in answer.json()["error"]
