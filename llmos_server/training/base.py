"""A model of the registry as a folder that Transformers, PEFT and `trl` read: made once, then taken again.

LLMOS_HOME/bases/<digest>/ holds float32 safetensors where the weights were packed, else links to what the registry
has, and the registry's own tokenizer: what Transformers makes of a GGUF file splits some texts otherwise.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file

from llmos_server.contracts import ModelVersion
from llmos_server.errors import UnsupportedModel
from llmos_server.models.config import load_values, read_config
from llmos_server.models.names import ROPE_DIVISORS
from llmos_server.models.weights import TensorSource, is_ignored, open_weights
from llmos_server.registry.disk import file_lock, fresh_folder, make_folder, require_space, sync_file
from llmos_server.registry.importing import CONFIG_FILES

SHARD_BYTES = 2**30
"""Of float32 weights in memory at a time, and in one file."""
INDEX = "model.safetensors.index.json"

Say = Callable[[str], None]


def prepare_base(version: ModelVersion, home: Path, say: Say = lambda _: None) -> Path:
    """The folder. Safe in several processes at once; a process that dies leaves nothing that another would take.

    say: told of a conversion, which takes a second for each gigabyte. Peak memory is SHARD_BYTES and one tensor more.
    Raises UnsupportedModel for weights that training can't read, PullError for a disk without room.
    """
    digest = version.digest.removeprefix("sha256:").split("+")[0]
    folder = home / "bases" / digest
    if folder.is_dir():
        return folder
    with file_lock(home / "locks" / f"base-{digest[:16]}.lock"):
        if folder.is_dir():
            return folder
        make_folder(folder.parent)
        staging = fresh_folder(folder.parent / f".{digest}.staging")
        try:
            _fill(version, staging, say)
            staging.rename(folder)
        finally:
            shutil.rmtree(staging, ignore_errors=True)
    return folder


def load_tokenizer(folder: Path) -> Any:
    """Transformers' face of our tokenizer.json, for what trainers ask of one: ids of special tokens, and padding."""
    from transformers import PreTrainedTokenizerFast

    named = json.loads((folder / "tokenizer_config.json").read_text(encoding="utf-8"))
    tokens = {key: value for key, value in named.items() if key.endswith("_token") and isinstance(value, str)}
    tokenizer = PreTrainedTokenizerFast(tokenizer_file=str(folder / "tokenizer.json"), **tokens)
    if tokenizer.eos_token is None:
        config = load_values(folder)
        ends = config.get("eos_token_id")
        tokenizer.eos_token = tokenizer.convert_ids_to_tokens(ends[0] if isinstance(ends, list) else ends or 0)
    if tokenizer.pad_token is None:  # A token that is masked wherever it pads.
        tokenizer.pad_token = tokenizer.eos_token
    return tokenizer


def _fill(version: ModelVersion, staging: Path, say: Say) -> None:
    source = Path(version.folder)
    for name in CONFIG_FILES:
        if (source / name).is_file():
            shutil.copyfile(source / name, staging / name)
    weights = [Path(path) for path in version.weights]
    if {path.suffix for path in weights} == {".safetensors"}:
        _link(weights, staging)
        return
    values = load_values(source)
    try:
        config = read_config(values)
    except UnsupportedModel as error:
        raise UnsupportedModel(
            f"{version.name}: its GGUF can be served but not tuned ({error}). Pull the model's safetensors instead."
        ) from None
    say(f"{version.name} is unpacked to float32 once, for this run and later ones.")
    (staging / "config.json").write_text(json.dumps(values | {"dtype": "float32"}, indent=2) + "\n", encoding="utf-8")
    _write_float32(open_weights(weights, config), staging, version.name)


def _link(weights: list[Path], staging: Path) -> None:
    """One file is called as Transformers looks for it; shards keep their names, and an index tells what is in which."""
    if len(weights) == 1:
        (staging / "model.safetensors").symlink_to(weights[0].resolve())
        return
    from safetensors import safe_open

    where: dict[str, str] = {}
    for path in weights:
        (staging / path.name).symlink_to(path.resolve())
        with safe_open(path, framework="pt") as file:
            where |= dict.fromkeys(file.keys(), path.name)
    _write_index(where, staging)


def _write_float32(source: TensorSource, staging: Path, name: str) -> None:
    names = [tensor for tensor in source.shapes if tensor != ROPE_DIVISORS and not is_ignored(tensor)]
    require_space(staging, 4 * sum(_num_elements(source.shapes[tensor]) for tensor in names), name)
    shards = list(_in_shards(names, source))
    where: dict[str, str] = {}
    for number, shard in enumerate(shards, 1):
        file = "model.safetensors" if len(shards) == 1 else f"model-{number:05}-of-{len(shards):05}.safetensors"
        tensors = {tensor: source.read(tensor).to(torch.float32).contiguous() for tensor in shard}
        save_file(tensors, staging / file, metadata={"format": "pt"})
        sync_file(staging / file)
        where |= dict.fromkeys(shard, file)
        del tensors
    if len(shards) > 1:
        _write_index(where, staging)


def _in_shards(names: list[str], source: TensorSource) -> Iterator[list[str]]:
    shard: list[str] = []
    room = SHARD_BYTES
    for name in names:
        size = 4 * _num_elements(source.shapes[name])
        if shard and size > room:
            yield shard
            shard, room = [], SHARD_BYTES
        shard.append(name)
        room -= size
    yield shard


def _write_index(where: dict[str, str], staging: Path) -> None:
    content = json.dumps({"metadata": {}, "weight_map": where})
    (staging / INDEX).write_text(content + "\n", encoding="utf-8")
    sync_file(staging / INDEX)


def _num_elements(shape: tuple[int, ...]) -> int:
    count = 1
    for size in shape:
        count *= size
    return count
