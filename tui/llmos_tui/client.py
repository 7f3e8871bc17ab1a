"""HTTP and server-sent events to one server, with errors as exceptions that say what to do."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Iterator, Mapping
from contextlib import contextmanager
from ipaddress import ip_address
from pathlib import Path
from typing import Any, NamedTuple, TypeVar
from urllib.parse import quote, urlsplit

import httpx2
import msgspec

from llmos_tui.clean import clean_json, clean_text

T = TypeVar("T")
Params = Mapping[str, str | int | float | bool | None]

CONNECT_SECONDS = 5.0
ANSWER_SECONDS = 30.0
UPLOAD_SECONDS = 600.0
"""Without progress, until an upload is given up."""
SILENCE_SECONDS = 60.0
"""Without a byte on a stream, pings included, until the connection is taken for lost."""
MAX_EVENT_BYTES = 64 * 2**20


class ClientError(Exception):
    """A request that failed; the text is for the user."""


class Unreachable(ClientError):
    """Nobody answers, or the connection broke."""


class Unauthorised(ClientError):
    """The key is missing, wrong, or not an administrator's."""


class Refused(ClientError):
    """The server's own words for a 4xx or 5xx."""

    def __init__(self, message: str, status: int, code: str = "") -> None:
        super().__init__(message)
        self.status = status
        self.code = code


class NotUnderstood(ClientError):
    """An answer that is not of the form that was expected."""


class Event(NamedTuple):
    """One server-sent event."""

    name: str
    """ "message" where the server gives none."""
    data: str

    def decode(self, type: type[T]) -> T:
        """Raises NotUnderstood."""
        return decode(self.data.encode(), type)


class Client:
    """Of one server, with one key."""

    def __init__(
        self,
        url: str,
        key: Callable[[], str | None] = lambda: None,
        *,
        transport: httpx2.AsyncBaseTransport | None = None,
    ) -> None:
        """url: with or without /v1. key: asked before each request, as a server that starts makes one."""
        self.root = url.rstrip("/").removesuffix("/v1")
        self._key = key
        self._http = httpx2.AsyncClient(
            timeout=httpx2.Timeout(ANSWER_SECONDS, connect=CONNECT_SECONDS),
            limits=httpx2.Limits(max_connections=32, max_keepalive_connections=8),
            trust_env=not is_this_machine(self.root),
            transport=transport,
        )

    async def get(self, path: str, type: type[T], params: Params | None = None) -> T:
        """Raises ClientError, as all of these do."""
        return await self.send("GET", path, type, params=params)

    async def send(
        self,
        method: str,
        path: str,
        type: type[T],
        *,
        body: Any = None,
        params: Params | None = None,
        seconds: float | None = ANSWER_SECONDS,
    ) -> T:
        """One request. seconds: until an answer has to begin; None waits for ever (a load may take minutes)."""
        with errors_in_words(self.root):
            response = await self._http.request(
                method,
                self.root + path,
                params=_given(params),
                headers=self._headers(body),
                content=None if body is None else msgspec.json.encode(body),
                timeout=httpx2.Timeout(seconds, connect=CONNECT_SECONDS),
            )
        check(response)
        return decode(response.content, type)

    async def upload(self, path: str, type: type[T], file: Path, fields: Mapping[str, str]) -> T:
        """A form with this file, which is read while it is sent. Raises OSError, too."""
        with file.open("rb") as content, errors_in_words(self.root):
            response = await self._http.post(
                self.root + path,
                data=dict(fields),
                files={"file": (file.name, content)},
                headers=self._headers(None),
                timeout=httpx2.Timeout(UPLOAD_SECONDS, connect=CONNECT_SECONDS),
            )
        check(response)
        return decode(response.content, type)

    async def events(
        self,
        method: str,
        path: str,
        *,
        body: Any = None,
        params: Params | None = None,
        seconds: float | None = SILENCE_SECONDS,
    ) -> AsyncGenerator[Event, None]:
        """Of a stream, until the server ends it. seconds: of silence, until the connection is taken for lost. OpenAI's
        [DONE] is an event like others."""
        with errors_in_words(self.root):
            async with self._http.sse(
                self.root + path,
                method=method,
                params=_given(params),
                headers=self._headers(body),
                content=None if body is None else msgspec.json.encode(body),
                timeout=httpx2.Timeout(seconds, connect=CONNECT_SECONDS),
                max_event_size=MAX_EVENT_BYTES,
            ) as source:
                if not source.response.is_success:
                    await source.response.aread()
                    check(source.response)
                async for event in source:
                    yield Event(event.event, event.data)

    def _headers(self, body: Any) -> dict[str, str]:
        key = self._key()
        headers = {"Authorization": f"Bearer {key}"} if key else {}
        return headers if body is None else {**headers, "Content-Type": "application/json"}

    async def close(self) -> None:
        await self._http.aclose()


def in_path(name: str) -> str:
    """A name as one part of a path: whatever a model or a key is called, it can't lead elsewhere."""
    return quote(name, safe="")


def is_this_machine(url: str) -> bool:
    host = urlsplit(url).hostname or ""
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def decode(data: bytes, type: type[T]) -> T:
    """Without control characters. Raises NotUnderstood."""
    try:
        return msgspec.json.decode(clean_json(data), type=type)
    except msgspec.MsgspecError as error:
        raise NotUnderstood(f"The server's answer isn't understood ({error}). Are both of one version?") from None


def check(response: httpx2.Response) -> None:
    """Raises Unauthorised or Refused for anything but a 2xx; its body has been read."""
    if response.is_success:
        return
    message, code = _told(response)
    if response.status_code in (401, 403):
        raise Unauthorised(message)
    raise Refused(message, response.status_code, code)


def _told(response: httpx2.Response) -> tuple[str, str]:
    try:
        error = msgspec.json.decode(clean_json(response.content))["error"]
        return str(error["message"]), str(error.get("code") or "")
    except (ValueError, KeyError, TypeError):
        return f"The server answered {response.status_code}: {clean_text(response.text[:300]) or 'nothing'}", ""


@contextmanager
def errors_in_words(root: str) -> Iterator[None]:
    """The HTTP library's errors, as ours."""
    try:
        yield
    except (httpx2.InvalidURL, httpx2.UnsupportedProtocol):
        raise Unreachable(f"{root!r} is not a URL that can be used. It looks like http://127.0.0.1:8000") from None
    except (httpx2.ConnectError, httpx2.ConnectTimeout):
        raise Unreachable(f"No server answers at {root}.") from None
    except httpx2.TimeoutException:
        raise Unreachable(f"The server at {root} did not answer in time.") from None
    except httpx2.TransportError as error:
        raise Unreachable(f"The connection to {root} broke ({error or type(error).__name__}).") from None


def _given(params: Params | None) -> dict[str, str]:
    """As texts, without what is None."""
    return {name: _text(value) for name, value in (params or {}).items() if value is not None}


def _text(value: str | float | bool) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)
