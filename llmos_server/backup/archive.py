"""What is in a backup: a tar of files, and last a manifest with the sha256 of each.

llmos.db         a copy made by SQLite while servers may run; of keys it holds hashes only
config.toml      if there is one
files/…          what clients uploaded, by id
adapters/…       what was tuned or added, by digest
models/…         manifests, configs and tokenizers
blobs/sha256-…   weights, when asked for
manifest.json    this file's Manifest; links to blobs are told in it, not kept as links
"""

from __future__ import annotations

import hashlib
import re
from pathlib import PurePosixPath
from typing import IO

import msgspec

FORMAT = 1
MANIFEST = "manifest.json"
DATABASE = "llmos.db"
CONFIG = "config.toml"
FILES = "files"
ADAPTERS = "adapters"
CHUNK_BYTES = 1 << 20

UPLOADED = re.compile(r"files/file-[0-9a-f]{32}")
ADAPTER = re.compile(r"adapters/[0-9a-f]{64}/[a-z_]+\.(json|safetensors)")
BLOB = re.compile(r"blobs/sha256-([0-9a-f]{64})")
LINK_TARGET = re.compile(r"\.\./\.\./\.\./\.\./(blobs/sha256-[0-9a-f]{64})")
"""From models/<name>/<digest>/weights/<file>."""
_LINK_PLACE = re.compile(r"models/[^/]+/[^/]+/weights/[^/]+")


class Member(msgspec.Struct, frozen=True):
    sha256: str
    size: int


class Manifest(msgspec.Struct, frozen=True, kw_only=True):
    format: int
    version: str
    """Of the LLMOS that made it."""
    created: int
    """Unix seconds."""
    members: dict[str, Member]
    links: dict[str, str] = {}
    """Place below models/ -> the relative path that the link there holds."""


def is_allowed(name: str) -> bool:
    """Whether a member of this name may be written below a home: nothing that leads outside, nothing else."""
    if name in (DATABASE, CONFIG) or BLOB.fullmatch(name) or UPLOADED.fullmatch(name) or ADAPTER.fullmatch(name):
        return True
    path = PurePosixPath(name)
    return len(path.parts) > 1 and path.parts[0] == "models" and ".." not in path.parts and str(path) == name


def is_allowed_link(place: str, target: str) -> bool:
    return bool(is_allowed(place) and _LINK_PLACE.fullmatch(place) and LINK_TARGET.fullmatch(target))


class HashingReader:
    """Reads a file for somebody else, and knows afterwards what was read."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        self._digest = hashlib.sha256()
        self.size = 0

    def read(self, size: int = -1) -> bytes:
        data = self._file.read(size)
        self._digest.update(data)
        self.size += len(data)
        return data

    @property
    def member(self) -> Member:
        return Member(self._digest.hexdigest(), self.size)
