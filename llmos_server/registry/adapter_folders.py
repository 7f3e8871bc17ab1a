"""Adapters on disk: a PEFT folder is copied, checked against its base, and published under its content's digest."""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import time
import uuid
from collections.abc import Iterable
from pathlib import Path

import msgspec

from llmos_server.adapter_contracts import (
    ADAPTER_CONFIG,
    ADAPTER_SPEC,
    ADAPTER_WEIGHTS,
    ADAPTERS,
    BASE_DIGEST,
    AdapterSpec,
    AdapterVersion,
    unquantised,
)
from llmos_server.contracts import ModelVersion
from llmos_server.errors import InvalidRequest, PullError, UnsupportedModel
from llmos_server.registry.adapter_tensors import AdapterFile, read_adapter_file
from llmos_server.registry.disk import is_full, make_folder, no_space, require_space, sync_file, write_atomic
from llmos_server.registry.json_files import read_json
from llmos_server.registry.names import WORD
from llmos_server.registry.peft_config import LoraConfig
from llmos_server.registry.tensors import read_tensors

STAGING = ".staging-"
STAGING_SECONDS = 3600.0
"""An import that is older was killed."""
REMEDY = "Save it with PEFT's save_pretrained, which writes adapter_config.json and adapter_model.safetensors."
MAX_SUFFIX_LENGTH = 96
"""Room for the 64 characters that OpenAI's API lets a client choose, and for a job and a checkpoint behind them."""
Shape = tuple[int, ...]


def adapter_folder(home: Path, digest: str) -> Path:
    return home.absolute() / ADAPTERS / digest.removeprefix("sha256:")


def adapter_name(base: str, suffix: str) -> str:
    """Raises InvalidRequest for a suffix that can't be part of a name."""
    if len(suffix) > MAX_SUFFIX_LENGTH or not re.fullmatch(WORD, suffix):
        raise InvalidRequest(
            f"{suffix[:100]!r} can't end an adapter's name: take 1 to {MAX_SUFFIX_LENGTH} letters, digits, '.', '_' "
            "and '-', a letter or a digit first and last.",
            param="suffix",
        )
    return f"{base}:{suffix}"


def import_adapter(
    home: Path, source: Path, base: ModelVersion, suffix: str, *, owner: str = "", job_id: str = ""
) -> AdapterVersion:
    """Copy the PEFT folder `source` into LLMOS_HOME. Nothing answers to it yet: the store's register() does that.

    Raises UnsupportedModel for what can't be served with this base, naming why; PullError for a damaged or missing
    file, or a full disk; InvalidRequest for the suffix.
    """
    name = adapter_name(base.name, suffix)
    if base.kind != "decoder":
        raise UnsupportedModel(f"{base.name} is no decoder; adapters are served with decoders alone.")
    staging = make_folder(home.absolute() / ADAPTERS / f"{STAGING}{uuid.uuid4().hex}")
    try:
        _copy(source, staging)
        spec, file = _check(staging, base)
        folder = adapter_folder(home, digest := _write_spec(staging, spec, file.sha256))
        _publish(staging, folder)
    except OSError as error:
        if is_full(error):
            raise no_space(home, str(source)) from error
        raise PullError(f"{source}: {error.filename or 'a file'}: {error.strerror or error}.") from error
    finally:
        shutil.rmtree(staging, ignore_errors=True)
    return AdapterVersion(
        name=name,
        base=base.name,
        base_digest=unquantised(base.digest),
        digest=digest,
        folder=str(folder),
        rank=spec.rank,
        num_bytes=(folder / ADAPTER_WEIGHTS).stat().st_size,
        owner=owner,
        job_id=job_id,
        created=int(time.time()),
    )


def remove_adapter(home: Path, digest: str) -> None:
    """Its files. Workers that have loaded it keep it."""
    shutil.rmtree(adapter_folder(home, digest), ignore_errors=True)


def leftover_adapters(home: Path, known: Iterable[str], older_than: float) -> list[str]:
    """Digests that no name leads to, and whose folder was published before that Unix time. Removes killed imports."""
    used = {digest.removeprefix("sha256:") for digest in known}
    found = []
    for folder in (home / ADAPTERS).glob("*"):
        if not folder.is_dir() or folder.name in used:
            continue
        modified = folder.stat().st_mtime
        if folder.name.startswith(STAGING):
            if modified < time.time() - STAGING_SECONDS:
                shutil.rmtree(folder, ignore_errors=True)
        elif modified < older_than:
            found.append(f"sha256:{folder.name}")
    return found


def _copy(source: Path, staging: Path) -> None:
    """First of all: what is checked is then what is kept."""
    for name in (ADAPTER_CONFIG, ADAPTER_WEIGHTS):
        path = source / name
        if not path.is_file():
            pickled = " A pickled adapter_model.bin isn't read." if (source / "adapter_model.bin").exists() else ""
            raise PullError(f"{path} isn't there.{pickled} {REMEDY}")
        require_space(staging, path.stat().st_size, str(path))
        shutil.copyfile(path, staging / name)
        (staging / name).chmod(0o600)


def _check(folder: Path, base: ModelVersion) -> tuple[AdapterSpec, AdapterFile]:
    config = LoraConfig(read_json(folder / ADAPTER_CONFIG, REMEDY))
    file = read_adapter_file(folder / ADAPTER_WEIGHTS)
    made_for = file.metadata.get(BASE_DIGEST)
    if made_for is not None and made_for != unquantised(base.digest):
        raise UnsupportedModel(
            f"The adapter was trained on another base (its digest is {made_for}; {base.name} has "
            f"{unquantised(base.digest)}). Train it again on {base.name}, or name its own base."
        )
    shapes = {tensor.name: tensor.shape for tensor in read_tensors([Path(path) for path in base.weights])}
    for module, (down, up) in file.modules.items():
        _check_module(module, down, up, config, shapes.get(f"{module}.weight"), base.name)
    scales = {module: config.scale(module) for module in file.modules}
    return AdapterSpec(rank=max(down[0] for down, _ in file.modules.values()), scales=scales), file


def _check_module(module: str, down: Shape, up: Shape, config: LoraConfig, base: Shape | None, name: str) -> None:
    if base is None:
        raise UnsupportedModel(f"The adapter has weights for {module}, which {name} doesn't have. Is that its base?")
    if module.rpartition(".")[2] == "lm_head":
        raise UnsupportedModel(f"The adapter changes {module}, which isn't served. Leave it out of target_modules.")
    wanted = base[::-1] if config.is_transposed else base
    if (up[0], down[1]) != wanted or down[0] != up[1] or len(wanted) != 2:
        raise UnsupportedModel(
            f"The adapter's tensors for {module} are {list(down)} and {list(up)}; {name} has {list(base)} there."
        )
    if down[0] != config.rank(module):
        raise UnsupportedModel(f"The adapter's rank at {module} is {down[0]}, its config says {config.rank(module)}.")


def _write_spec(folder: Path, spec: AdapterSpec, weights_sha256: str) -> str:
    """Returns the adapter's digest."""
    content = msgspec.json.encode(spec, order="sorted")
    write_atomic(folder / ADAPTER_SPEC, content)
    parts = f"weights {weights_sha256}\n{ADAPTER_SPEC} {hashlib.sha256(content).hexdigest()}"
    return f"sha256:{hashlib.sha256(parts.encode()).hexdigest()}"


def _publish(staging: Path, folder: Path) -> None:
    """Whole, or not at all. The same content may stand there already."""
    for name in (ADAPTER_CONFIG, ADAPTER_WEIGHTS):
        sync_file(staging / name)
    try:
        staging.rename(folder)
    except OSError:
        if not folder.is_dir():
            raise
        os.utime(folder)  # As young as if it had come now: what has no name yet is kept for a while.
