"""Which inputs an encoder computes next: similar lengths together, every owner in turn. Holds no tensors."""

from __future__ import annotations

from bisect import bisect_right
from collections import OrderedDict, deque
from dataclasses import dataclass

from llmos_server.contracts import EncodeRequest
from llmos_server.key_contracts import is_background

MIN_LENGTH_SHARE = 0.5
"""Inputs shorter than this share of the batch's longest wait for another batch, unless it is their turn."""


@dataclass(frozen=True, slots=True)
class Item:
    """One input of one request."""

    request_id: str
    index: int
    token_ids: list[int]
    second_start: int
    """Where the second text of a pair begins; the number of tokens if it is none."""


class _Waiting:
    """What is left of one request, by length."""

    def __init__(self, request: EncodeRequest) -> None:
        starts = request.second_starts or map(len, request.inputs)
        pairs = zip(request.inputs, starts, strict=True)
        items = [Item(request.request_id, index, ids, start) for index, (ids, start) in enumerate(pairs)]
        self._items = sorted(items, key=lambda item: len(item.token_ids))
        self._lengths = [len(item.token_ids) for item in self._items]

    @property
    def is_empty(self) -> bool:
        return not self._items

    def take(self, longest: int | None, shortest: float) -> Item | None:
        """The longest input within the bounds."""
        place = len(self._lengths) - 1 if longest is None else bisect_right(self._lengths, longest) - 1
        if place < 0 or self._lengths[place] < shortest:
            return None
        del self._lengths[place]
        return self._items.pop(place)


class Batcher:
    """max_tokens: of a batch, padding included; an input that is longer makes a batch of its own.

    Owners take turns, and so do the requests of one owner. Whose turn it is puts its longest input first, which sets
    the width; then all take turns with what fits beside it. What is asked in the background (key_contracts.BACKGROUND)
    comes behind all others.
    """

    def __init__(self, max_tokens: int) -> None:
        self._max_tokens = max_tokens
        self._owners: OrderedDict[str, OrderedDict[str, _Waiting]] = OrderedDict()
        self._owner_of: dict[str, str] = {}

    @property
    def has_work(self) -> bool:
        return bool(self._owners)

    def add(self, request: EncodeRequest) -> None:
        """At least one input, none empty."""
        self._owner_of[request.request_id] = request.owner
        self._owners.setdefault(request.owner, OrderedDict())[request.request_id] = _Waiting(request)

    def drop(self, request_id: str) -> None:
        """Forget what has not been given out. Ids that aren't here are no error."""
        owner = self._owner_of.pop(request_id, None)
        if owner is not None:
            del self._owners[owner][request_id]
            if not self._owners[owner]:
                del self._owners[owner]

    def next_batch(self) -> list[Item]:
        """At least one item while there is work."""
        rounds = deque(deque(self._owners[owner].values()) for owner in sorted(self._owners, key=is_background))
        batch: list[Item] = []
        width = 0
        while rounds and (len(batch) + 1) * width <= self._max_tokens:
            requests = rounds.popleft()
            item = _take(requests, width)
            if item is None:
                continue  # This owner has nothing that fits beside the others.
            if not batch:
                self._end_turn(item.request_id)
            width = width or len(item.token_ids)
            batch.append(item)
            rounds.append(requests)
        for request_id in {item.request_id for item in batch}:
            if self._waiting(request_id).is_empty:
                self.drop(request_id)
        return batch

    def _end_turn(self, request_id: str) -> None:
        """The next batch begins with another owner, and this one's next with another request."""
        owner = self._owner_of[request_id]
        self._owners.move_to_end(owner)
        self._owners[owner].move_to_end(request_id)

    def _waiting(self, request_id: str) -> _Waiting:
        return self._owners[self._owner_of[request_id]][request_id]


def _take(requests: deque[_Waiting], width: int) -> Item | None:
    """One input of the first request that has one of fitting length; that request then waits behind the others."""
    while requests:
        waiting = requests.popleft()
        item = waiting.take(width or None, width * MIN_LENGTH_SHARE)
        if item is not None:
            requests.append(waiting)
            return item
    return None
