"""Who waits for a first token, and for how long a newcomer would: what the API process decides a 429 by."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import NamedTuple

from llmos_server.contracts import ChoiceDelta, GenerateRequest
from llmos_server.engine.owners import DECODE_WEIGHT

MEMORY_SECONDS = 60.0
"""Work and time of so long ago weigh a third of today's."""
MIN_BUSY_SECONDS = 2.0
"""Before an engine has been busy for so long, nothing is known of its speed."""
MAX_RETRY_SECONDS = 600.0


class _Waiting(NamedTuple):
    owner: str
    num_prompt_tokens: int
    work: float


class QueueEstimate:
    """Work is counted in tokens, of answers as many as answers have had so far; speed is what was measured.

    Owners take turns in the engine. So before a newcomer's turn comes, its own owner's waiting work is done, and as
    much of every other owner's.
    """

    def __init__(self) -> None:
        self._waiting: dict[str, _Waiting] = {}
        self._num_waiting: Counter[str] = Counter()
        self._work: dict[str, float] = {}
        self._mean_output: float | None = None
        self._done = self._busy_seconds = self._last = 0.0

    @property
    def num_waiting(self) -> int:
        return len(self._waiting)

    @property
    def num_owners(self) -> int:
        return len(self._num_waiting)

    def num_waiting_of(self, owner: str) -> int:
        return self._num_waiting[owner]

    def join(self, request: GenerateRequest, now: float, *, was_idle: bool) -> None:
        """now: seconds on a monotonic clock. was_idle: no other request is open, so time begins to count."""
        if was_idle:
            self._last = now
        waiting = _Waiting(request.owner, len(request.prompt_ids), self._work_of(request))
        self._waiting[request.request_id] = waiting
        self._num_waiting[waiting.owner] += 1
        self._work[waiting.owner] = self._work.get(waiting.owner, 0.0) + waiting.work

    def leave(self, request_id: str) -> int:
        """It has begun or was given up. Returns its prompt's tokens; 0 when it had left before."""
        waiting = self._waiting.pop(request_id, None)
        if waiting is None:
            return 0
        self._num_waiting[waiting.owner] -= 1
        self._work[waiting.owner] -= waiting.work
        if not self._num_waiting[waiting.owner]:
            del self._num_waiting[waiting.owner], self._work[waiting.owner]
        return waiting.num_prompt_tokens

    def note_step(self, deltas: Sequence[ChoiceDelta], now: float) -> None:
        """What a step has got done: prompts that have their first token, and tokens."""
        seconds, self._last = max(0.0, now - self._last), now
        done = sum(DECODE_WEIGHT * len(delta.token_ids) for delta in deltas)
        done += sum(max(0, self.leave(delta.request_id) - delta.num_cached_tokens) for delta in deltas)
        kept = max(0.0, 1 - seconds / MEMORY_SECONDS)
        self._busy_seconds = self._busy_seconds * kept + seconds
        self._done = self._done * kept + done

    def note_answer(self, num_output_tokens: int) -> None:
        """A request has ended by itself, with so many tokens a choice."""
        mean = num_output_tokens if self._mean_output is None else self._mean_output
        self._mean_output = 0.9 * mean + 0.1 * num_output_tokens

    def seconds_before(self, owner: str) -> float:
        """Until the next request of this owner would begin; 0 while the speed isn't known."""
        own = self._work.get(owner, 0.0)
        return self._seconds(own + sum(min(work, own) for other, work in self._work.items() if other != owner))

    @property
    def seconds_in_all(self) -> float:
        """Until all that waits now has begun."""
        return self._seconds(sum(self._work.values()))

    def seconds_for_a_place(self, owner: str) -> float:
        """Until one waiting request of this owner begins."""
        num_own = self._num_waiting[owner]
        return self._seconds(self._work[owner] / num_own * self.num_owners) if num_own else 0.0

    def _work_of(self, request: GenerateRequest) -> float:
        if request.continuations:
            return len(request.prompt_ids) + DECODE_WEIGHT * sum(map(len, request.continuations))
        num_output = request.sampling.max_tokens
        if self._mean_output is not None:
            num_output = min(num_output, round(self._mean_output))
        return len(request.prompt_ids) + DECODE_WEIGHT * request.n * num_output

    def _seconds(self, work: float) -> float:
        if self._busy_seconds < MIN_BUSY_SECONDS or not self._done:
            return 0.0
        return work * self._busy_seconds / self._done


def has_filled_its_share(num_own: int, num_waiting: int, num_owners: int, limit: int) -> bool:
    """A full queue is closed to owners that fill their even share of it, and open to others."""
    return num_own >= limit or (num_waiting >= limit and num_own * num_owners >= limit)


def bounded_retry(seconds: float) -> float:
    """As Retry-After: nobody is sent away for less than a second or more than ten minutes."""
    return min(max(1.0, seconds), MAX_RETRY_SECONDS)
