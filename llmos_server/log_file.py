"""The log as a file: written by several processes, rotated by one of them or by logrotate, never a reason to fail."""

from __future__ import annotations

import io
import logging
import os
import stat
import sys
from contextlib import suppress
from logging.handlers import RotatingFileHandler
from pathlib import Path

from llmos_server.errors import SettingsError


class LogFile(RotatingFileHandler):
    """Every line is one write to the end of the file that has the name now: lines of several processes don't mix, and a
    crash loses none. Only the owner may read it and the rotated ones, whatever modes they had.

    max_bytes: the file is renamed to `path.1` (and so on, `backups` of them) before it grows beyond; 0 never does. One
    process rotates; the others, and this one after logrotate, notice that the name means another file, and follow.
    Where a line can't be written (a full disk), it is lost, stderr is told once, and the program goes on.
    Raises SettingsError when the file can't be opened, or made private, at first.
    """

    def __init__(self, path: Path, max_bytes: int = 0, backups: int = 0) -> None:
        self._is_failing = False
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            for number in range(1, backups + 1):
                with suppress(FileNotFoundError):
                    _make_private(f"{path}.{number}")
            super().__init__(path, maxBytes=max_bytes, backupCount=backups, encoding="utf-8", errors="backslashreplace")
        except OSError as error:
            raise SettingsError(f"log.file: {path} can't be written ({error.strerror}); choose another path.") from None

    def emit(self, record: logging.LogRecord) -> None:
        try:
            self._follow_the_name()
        except OSError:
            self.handleError(record)
            return
        was_failing, self._is_failing = self._is_failing, False
        super().emit(record)
        if was_failing and not self._is_failing:
            _say(f"llmos: {self.baseFilename} can be written again.")
        elif self._is_failing and not was_failing:
            _say(f"llmos: {self.baseFilename} can't be written; log lines are lost until it can.")

    def handleError(self, record: logging.LogRecord) -> None:
        if isinstance(sys.exc_info()[1], OSError):
            self._is_failing = True
        else:
            super().handleError(record)

    def _open(self) -> io.TextIOWrapper:
        descriptor = os.open(self.baseFilename, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            _make_private(descriptor)
        except OSError:
            os.close(descriptor)
            raise
        raw = io.FileIO(descriptor, "a")  # Without a buffer: what can't be written now must not come later, or twice.
        return io.TextIOWrapper(raw, encoding=self.encoding, errors=self.errors, write_through=True)

    def _follow_the_name(self) -> None:
        try:
            named = os.stat(self.baseFilename)
        except FileNotFoundError:
            named = None
        stream = self.stream
        if stream is not None and named is not None and os.path.samestat(named, os.fstat(stream.fileno())):
            return
        if stream is not None:
            self.stream = None
            with suppress(OSError):
                stream.close()
        Path(self.baseFilename).parent.mkdir(parents=True, exist_ok=True)
        self.stream = self._open()


def _make_private(file: int | str) -> None:
    """A pipe or a terminal is left as it is. Raises OSError, in words, for another user's file."""
    status = os.stat(file)
    if not stat.S_ISREG(status.st_mode) or not status.st_mode & 0o077:
        return
    try:
        os.chmod(file, 0o600)
    except OSError as error:
        mode = stat.S_IMODE(status.st_mode)
        words = f"its mode, or a rotated one's, is {mode:04o} and can't be set to 0600: {error.strerror}; remove it"
        raise OSError(error.errno, words) from None


def _say(text: str) -> None:
    with suppress(OSError):
        print(text, file=sys.stderr, flush=True)
