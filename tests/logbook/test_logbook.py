"""The log read back: pages from the end and what is followed are all lines that are wanted, each once, in order."""

from __future__ import annotations

import io
import json
import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import structlog
from hypothesis import given
from hypothesis import strategies as st

from llmos_server.errors import InvalidRequest
from llmos_server.log_file import LogFile
from llmos_server.logbook import file as file_module
from llmos_server.logbook.book import create_logbook
from llmos_server.logbook.file import FileLog
from llmos_server.logbook.lines import LEVELS, LogBook, LogFilter
from llmos_server.logbook.ring import RingLog
from llmos_server.logs import QUIET, ROUTED, SILENT, configure_logging
from llmos_server.settings import LogSettings

ALL = LogFilter()


class Writer:
    """A log of either kind, written as the server writes it."""

    def __init__(self, handler: logging.Handler, book: LogBook) -> None:
        self.logger = logging.Logger("test")
        self.logger.addHandler(handler)
        self.handler = handler
        self.book = book
        self.num = 0

    def write(self, event: str = "hello", level: str = "info", **fields: Any) -> None:
        self.num += 1
        stamp = f"2026-11-30T16:00:00.{self.num:06}Z"
        self.logger.error("%s", json.dumps({"timestamp": stamp, "level": level, "event": event, **fields}))

    def events(self, wanted: LogFilter = ALL, limit: int = 3) -> list[str]:
        """All pages, the oldest line first."""
        found: list[str] = []
        page = self.book.page(wanted, None, limit)
        while True:
            found = [*(line.event for line in page.lines), *found]
            if page.before is None:
                return found
            page = self.book.page(wanted, page.before, limit)

    def follow(self, cursor: str, wanted: LogFilter = ALL) -> tuple[list[str], str, bool]:
        found, is_gap = [], False
        while True:
            new = self.book.since(wanted, cursor)
            found += [line.event for line in new.lines]
            is_gap |= new.is_gap
            if new.cursor == cursor:
                return found, cursor, is_gap
            cursor = new.cursor


@pytest.fixture
def restored_logging() -> Iterator[None]:
    loggers = [logging.getLogger(name) for name in (None, *ROUTED, *QUIET, *SILENT)]
    before = [(logger.handlers, logger.level, logger.propagate) for logger in loggers]
    yield
    for logger, (handlers, level, propagate) in zip(loggers, before, strict=True):
        logger.handlers, logger.propagate = handlers, propagate
        logger.setLevel(level)
    structlog.reset_defaults()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "llmos.log"


@pytest.fixture
def log(path: Path) -> Iterator[Writer]:
    """A file that is rotated all the time."""
    handler = LogFile(path, max_bytes=400, backups=30)
    yield Writer(handler, FileLog(path, 30))
    handler.close()


@pytest.fixture
def ring() -> Writer:
    handler = RingLog(max_lines=5)
    return Writer(handler, handler)


def test_pages_go_through_the_rotated_files(log: Writer) -> None:
    for number in range(40):
        log.write(f"e{number}", key="ä" * (number % 3))
    assert log.events() == [f"e{number}" for number in range(40)]
    last = log.book.page(ALL, None, 1).lines[0]
    assert (last.event, last.level, last.fields) == ("e39", "info", {"key": ""})
    assert last.time == pytest.approx(1796054400.00004)


def test_filters(log: Writer) -> None:
    for level in LEVELS:
        log.write(f"at {level}", level, model='hf:"org"/Naïve')
    assert log.events(LogFilter(level="warning")) == ["at warning", "at error", "at critical"]
    assert log.events(LogFilter(contains="AT ERR")) == ["at error"]
    assert log.events(LogFilter(contains='hf:"org"/naïve', level="critical")) == ["at critical"]
    assert log.events(LogFilter(contains="nowhere")) == []


def test_lines_that_are_none_of_ours_are_shown(path: Path) -> None:
    path.write_bytes(b'Segmentation fault\n\xff\n[1]\n{"event": 1, "timestamp": "soon"}\n{"half": ')
    page = FileLog(path, 1).page(ALL, None, 10)
    assert [(line.event, line.level, line.time) for line in page.lines] == [
        ("Segmentation fault", "", None),
        ("\ufffd", "", None),
        ("[1]", "", None),
        ("1", "", None),
    ]
    assert FileLog(path, 1).page(LogFilter(level="debug"), None, 10).lines == []


def test_a_line_that_is_too_long_is_named(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(file_module, "CHUNK", 16)
    monkeypatch.setattr(file_module, "MAX_LINE", 64)
    path.write_bytes(b"first\n" + b"x" * 300 + b"\nlast\n")
    page = FileLog(path, 1).page(ALL, None, 10)
    assert [line.event[:9] for line in page.lines] == ["first", "(a line o", "last"]


def test_a_page_looks_through_so_much_only(log: Writer, monkeypatch: pytest.MonkeyPatch) -> None:
    log.write("needle")
    for _ in range(30):
        log.write("hay")
    monkeypatch.setattr(file_module, "MAX_SCANNED", 500)
    page = log.book.page(LogFilter(contains="needle"), None, 10)
    assert page.lines == []
    assert page.before is not None
    assert log.events(LogFilter(contains="needle")) == ["needle"]


def test_what_was_removed_ends_the_pages(path: Path) -> None:
    path.write_text('{"event": "a"}\n' * 3)
    page = FileLog(path, 1).page(ALL, None, 1)
    path.write_text('{"event": "b"}\n')
    assert FileLog(path, 1).page(ALL, page.before, 1).lines == []


def test_no_file_yet(path: Path) -> None:
    book = FileLog(path, 1)
    page = book.page(ALL, None, 10)
    assert (page.lines, page.before) == ([], None)
    path.write_text('{"event": "a"}\n')
    new = book.since(ALL, page.end)
    assert ([line.event for line in new.lines], new.is_gap) == (["a"], False)


def test_followed_over_rotations(log: Writer) -> None:
    log.write("before")
    cursor = log.book.page(ALL, None, 1).end
    found = []
    for number in range(40):
        log.write(f"e{number}")
        if number % 7 == 0:
            new, cursor, is_gap = log.follow(cursor)
            found += new
            assert not is_gap
    assert found + log.follow(cursor)[0] == [f"e{number}" for number in range(40)]


def test_a_follower_that_is_too_slow_skips_and_is_told(log: Writer, monkeypatch: pytest.MonkeyPatch) -> None:
    log.write("before")
    cursor = log.book.page(ALL, None, 1).end
    for number in range(40):
        log.write(f"e{number}")
    monkeypatch.setattr(file_module, "MAX_BEHIND", 1000)
    monkeypatch.setattr(file_module, "MAX_NEW", 200)
    found, _, is_gap = log.follow(cursor)
    assert is_gap
    assert found == [f"e{number}" for number in range(40 - len(found), 40)]
    assert 0 < len(found) < 20


def test_a_follower_whose_file_is_gone_is_told(path: Path) -> None:
    path.write_text('{"event": "a"}\n')
    cursor = FileLog(path, 1).page(ALL, None, 1).end
    path.write_text('{"event": "b"}\n')
    new = FileLog(path, 1).since(ALL, cursor)
    assert ([line.event for line in new.lines], new.is_gap) == (["b"], True)


def test_the_ring_keeps_the_last_lines(ring: Writer) -> None:
    cursor = ring.book.page(ALL, None, 1).end
    for number in range(8):
        ring.write(f"e{number}")
    assert ring.events(limit=2) == [f"e{number}" for number in range(3, 8)]
    found, cursor, is_gap = ring.follow(cursor)
    assert (found, is_gap) == ([f"e{number}" for number in range(3, 8)], True)
    ring.write("e8")
    assert ring.follow(cursor, LogFilter(contains="e8"))[::2] == (["e8"], False)


def test_the_ring_keeps_so_many_bytes() -> None:
    ring = RingLog(max_bytes=500)
    writer = Writer(ring, ring)
    for number in range(100):
        writer.write(f"e{number}")
    found = writer.events()
    assert 1 < len(found) < 10
    assert found[-1] == "e99"


@pytest.mark.parametrize("cursor", ["", "x", "-1", "a-x", "a-" + "9" * 30, "x" * 100 + "-1"])
def test_a_cursor_of_nobody_is_refused(log: Writer, ring: Writer, cursor: str) -> None:
    for book in (log.book, ring.book):
        log.write()
        with pytest.raises(InvalidRequest) as caught:
            book.page(ALL, cursor, 1)
        assert caught.value.param == "cursor"
        with pytest.raises(InvalidRequest):
            book.since(ALL, cursor)


TEXTS = st.text(st.characters(exclude_categories=("Cs",)), max_size=30)


@given(
    lines=st.lists(st.tuples(TEXTS, st.sampled_from(LEVELS)), max_size=30),
    level=st.none() | st.sampled_from(LEVELS),
    limit=st.integers(1, 7),
    max_bytes=st.integers(100, 1500),
    followed=st.sets(st.integers(0, 30)),
)
def test_whatever_is_written_is_read(tmp_path_factory, lines, level, limit, max_bytes, followed) -> None:
    path = tmp_path_factory.mktemp("log") / "llmos.log"
    handler = LogFile(path, max_bytes=max_bytes, backups=50)
    ring = RingLog()
    for book in (FileLog(path, 50), ring):
        writer = Writer(handler if isinstance(book, FileLog) else ring, book)
        cursor, found = book.page(ALL, None, 1).end, []
        wanted = LogFilter(level=level)
        for number, (text, at) in enumerate(lines):
            writer.write(text, at)
            if number in followed:
                new, cursor, is_gap = writer.follow(cursor, wanted)
                found += new
                assert not is_gap
        expected = [text for text, at in lines if level is None or LEVELS.index(at) >= LEVELS.index(level)]
        assert writer.events(wanted, limit) == expected
        assert found + writer.follow(cursor, wanted)[0] == expected
    handler.close()


def test_beside_a_console_the_ring_gets_json(restored_logging: None) -> None:
    ring = RingLog()
    configure_logging(LogSettings(format="console"), io.StringIO(), beside=ring)
    structlog.get_logger("x").warning("hello", port=1)
    (line,) = ring.page(ALL, None, 10).lines
    assert (line.event, line.level, line.fields) == ("hello", "warning", {"port": 1, "logger": "x"})


def test_where_the_settings_say() -> None:
    assert isinstance(create_logbook(LogSettings(file="a.log")), FileLog)
    assert isinstance(create_logbook(LogSettings(file="a.log", format="console")), RingLog)
    assert isinstance(create_logbook(LogSettings()), RingLog)
    assert isinstance(create_logbook(LogSettings(file="/dev/null")), RingLog)
