"""Servers that requests name: on allowed hosts alone, never on addresses that aren't public, whatever DNS says."""

from __future__ import annotations

import asyncio
import ssl
from datetime import UTC, datetime, timedelta
from pathlib import Path

import httpx2
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from llmos_server.agents.mcp.pinning import PinnedTransport, check_client_url, is_public, public_addresses
from llmos_server.errors import InvalidRequest

ALLOWED = ("mcp.example.org", "*.tools.example")


@pytest.mark.parametrize(
    "url", ["https://mcp.example.org/mcp", "https://MCP.example.org.:8443/x", "https://a.tools.example"]
)
def test_allowed_hosts_are_taken(url: str) -> None:
    assert check_client_url(url, ALLOWED, "p") in ("mcp.example.org", "a.tools.example")


@pytest.mark.parametrize(
    "url",
    [
        "http://mcp.example.org/mcp",
        "https://user:pass@mcp.example.org/",
        "https://evil.example/mcp.example.org",
        "https://mcp.example.org.evil.example/",
        "https://tools.example/",
        "https://mcp.example.org@evil.example/",
        "https://[::1/",
        "https://mcp.example.org:0/",
        "file:///etc/passwd",
        "ftp://mcp.example.org/",
        "mcp.example.org",
        "https://mcp.example.org/" + "x" * 3000,
        "",
    ],
)
def test_others_are_refused(url: str) -> None:
    with pytest.raises(InvalidRequest, match=r"^tools\[0\].server_url: "):
        check_client_url(url, ALLOWED, "tools[0].server_url")


@pytest.mark.parametrize(
    "address",
    [
        "127.0.0.1",
        "10.1.2.3",
        "172.16.0.1",
        "192.168.1.1",
        "169.254.169.254",
        "100.64.0.1",
        "0.0.0.0",
        "224.0.0.1",
        "255.255.255.255",
        "::1",
        "::",
        "fe80::1%eth0",
        "fc00::1",
        "ff02::1",
        "::ffff:10.0.0.1",
        "::ffff:169.254.169.254",
        "64:ff9b::7f00:1",
        "2002:7f00:1::",
        "2001:db8::1",
    ],
)
async def test_addresses_inside_are_refused(address: str) -> None:
    async def resolve(host: str, port: int) -> list[str]:
        return ["93.184.215.14", address]

    assert not is_public(address)
    with pytest.raises(InvalidRequest, match="is an address inside of a network"):
        await public_addresses("mcp.example.org", 443, "server_url", resolve)


@pytest.mark.parametrize("address", ["93.184.215.14", "2606:2800:21f:cb07:6820:80da:af6b:8b2c", "64:ff9b::5db8:d70e"])
def test_public_addresses_are_taken(address: str) -> None:
    assert is_public(address)


async def test_a_host_that_can_not_be_resolved_is_told() -> None:
    async def resolve(host: str, port: int) -> list[str]:
        raise OSError("no such host")

    with pytest.raises(InvalidRequest, match="can't be resolved"):
        await public_addresses("mcp.example.org", 443, "server_url", resolve)


async def test_connections_go_to_the_addresses_that_were_looked_at() -> None:
    seen: list[tuple[str, str, str]] = []

    async def answer(request: httpx2.Request) -> httpx2.Response:
        seen.append((request.url.host, request.headers["host"], request.extensions["sni_hostname"]))
        if request.url.host == "93.184.215.14":
            raise httpx2.ConnectError("refused")
        return httpx2.Response(200, text=request.url.path)

    pinned = PinnedTransport(httpx2.MockTransport(answer), "mcp.example.org", ["93.184.215.14", "93.184.215.15"])
    async with httpx2.AsyncClient(transport=pinned) as client:
        assert (await client.get("https://mcp.example.org/x")).text == "/x"
        with pytest.raises(httpx2.ConnectError, match="another host"):
            await client.get("https://evil.example/x")
    host = "mcp.example.org"
    assert seen == [("93.184.215.14", host, host), ("93.184.215.15", host, host)]


def create_certificate(folder: Path, host: str) -> tuple[Path, Path]:
    """A certificate of its own for one host, and its key."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, host)])
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(host)]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    (folder / "cert.pem").write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    (folder / "key.pem").write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    return folder / "cert.pem", folder / "key.pem"


async def test_tls_is_held_against_the_name_and_not_the_address(tmp_path: Path) -> None:
    certificate, key = create_certificate(tmp_path, "mcp.example.org")
    server_context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    server_context.load_cert_chain(certificate, key)
    asked: list[str | None] = []
    server_context.sni_callback = lambda _, name, __: asked.append(name)

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nhi")
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0, ssl=server_context)
    port = server.sockets[0].getsockname()[1]
    trusted = ssl.create_default_context(cafile=str(certificate))
    try:
        for host, is_trusted in (("mcp.example.org", True), ("other.example.org", False)):
            inner = httpx2.AsyncHTTPTransport(verify=trusted)
            async with httpx2.AsyncClient(transport=PinnedTransport(inner, host, ["127.0.0.1"])) as client:
                if is_trusted:
                    assert (await client.get(f"https://{host}:{port}/")).text == "hi"
                else:
                    with pytest.raises(httpx2.ConnectError, match="certificate"):
                        await client.get(f"https://{host}:{port}/")
    finally:
        server.close()
        await server.wait_closed()
    assert asked == ["mcp.example.org", "other.example.org"]
