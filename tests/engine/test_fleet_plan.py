"""The rules of fleet_plan.py, one by one and under every schedule that hypothesis finds."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from llmos_server.engine.fleet_plan import Action, Evict, FleetPlan, Grant, Grow, Load, Loan, Shrink, Slot, Ticket

PATIENCE = 5.0
IDLE = 60.0


def create(budget: int, *sizes: int, pinned: int | None = None, idle: float = 0.0) -> tuple[FleetPlan, list[Slot]]:
    slots = [Slot(f"m{place}", size, is_pinned=place == pinned) for place, size in enumerate(sizes)]
    return FleetPlan(budget, PATIENCE, idle, slots), slots


def use(plan: FleetPlan, slot: Slot, now: float) -> Ticket:
    """Ask, load at once if need be."""
    ticket = plan.ask(slot)
    plan.step(now)
    slot.ready_at = now if slot.ready_at is None else slot.ready_at
    return ticket


def test_what_fits_is_loaded_and_what_is_loaded_is_shared() -> None:
    plan, (a, b) = create(10, 4, 6)
    assert [use(plan, slot, 0.0).state for slot in (a, b, a)] == ["admitted"] * 3
    assert (a.num_users, b.num_users, plan.num_bytes) == (2, 1, 10)


def test_the_least_recently_used_idle_one_goes() -> None:
    plan, (a, b, c) = create(10, 5, 5, 5)
    for now, slot in enumerate((a, b)):
        use(plan, slot, now)
        plan.leave(slot, now + 0.5)
    use(plan, a, 2.0)
    plan.leave(a, 3.0)
    ticket = plan.ask(c)
    assert plan.step(4.0) == [Evict(b)]
    assert plan.step(5.0) == []  # Its memory isn't free yet.
    plan.gone(b)
    assert plan.step(6.0)[0] == Load(c)
    assert ticket.state == "admitted"


def test_no_more_goes_than_has_to() -> None:
    plan, (a, b, c) = create(10, 2, 7, 6)
    for slot in (a, b):
        use(plan, slot, 0.0)
        plan.leave(slot, 1.0 if slot is a else 2.0)
    plan.ask(c)
    assert plan.step(3.0) == [Evict(b)]


def test_nothing_idle_goes_as_long_as_that_would_not_be_enough() -> None:
    plan, (a, b, c) = create(10, 4, 6, 8)
    use(plan, a, 0.0)
    use(plan, b, 0.0)
    plan.leave(a, 0.0)
    plan.ask(c)
    assert plan.step(1.0) == []
    assert plan.step(1.0 + PATIENCE) == [Evict(a)]
    assert plan.is_draining(b)


def test_after_some_patience_new_requests_of_a_busy_model_queue() -> None:
    plan, (a, b) = create(5, 5, 5)
    use(plan, a, 0.0)
    waiting = plan.ask(b)
    assert plan.step(1.0) == []
    assert use(plan, a, 2.0).state == "admitted"
    plan.step(1.0 + PATIENCE)
    late = use(plan, a, 7.0)
    assert late.state == "waiting"
    plan.leave(a, 8.0)
    assert plan.step(8.0) == []
    plan.leave(a, 9.0)
    assert plan.step(9.0) == [Evict(a)]
    plan.gone(a)
    assert plan.step(10.0)[0] == Load(b)
    assert (waiting.state, late.state) == ("admitted", "waiting")
    b.ready_at = 12.0
    assert plan.step(12.0 + PATIENCE) == []
    assert plan.is_draining(b)  # Now it is the turn of what it drove out.


def test_when_the_one_that_waited_gives_up_its_victim_is_open_again() -> None:
    plan, (a, b) = create(5, 5, 5)
    use(plan, a, 0.0)
    waiting = plan.ask(b)
    plan.step(0.0)
    plan.step(PATIENCE)
    late = use(plan, a, 6.0)
    plan.withdraw(waiting)
    plan.step(7.0)
    assert late.state == "admitted"


def test_a_pinned_model_stays_and_what_does_not_fit_beside_it_is_refused() -> None:
    plan, (a, b, c) = create(10, 6, 4, 5, pinned=0)
    use(plan, a, 0.0)
    plan.leave(a, 0.0)
    use(plan, b, 0.0)
    plan.leave(b, 0.0)
    assert plan.room_for(c) == 4
    assert use(plan, c, 1.0).state == "refused"
    assert (a.place, b.place) == ("present", "present")


def test_a_victim_that_is_pinned_stays_and_another_goes() -> None:
    plan, (a, b, c) = create(10, 5, 5, 5)
    for now, slot in enumerate((a, b)):
        use(plan, slot, now)
    plan.ask(c)
    plan.step(10.0)
    assert plan.step(10.0 + PATIENCE) == []
    assert plan.is_draining(a)
    plan.pin(a, is_pinned=True)
    plan.step(20.0)
    assert (plan.is_draining(a), plan.is_draining(b)) == (False, True)


def test_what_is_unwanted_goes_with_its_last_user_and_comes_back_when_asked_for() -> None:
    plan, (a,) = create(10, 6, pinned=0)
    use(plan, a, 0.0)
    a.is_unwanted = True
    again = use(plan, a, 1.0)
    plan.leave(a, 2.0)
    assert plan.step(2.0) == [Evict(a)]
    plan.gone(a)
    assert plan.step(3.0)[0] == Load(a)
    assert again.state == "admitted"


def test_what_nobody_uses_for_long_goes() -> None:
    plan, (a, b) = create(10, 3, 3, pinned=1, idle=IDLE)
    for slot in (a, b):
        use(plan, slot, 0.0)
        plan.leave(slot, 1.0)
    assert plan.next_change() == 1.0 + IDLE
    assert plan.step(IDLE) == []
    assert plan.step(1.0 + IDLE) == [Evict(a)]
    assert plan.next_change() is None


def lend(plan: FleetPlan, num_bytes: int, now: float) -> tuple[Loan, list[Action]]:
    loan = Loan(num_bytes)
    plan.ask_loan(loan)
    return loan, plan.step(now)


def test_a_loan_that_fits_disturbs_nobody() -> None:
    plan, (a,) = create(10, 6)
    use(plan, a, 0.0)
    loan, actions = lend(plan, 4, 1.0)
    assert actions == [Grant(loan)]
    assert (plan.num_free, plan.room_for(a)) == (0, 6)


def test_pools_give_back_first_those_of_idle_models_before_others() -> None:
    plan, (a, b, c) = create(12, 4, 4, 4)
    for now, slot in enumerate((a, b, c)):
        use(plan, slot, now)
        slot.spare_bytes = 2
    plan.leave(b, 5.0)
    loan, actions = lend(plan, 3, 6.0)
    assert actions == [Shrink(b), Shrink(a)]
    assert (b.giving_bytes, a.giving_bytes) == (2, 1)
    assert plan.step(7.0) == []  # They haven't yet.
    plan.given(b)
    assert plan.step(8.0) == []
    plan.given(a)
    assert plan.step(9.0) == [Grant(loan)]
    assert [slot.num_bytes for slot in (a, b, c)] == [3, 2, 4]
    plan.end_loan(loan)
    assert plan.step(10.0) == [Grow(b), Grow(a)]
    assert [slot.num_bytes for slot in (a, b, c)] == [4, 4, 4]


def test_idle_models_go_when_pools_are_not_enough_and_models_in_use_never() -> None:
    plan, (a, b, c) = create(12, 4, 4, 4, pinned=0)
    for now, slot in enumerate((a, b, c)):
        use(plan, slot, now)
        slot.spare_bytes = 1
    plan.leave(a, 3.0)
    assert lend(plan, 7, 4.0)[1] == []
    plan.leave(b, 5.0)
    assert plan.step(5.0) == []  # 4 of b, 1 of a and c each: not enough, so nobody is disturbed.
    plan.loans[0].num_bytes = 5
    assert plan.step(6.0) == [Evict(b), Shrink(a)]
    plan.gone(b)
    plan.given(a)
    assert plan.step(7.0) == [Grant(plan.loans[0])]
    assert b.num_bytes == 4


def test_who_waits_for_a_load_comes_before_a_job() -> None:
    plan, (a, b) = create(6, 4, 4)
    use(plan, a, 0.0)
    waiting = plan.ask(b)
    plan.step(1.0)
    loan, actions = lend(plan, 2, 1.0)
    assert actions == []
    plan.withdraw(waiting)
    assert plan.step(2.0) == [Grant(loan)]


def test_what_does_not_fit_beside_a_loan_is_refused() -> None:
    plan, (a, b) = create(10, 4, 8)
    lend(plan, 5, 0.0)
    assert use(plan, a, 1.0).state == "admitted"
    plan.leave(a, 1.5)
    assert use(plan, b, 2.0).state == "refused"
    assert a.place == "present"


class FleetMachine(RuleBasedStateMachine):
    """Requests come, are used and go; workers get ready, fail and end, in any order."""

    @initialize(
        budget=st.integers(4, 12),
        sizes=st.lists(st.integers(1, 8), min_size=2, max_size=5),
        pinned=st.sets(st.integers(0, 4), max_size=2),
        idle=st.sampled_from([0.0, 20.0]),
    )
    def begin(self, budget: int, sizes: list[int], pinned: set[int], idle: float) -> None:
        slots = [Slot(f"m{place}", size, is_pinned=place in pinned) for place, size in enumerate(sizes)]
        self.plan = FleetPlan(budget, PATIENCE, idle, slots)
        self.sizes = {slot.name: slot.num_bytes for slot in slots}
        self.now = 0.0
        self.tickets: list[Ticket] = []
        self.loads: list[Slot] = []
        self.lent: list[Loan] = []

    def step(self) -> None:
        order = [ticket.slot for ticket in self.plan.queue]
        for action in self.plan.step(self.now):
            self.check(action, order)

    def check(self, action: Action, order: list[Slot]) -> None:
        if isinstance(action, Shrink):
            assert action.slot.place == "present"
            assert action.slot.giving_bytes > 0
            assert not self.plan.queue
        elif isinstance(action, Grow):
            assert not self.plan.loans
        elif isinstance(action, Grant):
            self.lent.append(action.loan)
        elif isinstance(action, Evict):
            assert action.slot.num_users == 0
            assert not action.slot.is_pinned or action.slot.is_unwanted
        elif isinstance(action, Load):
            before = order[: order.index(action.slot)]
            assert all(slot.place == "present" or slot.num_bytes > self.plan.room_for(slot) for slot in before)
        elif action.ticket.state == "refused":
            assert action.ticket.slot.num_bytes > self.plan.room_for(action.ticket.slot)
        else:
            assert action.ticket.state == "admitted"

    def pick(self, data: st.DataObject, wanted: Callable[[Slot], bool]) -> Slot | None:
        slots = [slot for slot in self.plan.slots if wanted(slot)]
        return data.draw(st.sampled_from(slots)) if slots else None

    @rule(data=st.data(), seconds=st.sampled_from([0.0, 0.5, 3.0, 10.0]))
    def ask(self, data: st.DataObject, seconds: float) -> None:
        self.now += seconds
        slot = self.pick(data, lambda _: True)
        assert slot is not None
        self.tickets.append(self.plan.ask(slot))
        self.step()

    @precondition(lambda self: any(ticket.state == "admitted" for ticket in self.tickets))
    @rule(data=st.data(), seconds=st.sampled_from([0.0, 1.0]))
    def leave(self, data: st.DataObject, seconds: float) -> None:
        self.now += seconds
        ticket = data.draw(st.sampled_from([t for t in self.tickets if t.state == "admitted"]))
        self.tickets.remove(ticket)
        self.plan.leave(ticket.slot, self.now)
        self.step()

    @precondition(lambda self: self.plan.queue)
    @rule(data=st.data())
    def give_up(self, data: st.DataObject) -> None:
        ticket = data.draw(st.sampled_from(self.plan.queue))
        self.plan.withdraw(ticket)
        self.tickets.remove(ticket)
        self.step()

    @rule(data=st.data())
    def get_ready(self, data: st.DataObject) -> None:
        if slot := self.pick(data, lambda s: s.place == "present" and s.ready_at is None):
            self.note_ready(slot)
            self.step()

    def note_ready(self, slot: Slot) -> None:
        slot.ready_at = self.now
        slot.spare_bytes = slot.num_bytes // 2

    @rule(num_bytes=st.integers(0, 8))
    def borrow(self, num_bytes: int) -> None:
        self.plan.ask_loan(Loan(num_bytes))
        self.step()

    @precondition(lambda self: self.plan.loans)
    @rule(data=st.data())
    def give_back(self, data: st.DataObject) -> None:
        self.plan.end_loan(data.draw(st.sampled_from(self.plan.loans)))
        self.step()

    @rule(data=st.data())
    def become_smaller(self, data: st.DataObject) -> None:
        if slot := self.pick(data, lambda s: s.giving_bytes > 0):
            self.plan.given(slot)
            self.step()

    @rule(data=st.data())
    def end(self, data: st.DataObject) -> None:
        if slot := self.pick(data, lambda s: s.place == "leaving"):
            self.plan.gone(slot)
            self.step()

    @rule(data=st.data())
    def fail(self, data: st.DataObject) -> None:
        """Its users are told so, and leave when they like."""
        if slot := self.pick(data, lambda s: s.place == "present"):
            assert self.plan.fail(slot) == Evict(slot)
            self.step()

    @rule(data=st.data())
    def unload(self, data: st.DataObject) -> None:
        if slot := self.pick(data, lambda s: s.place == "present"):
            slot.is_unwanted = True
            self.step()

    @rule(data=st.data(), is_pinned=st.booleans())
    def pin(self, data: st.DataObject, is_pinned: bool) -> None:
        slot = self.pick(data, lambda _: True)
        assert slot is not None
        self.plan.pin(slot, is_pinned=is_pinned)
        self.step()

    @invariant()
    def the_account_is_true(self) -> None:
        if not hasattr(self, "plan"):
            return
        assert self.plan.num_bytes + self.plan.num_lent <= self.plan.budget
        assert [loan for loan in self.plan.loans if loan.is_granted] == [x for x in self.lent if x in self.plan.loans]
        for slot in self.plan.slots:
            size = slot.num_bytes + slot.given_bytes
            assert size == self.sizes[slot.name]
            if slot.place == "present" and slot.ready_at is not None:
                assert slot.spare_bytes + slot.giving_bytes + slot.given_bytes == size // 2
            elif slot.place == "absent":
                assert slot.given_bytes == 0
            assert slot.num_users == sum(t.slot is slot and t.state == "admitted" for t in self.tickets)
        assert {id(t) for t in self.plan.queue} == {id(t) for t in self.tickets if t.state == "waiting"}

    def teardown(self) -> None:
        """Nobody waits for ever, although every model that is loaded gets new requests all the time."""
        if not hasattr(self, "plan"):
            return
        for loan in list(self.plan.loans):
            self.plan.end_loan(loan)
        waiting = [ticket for ticket in self.tickets if ticket.state == "waiting"]
        for _ in range(12 * (len(self.plan.slots) + 1)):
            if all(ticket.state != "waiting" for ticket in waiting):
                break
            self.one_round_under_load()
        assert all(ticket.state != "waiting" for ticket in waiting)
        while self.tickets:
            self.tickets = [t for t in self.tickets if t.state != "refused"]
            self.one_round_under_load(under_load=False)
        self.now += 2 * IDLE
        self.step()
        assert not self.plan.queue
        for slot in self.plan.slots:
            self.plan.given(slot)
        self.step()
        smaller = [slot for slot in self.plan.slots if slot.place == "present" and slot.given_bytes]
        assert not smaller or self.plan.num_free == 0

    def one_round_under_load(self, under_load: bool = True) -> None:
        admitted = [ticket for ticket in self.tickets if ticket.state == "admitted"]
        for slot in self.plan.slots:
            if slot.place == "present" and under_load:
                self.tickets.append(self.plan.ask(slot))
            if slot.place == "present" and slot.ready_at is None:
                self.note_ready(slot)
        self.now += 2.0
        self.step()
        for ticket in admitted:  # What this round admitted stays: no model is ever without a user by itself.
            self.tickets.remove(ticket)
            self.plan.leave(ticket.slot, self.now)
            self.step()
        for slot in self.plan.slots:
            if slot.place == "leaving":
                self.plan.gone(slot)
                self.step()


TestFleetMachine = FleetMachine.TestCase
TestFleetMachine.settings = settings(max_examples=150, stateful_step_count=40, deadline=None)


@pytest.mark.parametrize("num_models", [2, 5])
def test_models_that_are_always_busy_take_turns(num_models: int) -> None:
    """One fits at a time, each has a request in flight at every moment: each gets its turn, and they are even."""
    plan, slots = create(5, *[5] * num_models)
    running: list[tuple[float, Ticket]] = []
    num_served = dict.fromkeys(slots, 0)
    tickets: list[Ticket] = [plan.ask(slot) for slot in slots]
    for tick in range(4000):
        now = tick / 10
        plan.step(now)
        for ticket in [t for t in tickets if t.state == "admitted"]:
            tickets.remove(ticket)
            running.append((now + 1.0, ticket))
            tickets.append(plan.ask(ticket.slot))
        for slot in slots:
            if slot.place == "leaving":
                plan.gone(slot)
            elif slot.place == "present" and slot.ready_at is None:
                slot.ready_at = now
        for end, ticket in list(running):
            if end <= now:
                running.remove((end, ticket))
                plan.leave(ticket.slot, now)
                num_served[ticket.slot] += 1
    assert min(num_served.values()) > 0.5 * max(num_served.values()) > 0
