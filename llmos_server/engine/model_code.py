"""Where a worker keeps the modules of a model's own code, before Transformers is imported, which reads that once."""

from __future__ import annotations

import os
from pathlib import Path

from llmos_server.engine.messages import WorkerConfig

MODULES = "modules"
"""A folder beside the model's config, so that it goes with the model."""


def prepare_code(config: WorkerConfig) -> None:
    """Nothing for a model without code. With it, modules go into a private folder, and no hub is asked for more."""
    if not config.code:
        return
    folder = Path(config.model_folder, MODULES)
    folder.mkdir(mode=0o700, exist_ok=True)
    os.environ.update(HF_MODULES_CACHE=str(folder), HF_HUB_OFFLINE="1")
