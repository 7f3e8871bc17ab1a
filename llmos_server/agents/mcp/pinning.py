"""MCP servers that a request names: only on hosts that the operator allows, and never inside of his network.

The name is resolved once. An address that isn't public is refused, and every connection goes to the addresses that were
looked at: a name that resolves to another one a moment later (DNS rebinding) gains nothing.
"""

from __future__ import annotations

import asyncio
import ipaddress
import socket
from collections.abc import Awaitable, Callable, Sequence
from urllib.parse import urlsplit

import httpx2

from llmos_server.errors import InvalidRequest

MAX_URL = 2048
RESOLVE_SECONDS = 5.0

Resolve = Callable[[str, int], Awaitable[list[str]]]
"""A host's addresses. Raises OSError."""


async def resolve_host(host: str, port: int) -> list[str]:
    loop = asyncio.get_running_loop()
    found = await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(str(entry[4][0]) for entry in found))


def check_client_url(url: str, allowed: Sequence[str], param: str) -> str:
    """The host that it names. Raises InvalidRequest."""
    try:
        parts = urlsplit(url)
        host, port = (parts.hostname or "").rstrip("."), parts.port
    except ValueError:
        host, port = "", None
    if len(url) > MAX_URL or not host or port == 0 or parts.scheme != "https" or parts.username is not None:
        raise InvalidRequest(
            f"{param}: it is an https URL without user and password, such as https://mcp.example.org/mcp.",
            param=param,
            code="invalid_value",
        )
    if not any(_is_below(host, pattern) for pattern in allowed):
        raise InvalidRequest(
            f"{param}: this server connects to no MCP server at {host[:100]!r}. Its operator can declare that server "
            "([mcp.servers.NAME] in config.toml), or allow requests to name it (mcp.client_hosts).",
            param=param,
            code="mcp_server_not_allowed",
        )
    return host


async def public_addresses(host: str, port: int, param: str, resolve: Resolve = resolve_host) -> list[str]:
    """All of them, or InvalidRequest: one address inside is enough to refuse the name."""
    try:
        async with asyncio.timeout(RESOLVE_SECONDS):
            addresses = await resolve(host, port)
    except (OSError, UnicodeError, TimeoutError):
        addresses = []
    if not addresses:
        raise InvalidRequest(f"{param}: {host[:100]!r} can't be resolved.", param=param, code="mcp_server_unreachable")
    if not all(is_public(address) for address in addresses):
        raise InvalidRequest(
            f"{param}: {host[:100]!r} is an address inside of a network; MCP servers there have to be declared by the "
            "operator ([mcp.servers.NAME] in config.toml).",
            param=param,
            code="mcp_server_not_allowed",
        )
    return addresses


def is_public(address: str) -> bool:
    """IPv6 addresses that stand for an IPv4 one count as that."""
    ip = ipaddress.ip_address(address.partition("%")[0])
    if isinstance(ip, ipaddress.IPv6Address):
        inner = ip.ipv4_mapped or ip.sixtofour or (ip.teredo[1] if ip.teredo else None)
        if inner is not None:
            return is_public(str(inner))
        if ip in _NAT64:
            return is_public(str(ipaddress.IPv4Address(int(ip) & 0xFFFFFFFF)))
    return ip.is_global and not (ip.is_multicast or ip.is_reserved)


_NAT64 = ipaddress.ip_network("64:ff9b::/96")


class PinnedTransport(httpx2.AsyncBaseTransport):
    """Connects to these addresses, whatever the host resolves to by now. TLS and the Host header tell the host."""

    def __init__(self, inner: httpx2.AsyncBaseTransport, host: str, addresses: Sequence[str]) -> None:
        self._inner = inner
        self._host = host
        self._addresses = list(addresses)

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        if request.url.host.rstrip(".") != self._host:
            raise httpx2.ConnectError(f"it was redirected to another host, {request.url.host[:100]!r}")
        failure: Exception | None = None
        for address in self._addresses:
            pinned = httpx2.Request(
                request.method,
                request.url.copy_with(host=address),
                headers=request.headers,  # The Host header is among them.
                stream=request.stream,
                extensions={**request.extensions, "sni_hostname": self._host},
            )
            try:
                return await self._inner.handle_async_request(pinned)
            except (httpx2.ConnectError, httpx2.ConnectTimeout) as error:
                failure = error
        assert failure is not None
        raise failure

    async def aclose(self) -> None:
        await self._inner.aclose()


def _is_below(host: str, pattern: str) -> bool:
    pattern = pattern.strip().rstrip(".").lower()
    return host == pattern or (pattern.startswith("*.") and host.endswith(pattern[1:]))
