"""Apps that share their routes: Litestar builds these anew for each app, nearly all of what an app of a test costs."""

from __future__ import annotations

import copy
from typing import Any

from litestar import Litestar

_BUILT: dict[tuple[Any, ...], Litestar] = {}


def create_litestar(*, state: Any, on_startup: list[Any], on_shutdown: list[Any], **options: Any) -> Litestar:
    """Stands for Litestar in api.app. What an app has of its own is its state, and what runs at its begin and end."""
    if options["cors_config"] is not None:
        return Litestar(state=state, on_startup=on_startup, on_shutdown=on_shutdown, **options)
    alike = (
        tuple(map(id, options["route_handlers"])),
        options["request_max_body_size"],
        options["openapi_config"].version,
    )
    if alike not in _BUILT:
        _BUILT[alike] = Litestar(**options)
    app = copy.copy(_BUILT[alike])
    app.state, app.on_startup, app.on_shutdown = state, on_startup, on_shutdown
    app.event_emitter = type(app.event_emitter)(listeners=[])
    app.asgi_router = copy.copy(app.asgi_router)
    app.asgi_router.app = app
    return app
