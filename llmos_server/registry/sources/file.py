"""`file:/path`: a folder with safetensors or a .gguf, used where it lies."""

from __future__ import annotations

import os
from pathlib import Path

from llmos_server.errors import PullError
from llmos_server.registry.byte_level_tokenizer import BYTE_LEVEL_FILES
from llmos_server.registry.encoder_folders import ENCODER_FILES, pooling_file
from llmos_server.registry.folders import INDEX, PICKLES, find_shards
from llmos_server.registry.importing import CONFIG_FILES
from llmos_server.registry.names import FileReference
from llmos_server.registry.remote_code import NO_CODE, CodeRule, code_files
from llmos_server.registry.sentencepiece_tokenizer import SENTENCEPIECE
from llmos_server.registry.sources.base import Fetched

Stamps = dict[str, tuple[int, int] | None]
"""Path -> (size, mtime in ns); None: no such file."""

TOKENIZER_FILES = (SENTENCEPIECE, *BYTE_LEVEL_FILES)
"""Of which a tokenizer.json is made where there is none."""


def fetch_file(reference: FileReference, rule: CodeRule = NO_CODE) -> Fetched:
    """Find the weights. Raises PullError when there are none that can be read."""
    path = reference.path
    if path.is_dir():
        code = [path / name for name in code_files(os.listdir(path))] if rule.is_named else []
        return Fetched(weights=tuple(find_shards(path)), config_folder=path, in_place=True, code_files=tuple(code))
    if path.suffix in PICKLES:
        raise PullError(
            f"{path}: pickled weights can run code when they are loaded, so they are refused. "
            "Convert them: transformers' save_pretrained() writes safetensors."
        )
    if path.suffix == ".safetensors":
        raise PullError(f"{path}: give the folder, file:{path.parent}; config.json and the tokenizer lie beside it.")
    if path.suffix != ".gguf":
        raise PullError(f"{path}: neither a folder nor a .gguf file.")
    if not path.is_file():
        raise PullError(f"{path}: no such file.")
    return Fetched(weights=(path,), in_place=True)


def stamp_files(fetched: Fetched) -> Stamps:
    """What tells later whether the files are still the same."""
    paths = [*fetched.weights, *fetched.code_files]
    if fetched.config_folder is not None:
        names = (*CONFIG_FILES, INDEX, *TOKENIZER_FILES, *ENCODER_FILES, pooling_file(fetched.config_folder))
        paths += [fetched.config_folder / name for name in names]
    return {str(path): stamp(path) for path in paths}


def stamp(path: Path) -> tuple[int, int] | None:
    """Size and time of the last change; None when there is no such file."""
    try:
        status = path.stat()
    except OSError:
        return None
    return status.st_size, status.st_mtime_ns
