"""Which page of a model's KV cache is what, as its worker says when it is asked."""

from __future__ import annotations

import contextlib
import time

from llmos_server.api.metrics.reading import count_pages
from llmos_server.api.schemas.admin_live import PageMap
from llmos_server.api.served import Directory
from llmos_server.contracts import EngineStats, PageLayout
from llmos_server.errors import EngineBusy, EngineFailed


async def map_pages(directory: Directory, name: str) -> PageMap:
    """Raises ModelNotFound, InvalidRequest for a model that has none. Loads nothing."""
    model = await directory.get(name)
    generator = model.generator
    layout = PageLayout(EngineStats(), "")
    if generator.state == "ready":
        with contextlib.suppress(EngineBusy, EngineFailed):  # It may end meanwhile.
            layout = await generator.map_pages()
    counts = count_pages(layout.stats)
    return PageMap(
        model=model.id,
        state=generator.state,
        time=time.time(),
        page_size=generator.info.page_size if generator.info is not None else 0,
        num_pages=len(layout.pages),
        num_free=counts["free"],
        num_cached=counts["cached"],
        num_used=counts["used"],
        num_shared=counts["shared"],
        map=layout.pages,
    )
