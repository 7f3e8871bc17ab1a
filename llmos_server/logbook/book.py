"""Where this server's log can be read back, by its settings."""

from __future__ import annotations

from pathlib import Path

from llmos_server.logbook.file import FileLog
from llmos_server.logbook.ring import RingLog
from llmos_server.settings import LogSettings


def create_logbook(settings: LogSettings) -> FileLog | RingLog:
    """The file of JSON lines; where there is none, a ring that has to be made a handler."""
    if settings.file and settings.format != "console":
        return FileLog(Path(settings.file).expanduser(), settings.backups)
    return RingLog()
