"""LLMOS_HOME/jobs: a folder for each job, by its id, with its log and whatever its code keeps there."""

from __future__ import annotations

import os
import re
import shutil
from pathlib import Path

from llmos_server.errors import StorageFull

FOLDER = "jobs"
LOG = "log"
LOCK = "lock"

_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}")


def keep(source: Path, target: Path) -> None:
    """What a job needs is its own even when the file is deleted meanwhile. Raises StorageFull."""
    try:
        try:
            os.link(source, target)
        except OSError:
            shutil.copyfile(source, target)
    except OSError as error:
        raise StorageFull(f"The job's files can't be kept: {error.strerror}. Free space on the disk.") from error


class JobFolders:
    def __init__(self, home: Path) -> None:
        self.path = home / FOLDER

    def place(self, job_id: str) -> Path:
        """Raises ValueError for what is no id, so that no text leads out of the folder."""
        if not _ID.fullmatch(job_id):
            raise ValueError(f"{job_id!r} is no id of a job")
        return self.path / job_id

    def make(self, job_id: str) -> Path:
        """There when this returns, for the server's user alone. Raises OSError."""
        place = self.place(job_id)
        self.path.mkdir(mode=0o700, parents=True, exist_ok=True)
        place.mkdir(mode=0o700, exist_ok=True)
        return place

    def remove(self, job_id: str) -> None:
        """Nothing when it isn't there."""
        shutil.rmtree(self.place(job_id), ignore_errors=True)

    def unchanged_since(self, moment: float) -> set[str]:
        """Ids of all folders to which nothing was added, and from which nothing went, since that Unix second."""
        if not self.path.is_dir():
            return set()
        folders = (entry for entry in os.scandir(self.path) if _ID.fullmatch(entry.name) and entry.is_dir())
        return {entry.name for entry in folders if entry.stat().st_mtime < moment}
