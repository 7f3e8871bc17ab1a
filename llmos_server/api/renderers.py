"""The text sides of models, loaded off the event loop when they are first asked for."""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path

from llmos_server.chat.renderer import Renderer
from llmos_server.contracts import ModelVersion
from llmos_server.errors import EngineFailed, UnsupportedModel

MAX_KEPT = 8
"""A tokenizer takes some 10 to 100 MB. Requests that run keep theirs, whatever is dropped here."""


class RendererCache:
    """The last few, by digest."""

    def __init__(self, load: Callable[[Path], Renderer] = Renderer.load) -> None:
        self._load = load
        self._kept: OrderedDict[str, asyncio.Task[Renderer]] = OrderedDict()

    async def get(self, version: ModelVersion) -> Renderer:
        """Raises EngineFailed, by name, when the model's folder is broken; after any failure the next request tries
        again."""
        task = self._kept.get(version.digest)
        if task is None:
            task = asyncio.create_task(asyncio.to_thread(self._load, Path(version.folder)))
            self._kept[version.digest] = task
        self._kept.move_to_end(version.digest)
        while len(self._kept) > MAX_KEPT:
            self._kept.popitem(last=False)
        try:
            return await asyncio.shield(task)
        except Exception as error:
            if self._kept.get(version.digest) is task:
                del self._kept[version.digest]
            if isinstance(error, UnsupportedModel | OSError):
                raise EngineFailed(f"{version.name} can't be served: {error}") from error
            raise
