from __future__ import annotations

import io

import pytest

from llmos_server.registry.progress import PlainProgress, TerminalProgress, create_progress, format_bytes


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_a_terminal_gets_bars_and_a_pipe_gets_lines() -> None:
    assert isinstance(create_progress(Terminal()), TerminalProgress)
    assert isinstance(create_progress(io.StringIO()), PlainProgress)


def test_lines_tell_the_size_first_and_then_now_and_again() -> None:
    stream, times = io.StringIO(), iter([0.0, 1.0, 4.0, 4.0, 5.0, 9.0, 9.0])
    progress = PlainProgress(stream, clock=lambda: next(times))
    progress.say("hello")
    with progress.track("Downloading x", 98_362_432) as track:
        for done in (10**6, 49_181_216, 60 * 10**6, 98_362_432):
            track.update(done)
    assert stream.getvalue().splitlines() == [
        "hello",
        "Downloading x (98.4 MB)",
        "Downloading x: 49.2 MB (50 %)",
        "Downloading x: 98.4 MB (100 %)",
    ]


def test_an_unknown_size_is_said() -> None:
    stream, times = io.StringIO(), iter([0.0, 4.0, 4.0])
    with PlainProgress(stream, clock=lambda: next(times)).track("x", None) as track:
        track.update(1234)
    assert stream.getvalue().splitlines() == ["x (size not known)", "x: 1.2 kB"]


def test_bars_show_label_and_size() -> None:
    stream = Terminal()
    progress = TerminalProgress(stream)
    progress.say("[not markup]")
    with progress.track("Downloading x", 2_000_000) as track:
        track.update(2_000_000)
    assert "[not markup]" in stream.getvalue()
    assert "Downloading x" in stream.getvalue()
    assert "2.0/2.0 MB" in stream.getvalue()


@pytest.mark.parametrize(
    ("count", "text"), [(0, "0 bytes"), (999, "999 bytes"), (1000, "1.0 kB"), (2.5e9, "2.5 GB"), (3e12, "3000.0 GB")]
)
def test_sizes_read_as_on_download_pages(count: float, text: str) -> None:
    assert format_bytes(count) == text
