"""What the CLI's own clients (chat, bench) need to talk to a running server: a client, errors in words, SSE lines."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import contextmanager
from typing import Any
from urllib.parse import urlsplit

import httpx2
import msgspec

from llmos_server.access.admin_token import read_admin_token
from llmos_server.errors import EngineFailed, InvalidRequest, LLMOSError
from llmos_server.hosts import is_loopback
from llmos_server.settings import find_home

DEFAULT_URL = "http://127.0.0.1:8000/v1"
CONNECT_SECONDS = 5.0


class ServerUnreachable(LLMOSError):
    """Nobody answers at the URL."""


def base_url(url: str | None, env: Mapping[str, str] | None = None) -> str:
    """The flag, else LLMOS_URL, else the default; without a slash at the end."""
    env = os.environ if env is None else env
    return (url or env.get("LLMOS_URL") or DEFAULT_URL).rstrip("/")


def key_for(url: str, env: Mapping[str, str] | None = None) -> str | None:
    """LLMOS_API_KEY, else, for this machine's own server, LLMOS_HOME/admin.token."""
    env = os.environ if env is None else env
    if key := env.get("LLMOS_API_KEY"):
        return key
    return read_admin_token(find_home(env)) if is_loopback(urlsplit(url).hostname or "") else None


def create_client(url: str, num_connections: int = 1, *, reuse: bool = True) -> httpx2.AsyncClient:
    """A client for one server. reuse: a connection serves more than one request. Proxies from the environment are used
    for remote hosts only."""
    key = key_for(url)
    kept = num_connections if reuse else 0
    return httpx2.AsyncClient(
        headers={"Authorization": f"Bearer {key}"} if key else {},
        timeout=httpx2.Timeout(None, connect=CONNECT_SECONDS),
        limits=httpx2.Limits(max_connections=num_connections, max_keepalive_connections=kept),
        trust_env=not is_loopback(urlsplit(url).hostname or ""),
    )


@contextmanager
def errors_in_words(url: str) -> Iterator[None]:
    """Turn the HTTP library's errors into ours."""
    try:
        yield
    except (httpx2.InvalidURL, httpx2.UnsupportedProtocol):
        raise InvalidRequest(f"{url!r} is not a URL that can be used. It looks like {DEFAULT_URL}") from None
    except (httpx2.ConnectError, httpx2.ConnectTimeout):
        raise ServerUnreachable(
            f"No server answers at {url}. Start one with `llmos serve`, or name another with --url or LLMOS_URL."
        ) from None
    except httpx2.TransportError as error:
        raise EngineFailed(
            f"The connection to {url} broke ({error or type(error).__name__}). Look at its log."
        ) from None


async def check_status(response: httpx2.Response) -> None:
    """Raise the server's own words for anything but a 2xx."""
    if response.is_success:
        return
    await response.aread()
    try:
        message = response.json()["error"]["message"]
    except (ValueError, KeyError, TypeError):
        message = response.text[:300] or "no explanation"
    raise LLMOSError(f"The server refused ({response.status_code}): {message}")


async def get_json(client: httpx2.AsyncClient, url: str) -> Any:
    """One GET, decoded."""
    response = await client.get(url)
    await check_status(response)
    return response.json()


async def sse_chunks(response: httpx2.Response) -> AsyncIterator[dict[str, Any]]:
    """The JSON objects of an OpenAI stream, up to [DONE]. Raises EngineFailed on an error event or a cut stream."""
    async for line in response.aiter_lines():
        if not line.startswith("data:"):
            continue
        data = line[5:].strip()
        if data == "[DONE]":
            return
        chunk: dict[str, Any] = msgspec.json.decode(data)
        if "error" in chunk:
            raise EngineFailed(f"The answer broke off: {chunk['error'].get('message', 'no explanation')}")
        yield chunk
    raise EngineFailed("The answer broke off: the stream ended without [DONE].")


async def first_model(client: httpx2.AsyncClient, url: str) -> str:
    """The model that the server lists first."""
    models = (await get_json(client, f"{url}/models"))["data"]
    if not models:
        raise LLMOSError(f"The server at {url} lists no model. Start one with `llmos serve --model NAME`.")
    return str(models[0]["id"])
