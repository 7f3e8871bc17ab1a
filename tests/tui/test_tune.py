"""The screen of tuning runs: start, follow, compare, promote."""

from __future__ import annotations

from pathlib import Path

import pytest
import tui_tune_data as data
from llmos_tui.screens.record import RecordScreen
from llmos_tui.screens.tune.curve_choice import CurveChoice
from llmos_tui.screens.tune.run_form import NotAnOrder, RunForm, read_order
from llmos_tui.widgets.curves import NUM_COLOURS, Curve, drawn, value_at
from llmos_tui.widgets.field import Field
from llmos_tui.widgets.run_table import RunTable
from tui_fake_server import FakeServer, Refusal, Stream
from tui_snapshots import SIZES, check_snapshot


@pytest.fixture(autouse=True)
def runs(server: FakeServer) -> Stream:
    return data.tell(server)


@pytest.mark.parametrize("size", SIZES)
async def test_as_it_looks(open_app, sees, wait_for, size: tuple[int, int]) -> None:
    async with open_app(size=size, place="tune") as pilot:
        await wait_for(pilot, lambda: "held by its gate" in sees(pilot))
        await pilot.press("space", "down", "space", "down")
        await wait_for(pilot, lambda: sees(pilot).count("━━ ") == 3)
        await check_snapshot(pilot, "tune")


async def test_the_form_as_it_looks(open_app) -> None:
    async with open_app(size=(80, 24), place="tune") as pilot:
        await pilot.press("n")
        await check_snapshot(pilot, "tune-form")


async def test_the_list_has_tuning_runs_alone_and_what_came_of_each(open_app, sees, wait_for) -> None:
    async with open_app(size=(200, 60), place="tune") as pilot:
        await wait_for(pilot, lambda: "held by its gate" in sees(pilot))
        text = sees(pilot)
        assert "its owner's" in text
        assert "The loss is not a number." in text
        assert "hf:org/big" not in text
        await pilot.press("down", "down", "enter")
        assert isinstance(pilot.app.screen, RecordScreen)
        assert "held: It did worse on tidy JSON." in sees(pilot)
        assert '"lora_r": 16' in sees(pilot)


async def test_curves_lie_over_each_other(open_app, server: FakeServer, sees, wait_for) -> None:
    async with open_app(place="tune") as pilot:
        await wait_for(pilot, lambda: "loss 1.445 at 30  smollm2:135m:ftjob-3" in sees(pilot))
        await pilot.press("space", "down")
        await wait_for(pilot, lambda: "loss 0.8681 at 75  smollm2:135m:ftjob-2" in sees(pilot))
        assert "smollm2:135m:ftjob-3\n" in sees(pilot).partition("━━")[2] + "\n"
        assert server.feed("/admin/v1/jobs/ftjob-3").num_readers == 1  # Followed on, as it is marked.
        await pilot.press("down")
        await wait_for(pilot, lambda: server.feed("/admin/v1/jobs/ftjob-2").num_readers == 0)
        await pilot.press("m")
        await wait_for(pilot, lambda: "eval_loss 0.7712 at 71  smollm2:135m:ftjob-1" in sees(pilot))
        await pilot.press("up", "up", "space")  # Its mark goes; it is the one with the cursor still.
        await wait_for(pilot, lambda: not pilot.app.screen.query_one(RunTable).marks)


async def test_a_run_is_started_with_a_file_of_this_machine(
    open_app, server: FakeServer, tmp_path: Path, sees, wait_for
) -> None:
    file = tmp_path / "examples.jsonl"
    file.write_text('{"messages": []}\n')
    server.on("POST", "/v1/files", {"id": "file-7", "filename": "examples.jsonl", "bytes": 17})
    server.on("POST", "/v1/fine_tuning/jobs", data.run(data.job("ftjob-8", state="queued")))
    async with open_app(place="tune") as pilot:
        await pilot.press("n")
        form = pilot.app.screen
        assert isinstance(form, RunForm)
        assert form.query_one("#form-model", Field).value == data.BASE
        await pilot.press("enter")
        assert "examples: a .jsonl file here" in sees(pilot)
        form.query_one("#form-training_file", Field).value = str(file)
        form.query_one("#form-n_epochs", Field).value = "3"
        form.query_one("#form-set", Field).value = '{"lora_r": 8}'
        await pilot.press("enter")
        await wait_for(pilot, lambda: "ftjob-8 waits for its turn." in sees(pilot))
    [sent] = server.requests("POST", "/v1/files")
    assert b"fine-tune" in sent.body
    assert file.read_bytes() in sent.body
    [asked] = server.requests("POST", "/v1/fine_tuning/jobs")
    assert asked.body == {
        "model": data.BASE,
        "training_file": "file-7",
        "method": {"type": "supervised", "supervised": {"hyperparameters": {"n_epochs": 3}}},
        "set": {"lora_r": 8},
    }


async def test_what_the_server_refuses_is_told_in_its_words(open_app, server: FakeServer, sees, wait_for) -> None:
    server.on("POST", "/v1/fine_tuning/jobs", lambda asked: Refusal(400, "Line 3: messages[0].role is missing."))
    async with open_app(place="tune") as pilot:
        await pilot.press("n")
        pilot.app.screen.query_one("#form-training_file", Field).value = "file-1"
        await pilot.press("enter")
        await wait_for(pilot, lambda: "Line 3: messages[0].role is missing." in sees(pilot))


async def test_a_model_is_promoted_after_a_question(open_app, server: FakeServer, sees, wait_for) -> None:
    server.on("POST", "/admin/v1/adapters/share", data.adapter(data.JOBS[1], is_shared=True))
    async with open_app(place="tune") as pilot:
        await wait_for(pilot, lambda: "its owner's" in sees(pilot))
        await pilot.press("s")  # A run that goes on has made nothing yet.
        assert pilot.app.screen.place_name == "tune"
        await pilot.press("down", "s")
        await wait_for(pilot, lambda: "It was measured by no gate." in sees(pilot))
        server.on("GET", "/admin/v1/adapters", data.AdapterList(data=[data.adapter(data.JOBS[1], is_shared=True)]))
        await pilot.press("y")
        await wait_for(pilot, lambda: "everybody's" in sees(pilot).split("RECIPE")[-1])
    assert [asked.body for asked in server.requests("POST", "/admin/v1/adapters/share")] == [
        {"name": f"{data.BASE}:ftjob-2", "owner": "key-1"}
    ]


async def test_a_name_of_applications_is_put_on_what_came_of_it(open_app, server: FakeServer, sees, wait_for) -> None:
    promoted = {"alias": "orders", "model": f"{data.BASE}:ftjob-2", "previous": 3}
    server.on("POST", "/admin/v1/promotions", promoted)
    async with open_app(place="tune") as pilot:
        await wait_for(pilot, lambda: "its owner's" in sees(pilot))
        await pilot.press("down", "a", *"orders", "enter")
        await wait_for(pilot, lambda: server.requests("POST", "/admin/v1/promotions"))
    [asked] = server.requests("POST", "/admin/v1/promotions")
    assert asked.body == {"alias": "orders", "model": f"{data.BASE}:ftjob-2", "owner": "key-1"}


async def test_a_run_is_paused_and_cancelled(open_app, server: FakeServer, sees, wait_for) -> None:
    for verb in ("pause", "cancel"):
        server.on("POST", f"/admin/v1/jobs/ftjob-3/{verb}", data.details(data.JOBS[0]))
    async with open_app(place="tune") as pilot:
        await wait_for(pilot, lambda: "running" in sees(pilot))
        await pilot.press("p")
        await wait_for(pilot, lambda: "pauses at its next step" in sees(pilot))
        await pilot.press("x", "y")
        await wait_for(pilot, lambda: server.requests("POST", "/admin/v1/jobs/ftjob-3/cancel"))


async def test_what_came_of_it_can_be_tried(open_app, server: FakeServer, sees, wait_for) -> None:
    async with open_app(place="tune") as pilot:
        await wait_for(pilot, lambda: "its owner's" in sees(pilot))
        await pilot.press("down", "c")
        await wait_for(pilot, lambda: pilot.app.screen.place_name == "chat")
        await wait_for(pilot, lambda: "smollm2:135m:ftjob-2 is not among the models." in sees(pilot))


def test_six_curves_can_be_told_apart() -> None:
    choice = CurveChoice()
    assert all(choice.turn(f"run-{number}") for number in range(NUM_COLOURS - 1))
    assert not choice.turn("one more")
    choice.point("one more")
    assert choice.followed[-1] == "one more"
    colours = [curve.colour for curve in choice.curves({})]
    assert colours == list(range(NUM_COLOURS))
    choice.keep_only(["run-1"])
    assert choice.turn("another")
    assert choice.colours == {"run-1": 1, "another": 0}


def test_a_curve_goes_through_its_points() -> None:
    points = [(0.0, 4.0), (10.0, 2.0), (20.0, 2.0)]
    assert [value_at(points, step) for step in (-1, 0, 5, 10, 15, 20, 21)] == [None, 4, 3, 2, 2, 2, None]
    falling = drawn([Curve("a", [(0.0, 1.0), (1.0, 0.0)], 2)], 8, 4)
    signs = ["".join(sign for sign, _ in line) for line in falling]
    assert [line.strip(" ⠀") != "" for line in signs] == [True] * 4
    assert signs[0].rstrip() < signs[0] or signs[0].endswith(" ")
    assert {colour for line in falling for sign, colour in line if sign != " "} == {2}
    assert drawn([], 2, 1) == [[(" ", 0), (" ", 0)]]


@pytest.mark.parametrize(
    ("field", "text", "told"),
    [
        ("n_epochs", "many", "epochs: a number"),
        ("set", "[1]", "a JSON object"),
        ("training_file", "/nowhere/x.jsonl", "no file /nowhere/x.jsonl"),
        ("model", "", "which one learns"),
    ],
)
def test_the_form_says_what_can_not_be(field: str, text: str, told: str) -> None:
    texts = dict.fromkeys(("suffix", "recipe", "validation_file", "batch_size", "learning_rate_multiplier", "gate"), "")
    good = {**texts, "model": "m", "training_file": "file-1", "n_epochs": "", "set": ""}
    assert read_order("dpo", good) == {"model": "m", "training_file": "file-1", "method": {"type": "dpo", "dpo": {}}}
    with pytest.raises(NotAnOrder, match=told):
        read_order("dpo", {**good, field: text})
