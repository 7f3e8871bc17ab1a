"""Texts with places: a path each, and nothing else."""

from __future__ import annotations

import pytest

from llmos_server.errors import InvalidRequest
from llmos_server.evaluation.templates import MissingVariable, Template

VALUES = {
    "item": {"q": "why?", "n": 3, "list": ["a", {"b": None}], "a name": True, "text": "{{ item.q }}"},
    "sample": {"output_text": "ü"},
}


@pytest.mark.parametrize(
    ("text", "filled"),
    [
        ("plain { } text", "plain { } text"),
        ("{{item.q}}|{{ sample.output_text }}", "why?|ü"),
        ("{{ item.list[0] }} {{ item.list[1] }} {{ item['a name'] }} {{item.n}}", 'a {"b":null} true 3'),
        ('{{ item["a name"] }}{{ item.list[1].b }}', "truenull"),
        ("{{ item.text }}", "{{ item.q }}"),
        ("{{ item }}"[:0] + "{{ sample }}", '{"output_text":"ü"}'),
    ],
)
def test_places_are_filled_in(text, filled) -> None:
    assert Template(text).render(VALUES) == filled


@pytest.mark.parametrize("text", ["{{ other.x }}", "{{}}", "{{ item.q | upper }}", "{{ item.q() }}", "{{ item[-1] }}"])
def test_what_is_no_path_is_refused_with_its_field(text) -> None:
    with pytest.raises(InvalidRequest) as told:
        Template(text, "grader.input")
    assert (told.value.param, told.value.code) == ("grader.input", "invalid_template")


@pytest.mark.parametrize("text", ["{{ item.nothing }}", "{{ item.list[7] }}", "{{ item.q.x }}", "{{ item.n[0] }}"])
def test_what_an_item_does_not_have_is_told(text) -> None:
    with pytest.raises(MissingVariable, match="there is no"):
        Template(text).render(VALUES)
