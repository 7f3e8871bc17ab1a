"""Which page of the KV cache belongs to whom: reference counts, the prefix cache and its eviction. No tensors.

A page is in exactly one of four places: referenced (a sequence or a pending copy holds it), evictable (nobody holds
it, but its content is still known to the prefix cache), free, or given back, when the pool has become smaller than it
was laid out.
"""

from __future__ import annotations

import hashlib
from array import array
from collections import Counter, OrderedDict
from collections.abc import Iterable

import msgspec

from llmos_server.contracts import GenerateRequest
from llmos_server.engine.sequence import Sequence


class BlockManager:
    """Hands out pages 0 .. num_pages - 1 of page_size tokens each; of these the first ones, if resize() says so.

    Full pages whose tokens have been computed are named by a chained digest, so a page is found only by a sequence that
    has the same model, adapter, salt and tokens from the start. A sequence's registered pages are always *the* pages of
    their digests; hence whoever holds a page holds its parent, and pages freed tail first are evicted before their
    parents.

    After the pool has become smaller, what is in use behind its end moves into free pages before it, which are kept
    for that: so there are never fewer free pages than pages behind the end, or nothing is cached.
    """

    def __init__(self, num_pages: int, page_size: int, *, model_digest: str, prefix_caching: bool = True) -> None:
        self.num_laid_out = num_pages
        self.page_size = page_size
        self._model_digest = model_digest
        self._prefix_caching = prefix_caching
        self._ref_counts = [0] * num_pages
        self._num_shared = 0
        self._end = num_pages  # Pages from here on aren't handed out.
        self._num_behind = 0  # Of these, how many are referenced or evictable.
        self._free = list(reversed(range(num_pages)))
        self._evictable: OrderedDict[int, None] = OrderedDict()  # least recently used first
        self._page_of: dict[bytes, int] = {}
        self._digests_of: dict[int, tuple[bytes, bytes | None]] = {}  # page -> its digest, its parent page's digest
        self._copies: dict[int, int] = {}  # destination -> source, which is held until the copy was carried out
        self._unclean: set[int] = set()  # handed out since the last forward pass, with their last owner's content

    @property
    def num_pages(self) -> int:
        """That there are at present: more than resize() has allowed as long as more are held."""
        return self._end + max(0, -self._room)

    @property
    def num_free_pages(self) -> int:
        """Free or evictable: what can be allocated."""
        return max(0, self._room)

    @property
    def num_pages_behind(self) -> int:
        """That have to move, or to be freed, before the pool is as small as it should be."""
        return self._num_behind

    @property
    def unused_pages(self) -> list[int]:
        """Whose content nobody will read: free ones, and those that were given back."""
        return [page for page, letter in enumerate(self.page_map()) if letter in ".-"]

    @property
    def _room(self) -> int:
        """How many pages can be allocated; below 0, so many are held too much."""
        return len(self._free) + len(self._evictable) - self._num_behind

    @property
    def num_cached_pages(self) -> int:
        """Evictable: nobody holds them, and their content can still be found."""
        return len(self._evictable)

    @property
    def num_shared_pages(self) -> int:
        """That two or more hold, pending copies among them."""
        return self._num_shared

    @property
    def page_copies(self) -> list[tuple[int, int]]:
        """(source, destination) pairs that the next forward pass has to carry out first."""
        return [(source, destination) for destination, source in self._copies.items()]

    @property
    def page_clears(self) -> list[int]:
        """Pages that the next forward pass has to set to zero first, before the copies.

        Attention reads whole pages and weighs what lies behind a sequence's end with 0; 0 times a NaN is a NaN.
        """
        return sorted(self._unclean)

    def num_pages_for(self, num_tokens: int) -> int:
        return -(-num_tokens // self.page_size)

    def num_missing_pages(self, sequence: Sequence, *, use_cache: bool = True) -> int:
        """How many pages allocate() would find too few; 0 or less when there are enough."""
        cached = self._find_cached(sequence) if use_cache else []
        num_revived = sum(1 for page in cached if self._ref_counts[page] == 0)
        num_new = self.num_pages_for(len(sequence.token_ids)) - len(cached)
        return num_new + num_revived - self._room

    def num_sole_pages(self, sequence: Sequence) -> int:
        """Pages that nobody else holds: what can be had by freeing it."""
        return sum(1 for page in sequence.pages if self._ref_counts[page] == 1)

    def allocate(self, sequence: Sequence, *, use_cache: bool = True) -> bool:
        """Give pages for all its tokens to a sequence that has none; False (and no change) when too few are free.

        Cached pages cover at most all tokens but one, so that there is always a row to sample from. Sets
        num_computed_tokens to what they cover.
        """
        cached = self._find_cached(sequence) if use_cache else []
        num_new = self.num_pages_for(len(sequence.token_ids)) - len(cached)
        num_revived = sum(1 for page in cached if self._ref_counts[page] == 0)
        if num_new > self.num_free_pages - num_revived:
            return False
        for page in cached:
            self._acquire(page)
        sequence.pages = cached + [self._take() for _ in range(num_new)]
        sequence.num_computed_tokens = len(cached) * self.page_size
        sequence.num_registered_pages = len(cached)
        return True

    def grow(self, sequence: Sequence, num_tokens: int) -> bool:
        """Make its pages hold num_tokens; False (and no change) when too few are free."""
        num_new = self.num_pages_for(num_tokens) - len(sequence.pages)
        if num_new <= 0:  # As in most steps.
            return True
        if num_new > self.num_free_pages:
            return False
        sequence.pages.extend(self._take() for _ in range(num_new))
        return True

    def shrink(self, sequence: Sequence, num_tokens: int) -> None:
        """Take back the pages behind its first num_tokens, of which none may be computed or shared."""
        for page in reversed(sequence.pages[self.num_pages_for(num_tokens) :]):
            sequence.pages.pop()
            self._release(page)

    def fork(self, parent: Sequence, child: Sequence) -> bool:
        """Let child start from all that parent has computed; False (and no change) when a page is missing.

        Full pages are shared. The last partial one gets a copy, which is carried out by the next forward pass.
        """
        num_full, num_partial = divmod(parent.num_computed_tokens, self.page_size)
        if num_partial and not self.num_free_pages:
            return False
        child.pages = parent.pages[:num_full]
        for page in child.pages:
            self._acquire(page)
        if num_partial:
            source, destination = parent.pages[num_full], self._take()
            self._unclean.discard(destination)
            child.pages.append(destination)
            self._acquire(source)
            self._copies[destination] = source
        child.num_computed_tokens = parent.num_computed_tokens
        child.num_registered_pages = min(parent.num_registered_pages, num_full)
        child.page_digests = parent.page_digests[:num_full]
        return True

    def finish_step(self) -> None:
        """The forward pass has cleared and copied what was pending: let the copies' sources go."""
        self._unclean.clear()
        for source in self._copies.values():
            self._release(source)
        self._copies.clear()

    def register(self, sequence: Sequence) -> None:
        """Make its full, computed pages known to the prefix cache.

        A page whose content is known already is swapped for the one that was registered first.
        """
        if not self._prefix_caching:
            return
        for position in range(sequence.num_registered_pages, sequence.num_computed_tokens // self.page_size):
            page, digest = sequence.pages[position], self._digest(sequence, position)
            known = self._page_of.get(digest)
            if known is None:
                self._page_of[digest] = page
                self._digests_of[page] = (digest, sequence.page_digests[position - 1] if position else None)
            else:
                self._acquire(known)
                self._release(page)
                sequence.pages[position] = known
            sequence.num_registered_pages = position + 1

    def free(self, sequence: Sequence) -> None:
        """Take all its pages back; registered ones stay cached until they are evicted."""
        for page in reversed(sequence.pages):
            source = self._copies.pop(page, None)
            if source is not None:
                self._release(source)
            self._release(page)
        sequence.pages = []
        sequence.num_computed_tokens = 0
        sequence.num_registered_pages = 0

    def resize(self, num_pages: int) -> None:
        """How many of the pages that were laid out may be in use from now on. O(pages).

        What is cached and too much is forgotten, the least recently used first; what is held is not touched.
        """
        if not 1 <= num_pages <= self.num_laid_out:
            raise ValueError(f"A pool of {self.num_laid_out} pages can't have {num_pages}")
        used = {page for page, letter in enumerate(self.page_map()) if letter in "usc"}
        self._free = [page for page in reversed(range(self._end, num_pages)) if page not in used] + [
            page for page in self._free if page < num_pages
        ]
        self._end = num_pages
        self._num_behind = sum(page >= num_pages for page in used)
        while self._evictable and self._num_behind > len(self._free):
            self._evict_oldest()

    def relocate(self, sequences: Iterable[Sequence], max_pages: int) -> list[tuple[int, int]]:
        """Move pages from behind the pool's end: (source, destination) of what has to be copied before anything else
        happens. sequences: all that hold pages. O(pages), while there are such."""
        busy = {*self._copies, *self._copies.values(), *self._unclean}
        sources = [
            page
            for page in range(self._end, self.num_laid_out if self._num_behind else 0)
            if page not in busy and (self._ref_counts[page] or page in self._evictable)
        ]
        moves = {source: self._free.pop() for source in sources[: min(max_pages, len(self._free))]}
        if not moves:
            return []
        for source, destination in moves.items():
            self._ref_counts[destination], self._ref_counts[source] = self._ref_counts[source], 0
            if (digests := self._digests_of.pop(source, None)) is not None:
                self._digests_of[destination] = digests
                self._page_of[digests[0]] = destination
        self._num_behind -= len(moves)
        self._evictable = OrderedDict((moves.get(page, page), None) for page in self._evictable)
        for sequence in sequences:
            sequence.pages = [moves.get(page, page) for page in sequence.pages]
        return list(moves.items())

    def page_map(self) -> str:
        """See contracts.PageLayout. O(pages)."""
        letters = ["." if count == 0 else "u" if count == 1 else "s" for count in self._ref_counts]
        letters[self._end :] = [letter.replace(".", "-") for letter in letters[self._end :]]
        for page in self._evictable:
            letters[page] = "c"
        return "".join(letters)

    def check_integrity(self, sequences: Iterable[Sequence]) -> None:
        """Raise AssertionError that names the first broken invariant. sequences: all that are not finished."""
        sequences = list(sequences)
        holders = Counter(page for sequence in sequences for page in sequence.pages)
        holders.update(self._copies.values())
        for page, count in enumerate(self._ref_counts):
            _require(count == holders[page], f"reference count: page {page} has {count}, holders {holders[page]}")
        num_shared = sum(count > 1 for count in self._ref_counts)
        _require(num_shared == self._num_shared, f"shared pages: {num_shared}, counted {self._num_shared}")
        self._check_places()
        self._check_chains()
        for sequence in sequences:
            self._check_sequence(sequence)

    def _check_places(self) -> None:
        free, referenced = set(self._free), {page for page, count in enumerate(self._ref_counts) if count}
        _require(len(free) == len(self._free), "free list: a page is in it twice")
        _require(not free & self._evictable.keys(), "places: a page is free and evictable")
        _require(not free & referenced, "places: a free page is referenced")
        _require(not referenced & self._evictable.keys(), "places: an evictable page is referenced")
        behind = {page for page in referenced | self._evictable.keys() if page >= self._end}
        _require(all(page < self._end for page in free), "free list: a page behind the pool's end is in it")
        _require(len(behind) == self._num_behind, f"pages behind the end: {len(behind)}, counted {self._num_behind}")
        is_kept = self._num_behind <= len(free) or not self._evictable
        _require(is_kept, "pool: too few free pages are kept for those behind its end")
        num_placed = len(free) + len(self._evictable) + len(referenced) - len(behind)
        _require(num_placed == self._end, f"leak: {self._end - num_placed} pages are in no place")
        _require(not free & self._digests_of.keys(), "prefix cache: a free page is registered")
        _require(self._evictable.keys() <= self._digests_of.keys(), "prefix cache: an evictable page is not registered")
        for destination in self._copies:
            _require(self._ref_counts[destination] == 1, f"copies: destination {destination} is shared or free")

    def _check_chains(self) -> None:
        named = {digest: page for page, (digest, _) in self._digests_of.items()}
        _require(named == self._page_of, "prefix cache: digests and pages don't match")
        turn = {page: number for number, page in enumerate(self._evictable)}
        for page, (_, parent_digest) in self._digests_of.items():
            if parent_digest is None:
                continue
            parent = self._page_of.get(parent_digest)
            _require(parent is not None, f"prefix cache: page {page} outlived its parent")
            if parent in turn:
                _require(turn.get(page, len(turn)) < turn[parent], f"eviction: page {page} comes after its parent")

    def _check_sequence(self, sequence: Sequence) -> None:
        name = f"{sequence.request.request_id}[{sequence.index}]"
        _require(len(set(sequence.pages)) == len(sequence.pages), f"sequence {name}: a page is in it twice")
        _require(
            sequence.num_computed_tokens <= min(len(sequence.token_ids), len(sequence.pages) * self.page_size),
            f"sequence {name}: computed more than its tokens or pages hold",
        )
        num_full = sequence.num_computed_tokens // self.page_size if self._prefix_caching else 0
        _require(sequence.num_registered_pages == num_full, f"sequence {name}: a full page is not registered")
        for position in range(num_full):
            known = self._page_of.get(self._digest(sequence, position))
            _require(known == sequence.pages[position], f"sequence {name}: page {position} is not its digest's page")

    def _find_cached(self, sequence: Sequence) -> list[int]:
        pages: list[int] = []
        if self._prefix_caching:
            for position in range((len(sequence.token_ids) - 1) // self.page_size):
                page = self._page_of.get(self._digest(sequence, position))
                if page is None:
                    break
                pages.append(page)
        return pages

    def _digest(self, sequence: Sequence, position: int) -> bytes:
        digests = sequence.page_digests
        while len(digests) <= position:
            start = len(digests) * self.page_size
            parent = digests[-1] if digests else self._root(sequence.request)
            tokens = array("q", sequence.token_ids[start : start + self.page_size])
            digests.append(hashlib.sha256(parent + tokens.tobytes()).digest())
        return digests[position]

    def _root(self, request: GenerateRequest) -> bytes:
        return _root_digest(self._model_digest, request.adapter, request.cache_salt)

    def _take(self) -> int:
        """A page nobody holds, with one reference; free pages first, then the least recently used cached one."""
        while len(self._free) <= self._num_behind:
            self._evict_oldest()
        page = self._free.pop()
        self._ref_counts[page] = 1
        self._unclean.add(page)
        return page

    def _acquire(self, page: int) -> None:
        if self._ref_counts[page] == 0:
            del self._evictable[page]
        self._ref_counts[page] += 1
        self._num_shared += self._ref_counts[page] == 2

    def _release(self, page: int) -> None:
        self._ref_counts[page] -= 1
        self._num_shared -= self._ref_counts[page] == 1
        if self._ref_counts[page] > 0:
            return
        if page in self._digests_of:
            self._evictable[page] = None
            if self._num_behind > len(self._free):
                self._evict_oldest()
        else:
            self._drop(page)

    def _evict_oldest(self) -> None:
        page, _ = self._evictable.popitem(last=False)
        digest, _ = self._digests_of.pop(page)
        del self._page_of[digest]
        self._drop(page)

    def _drop(self, page: int) -> None:
        """Nobody holds it, and its content is of no use: it is free, or given back."""
        if page < self._end:
            self._free.append(page)
        else:
            self._num_behind -= 1


def _root_digest(model_digest: str, adapter_digest: str, cache_salt: str) -> bytes:
    """Parent of every first page. msgpack writes lengths, so no two triples have the same bytes."""
    return hashlib.sha256(msgspec.msgpack.encode((model_digest, adapter_digest, cache_salt))).digest()


def _require(holds: bool, message: str) -> None:
    """Unlike an assert statement it stays on under python -O."""
    if not holds:
        raise AssertionError(message)
