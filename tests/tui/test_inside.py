"""Looking into a model: structure, attention, template."""

from __future__ import annotations

from typing import Any

import pytest
import tui_models_data as data
from llmos_tui.calls.inside import NotAPrompt, read_prompt
from llmos_tui.screens.models.template_view import TemplateView
from llmos_tui.widgets.field import Field
from llmos_tui.widgets.heat_map import HeatMap
from llmos_tui.widgets.line import Line
from llmos_tui.widgets.structure_tree import StructureTree
from textual.widget import Widget
from tui_fake_server import Asked, FakeServer, Refusal
from tui_snapshots import SIZES, check_snapshot

from llmos_server.api.schemas.admin_inspection import AttentionAnswer


@pytest.fixture(autouse=True)
def inside(server: FakeServer) -> None:
    server.on("GET", "/admin/v1/models", data.models(data.model(), data.encoder()))
    server.on("GET", "/admin/v1/models/structure", data.structure())
    server.on("GET", "/admin/v1/models/template", data.template())
    server.on("POST", "/admin/v1/models/preview", data.preview())
    server.on("POST", "/admin/v1/models/attention", attention)


def attention(asked: Asked) -> AttentionAnswer:
    return data.attention(asked.body["layer"], asked.body.get("head"))


def asked_of(server: FakeServer, what: str) -> list[dict[str, Any]]:
    return [asked.body for asked in server.requests("POST", f"/admin/v1/models/{what}")]


def lines(widget: Widget) -> list[str]:
    """What is drawn, without what is empty."""
    drawn = ["".join(segment.text for segment in widget.render_line(y)).rstrip() for y in range(widget.size.height)]
    return [line for line in drawn if line]


@pytest.mark.parametrize("size", SIZES)
async def test_a_structure_as_it_looks(open_app, size) -> None:
    async with open_app(size=size, place="models") as pilot:
        await pilot.press("enter", *["down"] * 3, "right", "down", "right")
        await check_snapshot(pilot, "structure")


async def test_branches_are_filled_when_they_are_opened(open_app, server: FakeServer, wait_for) -> None:
    async with open_app(place="models") as pilot:
        await pilot.press("enter")
        tree = pilot.app.screen.query_one(StructureTree)
        await wait_for(pilot, lambda: len(lines(tree)) == 5)
        assert server.requests("GET", "/admin/v1/models/structure")[0].query == {"model": "smollm2:135m"}
        facts = pilot.app.screen.query_one("#structure-facts", Line).text
        assert facts.startswith("smollm2:135m · llama · 144k parameters, 378 kB · layers 2 · hidden size 64")
        names = [line.split()[:2] for line in lines(tree)[:2]]
        assert names == [["▾", "smollm2:135m"], ["└", "▾"]]
        embedding = " ".join(lines(tree)[2].split())
        assert embedding == "├ embed_tokens.weight 1024 x 64 Q8_0 65.5k 66 kB 17.3 % ███▌"
        layers = next(node for node in tree.root.children[0].children if str(node.label) == "layers")
        assert not layers.children
        await pilot.press("down", "down", "down", "right")
        await wait_for(pilot, lambda: len(lines(tree)) == 7)
        assert [str(node.label) for node in layers.children] == ["0", "1"]
        await pilot.press("left")
        await wait_for(pilot, lambda: len(lines(tree)) == 5)
        await pilot.press("left")
        assert str(tree.cursor_node.label) == "model"


async def test_esc_leads_back_to_the_list_where_its_keys_hold(open_app, server: FakeServer, wait_for) -> None:
    async with open_app(place="models") as pilot:
        await pilot.press("enter")
        ids = {active.binding.id for active in pilot.app.screen.active_bindings.values()}
        assert "models.load" not in ids
        assert "inside.back" in ids
        await pilot.press("escape")
        ids = {active.binding.id for active in pilot.app.screen.active_bindings.values()}
        assert {"models.load", "rows.up"} <= ids


async def test_a_structure_that_can_not_be_read_is_told(open_app, server: FakeServer, wait_for) -> None:
    server.on("GET", "/admin/v1/models/structure", Refusal(500, "model.gguf is damaged."))
    async with open_app(place="models") as pilot:
        await pilot.press("enter")
        await wait_for(pilot, lambda: "damaged" in str([n.message for n in pilot.app._notifications]))


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize(("key", "name"), [("a", "attention"), ("c", "template")])
async def test_attention_and_template_as_they_look(open_app, size, key: str, name: str) -> None:
    async with open_app(size=size, place="models") as pilot:
        await pilot.press(key)
        await check_snapshot(pilot, name)


async def test_layer_head_and_prompt_are_changed_by_keys(open_app, server: FakeServer, wait_for) -> None:
    async with open_app(size=(80, 24), place="models") as pilot:
        await pilot.press("a")
        facts = pilot.app.screen.query_one("#attention-facts", Line)
        await wait_for(pilot, lambda: "7 tokens" in facts.text)
        assert facts.text == "smollm2:135m · layer 0 of 30 · mean of the 9 heads · 7 tokens"
        for key in ("left_square_bracket", "comma", "full_stop", "right_square_bracket"):
            await pilot.press(key)
            await wait_for(pilot, lambda: "tokens" in facts.text)
        places = [(body["layer"], body.get("head")) for body in asked_of(server, "attention")]
        assert places == [(0, None), (29, None), (29, 8), (29, 0), (0, 0)]
        assert facts.text == "smollm2:135m · layer 0 of 30 · head 0 of 9 · 7 tokens"
        await pilot.press("m", "e", "end", *"x", "enter")
        await wait_for(pilot, lambda: len(asked_of(server, "attention")) == 7)
        last = asked_of(server, "attention")[-1]
        assert last["prompt"].endswith("tiredx")
        assert "head" not in last


async def test_the_cursor_reads_the_map(open_app, wait_for) -> None:
    async with open_app(size=(80, 24), place="models") as pilot:
        await pilot.press("a")
        heat, value = pilot.app.screen.query_one(HeatMap), pilot.app.screen.query_one("#attention-value", Line)
        await wait_for(pilot, lambda: heat.weight is not None)
        weights = data.attention().weights
        assert heat.cursor == (6, 0)
        assert value.text == f"6 .⏎  takes  {weights[6][0]:.4f}  from  0 The"
        await pilot.press("up", "right", "right")
        assert heat.cursor == (5, 2)
        assert heat.weight == weights[5][2]
        await pilot.press("home")
        assert heat.cursor == (5, 0)
        await pilot.click(HeatMap, offset=(14 + 2 * 1, 6 + 3))
        await wait_for(pilot, lambda: heat.cursor == (3, 1))
        assert lines(heat)[-1].startswith("6 .⏎          ▓▓▒▒")


async def test_a_map_of_512_tokens_is_scrolled_to_its_cursor(open_app, server: FakeServer, wait_for) -> None:
    server.on("POST", "/admin/v1/models/attention", data.attention(num_tokens=512))
    async with open_app(size=(80, 24), place="models") as pilot:
        await pilot.press("a")
        heat = pilot.app.screen.query_one(HeatMap)
        await wait_for(pilot, lambda: heat.weight is not None)
        await wait_for(pilot, lambda: lines(heat)[-1].startswith("511 "))
        heat.action_move_cursor(0, 40)
        await wait_for(pilot, lambda: heat.cursor == (511, 40) and heat.scroll_offset.x > 0)


async def test_a_template_is_shown_with_the_tokens_that_the_model_gets(open_app, server: FakeServer, wait_for) -> None:
    async with open_app(place="models") as pilot:
        await pilot.press("c")
        facts = pilot.app.screen.query_one("#preview-facts", Line)
        await wait_for(pilot, lambda: facts.text == "smollm2:135m gets 6 tokens, 2 of them special")
        assert "<|im_start|>' + message" in pilot.app.screen.query_one("#template").render().plain
        shown = pilot.app.screen.query_one("#preview").render().plain
        assert shown == "<|im_start|>user⏎\nHi!<|im_end|>"
        field = pilot.app.screen.query_one(TemplateView).query_one(Field)
        field.value = "[x"
        await pilot.press("e", "enter")
        await wait_for(pilot, lambda: "not rendered" in facts.text)
        field.value = '[{"role": "system", "content": "x"}]'
        await pilot.press("e", "enter")
        await wait_for(pilot, lambda: "gets 6" in facts.text)
        assert asked_of(server, "preview")[-1]["messages"] == [{"role": "system", "content": "x"}]
        assert asked_of(server, "preview")[0]["messages"][0]["role"] == "user"


def test_prompts_are_texts_or_json() -> None:
    assert read_prompt("a", is_chat=False) == {"prompt": "a"}
    assert read_prompt("a", is_chat=True) == {"messages": [{"role": "user", "content": "a"}]}
    assert read_prompt('{"messages": [], "tools": []}', is_chat=False) == {"messages": [], "tools": []}
    with pytest.raises(NotAPrompt, match="has to be JSON"):
        read_prompt("[1", is_chat=True)
