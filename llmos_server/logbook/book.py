"""Where this server's log can be read back, by its settings."""

from __future__ import annotations

from pathlib import Path

from llmos_server.logbook.file import FileLog
from llmos_server.logbook.ring import RingLog
from llmos_server.settings import LogSettings


def create_logbook(settings: LogSettings) -> FileLog | RingLog:
    """The file of JSON lines; where there is none, or it can't be read back (a pipe), a ring that has to be made a
    handler."""
    path = Path(settings.file).expanduser()
    can_be_read = path.is_file() or not path.exists()
    if settings.file and settings.format != "console" and can_be_read:
        return FileLog(path, settings.backups)
    return RingLog()
