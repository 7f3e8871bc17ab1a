"""Libraries that the extra "eval" brings: asked for when a metric needs one."""

from __future__ import annotations

import importlib
from typing import Any

from llmos_server.errors import InvalidRequest


def load(module: str, what: str) -> Any:
    """Raises InvalidRequest where it isn't installed. what: the metric, for the message."""
    try:
        return importlib.import_module(module)
    except ImportError:
        package = module.partition(".")[0].replace("_", "-")
        raise InvalidRequest(
            f"{what} is computed by the package {package}, which isn't installed here: pip install 'llmos[eval]'",
            param="evaluation_metric",
            code="package_missing",
        ) from None
