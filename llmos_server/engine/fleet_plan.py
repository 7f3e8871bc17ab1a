"""Who has a worker, who waits for one, and who has to go: bookkeeping without workers, clocks or waits.

The rules, which the tests of this module prove:

1. The bytes of all workers, those on their way out included, never exceed the budget.
2. A model is evicted only while nobody uses it, and a pinned one never.
3. Requests that wait for a load are served in the order in which they came, model by model: nothing that came later
   is loaded before the first in the queue. Requests for models that are loaded pass the queue.
4. When the first in the queue has waited `patience` seconds and all that could make room are in use, the least
   recently used of them become victims: their new requests queue like any for a model that isn't loaded. So their
   users only get fewer, they end, and nobody starves as long as every request ends. The victims stay the same
   until the first in the queue is another model.
5. What doesn't fit beside the pinned models that are loaded, and beside what is lent, is refused at once.
6. Memory is lent to jobs while nobody waits for a load, first come, first served; what is lent counts as workers' bytes
   do. Room is made by pools that give pages back, those of idle models first; then idle models go, the least recently
   used first; never one that is in use or pinned, and nothing at all as long as that wouldn't be enough.
7. When nothing is lent any more, and nobody waits, pools become whole again, as far as others have left room.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Literal


@dataclass(slots=True, eq=False)
class Slot:
    """One version of one model. Times are seconds of one monotonic clock."""

    name: str
    num_bytes: int = 0
    """What its worker takes. Changes only while it is absent and nobody waits for it, and as its pool does."""
    spare_bytes: int = 0
    """Of these, what its pool could give back; 0 until it is ready."""
    giving_bytes: int = 0
    """Of these, what it was told to give back."""
    given_bytes: int = 0
    """What it has given back, and is no part of num_bytes any more."""
    is_pinned: bool = False
    place: Literal["absent", "present", "leaving"] = "absent"
    """present: has a worker, which may still load. leaving: that was told to end, and its bytes aren't free yet."""
    is_unwanted: bool = False
    """Somebody asked to unload it: it goes, even if pinned, as soon as nobody uses it."""
    num_users: int = 0
    last_used: float = 0.0
    ready_at: float | None = None
    """When its worker was first seen ready; None before."""


@dataclass(slots=True, eq=False)
class Ticket:
    """One request's wish to use a slot."""

    slot: Slot
    state: Literal["waiting", "admitted", "refused"] = "waiting"


@dataclass(frozen=True, slots=True)
class Load:
    """Start a worker."""

    slot: Slot


@dataclass(frozen=True, slots=True)
class Evict:
    """End the worker, then call gone()."""

    slot: Slot


@dataclass(frozen=True, slots=True)
class Settle:
    """The ticket was admitted, and its slot has one user more; or it was refused, for it can't fit."""

    ticket: Ticket


@dataclass(slots=True, eq=False)
class Loan:
    """Memory for a job, until it ends."""

    num_bytes: int
    """Of the budget."""
    wanted_bytes: int = 0
    """What the job may take, with what was free beside the budget."""
    is_granted: bool = False


@dataclass(frozen=True, slots=True)
class Shrink:
    """Its pool gives back what the slot's giving_bytes and given_bytes say, then call given()."""

    slot: Slot


@dataclass(frozen=True, slots=True)
class Grow:
    """Its pool has pages again, but for given_bytes."""

    slot: Slot


@dataclass(frozen=True, slots=True)
class Grant:
    loan: Loan


Action = Load | Evict | Settle | Shrink | Grow | Grant


@dataclass(slots=True)
class FleetPlan:
    """Call step() after every change, and do what it says."""

    budget: int
    patience: float
    idle_seconds: float = 0.0
    """A slot that nobody has used for so long is evicted; 0: only when its room is needed."""
    slots: list[Slot] = field(default_factory=list)
    queue: list[Ticket] = field(default_factory=list)
    loans: list[Loan] = field(default_factory=list)
    """Granted ones, and those that wait."""
    _victims: list[Slot] = field(default_factory=list)
    _first: Slot | None = None
    _first_since: float = 0.0

    @property
    def num_bytes(self) -> int:
        """Of all workers."""
        return sum(slot.num_bytes for slot in self.slots if slot.place != "absent")

    @property
    def num_lent(self) -> int:
        return sum(loan.num_bytes for loan in self.loans if loan.is_granted)

    @property
    def num_free(self) -> int:
        return self.budget - self.num_lent - self.num_bytes

    def room_for(self, slot: Slot) -> int:
        """Bytes that this one could get if all that may be evicted were."""
        pinned = (s for s in self._present() if s is not slot and s.is_pinned and not s.is_unwanted)
        return self.budget - self.num_lent - sum(s.num_bytes for s in pinned)

    def is_draining(self, slot: Slot) -> bool:
        """Present, but closed to new users."""
        return slot.place == "present" and (slot.is_unwanted or slot in self._victims)

    def pin(self, slot: Slot, *, is_pinned: bool) -> None:
        """A pinned victim is none any more; step() looks for others."""
        slot.is_pinned = is_pinned
        if is_pinned and slot in self._victims:
            self._victims.remove(slot)

    def ask(self, slot: Slot) -> Ticket:
        """One request more; step() settles it, now or later."""
        ticket = Ticket(slot)
        self.queue.append(ticket)
        return ticket

    def withdraw(self, ticket: Ticket) -> None:
        """Its request has gone. Safe in every state: what was admitted is left."""
        if ticket in self.queue:
            self.queue.remove(ticket)

    def ask_loan(self, loan: Loan) -> None:
        """step() grants it, now or later. Until then it may be asked for anew, with other bytes."""
        if loan not in self.loans:
            self.loans.append(loan)

    def end_loan(self, loan: Loan) -> None:
        """Safe in every state."""
        if loan in self.loans:
            self.loans.remove(loan)

    def leave(self, slot: Slot, now: float) -> None:
        """An admitted request is over."""
        slot.num_users -= 1
        slot.last_used = now

    def fail(self, slot: Slot) -> Evict:
        """Its worker is of no use any more; whoever uses it is told elsewhere."""
        slot.place = "leaving"
        return Evict(slot)

    def gone(self, slot: Slot) -> None:
        """The worker of a leaving slot has ended: its bytes are free."""
        slot.place, slot.is_unwanted, slot.ready_at = "absent", False, None
        slot.num_bytes += slot.given_bytes
        slot.spare_bytes = slot.giving_bytes = slot.given_bytes = 0

    def given(self, slot: Slot) -> None:
        """Its pool is as small as it was told to become."""
        slot.num_bytes -= slot.giving_bytes
        slot.given_bytes += slot.giving_bytes
        slot.giving_bytes = 0

    def step(self, now: float) -> list[Action]:
        """What to do next, in order. The plan takes it for done, but for gone()."""
        actions: list[Action] = []
        while True:
            self._note_first(now)
            actions += self._admit()
            actions += self._evict(self._abandoned(now))
            if not self.queue:
                return [*actions, *self._lend()]
            slot = self.queue[0].slot
            if slot is not self._first:
                continue
            if slot.place != "absent":
                return actions  # On its way out; its gone() lets it in again.
            if slot.num_bytes > self.room_for(slot):
                actions += self._settle(slot, "refused")
            elif slot.num_bytes <= self.num_free:
                slot.place, slot.last_used = "present", now
                actions.append(Load(slot))
            else:
                return [*actions, *self._make_room(slot, now)]

    def next_change(self) -> float | None:
        """When step() may have something to do although nothing has changed, for want of use; None: never."""
        if not self.idle_seconds:
            return None
        return min((slot.last_used + self.idle_seconds for slot in self._idle() if not slot.is_pinned), default=None)

    def _present(self) -> list[Slot]:
        return [slot for slot in self.slots if slot.place == "present"]

    def _idle(self) -> list[Slot]:
        return [slot for slot in self._present() if not slot.num_users]

    def _abandoned(self, now: float) -> list[Slot]:
        """Idle, and either unwanted or unused for too long."""

        def is_expired(slot: Slot) -> bool:
            return bool(self.idle_seconds) and not slot.is_pinned and now - slot.last_used >= self.idle_seconds

        return [slot for slot in self._idle() if slot.is_unwanted or is_expired(slot)]

    def _note_first(self, now: float) -> None:
        first = self.queue[0].slot if self.queue else None
        if first is not self._first:
            self._first, self._first_since = first, now
            self._victims.clear()

    def _admit(self) -> list[Action]:
        actions: list[Action] = []
        for slot in self._present():
            if not self.is_draining(slot):
                actions += self._settle(slot, "admitted")
        return actions

    def _settle(self, slot: Slot, state: Literal["admitted", "refused"]) -> list[Action]:
        tickets = [ticket for ticket in self.queue if ticket.slot is slot]
        if tickets:
            self.queue = [ticket for ticket in self.queue if ticket.slot is not slot]
        for ticket in tickets:
            ticket.state = state
            slot.num_users += state == "admitted"
        return [Settle(ticket) for ticket in tickets]

    def _evict(self, slots: Iterable[Slot]) -> list[Action]:
        actions: list[Action] = []
        for slot in slots:
            slot.place = "leaving"
            actions.append(Evict(slot))
        return actions

    def _make_room(self, slot: Slot, now: float) -> list[Action]:
        """Evict what is idle if that is enough; else, once patience is over, make victims of what is in use."""
        promised = [s for s in self.slots if s.place == "leaving" or self.is_draining(s)]
        shortfall = slot.num_bytes - self.num_free - sum(s.num_bytes for s in promised)
        if shortfall > 0:
            free = [s for s in self._present() if not s.is_pinned and not self.is_draining(s)]
            idle = sorted((s for s in free if not s.num_users), key=lambda s: s.last_used)
            chosen = _enough(idle, shortfall)
            if not chosen and now - self._first_since >= self.patience:
                ripe = (s for s in free if s.num_users and self._is_ripe(s, now))
                chosen = _enough([*idle, *sorted(ripe, key=lambda s: s.last_used)], shortfall)
            self._victims += chosen
        return self._evict(s for s in self._victims if s.place == "present" and not s.num_users)

    def _lend(self) -> list[Action]:
        """Grant the loans that wait, or make room for the first of them; or undo what was done for those before."""
        actions: list[Action] = []
        for loan in [loan for loan in self.loans if not loan.is_granted]:
            if loan.num_bytes > self.num_free:
                return [*actions, *self._make_room_to_lend(loan.num_bytes - self.num_free)]
            loan.is_granted = True
            actions.append(Grant(loan))
        return actions if self.loans else self._restore()

    def _make_room_to_lend(self, shortfall: int) -> list[Action]:
        shortfall -= sum(s.num_bytes if s.place == "leaving" else s.giving_bytes for s in self.slots)
        if shortfall <= 0:
            return []
        givers = [s for s in self._present() if s.spare_bytes and not s.giving_bytes and not s.is_unwanted]

        def is_enough(evicted: list[Slot]) -> bool:
            given = sum(s.spare_bytes for s in givers if s not in evicted)
            return given + sum(s.num_bytes - s.giving_bytes for s in evicted) >= shortfall

        evicted: list[Slot] = []
        for slot in sorted((s for s in self._idle() if not s.is_pinned), key=lambda s: s.last_used):
            if not is_enough(evicted):
                evicted.append(slot)
        if not is_enough(evicted):
            return []
        for slot in list(evicted):
            if is_enough(others := [s for s in evicted if s is not slot]):
                evicted = others
        shortfall -= sum(s.num_bytes - s.giving_bytes for s in evicted)
        actions = self._evict(evicted)
        for slot in sorted((s for s in givers if s not in evicted), key=lambda s: (s.num_users > 0, s.last_used)):
            if shortfall > 0:
                slot.giving_bytes = min(slot.spare_bytes, shortfall)
                slot.spare_bytes -= slot.giving_bytes
                shortfall -= slot.giving_bytes
                actions.append(Shrink(slot))
        return actions

    def _restore(self) -> list[Action]:
        """The most recently used first."""
        actions: list[Action] = []
        for slot in sorted(self._present(), key=lambda s: -s.last_used):
            num_bytes = min(slot.given_bytes, self.num_free)
            if num_bytes > 0 and not slot.giving_bytes:
                slot.given_bytes -= num_bytes
                slot.num_bytes += num_bytes
                slot.spare_bytes += num_bytes
                actions.append(Grow(slot))
        return actions

    def _is_ripe(self, slot: Slot, now: float) -> bool:
        """It was of use for a while: loading in order to evict at once would serve nobody."""
        return slot.ready_at is not None and now - slot.ready_at >= self.patience


def _enough(slots: Iterable[Slot], num_bytes: int) -> list[Slot]:
    """The first ones that together give so many bytes, without those that aren't needed for it; [] if all don't."""
    chosen: list[Slot] = []
    for slot in slots:
        chosen.append(slot)
        if sum(s.num_bytes for s in chosen) >= num_bytes:
            break
    spare = sum(s.num_bytes for s in chosen) - num_bytes
    if spare < 0:
        return []
    for slot in list(chosen):
        if slot.num_bytes <= spare:
            chosen.remove(slot)
            spare -= slot.num_bytes
    return chosen
