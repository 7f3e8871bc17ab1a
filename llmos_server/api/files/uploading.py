"""From a form on the wire to a file that is kept."""

from __future__ import annotations

import uuid
from collections.abc import Mapping

import msgspec

from llmos_server.api.bodies.unknown_fields import tell_unknown
from llmos_server.api.files.form import Form, boundary_of, read_form, too_large
from llmos_server.api.generation.starting import AnyRequest
from llmos_server.api.http.access import principal_of
from llmos_server.api.services import files_of, store_of
from llmos_server.errors import InvalidRequest
from llmos_server.files.folder import Upload
from llmos_server.store.files import StoredFile
from llmos_server.store.objects import now_milliseconds

PURPOSES = ("fine-tune", "batch", "evals", "user_data")
FORM_BYTES = 64 * 2**10
"""Room for what is in a body beside the file."""
ANCHOR, SECONDS = "expires_after[anchor]", "expires_after[seconds]"
MIN_SECONDS, MAX_SECONDS = 3600, 30 * 86400


async def receive(request: AnyRequest) -> StoredFile:
    """Kept when this returns. Raises InvalidRequest, UnsupportedMediaType, RefusedEarly, Forbidden, StorageFull,
    StoreUnavailable, ClientDisconnected; nothing of it stays then."""
    boundary_of(request.headers.get("content-type", ""))
    store, folder = store_of(request), files_of(request)
    limit = store.settings.max_file_bytes
    told = request.headers.get("content-length", "")
    length = int(told) if told.isascii() and told.isdigit() and len(told) <= 15 else 0
    if length > limit + FORM_BYTES:
        raise too_large(limit)
    await store.files.require_room(principal_of(request).key_id, max(length - FORM_BYTES, 1))
    async with folder.begin(f"file-{uuid.uuid4().hex}") as upload:
        content_type = request.headers.get("content-type", "")
        form = await read_form(content_type, request.stream(), upload, limit)
        described = _describe(request, form, upload)
        kept = msgspec.structs.replace(described, digest=await upload.keep())
        try:
            await store.files.add(kept)
        except BaseException:
            await folder.remove(kept.id)
            raise
    return kept


def _describe(request: AnyRequest, form: Form, upload: Upload) -> StoredFile:
    if form.filename is None:
        raise InvalidRequest("The form has no part file.", param="file", code="missing_required_parameter")
    if unknown := [name for name in form.fields if name not in ("purpose", ANCHOR, SECONDS)]:
        tell_unknown(request, unknown)
    if not upload.num_bytes:
        raise InvalidRequest("The file is empty.", param="file")
    created = now_milliseconds()
    seconds = read_expiry(form.fields)
    return StoredFile(
        owner=principal_of(request).key_id,
        id=upload.id,
        filename=form.filename,
        purpose=read_purpose(form.fields.get("purpose")),
        num_bytes=upload.num_bytes,
        digest="",
        created=created,
        expires=None if seconds is None else created + seconds * 1000,
    )


def read_purpose(sent: str | None) -> str:
    """Raises InvalidRequest."""
    if sent in PURPOSES:
        return str(sent)
    known = ", ".join(PURPOSES)
    if sent is None:
        raise InvalidRequest(
            f"purpose is missing; it is one of {known}.", param="purpose", code="missing_required_parameter"
        )
    raise InvalidRequest(f"purpose is {sent[:100]!r}; this server uses files for {known}.", param="purpose")


def read_expiry(fields: Mapping[str, str]) -> int | None:
    """Seconds that the file lives; None: until it is deleted. Raises InvalidRequest."""
    anchor, seconds = fields.get(ANCHOR), fields.get(SECONDS)
    if anchor is None and seconds is None:
        return None
    if anchor != "created_at":
        raise InvalidRequest("expires_after[anchor] is created_at.", param="expires_after.anchor")
    if not (seconds and seconds.isascii() and seconds.isdigit() and len(seconds) < 9):
        raise InvalidRequest("expires_after[seconds] is a whole number.", param="expires_after.seconds")
    if not MIN_SECONDS <= int(seconds) <= MAX_SECONDS:
        raise InvalidRequest(
            f"expires_after[seconds] is from {MIN_SECONDS} to {MAX_SECONDS}.", param="expires_after.seconds"
        )
    return int(seconds)
