"""Where a worker keeps the modules of a model's own code, before Transformers is imported, which reads that once."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from llmos_server.engine.messages import WorkerConfig
from llmos_server.errors import EngineFailed

MODULES = "modules"
"""A folder beside the model's config, so that it goes with the model."""


def prepare_code(config: WorkerConfig) -> None:
    """Nothing for a model without code. With it, modules go into a private folder, and no hub is asked for more.

    Raises EngineFailed when that folder can't be made.
    """
    if not config.code:
        return
    folder = Path(config.model_folder, MODULES)
    try:
        shutil.rmtree(folder, ignore_errors=True)  # Nothing is run but what was copied now.
        folder.mkdir(mode=0o700)
    except OSError as error:
        raise EngineFailed(f"{folder}: the model's own code can't be put there ({error.strerror}).") from None
    os.environ.update(HF_MODULES_CACHE=str(folder), HF_HUB_OFFLINE="1")
