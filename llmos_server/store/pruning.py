"""What `llmos prune` and /admin/v1/prune do: remove now what is too old, or all of one key."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import Sequence
from functools import partial
from typing import Literal

import msgspec

from llmos_server.adapter_contracts import ADAPTERS
from llmos_server.errors import InvalidRequest
from llmos_server.files.folder import FileFolder
from llmos_server.files.job_folders import JobFolders
from llmos_server.key_contracts import StoredKey
from llmos_server.store.object_removals import ObjectKind, ObjectRemovals, Removed
from llmos_server.store.owners import EVERYBODY, Owner
from llmos_server.store.periods import parse_since
from llmos_server.store.store import Store
from llmos_server.store.usage import DAY_MILLISECONDS

Kind = ObjectKind | Literal["files", "jobs", "evals", "adapters"]
KINDS: tuple[Kind, ...] = ("responses", "conversations", "feedback", "files", "jobs", "evals", "adapters")
BATCH = 100


class Wanted(msgspec.Struct, frozen=True, kw_only=True):
    """kinds: none is all; adapters, which answer requests, only with a key. older_than: as `since` of usage. key: an id
    or a name; "" is nobody's.

    Without older_than, all of the key's; without a key, too, what is older than the settings keep it.
    """

    kinds: tuple[Kind, ...] = ()
    older_than: str | None = None
    key: str | None = None
    dry_run: bool = False


class Pruned(msgspec.Struct, frozen=True, kw_only=True):
    data: list[Removed]
    dry_run: bool


async def prune(store: Store, wanted: Wanted, now: float) -> Pruned:
    """now: Unix seconds. Raises InvalidRequest for an unknown key or an age that can't be read."""
    owner: Owner = EVERYBODY if wanted.key is None else await find_owner(store, wanted.key)
    before = parse_since(wanted.older_than, now, param="older_than") if wanted.older_than else None
    done = []
    usual = KINDS if wanted.key is not None else tuple(kind for kind in KINDS if kind != "adapters")
    for kind in wanted.kinds or usual:
        limit = before
        if wanted.older_than is None and wanted.key is None:
            days = _days(store, kind)
            if not days:
                done.append(Removed(kind=kind, num_objects=0, num_bytes=0))
                continue
            limit = int(now * 1000) - days * DAY_MILLISECONDS
        if kind == "adapters" and wanted.key is not None and wanted.older_than is None:
            done += await _prune_promotions(store, owner, wanted.dry_run)
        done.append(await _prune_kind(store, kind, owner, limit, wanted.dry_run))
    await store.database.forget()
    return Pruned(data=done, dry_run=wanted.dry_run)


async def find_owner(store: Store, key: str) -> str:
    """The id of a key, living or revoked, by id or name. Raises InvalidRequest for none, and for several."""
    if not key:
        return ""
    keys = await store.keys.list()
    found = [one for one in keys if one.id == key] or _named(keys, key)
    if len(found) == 1:
        return found[0].id
    several = f"Several keys are named {key!r}; name one by its id: {', '.join(one.id for one in found)}."
    raise InvalidRequest(
        several if found else f"No key has the id or name {key!r}. `llmos keys list` shows them.",
        param="key",
        code="ambiguous_key" if found else "key_not_found",
    )


def _named(keys: Sequence[StoredKey], name: str) -> list[StoredKey]:
    return [one for one in keys if one.name == name]


def _days(store: Store, kind: Kind) -> int:
    settings = store.settings
    days = {
        "responses": settings.response_days,
        "conversations": settings.conversation_days,
        "feedback": settings.feedback_days,
        "files": settings.file_days,
        "jobs": store.job_settings.days,
        "evals": 0,
        "adapters": 0,
    }
    return days[kind]


async def _prune_kind(store: Store, kind: Kind, owner: Owner, before: int | None, dry_run: bool) -> Removed:
    if kind == "files":
        number, size = await (store.files.count if dry_run else partial(remove_files, store))(owner, before)
        return Removed(kind=kind, num_objects=number, num_bytes=size)
    if kind == "jobs":
        number, size = await (store.jobs.count if dry_run else partial(remove_jobs, store))(owner, before)
        return Removed(kind=kind, num_objects=number, num_bytes=size)
    if kind == "evals":
        number, size = await (store.evals.count if dry_run else partial(remove_evals, store))(owner, before)
        return Removed(kind=kind, num_objects=number, num_bytes=size)
    if kind == "adapters":
        number, size = await (store.adapters.count if dry_run else partial(remove_adapters, store))(owner, before)
        return Removed(kind=kind, num_objects=number, num_bytes=size)
    if dry_run:
        return await store.object_removals.count(kind, owner, before)
    return await _remove(store.object_removals, kind, owner, before)


async def _prune_promotions(store: Store, owner: Owner, dry_run: bool) -> list[Removed]:
    """Of all of a key's adapters, which else go on to answer under the aliases that they were promoted to; none where
    there were none."""
    promotions = store.promotions
    number = await (promotions.count_of if dry_run else promotions.remove_of)(owner)
    return [Removed(kind="promotions", num_objects=number, num_bytes=0)] if number else []


async def remove_files(store: Store, owner: Owner, before: int | None) -> tuple[int, int]:
    """With their content; how many, and how many bytes they had."""
    folder, number, size = FileFolder(store.database.home), 0, 0
    while batch := await store.files.remove(owner, before, BATCH):
        for file_id, num_bytes in batch:
            await folder.remove(file_id)
            number, size = number + 1, size + num_bytes
    return number, size


async def remove_evals(store: Store, owner: Owner, before: int | None) -> tuple[int, int]:
    """With their runs and what came of these; how many, and how many bytes all had. before: of their last change."""
    number, (_, size) = 0, await store.evals.count(owner, before)
    while batch := await store.evals.remove(owner, before, BATCH):
        number += len(batch)
    return number, size


async def remove_jobs(store: Store, owner: Owner, before: int | None) -> tuple[int, int]:
    """With their folders; how many, and how many bytes their rows had. before: of their end; None: what runs goes, too,
    and its process ends by itself."""
    folders, number, size = JobFolders(store.database.home), 0, 0
    while batch := await store.jobs.remove(owner, before, BATCH):
        for job_id, num_bytes in batch:
            await asyncio.to_thread(folders.remove, job_id)
            number, size = number + 1, size + num_bytes
    return number, size


async def remove_adapters(store: Store, owner: Owner, before: int | None) -> tuple[int, int]:
    """With the files that no other name leads to; how many, and how many bytes they had."""
    folder, number, size = store.database.home / ADAPTERS, 0, 0
    while batch := await store.adapters.remove(owner, before, BATCH):
        kept = await store.adapters.digests()
        for digest, num_bytes in batch:
            number, size = number + 1, size + num_bytes
            if digest not in kept:
                await asyncio.to_thread(shutil.rmtree, folder / digest.removeprefix("sha256:"), ignore_errors=True)
    return number, size


async def _remove(removals: ObjectRemovals, kind: ObjectKind, owner: Owner, before: int | None) -> Removed:
    """Batch after batch, so that others can write in between."""
    number = size = 0
    while (batch := await removals.remove(kind, owner, before, BATCH)).num_objects:
        number, size = number + batch.num_objects, size + batch.num_bytes
    return Removed(kind=kind, num_objects=number, num_bytes=size)
