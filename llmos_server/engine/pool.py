"""The pool of pages becomes smaller and larger while requests run, and what is unused goes back to the system."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Protocol

from llmos_server.engine.block_manager import BlockManager
from llmos_server.engine.sequence import Sequence as TokenSequence

MOVES_PER_STEP = 32
"""Pages: a move is a copy, and the step waits for it."""


class PageStore(Protocol):
    """Whatever has the pages' contents."""

    def move_pages(self, moves: Sequence[tuple[int, int]]) -> None:
        """Copy (source, destination) each, at once; no page is both."""
        ...

    def release_pages(self, page_ids: Iterable[int]) -> None:
        """Nobody will read what they hold: their memory may go back to the system until they are written again."""
        ...


class Pool:
    """Single-threaded, between two steps. Nothing that runs is ended for it: a page in use is copied elsewhere, or,
    while more are held than there may be, the scheduler preempts as it does whenever there are too few pages."""

    def __init__(self, blocks: BlockManager, pages: PageStore, min_pages: int) -> None:
        """min_pages: the pool never becomes smaller: the longest sequence that may come has to fit."""
        self._blocks = blocks
        self._pages = pages
        self._min_pages = min_pages
        self._is_changing = False

    @property
    def has_work(self) -> bool:
        return self._is_changing

    def resize(self, num_pages: int) -> None:
        """take_change() tells when that is done."""
        self._blocks.resize(min(max(num_pages, self._min_pages), self._blocks.num_laid_out))
        self._is_changing = True

    def work(self, running: Iterable[TokenSequence]) -> bool:
        """Before each step. running: all sequences that hold pages. Returns True when the pool has just become what it
        was to be, and the memory of what was given back is the system's."""
        if not self._is_changing:
            return False
        if moves := self._blocks.relocate(running, MOVES_PER_STEP):
            self._pages.move_pages(moves)
        if self._blocks.num_pages_behind:
            return False
        self._pages.release_pages(range(self._blocks.num_pages, self._blocks.num_laid_out))
        self._is_changing = False
        return True

    def release_unused(self) -> None:
        """Whatever no request and no cached prefix needs. For idle moments: it has to be got again when it is used."""
        self._pages.release_pages(self._blocks.unused_pages)
