"""What was measured of a model's probabilities on this server."""

from __future__ import annotations

import structlog

from llmos_server.api.services import Services
from llmos_server.calibration.calibration import Calibration
from llmos_server.errors import EngineFailed

log = structlog.get_logger(__name__)


def find_calibration(services: Services, model_digest: str, task: str, version: str = "") -> Calibration | None:
    """A file that can't be read is an error, EngineFailed: probabilities would change unseen."""
    try:
        return services.calibrations.find(model_digest, task, version)
    except ValueError as error:
        log.warning("calibrations can't be read", error=str(error))
        raise EngineFailed(
            "The server's calibrations.json can't be read (its log tells why): mend or remove it, or send "
            "calibrated: false."
        ) from None
