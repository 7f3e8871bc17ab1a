"""Templates that would work for ever, or take all memory: each is refused after a bounded number of steps."""

from __future__ import annotations

from typing import Any

import pytest
from chat_templates import NAMED, TEMPLATES, our_text, transformers_text

from llmos_server.chat import environment
from llmos_server.chat.environment import MAX_RENDERED_CHARS
from llmos_server.chat.template import ChatTemplate
from llmos_server.errors import InvalidRequest

CHAT = [{"role": "user", "content": "Hi"}]
GROW = "{% set ns = namespace(a=START) %}{% for i in range(60) %}{% set ns.a = STEP %}{% endfor %}{{ ns.a }}"
BIG = "{% set x = 'a' * 1000000 %}"
AGAIN = "{% for i in range(100000) %}{% set y = WHAT %}{% endfor %}"


def grow(start: str, step: str) -> str:
    return GROW.replace("START", start).replace("STEP", step)


def again(what: str) -> str:
    return BIG + AGAIN.replace("WHAT", what)


HOSTILE = {
    "loops in loops": "{% for a in range(2000) %}{% for b in range(900) %}{% for c in 'abcdefgh' %}{% endfor %}"
    "{% endfor %}{% endfor %}",
    "a loop's filter": "{% for a in 'x' * 9000 %}{% for b in 'x' * 9000 if false %}{% endfor %}{% endfor %}",
    "numbers": "{{ 'a' in range(10 ** 12) }}",
    "macros": "{% macro f(n) %}{% if n %}{{ f(n - 1) }}{{ f(n - 1) }}{% endif %}{% endmacro %}{{ f(60) }}",
    "text of the template": "{% set a %}{% for i in range(900000) %}" + "x" * 10_000 + "{% endfor %}{% endset %}",
    "a constant": "{{ 'a' * 10000000000 }}",
    "a constant's filter": "{{ 'a' | center(10000000000) }}",
    "bytes": "{{ 'a'.encode() * 10000000000 }}",
    "+": grow("'x'", "ns.a + ns.a"),
    "~": grow("'x'", "ns.a ~ ns.a"),
    "~, escaped": "{% autoescape true %}" + grow("'<'", "ns.a ~ ns.a") + "{% endautoescape %}",
    "lists": grow("[1]", "[ns.a, ns.a]"),
    "dictionaries": grow("1", "{'a': ns.a, 'b': ns.a}"),
    "dict()": grow("1", "dict(a=ns.a, b=ns.a)"),
    "batches": grow("[1]", "(ns.a * 100) | batch(100) | list"),
    "list + list": grow("[[1] * 1000]", "ns.a + ns.a"),
    "integers": grow("9", "ns.a * ns.a"),
    "powers": "{{ 9 ** 999999999 }}",
    "replace": BIG + "{{ x.replace('a', x) | length }}",
    "the filter replace": BIG + "{{ x | replace('a', x) | length }}",
    "join": BIG + "{{ x.join('b' * 100000) | length }}",
    "the filter join": BIG + "{{ range(10000) | map('string') | join(x) | length }}",
    "sum": "{{ ([[1] * 10] * 10000) | sum(start=[]) | length }}",
    "%": "{{ '%1000000000d' % 1 }}",
    "% *": "{{ '%*d' % (1000000000, 1) }}",
    "% again": BIG + "{{ '%(a)s' * 1000 % {'a': x} }}",
    "the filter format": "{{ '%1000000000s' | format('a') }}",
    "format": "{{ '{:1000000000}'.format(1) }}",
    "format, nested": "{{ '{:{}}'.format(1, 1000000000) }}",
    "format_map": "{{ '{a:>1000000000}'.format_map({'a': 1}) }}",
    "format again": BIG + "{{ ('{0}' * 1000).format(x) }}",
    "zfill": "{{ '1'.zfill(1000000000) }}",
    "to_bytes": "{{ (1).to_bytes(1000000000, 'big') | length }}",
    "expandtabs": "{{ ('\\t' * 1000000).expandtabs(9999) | length }}",
    "translate": BIG + "{{ x.translate({97: x}) | length }}",
    "indent": "{{ ('\\n' * 1000000) | indent(9999) | length }}",
    "round": "{{ 1.5 | round(1000000000, 'ceil') }}",
    "tojson": "{{ [1, 2] | tojson(indent=1000000000) }}",
    "punycode": BIG + "{{ x.encode('punycode') }}",
    "rfind": BIG + "{{ x.rfind('b' + 'a' * 500000) }}",
    "in": again("('b' + 'a' * 90) in x"),
    "slices": again("x[1:]"),
    "comparisons": again("x == 'a' ~ x"),
    "title": again("x | title"),
    "split": "{% set x = 'a ' * 10000 %}" + AGAIN.replace("WHAT", "x.split()"),
    "tests": again("x is eq x"),
    "maps": "{% set x = range(1000) %}" + AGAIN.replace("WHAT", "x | map('string') | list"),
    "time": "{{ strftime_now('%Y' * 1000000) }}",
}


@pytest.mark.parametrize("name", HOSTILE)
def test_a_template_without_end_is_refused(name: str) -> None:
    with pytest.raises(InvalidRequest, match="The model's chat template asks for too much: it") as caught:
        our_text(HOSTILE[name], CHAT)
    assert caught.value.code == "template_error"
    assert "use another model" in str(caught.value)


@pytest.mark.parametrize(
    "source",
    [
        "{% block a %}{{ self.a() }}{{ self.a() }}{% endblock %}",
        "{% for x in [[1]] recursive %}{{ loop([[1], [1]]) }}{% endfor %}",
        "{{ lipsum(n=1000000) }}",
        "{{ ('f' * 100000) | int(base=16) }}",
    ],
)
def test_what_python_or_the_sandbox_ends(source: str) -> None:
    with pytest.raises(InvalidRequest) as caught:
        our_text(source, CHAT)
    assert caught.value.code == "template_error"


def test_namespaces_in_namespaces_are_not_written_out() -> None:
    assert our_text(grow("namespace()", "namespace(a=ns.a, b=ns.a)"), CHAT) == "<Namespace>"


def test_a_text_without_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(environment, "MAX_RENDERED_CHARS", MAX_RENDERED_CHARS // 1000)
    with pytest.raises(InvalidRequest, match="wrote more than"):
        our_text("{% set x = 'a' * 10000 %}{% for i in range(100) %}{{ x }}{% endfor %}", CHAT)


def test_one_rendering_takes_nothing_from_the_next() -> None:
    template = ChatTemplate("{% for i in range(10000) %}{% for j in 'abcd' %}{% endfor %}{% endfor %}ok", NAMED)
    for _ in range(3):
        assert template.render(template.prepare(CHAT)) == "ok"


def turns(num: int, text: str) -> list[dict[str, Any]]:
    return [{"role": ("user", "assistant")[i % 2], "content": f"{i} {text}"} for i in range(num)]


@pytest.mark.parametrize("family", TEMPLATES)
@pytest.mark.parametrize(("num", "text"), [(4095, ""), (3, "A <b>word</b>. " * 100_000)])
def test_the_longest_chats_render_as_ever(family: str, num: int, text: str) -> None:
    messages = turns(num, text)
    if family == "parts_only":
        messages = [{**m, "content": [{"type": "text", "text": m["content"]}]} for m in messages]
    source = TEMPLATES[family]
    assert our_text(source, messages) == transformers_text(source, messages, add_generation_prompt=True)
