"""A request holds its model from before it waits for it until its answer is over, however that ends."""

from __future__ import annotations

import asyncio

import msgspec
import pytest

from llmos_server.errors import EngineBusy, EngineFailed

MESSAGES = [{"role": "user", "content": "x"}]
WAIT = 10
paths = pytest.mark.parametrize(
    ("path", "body"), [("/v1/chat/completions", {"messages": MESSAGES}), ("/v1/completions", {"prompt": ["x", "y"]})]
)
streamed = pytest.mark.parametrize("stream", [False, True])


@pytest.fixture
def api(make_api):
    """Notes how many holds there are when a request is handed over."""
    api = make_api(settings={"ping_seconds": 0.1})
    submit = api.generator.submit
    api.held = []

    def note(request):
        api.held.append(api.generator.num_holds)
        return submit(request)

    api.generator.submit = note
    return api


@paths
@streamed
async def test_until_the_answer_is_whole(api, path, body, stream):
    assert (await api.post(path, {**body, "stream": stream})).status_code == 200
    assert set(api.held) == {1}
    assert api.generator.num_holds == 0


@paths
@streamed
@pytest.mark.parametrize("error", [EngineBusy("Full."), EngineFailed("Gone."), ValueError("secret")])
async def test_until_a_refusal(api, path, body, stream, error):
    api.generator.submit_error = error
    assert (await api.post(path, {**body, "stream": stream})).status_code >= 429
    assert set(api.held) == {1}
    assert api.generator.num_holds == 0


@paths
@streamed
async def test_until_the_engine_fails(api, path, body, stream):
    api.generator.fail_after, api.generator.failure = 2, EngineFailed("Gone.")
    reply = await api.post(path, {**body, "stream": stream})
    assert "Gone." in reply.text
    assert api.generator.num_holds == 0


@streamed
async def test_until_the_request_turns_out_wrong(api, stream):
    reply = await api.chat("REFUSE", stream=stream)
    assert reply.status_code == 400
    assert (api.held, api.generator.num_holds) == ([], 0)


@streamed
async def test_while_the_model_loads_and_until_that_failed(api, stream):
    api.generator.state, api.generator.load_error = "loading", EngineFailed("No such weights.")
    asked = asyncio.create_task(api.chat(stream=stream))
    async with asyncio.timeout(WAIT):
        while not api.generator.num_holds:
            await asyncio.sleep(0.001)
    api.generator.loaded.set()
    assert "No such weights." in (await asked).text
    assert api.generator.num_holds == 0


@paths
@streamed
@pytest.mark.parametrize("moment", ["loading", "queued", "running"])
async def test_until_the_client_leaves(api, path, body, stream, moment):
    """Whenever that is: a wait of one loop turn more in every round, up to where the answer has ended."""
    for num_turns in range(0, 60, 3):
        if moment == "loading":
            api.generator.state, api.generator.loaded = "loading", asyncio.Event()
        api.generator.gate = asyncio.Event() if moment == "queued" else None
        left = asyncio.Event()
        asked = asyncio.create_task(request(api.app, path, {**body, "stream": stream}, left))
        for _ in range(num_turns):
            await asyncio.sleep(0)
        left.set()
        await asyncio.wait_for(asked, WAIT)
        assert api.generator.num_holds == 0, num_turns


async def request(app, path, body, left: asyncio.Event) -> None:
    """One request whose client leaves when told to."""
    messages = [{"type": "http.request", "body": msgspec.json.encode(body)}]

    async def receive():
        if messages:
            return messages.pop()
        await left.wait()
        return {"type": "http.disconnect"}

    async def send(message):
        await asyncio.sleep(0)

    scope = {
        "type": "http", "asgi": {"version": "3.0"}, "http_version": "1.1", "method": "POST", "scheme": "http",
        "path": path, "raw_path": b"", "query_string": b"", "root_path": "",
        "headers": [(b"host", b"test"), (b"content-type", b"application/json")], "client": None, "server": None,
    }  # fmt: skip
    await app(scope, receive, send)


async def test_the_render_endpoint_holds_while_it_waits(api):
    api.generator.state = "loading"
    asked = asyncio.create_task(api.post("/v1/chat/completions/render", {"messages": MESSAGES}))
    async with asyncio.timeout(WAIT):
        while not api.generator.num_holds:
            await asyncio.sleep(0.001)
    api.generator.loaded.set()
    assert (await asked).status_code == 200
    assert api.generator.num_holds == 0
