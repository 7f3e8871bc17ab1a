"""Wire structs of /v1/files, in OpenAI's shapes."""

from __future__ import annotations

from typing import Literal

from msgspec import UNSET, Struct, UnsetType

Purpose = Literal["fine-tune", "batch", "evals", "user_data", "fine-tune-results", "batch_output"]


class File(Struct, kw_only=True):
    id: str
    object: Literal["file"] = "file"
    bytes: int
    created_at: int
    """Unix seconds, as expires_at."""
    expires_at: int | UnsetType = UNSET
    filename: str
    purpose: str
    status: Literal["processed"] = "processed"
    """OpenAI's, deprecated there: a file is there when it is whole."""
    sha256: str
    """Of its content; an extension."""


class FileList(Struct, kw_only=True):
    object: Literal["list"] = "list"
    data: list[File]
    first_id: str | None
    last_id: str | None
    has_more: bool


class DeletedFile(Struct, kw_only=True):
    id: str
    object: Literal["file"] = "file"
    deleted: bool = True
