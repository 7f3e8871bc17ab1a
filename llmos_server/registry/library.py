"""The models on disk, under LLMOS_HOME:

blobs/sha256-<hex>                  weights that were downloaded, named by content
models/<safe name>/manifest.json    which version the name stands for; written last
models/<safe name>/<digest>/        its config, tokenizer and template; downloaded weights are links into blobs/
staging/<safe name>/                a pull at work; wiped by the next one, but for what a download can resume
locks/                              one a name, and one for whatever touches blobs/ and manifests
"""

from __future__ import annotations

import hashlib
import os
import shutil
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from pathlib import Path

import msgspec

from llmos_server.contracts import CLASSIFIER_SPEC, ENCODER_SPEC, ModelKind, ModelVersion
from llmos_server.registry.disk import file_lock, make_folder, safe_name, sync_file, write_atomic
from llmos_server.registry.importing import CONFIG_FILES
from llmos_server.registry.progress import Progress
from llmos_server.registry.sources.file import Stamps, stamp

MANIFEST = "manifest.json"
WEIGHTS = "weights"


class Manifest(msgspec.Struct, frozen=True, kw_only=True):
    """What manifest.json holds."""

    version: ModelVersion
    stamps: Stamps = {}
    """Of the user's own files that were imported in place."""
    format: int = 1

    def is_current(self) -> bool:
        """Whether all that serving reads is still there and the same."""
        if any(stamp(Path(path)) != then for path, then in self.stamps.items()):
            return False
        return Path(self.version.folder, "config.json").is_file() and all(map(os.path.isfile, self.version.weights))


class Library:
    """Reads and publishes versions. home: LLMOS_HOME."""

    def __init__(self, home: Path) -> None:
        self._home = home.absolute()

    def staging(self, name: str) -> Path:
        """Where a pull of this name works; on the same disk as everything else."""
        for folder in ("blobs", "models", "staging"):
            make_folder(self._home / folder)
        return make_folder(self._home / "staging" / safe_name(name))

    def lock(self, name: str, progress: Progress) -> AbstractContextManager[None]:
        """At most one pull or removal of a name at a time."""
        return file_lock(
            self._home / "locks" / f"{safe_name(name)}.lock", progress, f"Waiting for another pull of {name} to end."
        )

    def read(self, name: str) -> Manifest | None:
        """None when the name was never pulled, or its manifest can't be read."""
        return self._read(self._home / "models" / safe_name(name) / MANIFEST)

    def read_all(self) -> list[Manifest]:
        """Every name that was pulled, sorted."""
        found = (self._read(path) for path in (self._home / "models").glob(f"*/{MANIFEST}"))
        return sorted((manifest for manifest in found if manifest), key=lambda manifest: manifest.version.name)

    def publish(
        self,
        name: str,
        source: str,
        configs: Path,
        weights: Sequence[tuple[Path, str]],
        stamps: Stamps,
        *,
        kind: ModelKind = "decoder",
        context_length: int | None = None,
        elements: Mapping[str, int],
    ) -> ModelVersion:
        """Make a finished import the version of a name.

        configs: a folder in staging with CONFIG_FILES. weights: (path, sha256), in order. context_length: None takes
        the config's.
        elements: of the weights, type -> how many.
        stamps: not empty when the weights stay where they are; else they are moved to blobs/.
        """
        digest = model_digest(configs, [sha256 for _, sha256 in weights])
        config = msgspec.json.decode((configs / "config.json").read_bytes())
        code = _code_digests(configs)
        size_bytes = sum(path.stat().st_size for path, _ in weights)
        home = self._home / "models" / safe_name(name)
        folder = home / digest.removeprefix("sha256:")[:16]
        with self._lock_blobs():
            paths = [str(path) for path, _ in weights]
            if not stamps:
                self._store(configs, weights)
                paths = [str(folder / WEIGHTS / path.name) for path, _ in weights]
            make_folder(home)
            for path in configs.iterdir():
                if path.is_file():
                    path.chmod(0o600)
                    sync_file(path)
            # The same digest may stand here already, with links that lead nowhere or, from a killed pull, no manifest.
            shutil.rmtree(folder, ignore_errors=True)
            configs.rename(folder)
            version = ModelVersion(
                name=name,
                source=source,
                digest=digest,
                folder=str(folder),
                weights=paths,
                context_length=context_length or config["max_position_embeddings"],
                size_bytes=size_bytes,
                created=int(time.time()),
                kind=kind,
                num_parameters=sum(elements.values()),
                elements=dict(elements),
                code=code,
            )
            content = msgspec.json.format(msgspec.json.encode(Manifest(version=version, stamps=stamps)))
            write_atomic(home / MANIFEST, content)
        return version

    def delete(self, name: str) -> None:
        """Forget a name, and the blobs that no other name needs."""
        home = self._home / "models" / safe_name(name)
        with self._lock_blobs():
            (home / MANIFEST).unlink(missing_ok=True)
            shutil.rmtree(home, ignore_errors=True)
            shutil.rmtree(self._home / "staging" / safe_name(name), ignore_errors=True)
            used = {os.path.basename(os.readlink(link)) for link in self._links()}
            for blob in (self._home / "blobs").glob("sha256-*"):
                if blob.name not in used:
                    blob.unlink()

    def _lock_blobs(self) -> AbstractContextManager[None]:
        return file_lock(self._home / "locks" / "blobs.lock")

    def _store(self, configs: Path, weights: Sequence[tuple[Path, str]]) -> None:
        """Move weights to blobs/ and leave links to them, which will be right once `configs` has its final place."""
        links = make_folder(configs / WEIGHTS)
        for path, sha256 in weights:
            blob = self._home / "blobs" / f"sha256-{sha256}"
            path.chmod(0o600)
            sync_file(path)
            path.replace(blob)
            (links / path.name).symlink_to(Path("../../../../blobs") / blob.name)

    def _links(self) -> Iterator[Path]:
        yield from (path for path in (self._home / "models").glob(f"*/*/{WEIGHTS}/*") if path.is_symlink())

    @staticmethod
    def _read(path: Path) -> Manifest | None:
        try:
            manifest = msgspec.json.decode(path.read_bytes(), type=Manifest)
        except (OSError, msgspec.MsgspecError):
            return None
        # LLMOS_HOME may have been moved or copied since: what lies in it is found from where the manifest is now.
        then = manifest.version.folder
        now = str(path.parent / Path(then).name)
        weights = [now + w.removeprefix(then) if w.startswith(then + os.sep) else w for w in manifest.version.weights]
        version = msgspec.structs.replace(manifest.version, folder=now, weights=weights)
        return msgspec.structs.replace(manifest, version=version)


def model_digest(configs: Path, weights: Sequence[str]) -> str:
    """ "sha256:<hex>" over the weights' digests, in order, and the bytes of CONFIG_FILES, specs and code."""
    parts = [f"weights {sha256}" for sha256 in weights]
    for name in CONFIG_FILES:
        path = configs / name
        parts.append(f"{name} {hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else '-'}")
    specs = [spec for spec in (configs / ENCODER_SPEC, configs / CLASSIFIER_SPEC) if spec.is_file()]
    parts += [f"{spec.name} {hashlib.sha256(spec.read_bytes()).hexdigest()}" for spec in specs]
    parts += [f"{name} {sha256}" for name, sha256 in _code_digests(configs).items()]
    return "sha256:" + hashlib.sha256("\n".join(parts).encode()).hexdigest()


def _code_digests(configs: Path) -> dict[str, str]:
    """File name -> sha256 of the Python files."""
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in sorted(configs.glob("*.py"))}
