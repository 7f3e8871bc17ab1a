"""Which names mean this machine, and which Host headers a server answers to."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterable
from typing import Protocol

ANY = "*"

_HOST = re.compile(r"(?P<name>\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._-]+)(?::[0-9]{1,5})?")


def is_loopback(host: str) -> bool:
    """True for "localhost" and for loopback addresses; False for names that would have to be looked up."""
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def own_url(host: str, port: int) -> str:
    """Where a server that listens on that address is reached from its own machine."""
    address = ipaddress.ip_address(host)
    if address.is_unspecified:
        address = ipaddress.ip_address("::1" if address.version == 6 else "127.0.0.1")
    return f"http://[{address}]:{port}" if address.version == 6 else f"http://{address}:{port}"


def name_in(header: str) -> str | None:
    """The name or address of a Host header, in lower case, without port and brackets. None: it is malformed."""
    found = _HOST.fullmatch(header)
    return found["name"].strip("[]").rstrip(".").lower() if found else None


class HostRule(Protocol):
    def __call__(self, name: str) -> bool: ...


def create_host_rule(listening: str, allowed: Iterable[str]) -> HostRule:
    """What a Host header may name. The port plays no part: forwarded ones differ.

    A web page can have its own *name* resolved to this machine (DNS rebinding), but no address: so a server that others
    can reach takes every address, and of names only its own and the allowed ones. allowed: names, "*.example.org" for
    all below one, or "*".
    """
    exact = {_bare(listening), *map(_bare, allowed)}
    suffixes = tuple(name[1:] for name in exact if name.startswith("*."))
    takes_addresses = not is_loopback(listening)

    def is_allowed(name: str) -> bool:
        return (
            ANY in exact
            or name in exact
            or is_loopback(name)
            or name.endswith((".localhost", *suffixes))
            or (takes_addresses and _is_address(name))
        )

    return is_allowed


def _bare(name: str) -> str:
    return name.strip().strip("[]").rstrip(".").lower()


def _is_address(name: str) -> bool:
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True
