"""Closed by default: which Host, Origin and content type a request may have, and how large it may be."""

from __future__ import annotations

import httpx2
import pytest

from llmos_server.hosts import create_host_rule, name_in

BODY = {"messages": [{"role": "user", "content": "Hi"}]}


def error_of(reply: httpx2.Response) -> dict[str, str]:
    assert reply.headers["content-type"] == "application/json"
    assert reply.headers["X-Request-Id"]
    error = reply.json()["error"]
    assert set(error) == {"message", "type", "param", "code"}
    return error


@pytest.mark.parametrize(
    "host",
    ["127.0.0.1", "127.0.0.1:9", "127.8.8.8", "localhost", "LOCALHOST:8000", "localhost.", "[::1]:8000", "a.localhost"],
)
async def test_loopback_names_are_answered(api, host):
    assert (await api.http.get("/health", headers={"Host": host})).status_code == 200


@pytest.mark.parametrize("host", ["evil.example", "127.0.0.1.evil.example", "localhost.evil.example:8000", "10.0.0.1"])
@pytest.mark.parametrize("path", ["/health", "/v1/models", "/nothing", "/docs", "/openapi.json", "/metrics"])
async def test_a_name_that_was_rebound_is_not(api, host, path):
    error = error_of(reply := await api.http.get(path, headers={"Host": host}))
    assert (reply.status_code, error["code"]) == (421, "unknown_host")
    assert "api.allowed_hosts" in error["message"]


@pytest.mark.parametrize("host", ["", "a b", "localhost:http", "user@localhost", "[::1", "localhost/x", "é"])
async def test_a_malformed_host_is_refused(api, host):
    error = error_of(reply := await api.http.get("/health", headers=[(b"Host", host.encode())]))
    assert (reply.status_code, error["code"]) == (400, "invalid_host")


@pytest.mark.parametrize(
    ("listening", "allowed", "name", "is_allowed"),
    [
        ("127.0.0.1", (), "192.168.1.5", False),
        ("127.0.0.1", ("llm.example.org",), "llm.example.org", True),
        ("127.0.0.1", ("llm.example.org",), "x.llm.example.org", False),
        ("127.0.0.1", ("*.example.org",), "llm.example.org", True),
        ("127.0.0.1", ("*.example.org",), "example.org", False),
        ("127.0.0.1", ("*.example.org",), "evilexample.org", False),
        ("127.0.0.1", ("*",), "anything", True),
        ("0.0.0.0", (), "192.168.1.5", True),
        ("::", (), "2001:db8::1", True),
        ("0.0.0.0", (), "127.0.0.1", True),
        ("0.0.0.0", (), "localhost", True),
        ("0.0.0.0", (), "my-machine", False),
        ("", (), "my-machine", False),
        ("my-machine", (), "my-machine", True),
        ("0.0.0.0", ("My-Machine.",), "my-machine", True),
    ],
)
def test_which_names_a_server_answers_to(listening, allowed, name, is_allowed):
    assert create_host_rule(listening, allowed)(name) is is_allowed


@pytest.mark.parametrize(
    ("header", "name"),
    [
        ("A.example:80", "a.example"),
        ("[2001:DB8::1]:80", "2001:db8::1"),
        ("x:", None),
        ("x:123456", None),
        ("x\n", None),
    ],
)
def test_the_name_in_a_host_header(header, name):
    assert name_in(header) == name


async def test_settings_let_more_names_in(make_api):
    api = make_api(settings={"allowed_hosts": ("llm.example.org",)})
    assert (await api.http.get("/health", headers={"Host": "llm.example.org"})).status_code == 200


FOREIGN = [
    "http://evil.example",
    "http://127.0.0.1:9000",
    "http://localhost:8000",  # The server was asked for as 127.0.0.1.
    "null",
    "file://",
    "app://obsidian.md",
    "chrome-extension://abcdefghijklmnop",
    "vscode-webview://1x2y",
    "http://127.0.0.1:8000.evil.example",
    "http://[",
    "http://127.0.0.1:99999",
]


@pytest.mark.parametrize("origin", FOREIGN)
@pytest.mark.parametrize("method", ["GET", "POST", "OPTIONS", "HEAD", "DELETE"])
async def test_pages_of_other_origins_are_refused(api, origin, method):
    reply = await api.http.request(method, "/v1/chat/completions", headers={"Origin": origin}, json=BODY)
    assert reply.status_code == 403
    assert api.generator.requests == []
    if method != "HEAD":
        error = error_of(reply)
        assert error["code"] == "origin_refused"
        assert "api.cors_origins" in error["message"]


@pytest.mark.parametrize("origin", ["http://127.0.0.1:8000", "HTTP://127.0.0.1:8000"])
async def test_a_page_of_this_server_is_answered(api, origin):
    assert (await api.chat(headers={"Origin": origin})).status_code == 200


@pytest.mark.parametrize(
    ("origin", "host"),
    [("https://llm.example.org", "llm.example.org"), ("https://llm.example.org", "llm.example.org:443")],
)
async def test_a_page_behind_a_proxy_that_ends_tls_is_answered(make_api, origin, host):
    api = make_api(settings={"allowed_hosts": ("llm.example.org",)})
    assert (await api.chat(headers={"Origin": origin, "Host": host})).status_code == 200


@pytest.mark.parametrize("origin", ["null", "app://obsidian.md", "chrome-extension://abc", "http://app.example"])
async def test_named_origins_are_answered(make_api, origin):
    api = make_api(settings={"cors_origins": (origin,)})
    assert (await api.chat(headers={"Origin": origin})).status_code == 200
    assert (await api.chat(headers={"Origin": "http://evil.example"})).status_code == 403
    any_origin = make_api(settings={"cors_origins": ("*",)})
    assert (await any_origin.chat(headers={"Origin": origin})).status_code == 200


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "no-cors"}, 403),
        ({"Sec-Fetch-Site": "same-site", "Sec-Fetch-Mode": "no-cors"}, 403),
        ({"Sec-Fetch-Site": "cross-site"}, 403),
        ({"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "navigate"}, 200),
        ({"Sec-Fetch-Site": "same-origin", "Sec-Fetch-Mode": "cors"}, 200),
        ({"Sec-Fetch-Site": "none", "Sec-Fetch-Mode": "navigate"}, 200),
    ],
)
async def test_what_other_sites_embed_is_refused_and_links_are_followed(api, headers, status):
    assert (await api.http.get("/v1/models", headers=headers)).status_code == status


async def test_a_form_of_another_site_is_refused_without_an_origin_too(api):
    navigation = {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "navigate"}
    assert (await api.chat(headers=navigation)).status_code == 403


@pytest.mark.parametrize(
    ("content_type", "status"),
    [
        ("application/json", 200),
        ("Application/JSON; charset=UTF-8", 200),
        ('application/json;charset="utf-8"', 200),
        ("application/vnd.api+json", 200),
        (None, 415),
        ("", 415),
        ("text/plain", 415),
        ("text/json", 415),
        ("image/svg+json", 415),
        ("application/json-patch", 415),
        ("application/x-www-form-urlencoded", 415),
        ("multipart/form-data; boundary=x", 415),
        ("application/json; charset=utf-16", 415),
        ("application/json; charset=latin-1", 415),
    ],
)
async def test_bodies_say_that_they_are_json(api, content_type, status):
    headers = {} if content_type is None else {"Content-Type": content_type}
    reply = await api.http.post(
        "/v1/chat/completions", content=b'{"messages":[{"role":"user","content":"x"}]}', headers=headers
    )
    assert reply.status_code == status
    if status == 415:
        error = error_of(reply)
        assert error["code"] == "unsupported_media_type"
        assert "charset" in error["message"] or "curl: -H 'Content-Type: application/json'" in error["message"]


async def test_long_urls_and_headers_are_refused(api):
    error = error_of(reply := await api.http.get("/health?" + "x" * 9000))
    assert (reply.status_code, error["code"]) == (414, "url_too_long")
    error = error_of(reply := await api.http.get("/health", headers={"X-Long": "x" * 70_000}))
    assert (reply.status_code, error["code"]) == (431, "headers_too_large")
