"""What a job's process is told when it is started: one line of JSON on its stdin."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import msgspec

from llmos_server.job_contracts import ServerAddress
from llmos_server.settings import SECTIONS, Settings

STOP_LINE = b"stop\n"
"""What comes later, when the server stops. The end of the pipe is the server's own end."""


class ProcessConfig(msgspec.Struct, frozen=True, kw_only=True):
    job_id: str
    epoch: int
    home: str
    sections: dict[str, Any]
    """The server's settings: they may come from flags, which no file has."""
    server: ServerAddress

    @property
    def settings(self) -> Settings:
        found = {name: msgspec.convert(self.sections[name], cls) for name, cls in SECTIONS.items()}
        return Settings(home=Path(self.home), **found)


def configure(job_id: str, epoch: int, settings: Settings, server: ServerAddress) -> ProcessConfig:
    sections = {name: dataclasses.asdict(getattr(settings, name)) for name in SECTIONS}
    return ProcessConfig(job_id=job_id, epoch=epoch, home=str(settings.home), sections=sections, server=server)
