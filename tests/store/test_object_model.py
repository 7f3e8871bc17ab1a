"""The repositories beside a dict that does the same: any order of calls by any owners ends alike."""

from __future__ import annotations

import asyncio
import tempfile
import uuid
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)
from migrated import migrate

from llmos_server.errors import InvalidRequest
from llmos_server.store.database import Database
from llmos_server.store.store import Store

OWNERS = st.sampled_from(["", "a", "b"])
NAMES = st.sampled_from(["r1", "r2", "r3", "r4"])
PREVIOUS = st.none() | NAMES
ITEMS = st.sampled_from(["i1", "i2", "i3", "i4", "i5"])
RATINGS = st.none() | st.sampled_from([-1, 0, 1])
TEXTS = st.text(st.characters(exclude_categories=("Cs",)), max_size=20)


class Objects(RuleBasedStateMachine):
    url = ""
    prefix = ""
    """Of owners' ids, so that examples may share a database."""

    def __init__(self) -> None:
        super().__init__()
        self.folder = tempfile.TemporaryDirectory()
        self.loop = asyncio.Runner()
        self.store = Store(Database(Path(self.folder.name), self.url))
        self.run(migrate(self.store.database))
        self.prefix = uuid.uuid4().hex[:8] if self.url else ""
        self.responses: dict[tuple[str, str], tuple[dict[str, Any], list[Any]]] = {}
        self.feedback: dict[str, tuple[str, str, int | None]] = {}
        self.conversations: dict[str, tuple[str, dict[str, str], list[dict[str, Any]]]] = {}

    def run(self, work: Any) -> Any:
        return self.loop.run(work)

    def choose(self, data: Any) -> str:
        """By place: ids are others at each run."""
        return list(self.conversations)[data.draw(st.integers(0, len(self.conversations) - 1))]

    def of(self, owner: str) -> str:
        return self.prefix + owner

    def teardown(self) -> None:
        self.run(self.store.close())
        self.loop.close()
        self.folder.cleanup()

    @rule(owner=OWNERS, name=NAMES, previous=PREVIOUS, text=TEXTS, is_finished=st.booleans())
    def save(self, owner: str, name: str, previous: str | None, text: str, is_finished: bool) -> None:
        status = "completed" if is_finished else "in_progress"
        response = {"id": name, "previous_response_id": previous, "status": status, "output": [{"text": text}]}
        self.run(self.store.responses.save(self.of(owner), response, [{"asked": text}]))
        self.responses[owner, name] = (response, [{"asked": text}])

    @rule(owner=OWNERS, name=NAMES, text=TEXTS)
    def replace_unfinished(self, owner: str, name: str, text: str) -> None:
        kept = self.responses.get((owner, name))
        is_open = kept is not None and kept[0]["status"] == "in_progress"
        response = {**(kept[0] if kept else {"id": name}), "status": "completed", "output": [{"text": text}]}
        assert self.run(self.store.responses.replace_unfinished(self.of(owner), response)) is is_open
        if kept and is_open:
            self.responses[owner, name] = (response, kept[1])

    @rule(owner=OWNERS, name=NAMES)
    def delete(self, owner: str, name: str) -> None:
        was_there = self.responses.pop((owner, name), None) is not None
        assert self.run(self.store.responses.delete(self.of(owner), name)) is was_there

    @rule(owner=OWNERS, name=NAMES)
    def history(self, owner: str, name: str) -> None:
        try:
            found = self.run(self.store.responses.history(self.of(owner), name))
        except InvalidRequest:
            found = InvalidRequest
        assert found == self.expected_history(owner, name)

    def expected_history(self, owner: str, name: str) -> Any:
        """InvalidRequest for a chain with something missing, unfinished or without an end."""
        items: list[Any] = []
        place: str | None = name
        seen: set[str] = set()
        while place is not None:
            kept = self.responses.get((owner, place))
            if kept is None and place == name:
                return None
            if kept is None or place in seen or kept[0]["status"] != "completed":
                return InvalidRequest
            seen.add(place)
            items = [*kept[1], *kept[0]["output"], *items]
            place = kept[0].get("previous_response_id")
        return items

    @precondition(lambda self: len(self.conversations) < 4)
    @rule(owner=OWNERS, text=TEXTS)
    def create(self, owner: str, text: str) -> None:
        made = self.run(self.store.conversations.create(self.of(owner), {"text": text}))
        self.conversations[made.id] = (owner, {"text": text}, [])

    @precondition(lambda self: self.conversations)
    @rule(data=st.data(), owner=OWNERS, names=st.lists(ITEMS, max_size=3), text=TEXTS)
    def add(self, data: Any, owner: str, names: list[str], text: str) -> None:
        chosen = self.choose(data)
        new = [{"id": name, "text": text} for name in names]
        of, _, items = self.conversations[chosen]
        clashes = len(set(names)) < len(names) or (of == owner and {i["id"] for i in items} & set(names))
        try:
            was_added = self.run(self.store.conversations.add_items(self.of(owner), chosen, new))
        except InvalidRequest:
            assert clashes
        else:
            assert not clashes
            assert was_added is (of == owner)
            items += new if was_added else []

    @precondition(lambda self: self.conversations)
    @rule(data=st.data(), owner=OWNERS, name=ITEMS)
    def delete_item(self, data: Any, owner: str, name: str) -> None:
        chosen = self.choose(data)
        of, _, items = self.conversations[chosen]
        there = [item for item in items if item["id"] == name and of == owner]
        assert self.run(self.store.conversations.delete_item(self.of(owner), chosen, name)) is bool(there)
        for item in there:
            items.remove(item)

    @precondition(lambda self: self.conversations)
    @rule(data=st.data(), owner=OWNERS)
    def delete_conversation(self, data: Any, owner: str) -> None:
        chosen = self.choose(data)
        is_mine = self.conversations[chosen][0] == owner
        assert self.run(self.store.conversations.delete(self.of(owner), chosen)) is is_mine
        if is_mine:
            del self.conversations[chosen]

    @rule(owner=OWNERS)
    def erase(self, owner: str) -> None:
        for kind in ("responses", "conversations", "feedback"):
            self.run(self.store.object_removals.remove(kind, self.of(owner), None, 100))
        self.responses = {key: kept for key, kept in self.responses.items() if key[0] != owner}
        self.conversations = {key: kept for key, kept in self.conversations.items() if kept[0] != owner}
        self.feedback = {key: kept for key, kept in self.feedback.items() if kept[0] != owner}

    @precondition(lambda self: len(self.feedback) < 8)
    @rule(owner=OWNERS, text=TEXTS, rating=RATINGS)
    def give_feedback(self, owner: str, text: str, rating: int | None) -> None:
        made = self.run(self.store.feedback.add(self.of(owner), "tiny", rating, {"answer": text}))
        self.feedback[made.id] = (owner, text, rating)
        assert self.run(self.store.feedback.get(self.of(owner), made.id)) == made

    @precondition(lambda self: self.feedback)
    @rule(data=st.data(), owner=OWNERS)
    def take_feedback_back(self, data: Any, owner: str) -> None:
        chosen = list(self.feedback)[data.draw(st.integers(0, len(self.feedback) - 1))]
        is_mine = self.feedback[chosen][0] == owner
        found = self.run(self.store.feedback.get(self.of(owner), chosen))
        assert (found and found.content) == ({"answer": self.feedback[chosen][1]} if is_mine else None)
        assert self.run(self.store.feedback.delete(self.of(owner), chosen)) is is_mine
        if is_mine:
            del self.feedback[chosen]

    @rule(owner=OWNERS, order=st.sampled_from(["asc", "desc"]), limit=st.integers(1, 4), rating=RATINGS)
    def pages_of_feedback(self, owner: str, order: str, limit: int, rating: int | None) -> None:
        expected = [name for name, (of, _, rated) in self.feedback.items() if of == owner and rating in (None, rated)]
        list_page = self.store.feedback.list
        found: list[Any] = []
        after, has_more = None, True
        while has_more:
            page = self.run(list_page(self.of(owner), after=after, limit=limit, order=order, rating=rating))
            found, has_more = [*found, *page.rows], page.has_more
            after = page.rows[-1].id if page.rows else None
        assert {row.id for row in found} == set(expected)
        assert len(found) == len(expected)
        times = [(row.created, row.id) for row in found]
        assert times == sorted(times, reverse=order == "desc")

    @rule(owner=OWNERS, order=st.sampled_from(["asc", "desc"]), limit=st.integers(1, 3))
    def pages_of_conversations(self, owner: str, order: str, limit: int) -> None:
        expected = {name: len(items) for name, (of, _, items) in self.conversations.items() if of == owner}
        found: list[Any] = []
        after, has_more = None, True
        while has_more:
            page = self.run(self.store.conversations.list(self.of(owner), after=after, limit=limit, order=order))
            found, has_more = [*found, *page.conversations], page.has_more
            after = page.conversations[-1].id if page.conversations else None
        assert {one.id: one.num_items for one in found} == expected
        assert len(found) == len(expected)
        times = [(one.created, one.id) for one in found]
        assert times == sorted(times, reverse=order == "desc")

    @precondition(lambda self: self.conversations)
    @rule(data=st.data(), order=st.sampled_from(["asc", "desc"]), limit=st.none() | st.integers(1, 4))
    def pages(self, data: Any, order: str, limit: int | None) -> None:
        chosen = self.choose(data)
        owner, _, items = self.conversations[chosen]
        expected = items if order == "asc" else items[::-1]
        found: list[Any] = []
        after, has_more = None, True
        while has_more:
            page = self.run(
                self.store.conversations.list_items(self.of(owner), chosen, after=after, limit=limit, order=order)
            )
            found, has_more = [*found, *page.items], page.has_more
            after = page.items[-1]["id"] if page.items else None
        assert found == expected

    @invariant()
    def all_is_as_in_the_dict(self) -> None:
        for owner in ("", "a", "b"):
            for name in ("r1", "r2", "r3", "r4"):
                found = self.run(self.store.responses.get(self.of(owner), name))
                kept = self.responses.get((owner, name))
                assert (found and (found.response, found.input_items)) == kept
            for name, (of, metadata, _) in self.conversations.items():
                conversation = self.run(self.store.conversations.get(self.of(owner), name))
                assert (conversation and conversation.metadata) == (metadata if of == owner else None)


def check(url: str, max_examples: int, steps: int) -> None:
    machine = type("Machine", (Objects,), {"url": url})
    run_state_machine_as_test(
        machine,
        settings=settings(
            max_examples=max_examples,
            stateful_step_count=steps,
            deadline=None,
            database=None,
            suppress_health_check=list(HealthCheck),
        ),
    )


def test_any_calls_end_as_in_a_dict(url: str) -> None:
    check(url, max_examples=15, steps=30)


@pytest.mark.proof
def test_any_calls_end_as_in_a_dict_often(url: str) -> None:
    check(url, max_examples=300, steps=60)
