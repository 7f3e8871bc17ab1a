"""HTTP and events, errors in words."""

from __future__ import annotations

import httpx2
import pytest
from llmos_tui.calls.live import abort_request, follow_overview, get_overview
from llmos_tui.client import Client, NotUnderstood, Refused, Unauthorised, Unreachable, is_this_machine
from llmos_tui.wire.common import Anything
from tui_fake_server import ADMIN_KEY, FakeServer, Refusal


@pytest.fixture
def client(server: FakeServer) -> Client:
    return Client("http://llmos.test/v1/", lambda: ADMIN_KEY, transport=server)


async def test_names_can_not_lead_elsewhere(client: Client, server: FakeServer) -> None:
    server.on("DELETE", "/admin/v1/requests/{}", {})
    await abort_request(client, "../keys/a?b=c")
    assert server.asked[-1].parts == ("../keys/a?b=c",)
    assert server.asked[-1].query == {}


async def test_what_is_unknown_is_passed_over_and_what_is_wrong_is_told(client: Client, server: FakeServer) -> None:
    server.on("GET", "/admin/v1/overview", {"time": 1.0, "of_a_newer_server": {"a": [1]}})
    assert (await get_overview(client)).time == 1.0
    server.on("GET", "/admin/v1/overview", {"time": "noon"})
    with pytest.raises(NotUnderstood, match=r"time"):
        await get_overview(client)


async def test_a_refusal_is_in_the_servers_words(client: Client, server: FakeServer) -> None:
    server.on("GET", "/x", Refusal(409, "It is busy.", "busy"))
    with pytest.raises(Refused, match="It is busy") as raised:
        await client.get("/x", Anything)
    assert (raised.value.status, raised.value.code) == (409, "busy")


async def test_an_answer_without_words_has_its_status(server: FakeServer) -> None:
    async def answer(request: httpx2.Request) -> httpx2.Response:
        return httpx2.Response(502, text="<html>")

    client = Client("http://llmos.test", transport=httpx2.MockTransport(answer))
    with pytest.raises(Refused, match="502: <html>"):
        await client.get("/x", Anything)


async def test_401_and_403_are_about_the_key(server: FakeServer) -> None:
    client = Client("http://llmos.test", lambda: "sk-wrong", transport=server)
    with pytest.raises(Unauthorised, match="Invalid API key"):
        await get_overview(client)
    with pytest.raises(Unauthorised, match="Invalid API key"):
        await anext(aiter(follow_overview(client, 1.0)))


async def test_a_stream_that_breaks_is_unreachable(client: Client, server: FakeServer) -> None:
    stream = follow_overview(client, 0.5)
    assert (await anext(stream)).version == "0.1.0"
    assert server.asked[-1].query == {"interval": "0.5"}
    server.go_down()
    with pytest.raises(Unreachable, match="broke"):
        await anext(stream)


@pytest.mark.parametrize("url", ["nonsense", "ftp://a", "http://"])
async def test_a_url_that_is_none_is_told(url: str) -> None:
    with pytest.raises(Unreachable, match="is not a URL"):
        await get_overview(Client(url))


def test_this_machine() -> None:
    assert is_this_machine("http://127.0.0.1:8000")
    assert is_this_machine("http://[::1]:8000")
    assert is_this_machine("http://localhost")
    assert not is_this_machine("http://example.org")
