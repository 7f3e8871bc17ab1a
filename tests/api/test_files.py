"""/v1/files: what is uploaded is kept as it was sent, by key, and nothing stays of what was refused or broke off."""

from __future__ import annotations

import asyncio
import hashlib
import os
import threading
from contextlib import suppress
from itertools import pairwise
from pathlib import Path
from typing import Any

import httpx2
import openai
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from stored_api import open_stored_api

from llmos_server.api.files.form import Form, read_form
from llmos_server.errors import InvalidRequest
from llmos_server.files.folder import BUFFER_BYTES, SWEEP_SECONDS, FileFolder
from llmos_server.files.sweeping import FileSweeping

LINES = b'{"messages": []}\n' * 3
BOUNDARY = "x0y"


@pytest.fixture
async def server(make_api, tmp_path):
    async with open_stored_api(make_api, tmp_path, max_file_bytes=3_000_000) as opened:
        yield opened


def content_of(folder: Path) -> list[str]:
    return sorted(path.name for path in (folder / "files").iterdir()) if (folder / "files").exists() else []


async def upload(server: Any, content: bytes = LINES, name: str = "a.jsonl", **fields: str) -> httpx2.Response:
    return await server.http().post("/v1/files", files={"file": (name, content)}, data={"purpose": "batch", **fields})


async def test_the_stock_sdk(server, tmp_path) -> None:
    sdk = server.sdk()
    content = os.urandom(2_500_000)
    made = await sdk.files.create(file=("data.jsonl", content), purpose="fine-tune")
    assert (made.bytes, made.filename, made.purpose, made.object) == (len(content), "data.jsonl", "fine-tune", "file")
    assert made.status == "processed"
    assert made.sha256 == hashlib.sha256(content).hexdigest()
    assert (await sdk.files.retrieve(made.id)) == made
    assert (await sdk.files.content(made.id)).content == content
    assert [file.id async for file in sdk.files.list()] == [made.id]
    assert (await server.sdk("b").files.list()).data == []
    assert (await sdk.files.delete(made.id)).deleted
    with pytest.raises(openai.NotFoundError, match="No file of yours"):
        await sdk.files.content(made.id)
    assert content_of(tmp_path) == []


async def test_pages_go_by_age_and_purpose(server) -> None:
    sdk = server.sdk()
    made = [await sdk.files.create(file=(f"{n}", LINES), purpose=p) for n, p in enumerate(["batch", "user_data"] * 2)]
    ids = [file.id for file in made]
    assert {file.id async for file in sdk.files.list(limit=1, order="asc")} == set(ids)
    assert {file.id async for file in sdk.files.list(limit=3)} == set(ids)
    assert {file.id async for file in sdk.files.list(purpose="user_data")} == {ids[1], ids[3]}
    with pytest.raises(openai.BadRequestError, match="There is no file 'file-none'"):
        await sdk.files.list(after="file-none")


async def test_its_content_is_never_shown_as_a_page(server) -> None:
    made = (await upload(server, b"<script>alert(1)</script>", 'é"x.html')).json()
    reply = await server.call("GET", f"/v1/files/{made['id']}/content")
    assert reply.headers["content-type"] == "application/octet-stream"
    assert reply.headers["content-disposition"] == "attachment; filename*=UTF-8''%C3%A9%22x.html"
    assert reply.headers["x-content-type-options"] == "nosniff"


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"purpose": "assistants"}, "purpose"),
        ({"purpose": ""}, "purpose"),
        ({"expires_after[anchor]": "now", "expires_after[seconds]": "3600"}, "expires_after.anchor"),
        ({"expires_after[anchor]": "created_at"}, "expires_after.seconds"),
        ({"expires_after[anchor]": "created_at", "expires_after[seconds]": "3599"}, "expires_after.seconds"),
        ({"expires_after[anchor]": "created_at", "expires_after[seconds]": "-1"}, "expires_after.seconds"),
        ({"purpose": "x" * 2000}, "purpose"),
    ],
)
async def test_fields_that_mean_nothing_are_refused_by_name(server, tmp_path, fields, param) -> None:
    reply = await upload(server, **fields)
    assert (reply.status_code, reply.json()["error"]["param"]) == (400, param)
    assert content_of(tmp_path) == []


async def test_unknown_fields_are_told(server) -> None:
    reply = await upload(server, colour="red")
    assert reply.status_code == 200
    assert "colour" in reply.headers["x-llmos-ignored"]


@pytest.mark.parametrize(("sent", "kept"), [("../../etc/passwd", "passwd"), ("C:\\data\\a.jsonl", "a.jsonl")])
async def test_a_filename_is_no_path(server, sent, kept) -> None:
    assert (await upload(server, name=sent)).json()["filename"] == kept


@pytest.mark.parametrize("name", ["..", "x" * 256])
async def test_a_filename_that_names_nothing_is_refused(server, name) -> None:
    reply = await upload(server, name=name)
    assert (reply.status_code, reply.json()["error"]["param"]) == (400, "file")


async def test_content_that_is_not_on_this_disk_is_told(server, tmp_path) -> None:
    made = (await upload(server)).json()["id"]
    (tmp_path / "files" / made).unlink()
    reply = await server.call("GET", f"/v1/files/{made}/content")
    assert (reply.status_code, reply.json()["error"]["code"]) == (404, "file_content_missing")
    assert (await server.call("DELETE", f"/v1/files/{made}")).status_code == 200


async def test_an_upload_that_is_cancelled_closes_nothing_under_its_writer(tmp_path, monkeypatch) -> None:
    """The thread that writes goes on when its waiter is cancelled; its descriptor stays its own until it is done."""
    begun, may_end, closed = threading.Event(), threading.Event(), []
    close, write = os.close, os.write

    def slow_write(descriptor: int, data: Any) -> int:
        begun.set()
        may_end.wait(10)
        assert closed == []
        return write(descriptor, data)

    async def work() -> None:
        async with FileFolder(tmp_path).begin(f"file-{'0' * 32}") as started:
            monkeypatch.setattr("llmos_server.files.folder.os.write", slow_write)
            monkeypatch.setattr("llmos_server.files.folder.os.close", lambda fd: (closed.append(fd), close(fd)))
            await started.write(b"x" * BUFFER_BYTES)

    task = asyncio.create_task(work())
    await asyncio.to_thread(begun.wait, 10)
    task.cancel()
    await asyncio.wait({task}, timeout=0.2)
    assert closed == []
    may_end.set()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert len(closed) == 1
    assert content_of(tmp_path) == []


async def test_what_is_no_such_form_is_refused(server, tmp_path) -> None:
    http = server.http()
    assert (await http.post("/v1/files", json={"purpose": "batch"})).status_code == 415
    assert (await http.post("/v1/files", data={"purpose": "batch"})).status_code == 415
    form = {"content-type": f"multipart/form-data; boundary={BOUNDARY}"}
    for body in (b"", b"nothing", encode(b"cut")[:-8]):
        assert (await http.post("/v1/files", content=body, headers=form)).status_code == 400, body
    no_file = await http.post("/v1/files", files={"purpose": (None, "batch")})
    assert no_file.json()["error"]["param"] == "file"
    assert (await upload(server, b"")).json()["error"]["param"] == "file"
    assert content_of(tmp_path) == []


async def test_a_file_that_is_too_large_is_refused_whether_its_length_is_told_or_not(server, tmp_path) -> None:
    reply = await upload(server, b"x" * 4_000_000)
    assert (reply.status_code, reply.json()["error"]["code"]) == (413, "file_too_large")

    async def chunks() -> Any:
        yield encode(b"x" * 3_000_001)

    headers = {"content-type": f"multipart/form-data; boundary={BOUNDARY}"}
    assert (await server.http().post("/v1/files", content=chunks(), headers=headers)).status_code == 413
    assert content_of(tmp_path) == []


async def test_a_client_that_leaves_leaves_nothing(server, tmp_path) -> None:
    async def receive() -> Any:
        if not content_of(tmp_path):
            return {"type": "http.request", "body": encode(b"x" * 1000)[:500], "more_body": True}
        return {"type": "http.disconnect"}

    sent: list[Any] = []

    async def send(message: Any) -> None:
        sent.append(message)

    headers = {
        "host": "127.0.0.1:8000",
        "authorization": server.http().headers["authorization"],
        "content-type": f"multipart/form-data; boundary={BOUNDARY}",
    }
    scope = {
        "type": "http",
        "asgi": {"version": "3.0"},
        "http_version": "1.1",
        "method": "POST",
        "scheme": "http",
        "path": "/v1/files",
        "raw_path": b"/v1/files",
        "query_string": b"",
        "root_path": "",
        "headers": [(name.encode(), value.encode()) for name, value in headers.items()],
        "client": ("127.0.0.1", 1),
        "server": ("127.0.0.1", 8000),
        "state": {},
    }
    await server.api.app(scope, receive, send)
    assert content_of(tmp_path) == []
    assert (await server.sdk().files.list()).data == []


async def test_a_full_disk_is_told_and_nothing_stays(make_api, small_disk, tmp_path, fill) -> None:
    async with open_stored_api(make_api, tmp_path) as server:
        (tmp_path / "files").symlink_to(small_disk)
        filler = fill(small_disk, leave=100_000)
        reply = await upload(server, b"x" * 3_000_000)
        assert (reply.status_code, reply.json()["error"]["code"]) == (507, "insufficient_storage")
        filler.unlink()
        assert content_of(tmp_path) == []
        assert (await upload(server)).status_code == 200


async def test_what_has_expired_is_gone_and_its_content_is_swept_away(server, tmp_path, monkeypatch) -> None:
    fields = {"expires_after[anchor]": "created_at", "expires_after[seconds]": "3600"}
    made = (await upload(server, **fields)).json()
    assert made["expires_at"] == made["created_at"] + 3600
    kept = (await upload(server)).json()
    later = server.store.files.page.__globals__["now_milliseconds"]() + 3_600_000
    monkeypatch.setattr("llmos_server.store.files.now_milliseconds", lambda: later)
    assert (await server.call("GET", f"/v1/files/{made['id']}")).status_code == 404
    assert [file.id async for file in server.sdk().files.list()] == [kept["id"]]
    await FileSweeping(server.store.files, FileFolder(tmp_path)).take_turn()
    assert content_of(tmp_path) == [kept["id"]]


async def test_what_a_crash_left_is_swept_away_when_it_is_old(server, tmp_path) -> None:
    kept = (await upload(server)).json()["id"]
    folder = FileFolder(tmp_path)
    left = [f"file-{'0' * 32}", f".upload-file-{'1' * 32}"]
    for name in [*left, "somebody's notes"]:
        (folder.path / name).write_bytes(b"x")
    now = (folder.path / kept).stat().st_mtime
    await FileSweeping(server.store.files, folder, clock=lambda: now + 1).take_turn()
    assert content_of(tmp_path) == sorted([kept, *left, "somebody's notes"])
    await FileSweeping(server.store.files, folder, clock=lambda: now + SWEEP_SECONDS + 60).take_turn()
    assert content_of(tmp_path) == sorted([kept, "somebody's notes"])


async def test_a_key_has_room_for_so_much(make_api, tmp_path) -> None:
    async with open_stored_api(make_api, tmp_path, max_key_bytes=3000) as server:
        assert (await upload(server, b"x" * 2000)).status_code == 200
        reply = await upload(server, b"x" * 2000)
        assert (reply.status_code, reply.json()["error"]["code"]) == (403, "storage_quota_exceeded")
        assert len(content_of(tmp_path)) == 1
        assert (
            await server.http("b").post("/v1/files", files={"file": ("a", LINES)}, data={"purpose": "batch"})
        ).is_success


async def test_nothing_is_kept_where_keeping_is_switched_off(make_api, tmp_path) -> None:
    async with open_stored_api(make_api, tmp_path, enabled=False) as server:
        assert (await upload(server)).status_code == 400
        assert content_of(tmp_path) == []


def encode(content: bytes) -> bytes:
    head = f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="file"; filename="a.bin"\r\n\r\n'.encode()
    purpose = f'\r\n--{BOUNDARY}\r\nContent-Disposition: form-data; name="purpose"\r\n\r\nbatch'.encode()
    return head + content + purpose + f"\r\n--{BOUNDARY}--\r\n".encode()


class Memory:
    def __init__(self) -> None:
        self.content = bytearray()

    @property
    def num_bytes(self) -> int:
        return len(self.content)

    async def write(self, data: bytes | bytearray) -> None:
        self.content += data


def read(pieces: list[bytes]) -> tuple[Form, bytes]:
    async def stream() -> Any:
        for piece in pieces:
            yield piece

    sink = Memory()
    form = asyncio.run(read_form(f"multipart/form-data; boundary={BOUNDARY}", stream(), sink, 10_000))
    return form, bytes(sink.content)


AWKWARD = st.lists(st.sampled_from([b"\r\n", b"--x0y", b"\r\n--x0", b"-", b"x", b"\0"]), max_size=30).map(b"".join)


@settings(max_examples=100, deadline=None)
@given(content=AWKWARD.filter(lambda text: b"\r\n--x0y" not in text), cuts=st.lists(st.integers(0, 300), max_size=6))
def test_however_a_form_is_cut_its_file_is_the_same(content: bytes, cuts: list[int]) -> None:
    body = encode(content)
    places = sorted({0, len(body), *(cut for cut in cuts if cut < len(body))})
    form, found = read([body[a:b] for a, b in pairwise(places)])
    assert (found, form.filename, form.fields) == (content, "a.bin", {"purpose": "batch"})


@settings(max_examples=100, deadline=None)
@given(st.data())
def test_a_damaged_form_is_refused_or_read(data: st.DataObject) -> None:
    body = bytearray(encode(b"some content"))
    for _ in range(data.draw(st.integers(1, 5))):
        body[data.draw(st.integers(0, len(body) - 1))] = data.draw(st.integers(0, 255))
    with suppress(InvalidRequest):
        _, found = read([bytes(body)])
        assert len(found) <= len(body)
